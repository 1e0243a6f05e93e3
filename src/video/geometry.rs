// SPDX-License-Identifier: MPL-2.0

//! Where the model's view lies in a frame: which samples of each component it touches, and how a perturbation of the
//! view reaches them.

use super::taps::Taps;

/// How frames become the model's input, in sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// `[height, width]` after the resize.
    pub resized: [usize; 2],
    /// `[height, width]` of the center crop, the view's own size.
    pub crop: [usize; 2],
    pub antialias: bool,
}

/// How a reader of the stream brings subsampled chroma to the pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chroma {
    /// Each sample repeated over the pixels it covers: what swscale, and so most programs, do by default.
    #[default]
    Repeated,
    /// Linear interpolation, samples on the left luma column and between the rows: what H.264 and MPEG-2 mean.
    Interpolated,
}

/// One axis of the way from a frame to the view: `size` pixels are resized to `resized`, and of these the view keeps
/// `crop` from `start` on.
#[derive(Clone, Copy, Debug)]
pub struct Resize {
    pub size: usize,
    pub resized: usize,
    pub start: usize,
    pub crop: usize,
}

impl Resize {
    pub fn centered(size: usize, resized: usize, crop: usize) -> Self {
        Self { size, resized, start: crop_offset(resized, crop), crop }
    }

    /// The view's rows or columns from the frame's pixels.
    pub fn taps(self, antialias: bool) -> Taps {
        Taps::resize(self.size, self.resized, self.start..self.start + self.crop, antialias)
    }

    /// The number of a component's samples.
    fn samples(self, shift: u32) -> usize {
        (self.size + (1 << shift) - 1) >> shift
    }

    /// Interpolation of a perturbation of the view at the sample positions `sites` of a component, at the center of the
    /// pixels each covers.
    fn render(self, sites: impl IntoIterator<Item = usize>, shift: u32) -> Taps {
        let step = self.resized as f64 / self.size as f64;
        let covered = f64::from(1u32 << shift);
        let positions = sites.into_iter().map(|s| {
            let center = s as f64 * covered + covered / 2.0;
            center * step - 0.5 - self.start as f64
        });
        Taps::hat(self.crop, positions, step * covered)
    }
}

/// One axis of one component: some of its samples, and how a perturbation reaches them.
#[derive(Clone, Debug)]
pub struct Axis {
    /// Sample positions in the component.
    pub sites: Vec<usize>,
    /// The touched pixels from the samples at `sites`; `None` where each has its own.
    pub upsample: Option<Taps>,
    /// Perturbation at the sites from the view's samples.
    pub render: Taps,
}

impl Axis {
    /// The samples that `pixels` are made of. `first` is the position of the first sample in pixels, where chroma is
    /// interpolated.
    pub fn touched(resize: Resize, shift: u32, pixels: &[usize], first: Option<f64>) -> Self {
        if shift == 0 {
            return Self::repeated(resize, shift, pixels);
        }
        let last = resize.samples(shift) - 1;
        let of_pixel = |p: &usize| match first {
            None => vec![(p >> shift, 1.0)],
            Some(first) => {
                let position = (*p as f64 - first) / f64::from(1u32 << shift);
                let position = position.clamp(0.0, last as f64);
                let low = position as usize;
                let weight = (position - low as f64) as f32;
                if weight > 0.0 { vec![(low, 1.0 - weight), ((low + 1).min(last), weight)] } else { vec![(low, 1.0)] }
            }
        };
        let (sites, upsample) = Taps::from_rows(pixels.iter().map(of_pixel)).compact();
        Self { render: resize.render(sites.iter().copied(), shift), sites, upsample: Some(upsample) }
    }

    /// The same where every pixel gets its sample for itself, repeated where pixels share one: more samples to compute,
    /// but in the pixels' own order, which costs less than to bring them there.
    pub fn repeated(resize: Resize, shift: u32, pixels: &[usize]) -> Self {
        let sites: Vec<usize> = pixels.iter().map(|p| p >> shift).collect();
        Self { render: resize.render(sites.iter().copied(), shift), sites, upsample: None }
    }

    /// All samples that a perturbation reaches.
    pub fn reached(resize: Resize, shift: u32) -> Self {
        let all = resize.render(0..resize.samples(shift), shift);
        let sites: Vec<usize> = (0..all.outputs()).filter(|site| !all.row(*site).0.is_empty()).collect();
        Self { render: resize.render(sites.iter().copied(), shift), sites, upsample: None }
    }
}

/// torchvision's `center_crop`.
fn crop_offset(resized: usize, crop: usize) -> usize {
    // Python's round: halves go to the even neighbor.
    let twice = resized - crop;
    let half = twice / 2;
    if twice % 2 == 1 && half % 2 == 1 { half + 1 } else { half }
}
