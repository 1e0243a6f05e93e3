// SPDX-License-Identifier: MPL-2.0

//! Where in a stream the front window lies: the first one not decided on.

use std::collections::VecDeque;
use std::ops::Range;

use super::{Tail, Windowing};

/// Frames are numbered from the stream's start.
#[derive(Debug)]
pub(super) struct Cursor {
    windowing: Windowing,
    tail: Tail,
    /// Where windows begin, and which one from there on the front one is.
    origin: u64,
    nth: u64,
    /// The barriers behind `origin`, each as the number of the frame behind it.
    barriers: VecDeque<u64>,
}

impl Cursor {
    pub fn new(windowing: Windowing, tail: Tail) -> Self {
        Self { windowing, tail, origin: 0, nth: 0, barriers: VecDeque::new() }
    }

    pub fn windowing(&self) -> Windowing {
        self.windowing
    }

    /// The frames of the front window, whether they are here or still to come. Nothing where no frame before the next
    /// barrier is in a window.
    pub fn window(&self) -> Option<Range<u64>> {
        self.ahead(0)
    }

    /// The frames of a window so many behind the front one. Nothing where there is none before the next barrier.
    pub fn ahead(&self, windows: u64) -> Option<Range<u64>> {
        let end = self.barriers.front().map(|end| end.saturating_sub(self.origin));
        let window = self.windowing.window(self.nth + windows, end)?;
        let short = window.end - window.start < self.windowing.span as u64;
        let wanted = !short || self.tail == Tail::Pad;
        wanted.then_some(self.origin + window.start..self.origin + window.end)
    }

    /// No window reaches across the place before this frame.
    pub fn bar(&mut self, frame: u64) {
        self.barriers.push_back(frame);
        self.settle();
    }

    /// The front window is decided on.
    pub fn advance(&mut self) {
        self.nth += 1;
        self.settle();
    }

    /// Windows begin anew with this frame.
    pub fn begin(&mut self, frame: u64) {
        self.origin = frame;
        self.nth = 0;
        self.barriers.retain(|barrier| *barrier > frame);
        self.settle();
    }

    /// Windows begin anew behind a barrier once all before it are decided.
    fn settle(&mut self) {
        while self.window().is_none() {
            let Some(barrier) = self.barriers.pop_front() else { return };
            self.origin = barrier;
            self.nth = 0;
        }
    }
}
