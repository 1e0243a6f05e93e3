// SPDX-License-Identifier: MPL-2.0

//! A window of stream frames as one reader sees it, in tensors: by the row kernels on the host, by tensor operations
//! elsewhere.

use tch::{Device, Kind, TchError, Tensor};

use super::observe::{Scratch, Tape};
use super::view::{Samples, View};
use crate::torch;

/// Between a perturbation of a window's frames and the model's view of them.
pub trait Observe {
    /// The clean frames' views, `[frames, 3, height, width]` in gray levels.
    fn clean(&self) -> Result<Tensor, TchError>;
    /// The views of the frames `frames` with `delta` in them, both `[batch, frames, 3, height, width]`. Keeps what
    /// [`backward`](Self::backward) needs.
    fn observe(&mut self, frames: &[usize], delta: &Tensor) -> Result<Tensor, TchError>;
    /// The gradient by the perturbation from that by the views, at the last observation of these frames.
    fn backward(&mut self, frames: &[usize], grad_view: &Tensor) -> Result<Tensor, TchError>;
}

/// By the row kernels. Frames go one after the other: a second thread would compete with libtorch's, which go on spinning
/// for a while after each pass.
pub struct HostView<'a> {
    view: &'a View,
    samples: Vec<Samples>,
    /// Of each perturbation of a batch, for each frame.
    tapes: Vec<Vec<Tape>>,
    scratch: Scratch,
}

impl<'a> HostView<'a> {
    pub fn new(view: &'a View, samples: Vec<Samples>) -> Self {
        Self { view, samples, tapes: Vec::new(), scratch: Scratch::default() }
    }

    fn zeros(&self, lead: &[usize]) -> Result<Tensor, TchError> {
        let [h, w] = self.view.size();
        let shape: Vec<i64> = lead.iter().chain(&[3, h, w]).map(|n| *n as i64).collect();
        Tensor::f_zeros(shape, (Kind::Float, Device::Cpu))
    }
}

impl Observe for HostView<'_> {
    fn clean(&self) -> Result<Tensor, TchError> {
        let mut views = self.zeros(&[self.samples.len()])?;
        for (samples, out) in self.samples.iter().zip(torch::slice_mut(&mut views)?.chunks_exact_mut(self.view.len())) {
            self.view.observe(samples, out);
        }
        Ok(views)
    }

    fn observe(&mut self, frames: &[usize], delta: &Tensor) -> Result<Tensor, TchError> {
        let batch = delta.size()[0] as usize;
        let mut views = self.zeros(&[batch, frames.len()])?;
        if frames.is_empty() {
            return Ok(views);
        }
        self.tapes.resize_with(batch.max(self.tapes.len()), || vec![Tape::default(); self.samples.len()]);
        let (len, delta) = (self.view.len(), delta.f_contiguous()?);
        let pairs = torch::slice(&delta)?.chunks_exact(len).zip(torch::slice_mut(&mut views)?.chunks_exact_mut(len));
        for (i, (delta, out)) in pairs.enumerate() {
            let (b, frame) = (i / frames.len(), frames[i % frames.len()]);
            let tape = &mut self.tapes[b][frame];
            self.view.observe_perturbed(&self.samples[frame], Some(delta), tape, &mut self.scratch, out);
        }
        Ok(views)
    }

    fn backward(&mut self, frames: &[usize], grad_view: &Tensor) -> Result<Tensor, TchError> {
        let mut gradient = self.zeros(&[grad_view.size()[0] as usize, frames.len()])?;
        if frames.is_empty() {
            return Ok(gradient);
        }
        let (len, grad_view) = (self.view.len(), grad_view.f_contiguous()?);
        let out = torch::slice_mut(&mut gradient)?.chunks_exact_mut(len);
        for (i, (grad, out)) in torch::slice(&grad_view)?.chunks_exact(len).zip(out).enumerate() {
            let (b, frame) = (i / frames.len(), frames[i % frames.len()]);
            self.view.backward(&self.tapes[b][frame], &mut self.scratch, grad, out);
        }
        Ok(gradient)
    }
}
