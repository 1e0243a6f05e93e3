// SPDX-License-Identifier: MPL-2.0

//! The window behind real codecs, where the attack has to survive them.

use std::sync::Arc;

use super::codec::{self, Codec};
use super::planes::FrameMut;
use super::stream::Stream;
use crate::attack::{Error, Perturbation};
use crate::target::Transport;
use crate::video::View;
use crate::video::view::Samples;

/// Frames before a window that go through the codec with it. An encoder predicts from frames it has coded before. A
/// window that is encoded by itself often gets another label than the same window in a whole file; behind a few frames
/// it rarely does.
pub const CONTEXT: usize = 8;

/// The bins of a `survive` property, made once for all windows of a stream.
#[derive(Default)]
pub struct Codecs {
    made: Option<(String, gst_video::VideoInfo, Arc<Vec<Codec>>)>,
}

impl Codecs {
    /// Those of a property, for the frames of a stream.
    pub fn of(&mut self, survive: &str, stream: &Stream) -> Result<Arc<Vec<Codec>>, Error> {
        if let Some((of, info, codecs)) = &self.made
            && of == survive
            && *info == stream.info
            && codecs.iter().all(Codec::is_usable)
        {
            return Ok(codecs.clone());
        }
        // The old ones go first: encoders hold threads and memory.
        self.made = None;
        let codecs: Result<Vec<Codec>, String> =
            codec::split(survive).map(|bin| Codec::new(bin, &stream.info, stream.frame_duration)).collect();
        let codecs = Arc::new(codecs.map_err(Error::Transport)?);
        self.made = Some((survive.into(), stream.info.clone(), codecs.clone()));
        Ok(codecs)
    }
}

/// One window's way through one codec.
pub struct Survival<'a> {
    pub stream: &'a Stream,
    pub codec: &'a Codec,
    /// All stream frames of the window, clean, and which of them the model sees.
    pub buffers: &'a [gst::Buffer],
    pub offsets: &'a [usize],
    /// The last frames before the window, as they left.
    pub context: &'a [gst::Buffer],
    /// Whether the window's attack is of no use any more.
    pub canceled: &'a dyn Fn() -> bool,
}

impl Transport for Survival<'_> {
    fn transmit(&self, perturbation: &Perturbation, views: &[&View]) -> Result<Vec<Vec<Samples>>, Error> {
        let mut frames = self.buffers.to_vec();
        for (k, delta) in perturbation {
            let buffer = frames[self.offsets[*k]].make_mut();
            let mut frame = FrameMut::write(buffer, &self.stream.info).map_err(Error::Transport)?;
            self.stream.view.render(&mut frame, delta);
        }
        let all: Vec<gst::Buffer> = self.context.iter().cloned().chain(frames).collect();
        let received = self.codec.run_unless(all.into_iter(), self.canceled);
        let mut received = received.map_err(Error::Transport)?.ok_or(Error::Canceled)?;
        received.drain(..self.context.len());
        let seen = |view: &View| self.offsets.iter().map(|k| self.stream.sample_by(view, &received[*k])).collect();
        views.iter().map(|view| seen(view)).collect::<Result<_, _>>().map_err(Error::Transport)
    }
}
