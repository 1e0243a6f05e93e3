// SPDX-License-Identifier: MPL-2.0

//! A success of the search.

use crate::attack::Error;
use crate::attack::norm;
use crate::attack::outcome::{Best, Perturbation, Size};
use crate::attack::target::{Delta, Shape};
use crate::torch;

/// A success on the device.
pub struct Success {
    pub delta: Delta,
    /// Of what the model sees of it: the sum of absolute values, and the largest one.
    pub observed: (f64, f64),
    pub logits: Vec<f32>,
    /// In the norm that the search makes small.
    pub size: f64,
    /// L2 norms of the frames that the model sees.
    pub norms: Vec<f64>,
    /// When it was seen: after so many steps, and queries in all.
    pub iteration: u32,
    pub queries: u32,
    /// It is known to hold in all readings.
    pub known: bool,
}

impl Success {
    /// The mean absolute perturbation that the model sees, over all frames, in gray levels.
    pub fn map(&self, shape: Shape) -> f64 {
        self.observed.0 / values_of(shape)
    }

    /// On the host.
    pub fn best(&self, shape: Shape) -> Result<Best, Error> {
        let len = shape.frame_len();
        let values = torch::download(&self.delta.values)?;
        let perturbation: Perturbation =
            self.delta.frames.iter().copied().zip(values.chunks_exact(len).map(<[f32]>::to_vec)).collect();
        let (float, _) = norm::sum_and_max_abs(&self.delta.values)?;
        let size = Size::of(shape, perturbation.len(), self.observed, float, &self.norms);
        Ok(Best { perturbation, logits: self.logits.clone(), size })
    }
}

/// Of all frames of a window.
fn values_of(shape: Shape) -> f64 {
    (shape.real * shape.frame_len()).max(1) as f64
}
