// SPDX-License-Identifier: MPL-2.0

//! A success of the search.

use tch::Tensor;

use crate::attack::Error;
use crate::attack::norm;
use crate::attack::outcome::{Best, Perturbation, Size};
use crate::attack::target::{Delta, Shape};
use crate::torch;

/// A success on the device.
pub struct Success {
    pub delta: Delta,
    /// What the model sees of it, of the same frames.
    pub observed: Tensor,
    pub logits: Vec<f32>,
    /// In the norm that the search makes small.
    pub size: f64,
    pub l21: f64,
    /// When it was seen: after so many steps, and queries in all.
    pub iteration: u32,
    pub queries: u32,
}

impl Success {
    /// The mean absolute perturbation that the model sees, over all frames, in gray levels.
    pub fn map(&self, shape: Shape) -> Result<f64, Error> {
        Ok(norm::sum_and_max_abs(&self.observed)?.0 / (shape.real * shape.frame_len()).max(1) as f64)
    }

    /// On the host.
    pub fn best(&self, shape: Shape) -> Result<Best, Error> {
        let len = shape.frame_len();
        let values = torch::download(&self.delta.values)?;
        let perturbation: Perturbation =
            self.delta.frames.iter().copied().zip(values.chunks_exact(len).map(<[f32]>::to_vec)).collect();
        let (observed, max_abs) = norm::sum_and_max_abs(&self.observed)?;
        let (float, _) = norm::sum_and_max_abs(&self.delta.values)?;
        let whole = (shape.real * len).max(1) as f64;
        let size = Size {
            map: observed / whole,
            map_float: float / whole,
            map_keyframes: observed / values.len().max(1) as f64,
            max_abs,
            l21: self.l21,
        };
        Ok(Best { perturbation, logits: self.logits.clone(), size })
    }
}
