// SPDX-License-Identifier: MPL-2.0

//! What the element's threads share.

use std::collections::VecDeque;
use std::sync::Arc;

use super::queue::Queue;
use super::stats::Stats;
use super::window::{Job, OpenWindow};
use crate::attack::Goal;
use crate::element::stream::Stream;
use crate::provenance::Provenance;
use crate::video::view::Samples;
use crate::window::Windowing;

/// What the threads share. `epoch` names the state of the queue's front: a result that was computed for an older one is
/// void.
pub struct State {
    pub flow: Result<gst::FlowSuccess, gst::FlowError>,
    /// The worker shall go on.
    pub working: bool,
    pub queue: Queue,
    /// Frames are on their way from the waiting to the ready part, outside the lock.
    pub releasing: bool,
    /// The source pad's task is pushing.
    pub pushing: bool,
    /// Downstream is being told of caps, or did not take the last ones. It must not be asked what it would allocate for
    /// them: x264enc crashes.
    pub caps_under_way: bool,
    pub caps_refused: bool,
    /// Downstream wants no more frames before a new segment or stream.
    pub ended: bool,
    /// Upstream has been told that nothing is linked behind.
    pub told_not_linked: bool,
    /// Linked again: the next frame does not follow on the last.
    pub relinked: bool,
    /// The attack failed for good: frames pass, and upstream is told.
    pub failed: bool,
    /// A window without a gradient was met, and that was said.
    pub zero_gradient: bool,
    /// The format of the frames at the front of the queue, and of those that arrive.
    pub stream: Option<Arc<Stream>>,
    pub incoming: Option<Arc<Stream>>,
    /// Frames between windows that still have to pass.
    pub skip: usize,
    pub next_window: u64,
    pub next_frame: u64,
    pub live: Option<bool>,
    pub windowing: Windowing,
    /// The window under attack.
    pub job: Option<Job>,
    /// Overlapping windows that have not left whole, and what the model sees of the frames that left.
    pub open: VecDeque<OpenWindow>,
    pub released: VecDeque<(u64, Samples)>,
    /// The last frames that left, where a codec is to be survived: an encoder remembers them.
    pub context: VecDeque<gst::Buffer>,
    pub stats: Stats,
    /// What the attack is after, by the properties; they cannot change while the element runs.
    pub goal: Goal,
    /// What this stream's reports are the results of.
    pub provenance: Arc<Provenance>,
    /// The latency last told, and the longest attack in a live pipeline without a budget.
    pub told_latency: Option<gst::ClockTime>,
    pub slowest: gst::ClockTime,
}

impl State {
    pub fn new() -> Self {
        Self {
            flow: Err(gst::FlowError::Flushing),
            working: false,
            queue: Queue::default(),
            releasing: false,
            pushing: false,
            caps_under_way: false,
            caps_refused: false,
            ended: false,
            told_not_linked: false,
            relinked: false,
            failed: false,
            zero_gradient: false,
            stream: None,
            incoming: None,
            skip: 0,
            next_window: 0,
            next_frame: 0,
            live: None,
            windowing: Windowing { frames: 1, step: 1, span: 1, stride: 1 },
            job: None,
            open: VecDeque::new(),
            released: VecDeque::new(),
            context: VecDeque::new(),
            stats: Stats::default(),
            goal: Goal::new(None, None),
            provenance: Arc::default(),
            told_latency: None,
            slowest: gst::ClockTime::ZERO,
        }
    }
}
