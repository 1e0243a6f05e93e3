// SPDX-License-Identifier: MPL-2.0

//! `clipclassifier` in live pipelines: no frame waits for the model, and what it has no time for is said.

mod common;

use std::time::{Duration, Instant};

use gst::prelude::*;
use gst_check::Harness;
use serde_json::Value;
use tch::{Kind, Tensor};

use common::frames::{frame, rgb};
use common::live::slow_model;
use common::models::{CLASSES, Good, ModelFile, SIDE, good, plain_metadata, traced, weights};
use common::oracle::number;
use common::{guarded, wait_until};

const WINDOW: u64 = 4;

/// The element behind a source that is live, or is not.
struct Clips {
    harness: Harness,
    bus: gst::Bus,
}

impl Clips {
    fn new(model: &ModelFile, properties: &str, live: bool) -> Self {
        common::init();
        let mut harness = Harness::new_parse(&format!("clipclassifier model={} {properties}", model.location()));
        harness.set_live(live);
        let bus = gst::Bus::new();
        harness.element().expect("an element").set_bus(Some(&bus));
        harness.set_src_caps(rgb().to_caps().expect("caps"));
        Self { harness, bus }
    }

    fn feed(&mut self, frames: std::ops::Range<u64>) {
        for i in frames {
            assert!(self.harness.push(frame(&rgb(), i)).is_ok());
        }
    }

    fn end(&mut self) -> Vec<gst::Message> {
        assert!(self.harness.push_event(gst::event::Eos::new()));
        std::iter::from_fn(|| self.bus.pop()).collect()
    }

    fn wait_for_window(&self) -> gst::Message {
        let mut found = None;
        wait_until("a window", || {
            found = std::iter::from_fn(|| self.bus.pop()).find(|m| !reports([m]).is_empty());
            found.is_some()
        });
        found.expect("a window")
    }

    /// How many of the frames that came out carry the meta.
    fn with_meta(&mut self) -> usize {
        let frames = std::iter::from_fn(|| self.harness.try_pull());
        frames.filter(|b| gst::meta::CustomMeta::from_buffer(b, "GstClipClassifierMeta").is_ok()).count()
    }
}

fn reports<'m>(messages: impl IntoIterator<Item = &'m gst::Message>) -> Vec<Value> {
    let structures = messages.into_iter().filter_map(|m| m.structure());
    let windows = structures.filter(|s| s.name() == "clipclassifier-window");
    windows.map(|s| serde_json::from_str(s.get("json").expect("a line")).expect("JSON")).collect()
}

fn stats(messages: &[gst::Message]) -> &gst::StructureRef {
    let mut structures = messages.iter().filter_map(|m| m.structure());
    structures.find(|s| s.name() == "clipclassifier-stats").expect("totals")
}

fn warnings(messages: &[gst::Message]) -> Vec<String> {
    let warning = |m: &gst::Message| match m.view() {
        gst::MessageView::Warning(w) => Some(w.error().message().to_string()),
        _ => None,
    };
    messages.iter().filter_map(warning).collect()
}

#[test]
fn no_frame_waits_for_a_model_far_too_slow_and_the_skipped_windows_are_counted() {
    guarded(90, || {
        let model = slow_model(Duration::from_secs(1));
        let mut clips = Clips::new(&model, "", true);
        // Ten windows in the time of none.
        clips.feed(0..10 * WINDOW + 1);
        assert_eq!(clips.harness.buffers_received(), 10 * WINDOW as u32 + 1);
        let messages = clips.end();
        let reports = reports(&messages);
        let stats = stats(&messages);
        let count = |name| stats.get::<u64>(name).expect("a count");
        println!("{stats}");
        // One in work, one in line, and the rest of the stream.
        let numbers: Vec<u64> = reports.iter().map(|r| number(r, "window")).collect();
        assert!((2..=4).contains(&reports.len()) && numbers[0] == 0, "{numbers:?}");
        assert!(numbers.is_sorted() && numbers.last() == Some(&10), "{numbers:?}");
        assert_eq!(count("windows"), 11);
        assert_eq!(count("unclassified"), 11 - reports.len() as u64);
        for report in &reports {
            assert_eq!(number(report, "first_frame"), WINDOW * number(report, "window"));
        }
        let mean: f64 = reports.iter().map(|r| r["probability"].as_f64().expect("a number")).sum::<f64>();
        let mean = mean / reports.len() as f64;
        assert!((stats.get::<f64>("mean-probability").expect("a mean") - mean).abs() < 1e-9);
        let warnings = warnings(&messages);
        assert!(warnings.len() == 1 && warnings[0].contains("unclassified"), "{warnings:?}");
    });
}

#[test]
fn a_model_that_keeps_up_says_the_same_of_a_live_stream_as_of_a_file() {
    guarded(60, || {
        let model = good(Good::default());
        let labels = |reports: &[Value]| -> Vec<(u64, String, String)> {
            let of = |r: &Value| (number(r, "first_frame"), r["frames"].to_string(), r["probabilities"].to_string());
            reports.iter().map(of).collect()
        };
        for properties in ["", "stride=2", "offset=3 stride=6"] {
            let mut file = Clips::new(&model, properties, false);
            file.feed(0..22);
            let expected = labels(&reports(&file.end()));
            assert!(expected.len() > 3);
            assert!(file.with_meta() >= 3);

            let mut live = Clips::new(&model, properties, true);
            let mut found = Vec::new();
            for (first, frames, _) in &expected {
                let fed = u64::from(live.harness.buffers_received());
                // The rest of the stream is a window only when the stream ends.
                if frames == "4" {
                    live.feed(fed..first + WINDOW);
                    found.extend(reports([&live.wait_for_window()]));
                }
            }
            live.feed(u64::from(live.harness.buffers_received())..22);
            let last = live.end();
            found.extend(reports(&last));
            assert_eq!(labels(&found), expected, "{properties}");
            assert_eq!(stats(&last).get::<u64>("unclassified"), Ok(0));
            assert_eq!(live.with_meta(), 0, "the frames had left");
        }
    });
}

#[test]
fn stopping_waits_for_one_pass_at_the_most() {
    guarded(60, || {
        let model = slow_model(Duration::from_secs(2));
        let mut clips = Clips::new(&model, "", true);
        clips.feed(0..WINDOW);
        // The first is in work by then.
        std::thread::sleep(Duration::from_millis(100));
        clips.feed(WINDOW..2 * WINDOW);
        let element = clips.harness.element().expect("an element");
        let began = Instant::now();
        assert!(element.set_state(gst::State::Ready).is_ok());
        let messages: Vec<gst::Message> = std::iter::from_fn(|| clips.bus.pop()).collect();
        println!("stopped in {:?}", began.elapsed());
        assert!(reports(&messages).len() < 2, "the window in line was classified all the same");
    });
}

#[test]
fn a_window_that_waited_through_a_flush_is_not_reported() {
    guarded(60, || {
        let model = slow_model(Duration::from_secs(1));
        let mut clips = Clips::new(&model, "", true);
        clips.feed(0..WINDOW);
        // The first is in work by then, so that the second waits.
        std::thread::sleep(Duration::from_millis(100));
        clips.feed(WINDOW..2 * WINDOW);
        assert!(clips.harness.push_event(gst::event::FlushStart::new()));
        assert!(clips.harness.push_event(gst::event::FlushStop::new(true)));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        assert!(clips.harness.push_event(gst::event::Segment::new(&segment)));
        let numbers: Vec<u64> = reports(&clips.end()).iter().map(|r| number(r, "window")).collect();
        assert_eq!(numbers, [0]);
    });
}

#[test]
fn a_model_that_fails_beside_the_stream_ends_it() {
    guarded(60, || {
        let matrix = weights(3, &[3 * 4 * (SIDE * SIDE) as i64, CLASSES as i64], 0.1);
        let no_number_of_white = |x: &Tensor| {
            let logits = x.flatten(1, -1).matmul(&matrix);
            vec![logits + (-x.mean(Kind::Float) + 0.8).log()]
        };
        let model = traced(4, false, no_number_of_white).with_metadata(&plain_metadata(4).to_string());
        let mut clips = Clips::new(&model, "", true);
        let mut pushed = Ok(gst::FlowSuccess::Ok);
        wait_until("an error upstream", || {
            pushed = clips.harness.push(gst::Buffer::from_mut_slice(vec![255; rgb().size()]));
            pushed.is_err()
        });
        assert_eq!(pushed, Err(gst::FlowError::Error));
        let errors = std::iter::from_fn(|| clips.bus.pop()).filter(|m| m.type_() == gst::MessageType::Error);
        assert_eq!(errors.count(), 1);
    });
}
