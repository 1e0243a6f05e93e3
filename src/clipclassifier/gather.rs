// SPDX-License-Identifier: MPL-2.0

//! Gathers frames to windows.

use std::collections::VecDeque;

use crate::tally::Labels;
use crate::video::view::Samples;
use crate::window::Windowing;

/// What is kept of a frame.
#[derive(Clone, Debug)]
pub struct Seen {
    pub index: u64,
    pub pts: Option<gst::ClockTime>,
    pub running_time: Option<gst::ClockTime>,
    pub samples: Samples,
    /// What an upstream sparseadv says of the last window that the frame was in, and its place there.
    pub reference: Option<(usize, Labels)>,
}

#[derive(Debug, Default)]
pub struct Gather {
    frames: VecDeque<Seen>,
    /// What is left of the offset.
    before: usize,
    /// Frames to pass before the next window begins.
    skip: usize,
    /// How many of `frames` were in a window already.
    used: usize,
}

impl Gather {
    /// Windows begin `offset` frames later.
    pub fn new(offset: usize) -> Self {
        Self { before: offset, ..Self::default() }
    }

    /// Adds a frame; returns the window it completes, if any: the frames the model sees.
    pub fn push(&mut self, frame: Seen, windowing: Windowing) -> Option<Vec<Seen>> {
        if self.before > 0 {
            self.before -= 1;
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.frames.push_back(frame);
        if self.frames.len() < windowing.span {
            return None;
        }
        let window = self.window(windowing);
        let gone = windowing.stride.min(self.frames.len());
        self.frames.drain(..gone);
        self.skip = windowing.stride - gone;
        self.used = self.frames.len();
        Some(window)
    }

    /// The frames at the end of a stream that fill no window, if some of them were in none; forgets all.
    pub fn rest(&mut self, windowing: Windowing) -> Option<Vec<Seen>> {
        let rest = (self.frames.len() > self.used).then(|| self.window(windowing));
        self.frames.clear();
        self.used = 0;
        self.skip = 0;
        rest
    }

    fn window(&self, windowing: Windowing) -> Vec<Seen> {
        let places = windowing.offsets(self.frames.len());
        places.map(|k| self.frames[k].clone()).collect()
    }
}
