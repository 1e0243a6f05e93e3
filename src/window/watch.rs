// SPDX-License-Identifier: MPL-2.0

//! Windows of a stream that waits for nobody: frames are noted as they leave, and a window that is whole is there to be
//! judged.

use std::collections::VecDeque;

use super::Windowing;

/// A window whose frames have left, by its number, that of its first frame, and what was noted of those that a model sees.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched<S> {
    pub window: u64,
    pub first_frame: u64,
    pub seen: Vec<S>,
}

/// What is noted of a frame is `S`.
#[derive(Debug)]
pub struct Watch<S> {
    windowing: Windowing,
    /// Windows that wait to be judged at the most.
    most: usize,
    /// The last frames, and how many there were since windows last began anew.
    kept: VecDeque<S>,
    since: usize,
    /// How often windows began anew or another scene did, and the frames of the scene so far.
    scene: u64,
    of_scene: usize,
    /// Frames and windows so far.
    frames: u64,
    windows: u64,
    ready: VecDeque<Watched<S>>,
    judging: bool,
}

impl<S: Clone> Watch<S> {
    pub fn new(windowing: Windowing, most: usize) -> Self {
        Self {
            windowing,
            most,
            kept: VecDeque::new(),
            since: 0,
            scene: 0,
            of_scene: 0,
            frames: 0,
            windows: 0,
            ready: VecDeque::new(),
            judging: false,
        }
    }

    /// A frame has left. Returns the number of a window that finds no place to wait in, of which nothing is kept.
    pub fn note(&mut self, seen: S) -> Option<u64> {
        let Windowing { span, stride, .. } = self.windowing;
        self.kept.push_back(seen);
        self.kept.drain(..self.kept.len().saturating_sub(span));
        self.since += 1;
        self.of_scene += 1;
        self.frames += 1;
        if self.since < span || !(self.since - span).is_multiple_of(stride.max(1)) {
            return None;
        }
        let window = self.windows;
        self.windows += 1;
        if self.is_full() {
            return Some(window);
        }
        let seen = self.windowing.offsets(span).filter_map(|place| self.kept.get(place).cloned()).collect();
        self.ready.push_back(Watched { window, first_frame: self.frames - span as u64, seen });
        None
    }

    /// The last frame, if the next one goes on from it.
    pub fn last(&self) -> Option<&S> {
        self.kept.back()
    }

    /// The number of frames so far, and of the scene.
    pub fn position(&self) -> (u64, u64) {
        (self.frames, self.scene)
    }

    /// The last frames, as many as a window spans. Nothing before the scene has as many.
    pub fn newest(&self) -> Option<Vec<S>> {
        (self.of_scene >= self.windowing.span).then(|| self.kept.iter().cloned().collect())
    }

    /// Another scene begins with the next frame.
    pub fn cut(&mut self) {
        self.scene += 1;
        self.of_scene = 0;
    }

    /// No window reaches across this place.
    pub fn bar(&mut self) {
        self.kept.clear();
        self.since = 0;
        self.cut();
    }

    /// The next window to judge, until [`judged`](Self::judged) says that it is.
    pub fn take(&mut self) -> Option<Watched<S>> {
        if self.judging {
            return None;
        }
        let watched = self.ready.pop_front();
        self.judging = watched.is_some();
        watched
    }

    pub fn judged(&mut self) {
        self.judging = false;
    }

    /// Whether another window would be missed. A stream that is not live waits then.
    pub fn is_full(&self) -> bool {
        self.ready.len() >= self.most
    }

    /// Whether every window that was whole is judged or missed.
    pub fn is_done(&self) -> bool {
        self.ready.is_empty() && !self.judging
    }

    /// Nobody wants what waits.
    pub fn flush(&mut self) {
        self.bar();
        self.ready.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_those_of_the_stream() {
        let mut watch = Watch::new(Windowing::new(3, 2, Some(2)), 100);
        assert!((0..10u64).all(|frame| watch.note(frame).is_none()));
        let mut found = Vec::new();
        while let Some(watched) = watch.take() {
            assert_eq!(watched.first_frame, watched.seen[0]);
            found.push(watched.seen);
            assert!(watch.take().is_none(), "one at a time");
            watch.judged();
        }
        assert_eq!(found, [[0, 2, 4], [2, 4, 6], [4, 6, 8]]);
        assert!(watch.is_done());
    }

    #[test]
    fn the_newest_frames_are_of_one_scene() {
        let mut watch = Watch::new(Windowing::new(3, 1, None), 100);
        let mut newest = Vec::new();
        for frame in 0..9u64 {
            if frame == 5 {
                watch.cut();
            }
            let _ = watch.note(frame);
            newest.push(watch.newest().map(|frames| frames[0]));
        }
        assert_eq!(newest, [None, None, Some(0), Some(1), Some(2), None, None, Some(5), Some(6)]);
        assert_eq!(watch.position(), (9, 1));
        // Windows that are judged reach across a cut.
        assert_eq!(watch.ready.len(), 3);
    }

    #[test]
    fn none_reaches_across_a_bar() {
        let mut watch = Watch::new(Windowing::new(2, 1, None), 100);
        for frame in 0..7u64 {
            if frame == 3 {
                watch.bar();
            }
            assert_eq!(watch.note(frame), None);
        }
        let seen: Vec<_> = watch.ready.iter().map(|watched| watched.seen.clone()).collect();
        assert_eq!(seen, [[0, 1], [3, 4], [5, 6]]);
    }

    #[test]
    fn what_nobody_judges_in_time_is_told_of() {
        let mut watch = Watch::new(Windowing::new(1, 1, None), 2);
        let missed: Vec<u64> = (0..5u64).filter_map(|frame| watch.note(frame)).collect();
        assert!(watch.is_full());
        assert_eq!(missed, [2, 3, 4]);
        assert_eq!(watch.take().map(|watched| watched.window), Some(0));
        assert_eq!(watch.note(5), None);
        assert_eq!(watch.ready.back().map(|watched| (watched.window, watched.first_frame)), Some((5, 5)));
    }
}
