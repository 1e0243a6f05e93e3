// SPDX-License-Identifier: MPL-2.0

//! Report files of both elements: when they appear, what they never replace, and how one is found again behind codecs.

mod common;

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;

use common::frames::{frame, rgb};
use common::guarded;
use common::models::{Good, ModelFile, good};
use common::oracle::number;
use common::pipeline::run;
use gst::prelude::*;
use gst_check::Harness;
use serde_json::Value;

const RGB: &str = "video/x-raw,format=RGB,width=16,height=16,framerate=25/1";
const FRAMES: usize = 18;
const OLD: &str = "{\"window\":0}\n";

fn source() -> String {
    format!("videotestsrc pattern=ball num-buffers={FRAMES} ! {RGB}")
}

/// The first error of a pipeline, and the warnings.
fn play(text: &str, stop_after: Option<usize>) -> (Option<String>, Vec<String>) {
    common::init();
    let pipeline = gst::parse::launch(text).expect("a pipeline");
    let bus = pipeline.bus().expect("a bus");
    let started = pipeline.set_state(gst::State::Playing);
    let (mut error, mut warnings, mut windows) = (None, Vec::new(), 0);
    let mut hear = |message: &gst::Message| match message.view() {
        gst::MessageView::Error(e) => {
            error.get_or_insert(e.error().to_string());
        }
        gst::MessageView::Warning(w) => warnings.push(w.error().to_string()),
        _ => {}
    };
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    while started.is_ok() {
        let message = bus.timed_pop(gst::ClockTime::from_seconds(40)).expect("an end");
        hear(&message);
        let is_window = |s: &gst::StructureRef| s.name().ends_with("-window");
        windows += usize::from(message.structure().is_some_and(is_window));
        if ends.contains(&message.type_()) || stop_after.is_some_and(|n| windows == n) {
            break;
        }
    }
    // Not NULL, which would empty the bus before what is said while stopping is heard.
    let _ = pipeline.set_state(gst::State::Ready);
    while let Some(message) = bus.pop() {
        hear(&message);
    }
    assert!(pipeline.set_state(gst::State::Null).is_ok());
    (error, warnings)
}

/// Both elements with a report, and nothing else in common.
fn elements(model: &ModelFile, report: &str) -> [String; 2] {
    ["sparseadv max-iterations=2", "clipclassifier"]
        .map(|element| format!("{element} model={} report-location={report}", model.location()))
}

fn lines(path: impl AsRef<Path>) -> usize {
    let text = fs::read_to_string(path).unwrap_or_default();
    let is_report = |line: &&str| serde_json::from_str::<Value>(line).is_ok_and(|l| l.is_object());
    text.lines().filter(is_report).count()
}

#[test]
fn an_older_report_stays_until_the_stream_has_ended() {
    guarded(60, || {
        let model = good(Good::default());
        let report = model.beside("r.jsonl");
        let incomplete = format!("{report}.incomplete");
        for element in elements(&model, &report) {
            fs::write(&report, OLD).expect("a file");
            // Fails.
            let (error, _) = play(&format!("{} ! {element} ! identity error-after=9 ! fakesink", source()), None);
            assert!(error.is_some());
            assert_eq!(fs::read_to_string(&report).expect("the report"), OLD);
            // The source fails, and ends the stream.
            let text = format!("{} ! identity error-after=9 ! {element} ! fakesink", source());
            let (error, _) = play(&text, None);
            assert!(error.is_some());
            assert_eq!(fs::read_to_string(&report).expect("the report"), OLD);
            // There is nothing to report of.
            let text = format!("videotestsrc num-buffers=0 ! {RGB} ! {element} ! fakesink");
            let _ = play(&text, None);
            assert_eq!(fs::read_to_string(&report).expect("the report"), OLD);
            // Is stopped.
            let endless = format!("videotestsrc pattern=ball is-live=true ! {RGB} ! {element} ! fakesink");
            let (error, warnings) = play(&endless, Some(2));
            assert_eq!(error, None);
            assert!(warnings.iter().any(|w| w.contains(&incomplete)), "{warnings:?}");
            assert_eq!(fs::read_to_string(&report).expect("the report"), OLD);
            assert!(lines(&incomplete) >= 2);
            // Ends.
            let (error, warnings) = play(&format!("{} ! {element} ! fakesink", source()), None);
            assert_eq!((error, warnings), (None, vec![]));
            assert_eq!(lines(&report), FRAMES.div_ceil(4));
            assert!(!Path::new(&format!("{report}.part")).exists());
            fs::remove_file(&incomplete).expect("what was kept");
        }
    });
}

#[test]
fn a_report_takes_the_place_of_no_input() {
    guarded(60, || {
        let model = good(Good { sidecar: true, ..Good::default() });
        let m = model.location();
        let link = model.beside("link");
        symlink(m, &link).expect("a link");
        let sidecar = format!("{m}.json");
        let reference = model.beside("a.jsonl");
        fs::write(&reference, "{}\n").expect("a file");
        let before = [m, &sidecar, &reference].map(|path| fs::read(path).expect("a file"));
        for path in [m, &link, &sidecar] {
            for element in elements(&model, path) {
                let (error, _) = play(&format!("{} ! {element} ! fakesink", source()), None);
                let error = error.expect("an error");
                assert!(error.contains("report-location") && error.contains("the same one"), "{error}");
            }
        }
        let [_, element] = elements(&model, &reference);
        let same = format!("{} ! {element} reference-location={reference} ! fakesink", source());
        let (error, _) = play(&same, None);
        assert!(error.expect("an error").contains("than reference-location"));
        // The video itself.
        let video = model.beside("a.mkv");
        run(&format!("{} ! videoconvert ! avenc_ffv1 ! matroskamux ! filesink location={video}", source()));
        let bytes = fs::read(&video).expect("a video");
        for element in elements(&model, &video) {
            let text =
                format!("filesrc location={video} ! matroskademux ! avdec_ffv1 ! videoconvert ! {element} ! fakesink");
            let (error, _) = play(&text, None);
            let error = error.expect("an error");
            assert!(error.contains("the same one"), "{error}");
        }
        // By whatever way it comes, it is no older report; and what another element is writing is not for a report.
        for element in elements(&model, &video) {
            let text = format!("{} ! {element} ! fakesink", source());
            let (error, _) = play(&text, None);
            let error = error.expect("an error");
            assert!(error.contains("which is no older report"), "{error}");
        }
        assert!(bytes == fs::read(&video).expect("a video"));
        let written = model.beside("b.raw");
        for element in elements(&model, &written) {
            let text = format!("{} ! {element} ! filesink location={written}", source());
            let (error, _) = play(&text, None);
            let error = error.expect("an error");
            assert!(error.contains("the file of filesink"), "{error}");
        }
        assert!(before == [m, &sidecar, &reference].map(|path| fs::read(path).expect("a file")));
    });
}

#[test]
fn two_elements_do_not_write_one_report() {
    guarded(60, || {
        let model = good(Good::default());
        let report = model.beside("r.jsonl");
        let [a, b] = elements(&model, &report);
        let (error, _) = play(&format!("{} ! {a} ! {b} ! fakesink", source()), None);
        let error = error.expect("an error");
        assert!(error.contains(&report) && error.contains("is writing it"), "{error}");
        let folder = model.beside("");
        let [element, _] = elements(&model, &folder);
        let (error, _) = play(&format!("{} ! {element} ! fakesink", source()), None);
        assert!(error.expect("an error").contains("found the folder"));
    });
}

#[test]
fn a_pipe_or_device_is_written_as_it_is() {
    guarded(60, || {
        let model = good(Good::default());
        for element in elements(&model, "/dev/null") {
            let (error, warnings) = play(&format!("{} ! {element} ! fakesink", source()), None);
            assert_eq!((error, warnings), (None, vec![]));
        }
        assert!(fs::metadata("/dev/null").expect("a device").file_type().is_char_device());
    });
}

/// What an attack says of `FRAMES` frames whose times begin at two seconds, and its report.
fn attacked_late(model: &ModelFile, report: &str) -> Vec<Value> {
    run(&format!(
        "videotestsrc pattern=ball num-buffers={FRAMES} timestamp-offset=2000000000 ! {RGB} \
         ! sparseadv model={} max-iterations=30 report-location={report} ! fakesink",
        model.location()
    ));
    let text = fs::read_to_string(report).expect("a report");
    text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect()
}

fn compared(model: &ModelFile, source: &str, reference: &str) -> (Vec<Value>, Vec<String>) {
    let seen = model.beside("seen.jsonl");
    let (error, warnings) = play(
        &format!(
            "{source} ! clipclassifier model={} reference-location={reference} report-location={seen} ! fakesink",
            model.location()
        ),
        None,
    );
    assert_eq!(error, None);
    let text = fs::read_to_string(seen).expect("a report");
    let lines = text.lines().map(|l| serde_json::from_str(l).expect("JSON"));
    (lines.collect(), warnings)
}

#[test]
fn windows_are_found_again_where_a_muxer_has_moved_the_times() {
    guarded(60, || {
        let model = good(Good::default());
        let report = model.beside("late.jsonl");
        let attacked = attacked_late(&model, &report);
        let (windows, warnings) = compared(&model, &source(), &report);
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(windows.len(), attacked.len());
        for (window, attacked) in windows.iter().zip(&attacked) {
            assert_eq!(window["clean_label"], attacked["clean_label"]);
            assert_eq!(window["first_frame"], attacked["first_frame"]);
        }
        // Windows that do not line up are compared with the nearest.
        let shifted = format!("{} ! identity", source());
        let (windows, _) = compared(&model, &shifted, &report);
        assert_eq!(windows.len(), attacked.len());
    });
}

#[test]
fn a_reference_of_no_use_is_said() {
    guarded(60, || {
        let model = good(Good::default());
        let reference = model.beside("a.jsonl");
        for (text, says) in [("", "an empty file"), ("no report\n\u{1}\n", "2 lines that are no windows' reports")] {
            fs::write(&reference, text).expect("a file");
            let (windows, warnings) = compared(&model, &source(), &reference);
            assert!(windows.iter().all(|w| w["fooled"].is_null()));
            assert!(warnings.len() == 1 && warnings[0].contains(says), "{warnings:?}");
            assert!(warnings[0].contains("nothing is compared"), "{warnings:?}");
        }
        // Of a shorter video.
        fs::remove_file(&reference).expect("a file");
        let attacked = attacked_late(&model, &reference);
        let longer = format!("videotestsrc pattern=ball num-buffers={} ! {RGB}", 2 * FRAMES);
        let (windows, warnings) = compared(&model, &longer, &reference);
        let found = windows.iter().filter(|w| !w["clean_label"].is_null()).count();
        assert_eq!(found, attacked.len());
        let says = format!("{} of {} windows are not in the report", windows.len() - found, windows.len());
        assert!(warnings.len() == 1 && warnings[0].contains(&says), "{warnings:?}");
        // That is not there: heard of before the first window is whole.
        let text = format!(
            "videotestsrc num-buffers=1 ! {RGB} ! clipclassifier model={} reference-location=/nowhere/a.jsonl ! fakesink",
            model.location()
        );
        let (error, _) = play(&text, None);
        assert!(error.expect("an error").contains("/nowhere/a.jsonl"));
    });
}

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

/// Where windows overlap, a frame's meta tells of the last window that it was in.
#[test]
fn overlapping_windows_are_compared_alike_by_metas_and_by_report() {
    guarded(60, || {
        let model = good(Good::default());
        let m = model.location();
        let targeted = "target-label=jump";
        for (stride, target) in [(1, ""), (2, ""), (3, ""), (5, ""), (2, targeted), (4, targeted)] {
            let report = model.beside("overlap.jsonl");
            let by_metas = model.beside("metas.jsonl");
            let properties = format!("model={m} stride={stride}");
            run(&format!(
                "videotestsrc pattern=snow num-buffers=30 ! {RGB} ! sparseadv {properties} {target} max-iterations=20 label=run \
                 report-location={report} ! clipclassifier {properties} report-location={by_metas} ! fakesink"
            ));
            let read = |path: &str| -> Vec<Value> {
                let text = fs::read_to_string(path).expect("a report");
                text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect()
            };
            let (attacked, seen) = (read(&report), read(&by_metas));
            assert_eq!(attacked.len(), seen.len());
            for (attacked, seen) in attacked.iter().zip(&seen) {
                assert_eq!(attacked["first_frame"], seen["first_frame"]);
                assert_eq!(attacked["clean_label"], seen["clean_label"], "{stride}");
                assert_eq!(attacked["target_label"], seen["target_label"]);
                assert_eq!(attacked["already_fooled"], seen["already_fooled"]);
                assert_eq!(attacked["success"], seen["fooled"], "{attacked}\n{seen}");
            }
        }
    });
}
