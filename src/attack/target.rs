// SPDX-License-Identifier: MPL-2.0

//! What an attack needs of its target, the window of a stream as a model sees it: perturbation in, logits out. A black
//! box grants [`Query`] alone. A gradient that is estimated by queries implements [`Differentiate`] over any of them.

use std::ops::Range;

use tch::{Device, TchError, Tensor};

use super::Error;
use crate::torch;

/// The sizes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// T, the frames that the model sees.
    pub frames: usize,
    /// How many of them exist; the rest repeat the last one.
    pub real: usize,
    pub height: usize,
    pub width: usize,
    /// K, the length of the logits.
    pub classes: usize,
}

impl Shape {
    /// The frames of the model's window that show real frame `frame`: itself, and for the last one those that repeat it.
    pub fn shown(&self, frame: usize) -> Range<usize> {
        if frame + 1 == self.real { frame..self.frames } else { frame..frame + 1 }
    }

    /// The real frame that each of the T frames of the model's window shows.
    pub fn sources(&self) -> Vec<usize> {
        (0..self.frames).map(|place| place.min(self.real - 1)).collect()
    }

    /// `[1, frames, 3, height, width]` of so many frames.
    pub fn of_frames(&self, frames: usize) -> [i64; 5] {
        [1, frames, 3, self.height, self.width].map(|n| n as i64)
    }

    /// Values of a frame.
    pub fn frame_len(&self) -> usize {
        3 * self.height * self.width
    }
}

/// A perturbation of some of a window's real frames.
#[derive(Debug)]
pub struct Delta {
    pub frames: Vec<usize>,
    /// `[batch, frames, 3, height, width]` in gray levels.
    pub values: Tensor,
}

impl Clone for Delta {
    /// Shares the values, which nobody writes to.
    fn clone(&self) -> Self {
        Self { frames: self.frames.clone(), values: self.values.shallow_clone() }
    }
}

/// A gradient by the model's view of some frames of its window.
pub struct ViewGradient {
    pub frames: Vec<usize>,
    /// `[1, frames, 3, height, width]`.
    pub values: Tensor,
}

impl ViewGradient {
    /// That of no frame yet, which a target whose gradient is by frames completes.
    pub fn none(shape: Shape, device: Device) -> Result<Self, TchError> {
        let size = [1, 0, 3, shape.height as i64, shape.width as i64];
        Ok(Self { frames: Vec::new(), values: torch::upload(&[], &size, device)? })
    }

    /// The frames that it lacks.
    pub fn missing(&self, frames: &[usize]) -> Vec<usize> {
        frames.iter().copied().filter(|frame| !self.frames.contains(frame)).collect()
    }

    /// With further ones behind.
    pub fn with(mut self, frames: Vec<usize>, values: &Tensor) -> Result<Self, TchError> {
        self.values = Tensor::f_cat(&[&self.values, values], 1)?;
        self.frames.extend(frames);
        Ok(self)
    }

    /// The part of some frames that it has.
    pub fn of(&self, frames: &[usize]) -> Result<Tensor, TchError> {
        if self.frames == frames {
            return Ok(self.values.shallow_clone());
        }
        let place = |frame: &usize| self.frames.iter().position(|k| k == frame);
        let places: Vec<usize> = frames.iter().filter_map(place).collect();
        self.values.f_index_select(1, &torch::index(&places, self.values.device())?)
    }
}

/// A way from the bytes of a window to the model's view of it. A success has to hold in all of a target's readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Looked at in every iteration.
    Always,
    /// So close to the first one that it is looked at only where that one has shown a success.
    Confirm,
    /// The same, and what it says is the result: the first one is by the model in a lower precision.
    Exact,
    /// A codec, looked at in every iteration. Its own derivative counts as the identity (straight-through).
    Transport,
}

/// What anyone may ask.
pub trait Query {
    fn shape(&self) -> Shape;
    /// Where its tensors are, and those it is given have to be.
    fn device(&self) -> Device;
    /// At least one, and the first is looked at always.
    fn readings(&self) -> &[Reading];
    /// The clean frames as the model sees them, `[real, 3, height, width]`. No call of the model.
    fn clean(&self) -> Result<Tensor, Error>;
    /// The model's view of the perturbed frames less that of the clean ones, shaped as the values. No call of the model.
    fn observe(&mut self, delta: &Delta) -> Result<Tensor, Error>;
    /// The logits `[1, classes]` of the clean window with `frames[k]` at place k, for each of the real frames. One forward
    /// pass.
    fn logits_of(&mut self, frames: &[usize]) -> Result<Tensor, Error>;
    /// The logits `[batch, classes]` of the perturbed window in a reading. One forward pass. In readings that are
    /// looked at always, the last [`observe`](Self::observe) was of the same perturbation.
    fn logits(&mut self, delta: &Delta, reading: usize) -> Result<Tensor, Error>;
}

/// What a white box, or an estimate of one, answers besides.
pub trait Differentiate: Query {
    /// The gradient of `sum(grad_logits * logits)` at the last pass, by the model's view of `frames` of its window:
    /// `[batch, frames, 3, height, width]`. One backward pass. `grad_logits` is `[batch, classes]`.
    fn backward(&mut self, grad_logits: &Tensor, frames: &[usize]) -> Result<Tensor, Error>;
    /// What a target answers besides whose gradient by some frames costs less than one by all.
    fn by_frames(&mut self) -> Option<&mut dyn ByFrames> {
        None
    }
    /// What the weighted logits of the last gradient have more in a reading that confirms than in the first one, where the
    /// model is linear. `by_view` is that gradient by the view of `frames`: of all T, or where it is by frames of those that
    /// show the perturbation. The last `observe` was of the same perturbation.
    fn change(&mut self, delta: &Delta, reading: usize, frames: &[usize], by_view: &Tensor) -> Result<f64, Error>;
    /// Passes since this was asked last beyond those asked for.
    fn beyond(&mut self) -> Beyond {
        Beyond::default()
    }
    /// The gradient by the values of `delta`, from the one by the model's view of its frames. No call of the model. In
    /// the first reading, and behind transports, the last [`observe`](Query::observe) was of the same perturbation.
    fn pull(&mut self, delta: &Delta, reading: usize, grad_view: &Tensor) -> Result<Tensor, Error>;
}

/// A target whose model encodes frame by frame. It takes gradients as far as they are asked for.
pub trait ByFrames {
    /// The last gradient by further frames. No frame has more than one backward pass for it. Frames that the last pass
    /// did not encode are encoded once more, which [`Differentiate::beyond`] tells of.
    fn complete(&mut self, frames: &[usize]) -> Result<Tensor, Error>;
    /// How much each of the T frames weighs in the last gradient, by the frames' codes.
    fn frame_weights(&self) -> Result<Vec<f64>, Error>;
}

/// Passes that a target made of its own. Negative where one that was asked for was made before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beyond {
    pub forwards: i32,
    pub backwards: i32,
    /// Windows sent through a codec once more.
    pub codec_runs: u32,
}

/// A gradient by a model's feature map.
pub struct FeatureGradient {
    /// Of any shape, with a batch of one.
    pub by_features: Tensor,
    /// Its axis of time.
    pub time_axis: usize,
    /// The frames of the window that each step of that axis depends on.
    pub steps: Vec<Vec<usize>>,
    /// The gradient by the model's view of all frames, `[1, T, 3, height, width]`, from the same backward pass. A target
    /// whose gradient is by frames leaves it to [`ByFrames::complete`].
    pub by_view: Option<Tensor>,
}

/// What a model with a feature map answers besides.
pub trait Features: Differentiate {
    /// The same gradient by the feature map and by the view, at a clean pass; `None`, and no pass, without a feature map.
    fn feature_gradient(&mut self, grad_logits: &Tensor) -> Result<Option<FeatureGradient>, Error>;
}
