// SPDX-License-Identifier: MPL-2.0

//! A window of stream frames as one reader sees it, in tensors: by the row kernels on the host, by tensor operations
//! elsewhere.

use std::cell::RefCell;

use tch::{Device, Kind, TchError, Tensor};

use super::observe::{Scratch, Tape};
use super::view::{Samples, View};
use crate::{threads, torch};

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

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// By the row kernels, a frame at a time on each of libtorch's threads.
pub struct HostView<'a> {
    view: &'a View,
    samples: Vec<Samples>,
    /// Of each perturbation of a batch, for each frame.
    tapes: Vec<Vec<Tape>>,
}

impl<'a> HostView<'a> {
    pub fn new(view: &'a View, samples: Vec<Samples>) -> Self {
        Self { view, samples, tapes: Vec::new() }
    }

    /// Room for views, to be filled.
    fn room(&self, lead: &[usize]) -> Result<Tensor, TchError> {
        let [h, w] = self.view.size();
        let shape: Vec<i64> = lead.iter().chain(&[3, h, w]).map(|n| *n as i64).collect();
        Tensor::f_empty(shape, (Kind::Float, Device::Cpu))
    }
}

impl Observe for HostView<'_> {
    fn clean(&self) -> Result<Tensor, TchError> {
        let mut views = self.room(&[self.samples.len()])?;
        let out = torch::slice_mut(&mut views)?.chunks_exact_mut(self.view.len());
        threads::each(self.samples.iter().zip(out), |(samples, out)| self.view.observe(samples, out));
        Ok(views)
    }

    fn observe(&mut self, frames: &[usize], delta: &Tensor) -> Result<Tensor, TchError> {
        let batch = delta.size()[0] as usize;
        let mut views = self.room(&[batch, frames.len()])?;
        self.tapes.resize_with(batch.max(self.tapes.len()), || vec![Tape::default(); self.samples.len()]);
        let mut tapes = Vec::new();
        for of_batch in self.tapes.iter_mut().take(batch) {
            let mut of_batch: Vec<Option<&mut Tape>> = of_batch.iter_mut().map(Some).collect();
            tapes.extend(frames.iter().filter_map(|frame| Some((&self.samples[*frame], of_batch[*frame].take()?))));
        }
        let (len, delta) = (self.view.len(), delta.f_contiguous()?);
        let pairs = torch::slice(&delta)?.chunks_exact(len).zip(torch::slice_mut(&mut views)?.chunks_exact_mut(len));
        threads::each(tapes.into_iter().zip(pairs), |((samples, tape), (delta, out))| {
            SCRATCH.with_borrow_mut(|scratch| self.view.observe_perturbed(samples, Some(delta), tape, scratch, out));
        });
        Ok(views)
    }

    fn backward(&mut self, frames: &[usize], grad_view: &Tensor) -> Result<Tensor, TchError> {
        let mut gradient = self.room(&[grad_view.size()[0] as usize, frames.len()])?;
        let tapes = self.tapes.iter().flat_map(|tapes| frames.iter().map(|frame| &tapes[*frame]));
        let (len, grad_view) = (self.view.len(), grad_view.f_contiguous()?);
        let out = torch::slice_mut(&mut gradient)?.chunks_exact_mut(len);
        let pairs = torch::slice(&grad_view)?.chunks_exact(len).zip(out);
        threads::each(tapes.zip(pairs), |(tape, (grad, out))| {
            SCRATCH.with_borrow_mut(|scratch| self.view.backward(tape, scratch, grad, out));
        });
        Ok(gradient)
    }
}
