// SPDX-License-Identifier: MPL-2.0

//! Where the model's view lies in a frame: which samples of each component it touches, and how a perturbation of the view reaches them.

use super::taps::Taps;

/// How frames become the model's input, in sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// `[height, width]` after the resize.
    pub resized: [usize; 2],
    /// `[height, width]` of the centre crop, the view's own size.
    pub crop: [usize; 2],
    pub antialias: bool,
}

/// One axis of one component: which of its samples the view touches, and how a perturbation reaches them.
#[derive(Clone, Debug)]
pub struct Axis {
    /// Sample positions in the component, ascending.
    pub sites: Vec<usize>,
    /// For each touched pixel, its sample's place in `sites`.
    pub site_of_pixel: Vec<u32>,
    /// Perturbation at the sites from the view's samples.
    pub render: Taps,
}

impl Axis {
    /// Whether each touched pixel has a sample of its own: no subsampling.
    pub fn is_every_pixel(&self) -> bool {
        self.sites.len() == self.site_of_pixel.len()
    }

    pub fn touched(
        pixels: &[usize],
        shift: u32,
        size: usize,
        resized: usize,
        start: usize,
        crop: usize,
    ) -> Self {
        let mut sites: Vec<usize> = pixels.iter().map(|p| p >> shift).collect();
        sites.dedup();
        let site_of_pixel = pixels
            .iter()
            .map(|p| sites.partition_point(|s| *s < p >> shift) as u32)
            .collect();
        let render = render_taps(&sites, shift, size, resized, start, crop);
        Self {
            sites,
            site_of_pixel,
            render,
        }
    }
}

/// Interpolation of a perturbation of the view at the sample positions `sites` of a component, at the centre of the pixels each covers.
pub fn render_taps(
    sites: &[usize],
    shift: u32,
    size: usize,
    resized: usize,
    start: usize,
    crop: usize,
) -> Taps {
    let step = resized as f64 / size as f64;
    let covered = f64::from(1u32 << shift);
    let positions = sites.iter().map(|s| {
        let centre = *s as f64 * covered + covered / 2.0;
        centre * step - 0.5 - start as f64
    });
    Taps::hat(crop, positions, step * covered)
}

/// torchvision's `center_crop`.
pub fn crop_offset(resized: usize, crop: usize) -> usize {
    // Python's round: halves go to the even neighbour.
    let twice = resized - crop;
    let half = twice / 2;
    if twice % 2 == 1 && half % 2 == 1 {
        half + 1
    } else {
        half
    }
}
