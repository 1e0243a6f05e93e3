// SPDX-License-Identifier: MPL-2.0

//! Directions with a coefficient a patch: each frame is cut into a grid, and all values of a patch move together, each by
//! the sign that a tentative direction has there (Jiang et al., ACM MM 2019, Section 4.2).

use tch::{Device, TchError, Tensor};

use crate::attack::target::Shape;
use crate::torch;

/// The patches of some frames.
pub struct Patches {
    frames: usize,
    /// Patches along each axis.
    grid: [usize; 2],
    size: [usize; 2],
    device: Device,
}

impl Patches {
    /// At the most `grid` patches along each axis, whether they divide it or not.
    pub fn new(frames: usize, grid: usize, shape: Shape, device: Device) -> Self {
        let size = [shape.height, shape.width];
        Self { frames, grid: size.map(|n| grid.clamp(1, n)), size, device }
    }

    /// Coefficients, one a patch and frame.
    pub fn count(&self) -> usize {
        self.frames * self.grid[0] * self.grid[1]
    }

    /// `[1, frames, 3, height, width]` of `coefficients`, by the signs of a tentative direction of that shape.
    pub fn spread(&self, coefficients: &[f32], tentative: &Tensor) -> Result<Tensor, TchError> {
        let [rows, cols] = self.grid.map(|n| n as i64);
        let [height, width] = self.size.map(|n| n as i64);
        let patches = torch::upload(coefficients, &[self.frames as i64, 1, rows, cols], self.device)?;
        let whole = patches.f_upsample_nearest2d([height, width], None, None)?;
        whole.f_view([1, self.frames as i64, 1, height, width])?.f_mul(tentative)
    }
}

/// Signs drawn at random, `[1, frames, 3, height, width]`: the tentative direction where no other model gives one.
pub fn random_signs(rng: &mut impl rand::Rng, frames: usize, shape: Shape, device: Device) -> Result<Tensor, TchError> {
    let values: Vec<f32> = (0..frames * shape.frame_len()).map(|_| sign(rng)).collect();
    torch::upload(&values, &shape.of_frames(frames), device)
}

/// Columns of one sign a color each, the same in all frames, as the paper begins.
pub fn stripes(rng: &mut impl rand::Rng, frames: usize, shape: Shape) -> Vec<f32> {
    let columns: Vec<f32> = (0..3 * shape.width).map(|_| sign(rng)).collect();
    let at = |i: usize| columns[i / (shape.height * shape.width) % 3 * shape.width + i % shape.width];
    (0..frames * shape.frame_len()).map(at).collect()
}

pub fn sign(rng: &mut impl rand::Rng) -> f32 {
    if rng.random() { 1.0 } else { -1.0 }
}
