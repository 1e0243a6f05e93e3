// SPDX-License-Identifier: MPL-2.0

//! What an attack may change. The search moves parameters; a support says which perturbation they stand for.

use tch::{Device, TchError, Tensor};

use super::target::{Delta, Shape};

/// A set of perturbations with parameters.
pub trait Support {
    /// The frames that it reaches.
    fn frames(&self) -> &[usize];
    /// Reaches more frames. The parameters of those it reached stay the first ones.
    fn join(&mut self, frames: &[usize]);
    /// Parameters of perturbations that are `value` throughout, for the frames from the `from`th on.
    fn filled(&self, from: usize, value: f64, shape: Shape, device: Device) -> Result<Tensor, TchError>;
    /// The perturbation of some parameters.
    fn expand(&self, parameters: &Tensor) -> Result<Delta, TchError>;
    /// The gradient by the parameters from that by the perturbation's values.
    fn pull(&self, gradient: Tensor) -> Result<Tensor, TchError>;
}

/// Every value of some frames, each with a parameter of its own.
#[derive(Clone, Debug)]
pub struct WholeFrames {
    frames: Vec<usize>,
}

impl WholeFrames {
    pub fn new(frames: &[usize]) -> Self {
        Self { frames: frames.to_vec() }
    }
}

impl Support for WholeFrames {
    fn frames(&self) -> &[usize] {
        &self.frames
    }

    fn join(&mut self, frames: &[usize]) {
        self.frames.extend(frames);
    }

    fn filled(&self, from: usize, value: f64, shape: Shape, device: Device) -> Result<Tensor, TchError> {
        Tensor::f_full(shape.of_frames(self.frames.len() - from), value, (tch::Kind::Float, device))
    }

    fn expand(&self, parameters: &Tensor) -> Result<Delta, TchError> {
        Ok(Delta { frames: self.frames.clone(), values: parameters.shallow_clone() })
    }

    fn pull(&self, gradient: Tensor) -> Result<Tensor, TchError> {
        Ok(gradient)
    }
}
