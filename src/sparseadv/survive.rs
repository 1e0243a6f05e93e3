// SPDX-License-Identifier: MPL-2.0

//! The window behind real codecs: what the attack sees where it has to survive them.

use crate::attack::{Error, Scene};
use crate::element::codec::Codec;
use crate::element::planes::FrameMut;
use crate::element::stream::Stream;
use crate::video::StreamScene;
use crate::video::view::Samples;

/// Frames before a window that go through the codec with it. An encoder predicts from what came before: of the labels
/// that windows of whole x264 files have, encoding each by itself gave 56 %, with 8 frames before it all of nine.
pub const CONTEXT: usize = 8;

pub struct SurvivingScene<'a> {
    pub inner: StreamScene<'a>,
    pub stream: &'a Stream,
    pub codecs: &'a [Codec],
    /// All stream frames of the window, clean, and the places among them of those the model sees.
    pub buffers: &'a [gst::Buffer],
    pub places: &'a [usize],
    /// The last frames before the window, as they left.
    pub context: &'a [gst::Buffer],
    /// Whether the window's attack is of no use any more.
    pub canceled: &'a dyn Fn() -> bool,
    /// The perturbation last rendered.
    pub perturbed: Vec<(usize, Vec<f32>)>,
}

impl SurvivingScene<'_> {
    fn transmit(&self, codec: &Codec) -> Result<Vec<gst::Buffer>, Error> {
        let mut frames = self.buffers.to_vec();
        for (k, delta) in &self.perturbed {
            let buffer = frames[self.places[*k]].make_mut();
            let frame = FrameMut::write(buffer, &self.stream.info);
            let mut frame = frame.map_err(Error::Channel)?;
            self.stream.view.render(&mut frame, delta);
        }
        let all: Vec<gst::Buffer> = self.context.iter().cloned().chain(frames).collect();
        let received = codec.run_unless(all.into_iter(), self.canceled);
        let mut received = received.map_err(Error::Channel)?.ok_or(Error::Canceled)?;
        received.drain(..self.context.len());
        Ok(received)
    }
}

impl Scene for SurvivingScene<'_> {
    fn frames(&self) -> usize {
        self.inner.frames()
    }

    fn real_frames(&self) -> usize {
        self.inner.real_frames()
    }

    fn frame_len(&self) -> usize {
        self.inner.frame_len()
    }

    fn channels(&self) -> usize {
        self.codecs.len()
    }

    fn received(&mut self, channel: usize, view: &mut [f32]) -> Result<(), Error> {
        let frames = self.transmit(&self.codecs[channel])?;
        let seen = self.places.iter().map(|k| self.stream.sample(&frames[*k]));
        let samples: Result<Vec<Samples>, _> = seen.collect();
        let samples = samples.map_err(Error::Channel)?;
        view.copy_from_slice(&self.stream.view.observe_window(&samples, self.frames()));
        Ok(())
    }

    fn clean(&self, frame: usize, view: &mut [f32]) {
        self.inner.clean(frame, view);
    }

    fn perturbed(&mut self, frames: &[usize], delta: &[f32], views: &mut [f32]) {
        let deltas = delta.chunks_exact(self.frame_len());
        self.perturbed = frames.iter().copied().zip(deltas.map(<[f32]>::to_vec)).collect();
        self.inner.perturbed(frames, delta, views);
    }

    fn backward(&mut self, frames: &[usize], grad_views: &[f32], grad_delta: &mut [f32]) {
        self.inner.backward(frames, grad_views, grad_delta);
    }
}
