// SPDX-License-Identifier: MPL-2.0

//! The decoded clips in memory, and the windows cut from them for training and for testing.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use gstsparseadv::model::metadata::Layout as Axes;
use indicatif::{ProgressBar, ProgressStyle};
use rand::{Rng, rngs::StdRng};
use tch::{Kind, Tensor};

use crate::video;
use gstsparseadv::dataset::Clip;

/// How frames become the model's input.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    pub axes: Axes,
    /// Frames a window.
    pub window: i64,
    /// Frames of the clip from one frame of a window to the next.
    pub step: i64,
    /// `[height, width]` of a cached frame.
    pub resize: [i64; 2],
    /// Side of the square the model sees.
    pub view: i64,
    pub values: Values,
}

/// How a value becomes the model's input, `(value * white - mean) / deviation` with values in 0..1.
#[derive(Clone, Copy, Debug)]
pub struct Values {
    pub white: f32,
    /// Of red, green and blue.
    pub mean: [f32; 3],
    pub deviation: f32,
}

impl Geometry {
    /// Frames of the clip from a window's first to its last, inclusive.
    fn span(&self) -> i64 {
        (self.window - 1) * self.step + 1
    }
}

pub struct Cached {
    /// Bytes `[frames, 3, height, width]`.
    frames: Tensor,
    pub label: i64,
}

/// A clip that cannot be used, and why.
pub struct Skipped {
    pub path: PathBuf,
    pub reason: String,
}

/// Decodes `clips`, of each at most the middle `max_frames` frames.
pub fn load(clips: &[&Clip], geometry: &Geometry, max_frames: i64) -> Result<(Vec<Cached>, Vec<Skipped>)> {
    let (mut cached, mut skipped) = (Vec::new(), Vec::new());
    let bar = ProgressBar::new(clips.len() as u64)
        .with_style(ProgressStyle::with_template("decoding {bar:40} {pos}/{len}, {eta} left")?);
    for clip in clips {
        let usable = video::decode(&clip.path, geometry.resize).and_then(|frames| {
            let count = frames.size()[0];
            ensure!(count >= geometry.span(), "{count} frames, fewer than a window's {}", geometry.span());
            let kept = count.min(max_frames.max(geometry.span()));
            Ok(frames.f_narrow_copy(0, (count - kept) / 2, kept)?)
        });
        match usable {
            Ok(frames) => cached.push(Cached { frames, label: clip.label as i64 }),
            Err(error) => skipped.push(Skipped { path: clip.path.clone(), reason: format!("{error:#}") }),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok((cached, skipped))
}

impl Cached {
    fn count(&self) -> i64 {
        self.frames.size()[0]
    }

    /// First frame of the window in the middle.
    pub fn center(&self, geometry: &Geometry) -> i64 {
        (self.count() - geometry.span()) / 2
    }

    /// First frames of all windows that do not overlap.
    pub fn starts(&self, geometry: &Geometry) -> impl Iterator<Item = i64> {
        let span = geometry.span();
        (0..=self.count() - span).step_by(span as usize)
    }

    /// Bytes `[window, 3, view, view]` with the crop's corner at `top`, `left`.
    fn cut(&self, geometry: &Geometry, start: i64, top: i64, left: i64) -> Result<Tensor> {
        let view = geometry.view;
        Ok(self
            .frames
            .f_slice(0, start, start + geometry.span(), geometry.step)?
            .f_narrow(2, top, view)?
            .f_narrow(3, left, view)?)
    }

    /// The center crop, as the plugin cuts it.
    pub fn test_window(&self, geometry: &Geometry, start: i64) -> Result<Tensor> {
        let [height, width] = geometry.resize;
        let (top, left) = ((height - geometry.view) / 2, (width - geometry.view) / 2);
        Ok(self.cut(geometry, start, top, left)?.f_to_kind(Kind::Float)?.f_div_scalar(255.0)?)
    }

    /// A window at a random time and place, perhaps mirrored, in random light.
    pub fn training_window(&self, geometry: &Geometry, rng: &mut StdRng) -> Result<Tensor> {
        let [height, width] = geometry.resize;
        let start = rng.random_range(0..=self.count() - geometry.span());
        let top = rng.random_range(0..=height - geometry.view);
        let left = rng.random_range(0..=width - geometry.view);
        let mut window = self.cut(geometry, start, top, left)?.f_to_kind(Kind::Float)?.f_div_scalar(255.0)?;
        if rng.random() {
            window = window.f_flip([3])?;
        }
        // One contrast for all, and a gain of its own for each channel: colors say nothing about actions.
        let contrast = rng.random_range(0.7..1.3_f32);
        let gain: [f32; 3] = std::array::from_fn(|_| contrast * rng.random_range(0.85..1.15));
        let brightness: f32 = rng.random_range(-0.15..0.15);
        let offset = gain.map(|g| 0.5 + brightness - 0.5 * g);
        let channels = |values: [f32; 3]| Tensor::f_from_slice(&values)?.f_view([1, 3, 1, 1]);
        Ok(window.f_mul(&channels(gain)?)?.f_add(&channels(offset)?)?.f_clamp(0.0, 1.0)?)
    }
}

/// Stacks windows with values in 0..1 into the model's input.
pub fn batch(geometry: &Geometry, windows: &[Tensor]) -> Result<Tensor> {
    let Values { white, mean, deviation } = geometry.values;
    let mean = Tensor::f_from_slice(&mean)?.f_view([1, 1, 3, 1, 1])?;
    let stacked = Tensor::f_stack(windows, 0)?
        .f_mul_scalar(f64::from(white))?
        .f_sub(&mean)?
        .f_div_scalar(f64::from(deviation))?;
    Ok(match geometry.axes {
        Axes::Btchw | Axes::Bchw => stacked,
        Axes::Bcthw => stacked.f_permute([0, 2, 1, 3, 4])?.f_contiguous()?,
    })
}
