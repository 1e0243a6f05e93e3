// SPDX-License-Identifier: MPL-2.0

//! Windows of a stream: which frames form one, and what came of it. Knows nothing of pads and threads.

pub mod report;

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
    /// Whether a frame can be in several windows.
    pub fn overlaps(&self) -> bool {
        self.stride < self.span
    }
}

/// Places of the model's frames among `frames` stream frames at the front.
pub fn model_frames(windowing: Windowing, frames: usize) -> impl Iterator<Item = usize> {
    (0..frames).step_by(windowing.step).take(windowing.frames)
}
