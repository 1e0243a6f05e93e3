// SPDX-License-Identifier: MPL-2.0

//! Windows that are decided on and have not left whole. One that overlaps the next is judged when it has, since its frames
//! may change until then.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::Windowing;
use super::action::Claim;

/// A window whose frames leave, or have left and are to be judged.
#[derive(Debug)]
pub(super) struct Open<R, S> {
    /// Its stream frames, by number.
    frames: Range<u64>,
    /// The last of them that the model sees.
    last: u64,
    report: R,
    judged: bool,
    /// What the model sees of those that left.
    samples: Vec<S>,
    /// Those that left are as they should be.
    whole: bool,
    has_left: bool,
}

impl<R, S> Open<R, S> {
    pub fn new(frames: Range<u64>, report: R, judged: bool, windowing: Windowing) -> Self {
        let last = offsets(&frames, windowing).last().unwrap_or(frames.start);
        Self { frames, last, report, judged, samples: Vec::new(), whole: true, has_left: false }
    }
}

/// The numbers of the frames that the model sees.
fn offsets(frames: &Range<u64>, windowing: Windowing) -> impl Iterator<Item = u64> + use<> {
    let start = frames.start;
    windowing.offsets((frames.end - start) as usize).map(move |offset| start + offset as u64)
}

/// In the order of the windows.
#[derive(Debug)]
pub(super) struct OpenWindows<R, S> {
    windows: VecDeque<Open<R, S>>,
    /// The frame given out and not told of yet.
    leaving: Option<u64>,
    /// The first one is being judged.
    judging: Option<Arc<()>>,
}

impl<R, S> Default for OpenWindows<R, S> {
    fn default() -> Self {
        Self { windows: VecDeque::new(), leaving: None, judging: None }
    }
}

impl<R, S: Clone> OpenWindows<R, S> {
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty() && self.judging.is_none()
    }

    pub fn push(&mut self, window: Open<R, S>) {
        self.windows.push_back(window);
    }

    /// A frame is given out. Returns whether a window is to be judged by it.
    pub fn give(&mut self, number: u64, windowing: Windowing) -> bool {
        self.leaving = Some(number);
        let mut judged = self.windows.iter().filter(|window| window.judged);
        judged.any(|window| offsets(&window.frames, windowing).any(|seen| seen == number))
    }

    /// It has left.
    pub fn left(&mut self, sample: Option<S>, whole: bool, windowing: Windowing) {
        let Some(number) = self.leaving.take() else { return };
        for window in self.windows.iter_mut().filter(|window| window.frames.contains(&number)) {
            window.whole &= whole;
            if window.judged && offsets(&window.frames, windowing).any(|seen| seen == number) {
                window.samples.extend(sample.clone());
            }
            window.has_left |= number >= window.last;
        }
    }

    /// Takes the next window that has left, if it is to be judged.
    pub fn judge(&mut self) -> Option<(Claim, R, Vec<S>)> {
        let window = self.next(true)?;
        let token = Arc::new(());
        let claim = Claim::on(&token);
        self.judging = Some(token);
        Some((claim, window.report, window.samples))
    }

    /// Takes the next window that has left, if it is not to be judged.
    pub fn closed(&mut self) -> Option<(R, bool)> {
        let window = self.next(false)?;
        Some((window.report, window.whole))
    }

    fn next(&mut self, judged: bool) -> Option<Open<R, S>> {
        let first = self.windows.front().filter(|_| self.judging.is_none())?;
        let wanted = first.has_left && first.judged == judged;
        if wanted { self.windows.pop_front() } else { None }
    }

    /// Nobody judges any more.
    pub fn give_up(&mut self) {
        self.judging = None;
        self.windows.iter_mut().for_each(|window| window.judged = false);
    }

    /// The judgment is done and told. Returns whether anybody wanted it.
    pub fn judged(&mut self, claim: &Claim) -> bool {
        let wanted = !claim.is_void();
        if wanted {
            self.judging = None;
        }
        wanted
    }
}
