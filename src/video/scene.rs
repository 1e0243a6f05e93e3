// SPDX-License-Identifier: MPL-2.0

//! A window of stream frames as the attack sees it.

use super::layout::Rows;
use super::observe::{Scratch, Tape};
use super::view::{Samples, View};
use crate::attack::Scene;

/// The frames of a window, reduced to what the model sees of them.
pub struct StreamScene<'a> {
    view: &'a View,
    samples: Vec<Samples>,
    tapes: Vec<Tape>,
    scratch: Scratch,
    frames: usize,
    second: Option<Box<StreamScene<'a>>>,
}

impl<'a> StreamScene<'a> {
    pub fn new(view: &'a View) -> Self {
        Self { view, samples: Vec::new(), tapes: Vec::new(), scratch: Scratch::default(), frames: 0, second: None }
    }

    /// The same with a second reading of the same frames, in which a success has to hold too.
    pub fn with_second(view: &'a View, second: &'a View) -> Self {
        Self { second: Some(Box::new(Self::new(second))), ..Self::new(view) }
    }

    /// Adds a frame by its planes.
    pub fn push(&mut self, planes: &impl Rows) {
        self.samples.push(self.view.sample(planes));
        self.tapes.push(Tape::default());
        self.frames = self.frames.max(self.samples.len());
        if let Some(second) = &mut self.second {
            second.push(planes);
        }
    }

    /// Repeats the last frame until there are `frames`: the model's eyes need a whole window, the stream has no more.
    pub fn pad_to(&mut self, frames: usize) {
        self.frames = frames.max(self.samples.len());
        if let Some(second) = &mut self.second {
            second.pad_to(frames);
        }
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

    fn second_reading(&mut self) -> Option<&mut dyn Scene> {
        self.second.as_deref_mut().map(|s| s as &mut dyn Scene)
    }

    fn clean(&self, frame: usize, view: &mut [f32]) {
        let frame = frame.min(self.samples.len() - 1);
        self.view.observe(&self.samples[frame], view);
    }

    fn perturbed(&mut self, frames: &[usize], delta: &[f32], views: &mut [f32]) {
        // One after the other: a second thread would compete with libtorch's, which go on spinning for a while after
        // each pass.
        let len = self.view.len();
        let pairs = delta.chunks_exact(len).zip(views.chunks_exact_mut(len));
        for (frame, (delta, out)) in frames.iter().zip(pairs) {
            let (samples, tape) = (&self.samples[*frame], &mut self.tapes[*frame]);
            self.view.observe_perturbed(samples, Some(delta), tape, &mut self.scratch, out);
        }
    }

    fn backward(&mut self, frames: &[usize], grad_views: &[f32], grad_delta: &mut [f32]) {
        let len = self.view.len();
        let pairs = grad_views.chunks_exact(len).zip(grad_delta.chunks_exact_mut(len));
        for (frame, (grad, out)) in frames.iter().zip(pairs) {
            let tape = &self.tapes[*frame];
            self.view.backward(tape, &mut self.scratch, grad, out);
        }
    }
}
