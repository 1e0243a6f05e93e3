// SPDX-License-Identifier: MPL-2.0

//! A window of stream frames as the attack sees it.

use rayon::prelude::*;

use super::view::{Samples, Tape, View};
use crate::attack::Scene;

/// The frames of a window, reduced to what the model sees of them.
pub struct StreamScene<'a> {
    view: &'a View,
    samples: Vec<Samples>,
    tapes: Vec<Tape>,
    frames: usize,
}

impl<'a> StreamScene<'a> {
    pub fn new(view: &'a View) -> Self {
        Self {
            view,
            samples: Vec::new(),
            tapes: Vec::new(),
            frames: 0,
        }
    }

    /// Adds a frame, as [`View::sample`] read it.
    pub fn push(&mut self, samples: Samples) {
        self.samples.push(samples);
        self.tapes.push(Tape::default());
        self.frames = self.frames.max(self.samples.len());
    }

    /// Repeats the last frame until there are `frames`: the model's eyes need a whole window, the stream has no more.
    pub fn pad_to(&mut self, frames: usize) {
        self.frames = frames.max(self.samples.len());
    }
}

impl Scene for StreamScene<'_> {
    fn frames(&self) -> usize {
        self.frames
    }

    fn real_frames(&self) -> usize {
        self.samples.len()
    }

    fn frame_len(&self) -> usize {
        self.view.len()
    }

    fn clean(&self, frame: usize, view: &mut [f32]) {
        let frame = frame.min(self.samples.len() - 1);
        self.view.observe(&self.samples[frame], view);
    }

    fn perturbed(&mut self, frames: &[usize], delta: &[f32], views: &mut [f32]) {
        let (view, samples, len) = (self.view, &self.samples, self.view.len());
        let mut work = take(&mut self.tapes, frames);
        let deltas = delta.par_chunks_exact(len);
        work.par_iter_mut()
            .zip(frames)
            .zip(deltas.zip(views.par_chunks_exact_mut(len)))
            .for_each(|((tape, frame), (delta, out))| {
                view.observe_perturbed(&samples[*frame], Some(delta), tape, out);
            });
        put_back(&mut self.tapes, frames, work);
    }

    fn backward(&mut self, frames: &[usize], grad_views: &[f32], grad_delta: &mut [f32]) {
        let (view, len) = (self.view, self.view.len());
        let mut work = take(&mut self.tapes, frames);
        let grads = grad_views.par_chunks_exact(len);
        work.par_iter_mut()
            .zip(grads.zip(grad_delta.par_chunks_exact_mut(len)))
            .for_each(|(tape, (grad, out))| {
                out.fill(0.0);
                view.backward(tape, grad, out);
            });
        put_back(&mut self.tapes, frames, work);
    }
}

/// The tapes of some frames, which several threads can then write to.
fn take(tapes: &mut [Tape], frames: &[usize]) -> Vec<Tape> {
    frames
        .iter()
        .map(|k| std::mem::take(&mut tapes[*k]))
        .collect()
}

fn put_back(tapes: &mut [Tape], frames: &[usize], taken: Vec<Tape>) {
    for (k, tape) in frames.iter().zip(taken) {
        tapes[*k] = tape;
    }
}
