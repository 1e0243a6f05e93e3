// SPDX-License-Identifier: MPL-2.0

//! Windows of a stream: which frames form one, and what came of it. Knows nothing of pads and threads.

use std::ops::Range;

mod action;
mod cursor;
mod jobs;
mod open;
pub mod pace;
pub mod report;
pub mod scene;
pub mod schedule;
pub mod watch;

/// When frames get what was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstSparseAdvMode")]
pub enum Mode {
    /// Each window waits until its own attack is over.
    #[default]
    #[enum_value(name = "Frames wait until their window is attacked", nick = "window")]
    Window,
    /// No frame waits.
    #[enum_value(name = "Frames leave at once with what was found on frames before them", nick = "causal")]
    Causal,
    /// One of both, by what the model can keep up with.
    #[enum_value(
        name = "Causal where the stream is live and the model too slow for it, otherwise window",
        nick = "auto"
    )]
    Auto,
}

/// What becomes of frames at the end of a stream that fill no window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstSparseAdvTail")]
pub enum Tail {
    #[default]
    #[enum_value(name = "Attack it, the last frame repeated for the model's eyes only", nick = "pad")]
    Pad,
    #[enum_value(name = "Leave it clean", nick = "passthrough")]
    Passthrough,
}

/// Sizes of windows in frames of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windowing {
    /// T, the frames the model sees.
    pub frames: usize,
    /// Stream frames from one of them to the next.
    pub step: usize,
    /// Stream frames from the first to the last, both counted.
    pub span: usize,
    /// Stream frames from a window to the next.
    pub stride: usize,
}

impl Windowing {
    /// Each frame by itself.
    pub const FRAME_BY_FRAME: Self = Self { frames: 1, step: 1, span: 1, stride: 1 };

    /// Windows of `frames` frames, `step` apart. One follows on the other, unless a stride says where the next begins.
    pub fn new(frames: usize, step: usize, stride: Option<usize>) -> Self {
        let span = frames.saturating_sub(1) * step + 1;
        Self { frames, step, span, stride: stride.unwrap_or(frames * step) }
    }

    /// Whether a frame can be in several windows.
    pub fn overlaps(&self) -> bool {
        self.stride < self.span
    }

    /// Window `n`, as the stream frames it reaches over. Frames and windows count from where windows begin: the start of
    /// the stream, or a barrier. `end` is how many frames there are up to the next barrier, where it is known. The frames
    /// before it that are in no full window make up one short window.
    pub fn window(&self, n: u64, end: Option<u64>) -> Option<Range<u64>> {
        let (stride, span) = (self.stride as u64, self.span as u64);
        let full = n * stride..n * stride + span;
        let Some(end) = end else { return Some(full) };
        if full.end <= end {
            return Some(full);
        }
        // The first frame that no earlier window holds.
        let fresh = if n == 0 { 0 } else { full.start.max(full.start - stride + span) };
        let earlier_is_full = n == 0 || full.end - stride <= end;
        (earlier_is_full && fresh < end).then_some(full.start..end)
    }

    /// Where in a window of `frames` stream frames those lie that the model sees.
    pub fn offsets(&self, frames: usize) -> impl Iterator<Item = usize> + use<> {
        (0..frames).step_by(self.step).take(self.frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(frames: usize, step: usize, stride: usize, end: u64) -> Vec<Range<u64>> {
        let windowing = Windowing { frames, step, span: (frames - 1) * step + 1, stride };
        (0..).map_while(|n| windowing.window(n, Some(end))).collect()
    }

    #[test]
    fn windows_are_a_stride_apart_and_the_rest_is_one_short_window() {
        assert_eq!(windows(4, 1, 4, 10), [0..4, 4..8, 8..10]);
        assert_eq!(windows(4, 1, 4, 8), [0..4, 4..8]);
        assert_eq!(windows(4, 1, 4, 3), [0..3; 1]);
        // Overlapping: no frame of the last three is in no window.
        assert_eq!(windows(4, 1, 1, 6), [0..4, 1..5, 2..6]);
        assert_eq!(windows(4, 1, 2, 7), [0..4, 2..6, 4..7]);
        // Frames between windows are in none.
        assert_eq!(windows(4, 1, 6, 9), [0..4, 6..9]);
        assert_eq!(windows(4, 1, 6, 6), [0..4; 1]);
        assert_eq!(windows(2, 3, 6, 12), [0..4, 6..10]);
        assert_eq!(windows(2, 3, 6, 0), []);
    }

    #[test]
    fn the_model_sees_every_step_th_frame_of_a_window() {
        let windowing = Windowing { frames: 3, step: 2, span: 5, stride: 6 };
        assert_eq!(windowing.offsets(5).collect::<Vec<_>>(), [0, 2, 4]);
        assert_eq!(windowing.offsets(4).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(windowing.offsets(9).collect::<Vec<_>>(), [0, 2, 4]);
    }
}
