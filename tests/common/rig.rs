// SPDX-License-Identifier: MPL-2.0

//! One element between two pads that the test holds. Unlike a harness it notes buffers and events in one list, in the
//! order in which they come out, and answers as a live source or a failing sink where a test wants one.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst_video::VideoInfo;

use super::models::ModelFile;

/// Something that came out.
#[derive(Clone, Debug)]
pub enum Out {
    Buffer(gst::Buffer),
    Event(gst::Event),
}

type Answer = dyn Fn(usize) -> Result<gst::FlowSuccess, gst::FlowError> + Send;

struct Record {
    out: Vec<Out>,
    times: Vec<Instant>,
    buffers: usize,
    answer: Box<Answer>,
}

type Shared = Arc<(Mutex<Record>, Condvar)>;

pub struct Rig {
    pub element: gst::Element,
    pub bus: gst::Bus,
    pub src: gst::Pad,
    sink: gst::Pad,
    shared: Shared,
}

impl Rig {
    /// The element with a model and other properties, not started yet.
    pub fn idle(model: &ModelFile, properties: &[(&str, &str)]) -> Self {
        Self::build(Some(model), properties, None)
    }

    /// The element, PLAYING.
    pub fn new(model: &ModelFile, properties: &[(&str, &str)]) -> Self {
        let rig = Self::build(Some(model), properties, None);
        rig.play();
        rig
    }

    /// The same behind a live source of this latency.
    pub fn live(model: &ModelFile, properties: &[(&str, &str)], latency: gst::ClockTime) -> Self {
        let rig = Self::build(Some(model), properties, Some(latency));
        rig.play();
        rig
    }

    pub fn build(model: Option<&ModelFile>, properties: &[(&str, &str)], live: Option<gst::ClockTime>) -> Self {
        super::init();
        let element = gst::ElementFactory::make("sparseadv").build();
        let element = element.expect("the element");
        if let Some(model) = model {
            element.set_property("model", model.location());
        }
        for (name, value) in properties {
            element.set_property_from_str(name, value);
        }
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let record =
            Record { out: Vec::new(), times: Vec::new(), buffers: 0, answer: Box::new(|_| Ok(gst::FlowSuccess::Ok)) };
        let shared: Shared = Arc::new((Mutex::new(record), Condvar::new()));
        let src = gst::Pad::builder(gst::PadDirection::Src)
            .name("src")
            .query_function(move |pad, parent, query| match query.view_mut() {
                gst::QueryViewMut::Latency(query) => {
                    let min = live.unwrap_or(gst::ClockTime::ZERO);
                    query.set(live.is_some(), min, gst::ClockTime::NONE);
                    true
                }
                _ => gst::Pad::query_default(pad, parent, query),
            })
            .build();
        let (chained, seen) = (shared.clone(), shared.clone());
        let sink = gst::Pad::builder(gst::PadDirection::Sink)
            .name("sink")
            .chain_function(move |_, _, buffer| {
                let mut record = chained.0.lock().expect("the record");
                let answer = (record.answer)(record.buffers);
                record.buffers += 1;
                // What a sink refuses has not come out.
                if answer.is_ok() {
                    record.out.push(Out::Buffer(buffer));
                    record.times.push(Instant::now());
                }
                chained.1.notify_all();
                answer
            })
            .event_function(move |pad, parent, event| {
                let mut record = seen.0.lock().expect("the record");
                record.out.push(Out::Event(event.clone()));
                seen.1.notify_all();
                drop(record);
                gst::Pad::event_default(pad, parent, event)
            })
            .query_function(|pad, parent, query| match query.view_mut() {
                gst::QueryViewMut::Allocation(query) => {
                    // As sinks in front of hardware have it: few buffers.
                    let caps = query.get_owned().0;
                    let info = caps.and_then(|c| VideoInfo::from_caps(&c).ok());
                    let size = info.map_or(0, |i| i.size() as u32);
                    query.add_allocation_pool(None::<&gst::BufferPool>, size, 2, 3);
                    true
                }
                gst::QueryViewMut::AcceptCaps(query) => {
                    // Without a template the default is to take what came first, for good.
                    query.set_result(true);
                    true
                }
                _ => gst::Pad::query_default(pad, parent, query),
            })
            .build();
        let pad = |name| element.static_pad(name).expect("a pad");
        src.link(&pad("sink")).expect("a link");
        pad("src").link(&sink).expect("a link");
        sink.set_active(true).expect("an active pad");
        src.set_active(true).expect("an active pad");
        Self { element, bus, src, sink, shared }
    }

    pub fn play(&self) {
        let result = self.element.set_state(gst::State::Playing);
        assert!(result.is_ok(), "{:?}", self.errors());
    }

    /// Has the sink refuse buffers: `answer` gets the number of buffers before.
    pub fn answer(&self, answer: impl Fn(usize) -> Result<gst::FlowSuccess, gst::FlowError> + Send + 'static) {
        self.record().answer = Box::new(answer);
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.shared.0.lock().expect("the record")
    }

    /// The events that begin a stream.
    pub fn begin(&self, info: &VideoInfo) {
        assert!(self.event(gst::event::StreamStart::new("test")));
        self.caps(info);
        self.segment();
    }

    pub fn caps(&self, info: &VideoInfo) {
        let caps = info.to_caps().expect("caps");
        assert!(self.event(gst::event::Caps::new(&caps)), "{caps}");
    }

    pub fn segment(&self) {
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        assert!(self.event(gst::event::Segment::new(&segment)));
    }

    pub fn event(&self, event: gst::Event) -> bool {
        self.src.push_event(event)
    }

    pub fn push(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.src.push(buffer)
    }

    /// Pushes frames that must be taken.
    pub fn feed(&self, frames: impl IntoIterator<Item = gst::Buffer>) {
        for frame in frames {
            assert_eq!(self.push(frame), Ok(gst::FlowSuccess::Ok));
        }
    }

    /// Sends EOS and waits until it has come out.
    pub fn finish(&self) {
        assert!(self.event(gst::event::Eos::new()), "{:?}", self.errors());
        self.wait_for("EOS", |out| matches!(out.last(), Some(Out::Event(e)) if e.type_() == gst::EventType::Eos));
    }

    pub fn wait_for(&self, what: &str, holds: impl Fn(&[Out]) -> bool) {
        let limit = Instant::now() + Duration::from_secs(30);
        let mut record = self.record();
        while !holds(&record.out) {
            let left = limit.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "never came out: {what}");
            record = self.shared.1.wait_timeout(record, left).expect("the record").0;
        }
    }

    pub fn wait_for_buffers(&self, n: usize) {
        self.wait_for(&format!("{n} buffers"), |out| count(out) >= n);
    }

    pub fn out(&self) -> Vec<Out> {
        self.record().out.clone()
    }

    /// When each buffer came out.
    pub fn times(&self) -> Vec<Instant> {
        self.record().times.clone()
    }

    pub fn buffers(&self) -> Vec<gst::Buffer> {
        let buffer = |out| match out {
            Out::Buffer(buffer) => Some(buffer),
            Out::Event(_) => None,
        };
        self.out().into_iter().filter_map(buffer).collect()
    }

    pub fn events(&self) -> Vec<gst::Event> {
        let event = |out| match out {
            Out::Event(event) => Some(event),
            Out::Buffer(_) => None,
        };
        self.out().into_iter().filter_map(event).collect()
    }

    pub fn forget(&self) {
        let mut record = self.record();
        record.out.clear();
        record.times.clear();
    }

    pub fn messages(&self) -> Vec<gst::Message> {
        std::iter::from_fn(|| self.bus.pop()).collect()
    }

    /// The texts of the errors on the bus; takes all messages off it.
    pub fn errors(&self) -> Vec<String> {
        let [errors, _] = self.complaints();
        errors
    }

    /// The texts of the errors and those of the warnings on the bus; takes all messages off it.
    pub fn complaints(&self) -> [Vec<String>; 2] {
        let mut found = [Vec::new(), Vec::new()];
        for message in self.messages() {
            match message.view() {
                gst::MessageView::Error(error) => found[0].push(error.error().message().to_string()),
                gst::MessageView::Warning(warning) => found[1].push(warning.error().message().to_string()),
                _ => {}
            }
        }
        println!("{found:?}");
        found
    }

    /// The reports of the first `n` windows; they may come a moment after the windows' frames.
    pub fn first_reports(&self, n: usize) -> Vec<serde_json::Value> {
        let mut messages = Vec::new();
        super::wait_until("the reports", || {
            messages.extend(self.messages());
            super::oracle::reports_in(&messages).len() >= n
        });
        super::oracle::reports_in(&messages)
    }

    pub fn stats(&self) -> gst::Structure {
        self.element.property("stats")
    }

    pub fn stop(&self) {
        let result = self.element.set_state(gst::State::Null);
        assert!(result.is_ok());
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // An element must not be dropped while it runs, and a failed test may have left it so.
        let _ = self.element.set_state(gst::State::Null);
        let _ = self.src.set_active(false);
        let _ = self.sink.set_active(false);
    }
}

pub fn count(out: &[Out]) -> usize {
    out.iter().filter(|o| matches!(o, Out::Buffer(_))).count()
}
