// SPDX-License-Identifier: MPL-2.0

//! Which windows the elements report of, and which events go on.

use gst::prelude::*;
use gst_check::Harness;
use serde_json::Value;

use crate::common::frames::{frame, rgb};
use crate::common::guarded;
use crate::common::models::{Good, ModelFile, good};
use crate::common::oracle::number;

/// Frames and events into an element; how many frames each of its windows has, and where each begins.
fn windows_of(element: &str, properties: &str, model: &ModelFile) -> Vec<(u64, u64)> {
    let name = if element == "sparseadv" { "sparseadv max-iterations=0" } else { element };
    let mut harness = Harness::new_parse(&format!("{name} model={} {properties}", model.location()));
    harness.set_live(false);
    let bus = gst::Bus::new();
    harness.element().expect("an element").set_bus(Some(&bus));
    let info = rgb();
    harness.set_src_caps(info.to_caps().expect("caps"));
    let mut next = 0;
    let mut push = |harness: &mut Harness, frames: u64, discont: bool| {
        for k in 0..frames {
            let mut buffer = frame(&info, next);
            if discont && k == 0 {
                buffer.make_mut().set_flags(gst::BufferFlags::DISCONT);
            }
            assert!(harness.push(buffer).is_ok());
            next += 1;
        }
    };
    push(&mut harness, 6, false);
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    harness.push_event(gst::event::Segment::new(&segment));
    push(&mut harness, 5, false);
    push(&mut harness, 7, true);
    harness.push_event(gst::event::StreamStart::new("another"));
    harness.push_event(gst::event::Segment::new(&segment));
    push(&mut harness, 3, false);
    // A tag ends no window.
    harness.push_event(gst::event::Tag::new(gst::TagList::new()));
    push(&mut harness, 2, false);
    harness.push_event(gst::event::Eos::new());
    while harness.pull_event().expect("an end of the stream").type_() != gst::EventType::Eos {}
    let messages = std::iter::from_fn(|| bus.pop());
    let reports = messages.filter_map(|m| {
        let s = m.structure().filter(|s| s.name().ends_with("-window"))?;
        serde_json::from_str::<Value>(s.get::<&str>("json").ok()?).ok()
    });
    reports.map(|r| (number(&r, "first_frame"), number(&r, "frames"))).collect()
}

#[test]
fn both_elements_have_the_same_windows_at_every_event() {
    guarded(60, || {
        let model = good(Good::default());
        let expected = [(0, 4), (4, 2), (6, 4), (10, 1), (11, 4), (15, 3), (18, 4), (22, 1)];
        for element in ["sparseadv", "clipclassifier"] {
            assert_eq!(windows_of(element, "", &model), expected, "{element}");
        }
        for properties in ["stride=2", "stride=6", "frame-step=2", "tail=passthrough"] {
            let [attacked, classified] = ["sparseadv", "clipclassifier"].map(|e| windows_of(e, properties, &model));
            assert_eq!(attacked, classified, "{properties}");
        }
    });
}

#[test]
fn an_offset_counts_anew_wherever_windows_do() {
    guarded(60, || {
        let model = good(Good::default());
        let text = format!("clipclassifier offset=3 tail=passthrough model={}", model.location());
        let mut harness = Harness::new_parse(&text);
        harness.set_live(false);
        let bus = gst::Bus::new();
        harness.element().expect("an element").set_bus(Some(&bus));
        let info = rgb();
        harness.set_src_caps(info.to_caps().expect("caps"));
        let mut starts = Vec::new();
        for round in 0..4 {
            for k in 0..9 {
                assert!(harness.push(frame(&info, round * 9 + k)).is_ok());
            }
            match round {
                0 => {
                    harness.push_event(gst::event::FlushStart::new());
                    harness.push_event(gst::event::FlushStop::new(true));
                }
                1 => assert!(harness.push_event(gst::event::StreamStart::new("another"))),
                _ => {}
            }
            let segment = gst::FormattedSegment::<gst::ClockTime>::new();
            harness.push_event(gst::event::Segment::new(&segment));
        }
        while let Some(message) = bus.pop() {
            if let Some(s) = message.structure().filter(|s| s.name() == "clipclassifier-window") {
                starts.push(s.get::<u64>("first-frame").expect("a frame"));
            }
        }
        assert_eq!(starts, [3, 12, 21, 30]);
    });
}

#[test]
fn quality_of_service_events_go_no_further_upstream() {
    guarded(60, || {
        let model = good(Good::default());
        for element in ["sparseadv", "clipclassifier"] {
            let mut harness = Harness::new_parse(&format!("{element} model={}", model.location()));
            harness.set_src_caps(rgb().to_caps().expect("caps"));
            let late = gst::event::Qos::new(gst::QOSType::Underflow, 2.0, 1_000_000_000, gst::ClockTime::ZERO);
            assert!(harness.push_upstream_event(late));
            assert!(harness.push_upstream_event(gst::event::Reconfigure::new()));
            let heard = std::iter::from_fn(|| harness.try_pull_upstream_event());
            assert!(heard.map(|e| e.type_()).all(|kind| kind != gst::EventType::Qos));
        }
    });
}
