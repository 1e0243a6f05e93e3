// SPDX-License-Identifier: MPL-2.0

//! Gathers frames to windows.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::element::stream::Stream;
use crate::provenance::Provenance;
use crate::tally::Labels;
use crate::video::view::Samples;
use crate::window::Windowing;

/// What is kept of a frame.
#[derive(Clone, Debug)]
pub struct GatheredFrame {
    pub index: u64,
    pub pts: Option<gst::ClockTime>,
    pub running_time: Option<gst::ClockTime>,
    pub samples: Samples,
    /// What an upstream sparseadv says of the last window that the frame was in, and its place there.
    pub reference: Option<(usize, Labels)>,
}

/// The frames since a barrier: the start of the stream, a flush, or an event that no window reaches across.
#[derive(Debug)]
pub struct Gather {
    windowing: Windowing,
    /// Frames before the first window.
    offset: u64,
    /// Frames since the barrier.
    count: u64,
    /// The window that comes next, and those of its frames that have come.
    next: u64,
    frames: VecDeque<GatheredFrame>,
}

/// A window to be classified, in whatever thread.
pub struct Window {
    pub number: u64,
    /// Those that the model sees; at least one.
    pub frames: Vec<GatheredFrame>,
    pub stream: Arc<Stream>,
    pub from_the_start: bool,
    /// How often the stream was flushed before.
    pub flushes: u64,
    pub provenance: Arc<Provenance>,
}

impl Gather {
    pub fn new(windowing: Windowing, offset: u64) -> Self {
        Self { windowing, offset, count: 0, next: 0, frames: VecDeque::new() }
    }

    /// Adds a frame; returns the window it completes, if any: the frames the model sees.
    pub fn push(&mut self, frame: GatheredFrame) -> Option<Vec<GatheredFrame>> {
        self.count += 1;
        let end = self.count.saturating_sub(self.offset);
        let window = self.windowing.window(self.next, None)?;
        if end <= window.start {
            return None;
        }
        self.frames.push_back(frame);
        if end < window.end {
            return None;
        }
        let whole = self.seen_by_the_model();
        self.next += 1;
        self.frames.drain(..self.windowing.stride.min(self.frames.len()));
        Some(whole)
    }

    /// A barrier: all begins anew. Returns the frames before it that fill no window, if some of them were in none.
    pub fn end(&mut self) -> Option<Vec<GatheredFrame>> {
        let rest = self.windowing.window(self.next, Some(self.count.saturating_sub(self.offset)));
        let rest = rest.map(|_| self.seen_by_the_model());
        *self = Self::new(self.windowing, self.offset);
        rest
    }

    fn seen_by_the_model(&self) -> Vec<GatheredFrame> {
        self.windowing.offsets(self.frames.len()).map(|k| self.frames[k].clone()).collect()
    }
}
