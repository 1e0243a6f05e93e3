// SPDX-License-Identifier: MPL-2.0

//! What an attack needs of its target, the window of a stream as a model sees it: perturbation in, logits out. A black
//! box grants [`Query`] alone. A gradient that is estimated by queries implements [`Differentiate`] over any of them.

use std::ops::Range;

use tch::{Device, Tensor};

use super::Error;

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
    /// The model's view of a perturbed window in a reading that confirms, less that in the first reading: `[1, T, 3,
    /// height, width]`. The last `observe` was of the same perturbation. No call of the model.
    fn difference(&mut self, delta: &Delta, reading: usize) -> Result<Tensor, Error>;
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
    /// Pairs of a forward and a backward pass that gradients took since this was asked last, beyond those asked for.
    fn repeats(&mut self) -> u32 {
        0
    }
    /// The gradient by the values of `delta`, from the one by the model's view of its frames. No call of the model. In
    /// the first reading, and behind transports, the last [`observe`](Query::observe) was of the same perturbation.
    fn pull(&mut self, delta: &Delta, reading: usize, grad_view: &Tensor) -> Result<Tensor, Error>;
}

/// A gradient by a model's feature map.
pub struct FeatureGradient {
    /// Of any shape, with a batch of one.
    pub by_features: Tensor,
    /// Its axis of time.
    pub time_axis: usize,
    /// The frames of the window that each step of that axis depends on.
    pub steps: Vec<Vec<usize>>,
    /// The gradient by the model's view of all frames, `[1, T, 3, height, width]`, from the same backward pass.
    pub by_view: Tensor,
}

/// What a model with a feature map answers besides.
pub trait Features: Differentiate {
    /// The same gradient by the feature map and by the view, at a clean pass; `None`, and no pass, without a feature map.
    fn feature_gradient(&mut self, grad_logits: &Tensor) -> Result<Option<FeatureGradient>, Error>;
}
