// SPDX-License-Identifier: MPL-2.0

//! Frames and events between the sink pad and the source pad, in order: those not decided on yet, and those ready to
//! leave.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::element::pads::begins;

use crate::element::meta::FrameInfo;
use crate::element::stream::Stream;

/// A frame whose window is not decided yet.
pub struct Frame {
    pub buffer: gst::Buffer,
    /// Its number in the stream.
    pub index: u64,
    pub arrived: Instant,
    pub running_time: Option<gst::ClockTime>,
    /// It has been in a window.
    pub seen: bool,
    /// The perturbation decided on so far.
    pub delta: Option<Arc<Vec<f32>>>,
    pub info: Option<FrameInfo>,
}

pub enum Item {
    Frame(Frame),
    /// A serialized event; `true` where no window may reach across it.
    Event(gst::Event, bool),
    /// A caps event and what follows from it.
    Caps(gst::Event, Arc<Stream>),
    /// No window may reach across this place: the stream is discontinuous.
    Drain,
}

pub enum Output {
    Frame(gst::Buffer),
    Event(gst::Event),
}

/// What is at the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Front {
    /// Frames up to the first barrier or the end, at most as many as were asked for.
    pub frames: usize,
    /// How many of them have been in no window yet.
    pub fresh: usize,
    /// Whether a barrier ended the count.
    pub barrier: bool,
    /// When the last of them arrived.
    pub complete: Option<Instant>,
}

#[derive(Default)]
pub struct Queue {
    waiting: VecDeque<Item>,
    waiting_frames: usize,
    ready: VecDeque<Output>,
    ready_frames: usize,
}

impl Queue {
    pub fn push(&mut self, item: Item) {
        self.waiting_frames += usize::from(matches!(item, Item::Frame(_)));
        self.waiting.push_back(item);
    }

    /// Frames not decided on yet.
    pub fn waiting_frames(&self) -> usize {
        self.waiting_frames
    }

    pub fn ready_frames(&self) -> usize {
        self.ready_frames
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.ready.is_empty()
    }

    /// Takes the first item if it is not a frame.
    pub fn pop_event(&mut self) -> Option<Item> {
        match self.waiting.front() {
            Some(Item::Frame(_)) | None => None,
            Some(_) => self.waiting.pop_front(),
        }
    }

    /// Looks at the first `at_most` frames.
    pub fn front(&self, at_most: usize) -> Front {
        let mut front = Front { frames: 0, fresh: 0, barrier: false, complete: None };
        for item in &self.waiting {
            if front.frames == at_most {
                break;
            }
            match item {
                Item::Frame(frame) => {
                    front.frames += 1;
                    front.fresh += usize::from(!frame.seen);
                    front.complete = Some(frame.arrived);
                }
                Item::Event(_, false) => {}
                Item::Event(_, true) | Item::Caps(..) | Item::Drain => {
                    front.barrier = true;
                    break;
                }
            }
        }
        front
    }

    pub fn frames_mut(&mut self) -> impl Iterator<Item = &mut Frame> {
        self.waiting.iter_mut().filter_map(|item| match item {
            Item::Frame(frame) => Some(frame),
            _ => None,
        })
    }

    /// Takes the first `frames` frames and the events before and between them.
    pub fn take(&mut self, frames: usize) -> Vec<Item> {
        let mut taken = Vec::new();
        let mut left = frames;
        while left > 0 {
            match self.waiting.pop_front() {
                Some(item) => {
                    if matches!(item, Item::Frame(_)) {
                        left -= 1;
                        self.waiting_frames -= 1;
                    }
                    taken.push(item);
                }
                None => break,
            }
        }
        taken
    }

    pub fn push_ready(&mut self, output: Output) {
        self.ready_frames += usize::from(matches!(output, Output::Frame(_)));
        self.ready.push_back(output);
    }

    pub fn pop_ready(&mut self) -> Option<Output> {
        let output = self.ready.pop_front()?;
        self.ready_frames -= usize::from(matches!(output, Output::Frame(_)));
        Some(output)
    }

    pub fn holds_eos(&self) -> bool {
        let eos = |e: &gst::Event| e.type_() == gst::EventType::Eos;
        self.waiting.iter().any(|i| matches!(i, Item::Event(e, _) if eos(e)))
            || self.ready.iter().any(|o| matches!(o, Output::Event(e) if eos(e)))
    }

    /// Whether caps are on their way downstream.
    pub fn holds_caps(&self) -> bool {
        let caps = |e: &gst::Event| e.type_() == gst::EventType::Caps;
        self.waiting.iter().any(|i| matches!(i, Item::Caps(..)))
            || self.ready.iter().any(|o| matches!(o, Output::Event(e) if caps(e)))
    }

    /// Drops the frames before the next segment or stream. Returns whether one begins.
    pub fn drop_frames(&mut self) -> bool {
        let mut begun = false;
        self.ready.retain(|output| match output {
            Output::Frame(_) => begun,
            Output::Event(event) => {
                begun |= begins(event);
                true
            }
        });
        self.waiting.retain(|item| match item {
            Item::Frame(_) | Item::Drain => begun,
            Item::Event(event, _) => {
                begun |= begins(event);
                true
            }
            Item::Caps(..) => true,
        });
        let frame = |o: &&Output| matches!(o, Output::Frame(_));
        self.ready_frames = self.ready.iter().filter(frame).count();
        let frame = |i: &&Item| matches!(i, Item::Frame(_));
        self.waiting_frames = self.waiting.iter().filter(frame).count();
        begun
    }

    /// Drops everything. Returns the sticky events that must outlive a flush, and the stream that the last caps event
    /// began.
    pub fn flush(&mut self) -> (Vec<gst::Event>, Option<Arc<Stream>>) {
        let mut stream = None;
        let mut events = Vec::new();
        for output in self.ready.drain(..) {
            if let Output::Event(event) = output {
                events.push(event);
            }
        }
        for item in self.waiting.drain(..) {
            match item {
                Item::Event(event, _) => events.push(event),
                Item::Caps(event, caps) => {
                    events.push(event);
                    stream = Some(caps);
                }
                Item::Frame(_) | Item::Drain => {}
            }
        }
        self.waiting_frames = 0;
        self.ready_frames = 0;
        events.retain(|e| e.is_sticky() && !matches!(e.type_(), gst::EventType::Eos | gst::EventType::Segment));
        (events, stream)
    }
}
