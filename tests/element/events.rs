// SPDX-License-Identifier: MPL-2.0

//! Serialized events keep their place among the buffers, others do not wait.

use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::common::frames::{FRAME, frame, rgb};
use crate::common::guarded;
use crate::common::models::{Good, good};
use crate::common::oracle::{number, reports};
use crate::common::rig::{Out, Rig, count};

/// What came out as text: buffers by their number, events by their type.
pub fn story(out: &[Out]) -> Vec<String> {
    let tell = |o: &Out| match o {
        Out::Buffer(b) => b.offset().to_string(),
        Out::Event(e) => e.type_().name().to_string(),
    };
    out.iter().map(tell).collect()
}

fn tags(title: &str) -> gst::Event {
    let mut tags = gst::TagList::new();
    let list = tags.make_mut();
    list.add::<gst::tags::Title>(&title, gst::TagMergeMode::Append);
    gst::event::Tag::new(tags)
}

fn custom(number: u32) -> gst::Event {
    let structure = gst::Structure::builder("test").field("number", number);
    gst::event::CustomDownstream::new(structure.build())
}

#[test]
fn events_keep_their_place() {
    guarded(60, || {
        for stride in ["0", "1", "2", "3", "6"] {
            let model = good(Good::default());
            let rig = Rig::new(&model, &[("stride", stride), ("max-iterations", "5")]);
            let info = rgb();
            rig.begin(&info);
            let mut expected: Vec<String> = ["stream-start", "caps", "segment"].map(String::from).into();
            let mut push = |event: Option<gst::Event>, i: u64| match event {
                Some(event) => {
                    expected.push(event.type_().name().to_string());
                    assert!(rig.event(event));
                }
                None => {
                    expected.push(i.to_string());
                    rig.feed([frame(&info, i)]);
                }
            };
            push(Some(tags("first")), 0);
            for i in 0..11 {
                push(None, i);
                if i % 3 == 1 {
                    push(Some(tags(&i.to_string())), 0);
                }
                if i % 4 == 2 {
                    push(Some(custom(i as u32)), 0);
                    let at = gst::ClockTime::from_nseconds(i * FRAME);
                    push(Some(gst::event::Gap::builder(at).build()), 0);
                }
            }
            push(Some(custom(99)), 0);
            rig.finish();
            expected.push("eos".into());
            assert_eq!(story(&rig.out()), expected, "stride {stride}");
        }
    });
}

/// With nothing inside there is nothing to wait for.
#[test]
fn an_event_before_the_first_frame_passes_at_once() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[]);
        rig.begin(&rgb());
        assert!(rig.event(custom(1)));
        rig.wait_for("the event", |out| out.len() == 4);
    });
}

#[test]
fn events_out_of_band_do_not_wait() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[]);
        let info = rgb();
        rig.begin(&info);
        // The three events of the beginning are in line: this one would overtake them as well.
        rig.wait_for("the segment", |out| out.len() == 3);
        rig.feed([frame(&info, 0)]);
        let structure = gst::Structure::new_empty("test");
        assert!(rig.event(gst::event::CustomDownstreamOob::new(structure)));
        let out = rig.out();
        let last = story(&out).pop();
        assert_eq!(last.as_deref(), Some("custom-downstream-oob"));
    });
}

/// No window reaches across a segment, a new stream or the end of a segment: what comes after may be another video, or
/// nothing.
#[test]
fn barriers_drain() {
    guarded(60, || {
        let segment = || {
            let segment = gst::FormattedSegment::<gst::ClockTime>::new();
            gst::event::Segment::new(&segment)
        };
        let done = || gst::event::SegmentDone::new(gst::ClockTime::from_seconds(1));
        let group = gst::GroupId::next();
        let group_done = || gst::event::StreamGroupDone::new(group);
        let barriers: [(&str, &dyn Fn() -> gst::Event); 3] =
            [("segment", &segment), ("segment-done", &done), ("stream-group-done", &group_done)];
        let mut stuck = Vec::new();
        for (name, barrier) in barriers {
            let model = good(Good::default());
            let rig = Rig::new(&model, &[]);
            let info = rgb();
            rig.begin(&info);
            rig.feed((0..6).map(|i| frame(&info, i)));
            assert!(rig.event(barrier()));
            let began = Instant::now();
            let came = || {
                let out = rig.out();
                count(&out) == 6 && story(&out).last().map(String::as_str) == Some(name)
            };
            while !came() && began.elapsed() < Duration::from_secs(3) {
                std::thread::sleep(Duration::from_millis(5));
            }
            if !came() {
                stuck.push(name);
            }
        }
        assert!(stuck.is_empty(), "frames stay inside after {stuck:?}");
    });
}

#[test]
fn a_segment_ends_a_window() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[]);
        let info = rgb();
        rig.begin(&info);
        rig.feed((0..6).map(|i| frame(&info, i)));
        rig.segment();
        rig.feed((6..10).map(|i| frame(&info, i)));
        rig.finish();
        let frames: Vec<u64> = reports(&rig).iter().map(|r| number(r, "frames")).collect();
        assert_eq!(frames, [4, 2, 4]);
    });
}

/// Whoever asks downstream for buffers must leave the element room for the windows it holds.
#[test]
fn allocation_has_room_for_the_windows() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[("stride", "3")]);
        let info = rgb();
        rig.begin(&info);
        // The rig's sink has a pool of at least two buffers, and never more than three.
        let caps = info.to_caps().expect("caps");
        let mut query = gst::query::Allocation::new(Some(&caps), true);
        assert!(rig.src.peer_query(query.query_mut()));
        let (_, size, min, max) = query.allocation_pools().next().expect("a pool");
        assert_eq!(size as usize, info.size());
        assert!(min >= 2 + 4 + 3, "{min}");
        assert!(max == 0 || max >= min, "{max}");
        // While frames wait for their window the answer would have to wait for frames that the question holds up.
        rig.feed((0..2).map(|i| frame(&info, i)));
        let mut query = gst::query::Allocation::new(Some(&caps), true);
        let _ = rig.src.peer_query(query.query_mut());
        rig.finish();
    });
}

/// Events for upstream take no detour.
#[test]
fn upstream_events_pass() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[]);
        let info = rgb();
        rig.begin(&info);
        let (sent, received) = std::sync::mpsc::channel();
        rig.src.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
            if let Some(event) = info.event() {
                let _ = sent.send(event.type_());
            }
            gst::PadProbeReturn::Ok
        });
        let structure = gst::Structure::new_empty("test");
        let event = gst::event::CustomUpstream::new(structure);
        rig.element.static_pad("src").expect("a pad").send_event(event);
        assert_eq!(received.recv().ok(), Some(gst::EventType::CustomUpstream));
    });
}
