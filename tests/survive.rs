// SPDX-License-Identifier: MPL-2.0

//! Real codecs in the attack's loop, and `clipclassifier` behind real codecs.

mod common;

use serde_json::Value;

use common::frames::bytes;
use common::guarded;
use common::models::{Good, LABELS, ModelFile, good};
use common::oracle::{number, real};
use common::pipeline::{pulled, run};
use gst::prelude::*;

const FRAMES: usize = 42;
const WINDOW: usize = 4;
/// RGB of the models' own size: a test can compute the label from the bytes.
const RGB: &str = "video/x-raw,format=RGB,width=16,height=16,framerate=25/1";
const I420: &str = "video/x-raw,format=I420,width=64,height=48,framerate=25/1";

fn json_of(messages: &[gst::Message], name: &str) -> Vec<Value> {
    let structures = messages.iter().filter_map(|m| m.structure());
    structures
        .filter(|s| s.name() == name)
        .map(|s| serde_json::from_str(s.get::<&str>("json").expect("json")).expect("JSON"))
        .collect()
}

fn source(caps: &str) -> String {
    format!("videotestsrc pattern=ball num-buffers={FRAMES} ! {caps}")
}

/// Fooled or not behind `codec`, a window, with what the attacker said.
fn behind(codec: &str, survive: bool, model: &ModelFile) -> Vec<(Value, Value)> {
    let survive = if survive { format!("survive=\"{codec}\"") } else { String::new() };
    let report = model.beside("attack.jsonl");
    let messages = run(&format!(
        "{} ! sparseadv model={m} {survive} report-location={report} max-iterations=200 ! {codec} ! \
         clipclassifier model={m} reference-location={report} ! fakesink",
        source(I420),
        m = model.location()
    ));
    let attacked = json_of(&messages, "sparseadv-window");
    let classified = json_of(&messages, "clipclassifier-window");
    assert_eq!(attacked.len(), FRAMES.div_ceil(WINDOW));
    assert_eq!(classified.len(), attacked.len());
    attacked.into_iter().zip(classified).collect()
}

#[test]
fn what_survives_a_codec_without_memory_in_the_loop_survives_it_behind() {
    guarded(120, || {
        // Each picture is coded by itself, so the loop's and the pipeline's codec do the same.
        let codec = "jpegenc quality=60 ! jpegdec";
        let model = good(Good::default());
        let windows = behind(codec, true, &model);
        for (attacked, classified) in &windows {
            assert_eq!(attacked["start_time"], classified["start_time"]);
            assert_eq!(attacked["success"], classified["fooled"], "{attacked}\n{classified}");
            assert_eq!(attacked["final_label"], classified["label"]);
            if attacked["already_fooled"] == false {
                assert!(number(attacked, "codec_runs") >= 1);
            }
        }
        let fooled = windows.iter().filter(|(a, _)| a["success"] == true).count();
        assert!(fooled * 10 >= windows.len() * 9, "{fooled} of {}", windows.len());
        // And it matters: without it, some come undone.
        let undone =
            behind(codec, false, &model).iter().filter(|(a, c)| a["success"] == true && c["fooled"] == false).count();
        assert!(undone > 0);
    });
}

#[test]
fn an_encoder_that_looks_ahead_gives_every_frame_back() {
    guarded(120, || {
        let model = good(Good::default());
        let windows = behind("x264enc pass=qual quantizer=30 ! avdec_h264", true, &model);
        assert!(windows.iter().any(|(a, _)| a["success"] == true && real(a, "map") > 0.0));
    });
}

#[test]
fn two_codecs_are_survived_together() {
    guarded(120, || {
        let model = good(Good::default());
        let (a, b) = ("jpegenc quality=60 ! jpegdec", "jpegenc quality=85 ! jpegdec");
        let report = model.beside("attack.jsonl");
        let messages = run(&format!(
            "{} ! sparseadv model={m} survive=\"{a} | {b}\" report-location={report} max-iterations=200 ! tee name=t \
             t. ! queue ! {a} ! clipclassifier model={m} reference-location={report} ! fakesink async=false \
             t. ! queue ! {b} ! clipclassifier model={m} reference-location={report} ! fakesink async=false",
            source(I420),
            m = model.location()
        ));
        let classified = json_of(&messages, "clipclassifier-window");
        let won: Vec<Value> =
            json_of(&messages, "sparseadv-window").into_iter().filter(|w| w["success"] == true).collect();
        assert!(won.len() >= 5, "{}", won.len());
        for window in won {
            let behind = classified.iter().filter(|c| c["start_time"] == window["start_time"]);
            let fooled: Vec<bool> = behind.map(|c| c["fooled"] == true).collect();
            assert_eq!(fooled, [true, true]);
        }
    });
}

/// The first error of a pipeline, and how many frames left it before its end.
fn error_of(text: &str) -> String {
    let pipeline = gst::parse::launch(text).expect("a pipeline");
    let bus = pipeline.bus().expect("a bus");
    let _ = pipeline.set_state(gst::State::Playing);
    let error =
        bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &[gst::MessageType::Error, gst::MessageType::Eos]);
    let error = error.expect("an error");
    let text = match error.view() {
        gst::MessageView::Error(e) => e.error().to_string(),
        _ => panic!("no error: {text}"),
    };
    assert!(pipeline.set_state(gst::State::Null).is_ok());
    text
}

#[test]
fn bins_that_will_not_do() {
    guarded(120, || {
        let model = good(Good::default());
        let cases = [
            ("nosuchelement ! jpegdec", "no element nosuchelement"),
            ("jpegenc ! ! jpegdec", "syntax"),
            ("videoscale ! capsfilter caps=video/x-raw,width=32", "link"),
            ("identity drop-probability=1.0", "expected 4 frames back, found 0"),
            ("jpegenc ! fakesink", "link"),
            ("jpegenc", "link"),
        ];
        for (bin, says) in cases {
            let error = error_of(&format!(
                "{} ! sparseadv model={} survive=\"{bin}\" ! fakesink",
                source(I420),
                model.location()
            ));
            assert!(error.contains("survive") && error.contains(bin), "{bin}: {error}");
            assert!(error.to_lowercase().contains(says), "{bin}: {error}");
        }
    });
}

/// A rescaler: caps within the description, and at its end.
#[test]
fn a_description_may_end_in_caps() {
    let rescaler = "videoscale ! video/x-raw,width=32,height=24 ! videoscale ! video/x-raw,width=64,height=48";
    guarded(120, || {
        let model = good(Good::default());
        for (attacked, classified) in behind(rescaler, true, &model) {
            assert_eq!(attacked["final_label"], classified["label"]);
            let runs = number(&attacked, "codec_runs");
            assert!(runs >= 1 || attacked["already_fooled"] == true, "{attacked}");
        }
    });
}

/// Neither frames nor the end of the stream come out: it takes the element's patience, and no longer.
#[test]
fn a_bin_that_is_stuck() {
    guarded(120, || {
        let model = good(Good::default());
        let error = error_of(&format!(
            "{} ! sparseadv model={} survive=\"valve drop=true\" ! fakesink",
            source(I420),
            model.location()
        ));
        assert!(error.contains("0 of 4 frames came back within"), "{error}");
    });
}

#[test]
fn frames_pass_the_classifier_untouched() {
    guarded(60, || {
        let model = good(Good::default());
        let through = format!("clipclassifier model={} !", model.location());
        let frames = |element: &str| pulled(&format!("{} ! {element} appsink name=end sync=false", source(RGB)));
        assert_eq!(frames(&through), frames(""));
    });
}

#[test]
fn windows_are_where_stride_and_offset_say_and_labels_are_the_models() {
    guarded(60, || {
        let model = good(Good::default());
        let frames = pulled(&format!("{} ! appsink name=end sync=false", source(RGB)));
        for (offset, stride) in [(0, 4), (3, 4), (1, 2), (0, 7)] {
            let messages = run(&format!(
                "{} ! clipclassifier model={} offset={offset} stride={stride} tail=passthrough label=run ! fakesink",
                source(RGB),
                model.location()
            ));
            let windows = json_of(&messages, "clipclassifier-window");
            let starts: Vec<usize> = (offset..=FRAMES - WINDOW).step_by(stride).collect();
            let found: Vec<usize> = windows.iter().map(|w| number(w, "first_frame") as usize).collect();
            assert_eq!(found, starts);
            let mut correct = 0;
            for (window, start) in windows.iter().zip(&starts) {
                let label = model.label(&frames[*start..start + WINDOW]);
                assert_eq!(number(window, "label") as usize, label);
                assert_eq!(window["label_name"], LABELS[label]);
                assert_eq!(window["correct"], LABELS[label] == "run");
                assert_eq!(window["fooled"], Value::Null);
                correct += usize::from(LABELS[label] == "run");
            }
            let stats = messages
                .iter()
                .rev()
                .find_map(|m| m.structure().filter(|s| s.name() == "clipclassifier-stats").map(|s| s.to_owned()));
            let stats = stats.expect("totals");
            assert_eq!(stats.get::<u64>("windows"), Ok(starts.len() as u64));
            let accuracy = correct as f64 / starts.len() as f64;
            assert_eq!(stats.get::<f64>("accuracy"), Ok(accuracy));
        }
    });
}

#[test]
fn a_short_end_is_classified_and_the_last_frame_carries_the_meta() {
    guarded(60, || {
        let model = good(Good::default());
        let text = format!("{} ! clipclassifier model={} ! appsink name=end sync=false", source(RGB), model.location());
        let pipeline = gst::parse::launch(&text).expect("a pipeline");
        let end = pipeline.downcast_ref::<gst::Bin>().and_then(|b| b.by_name("end"));
        let end = end.expect("a sink").downcast::<gst_app::AppSink>().expect("an appsink");
        assert!(pipeline.set_state(gst::State::Playing).is_ok());
        let mut labeled = Vec::new();
        let mut frames = Vec::new();
        while let Some(sample) = end.try_pull_sample(gst::ClockTime::from_seconds(20)) {
            let buffer = sample.buffer().expect("a buffer");
            let meta = gst::meta::CustomMeta::from_buffer(buffer, "GstClipClassifierMeta");
            if let Ok(meta) = meta {
                let label = meta.structure().get::<u32>("label").expect("a label");
                labeled.push((frames.len(), label as usize));
            }
            frames.push(bytes(buffer));
        }
        let messages: Vec<gst::Message> = pipeline.bus().expect("a bus").iter().collect();
        assert!(pipeline.set_state(gst::State::Null).is_ok());
        let expected: Vec<(usize, usize)> = (0..FRAMES / WINDOW)
            .map(|w| {
                let last = (w + 1) * WINDOW - 1;
                (last, model.label(&frames[last + 1 - WINDOW..=last]))
            })
            .collect();
        assert_eq!(labeled, expected);
        let windows = json_of(&messages, "clipclassifier-window");
        let rest = windows.last().expect("a window");
        assert_eq!(number(rest, "frames") as usize, FRAMES % WINDOW);
        let tail = &frames[FRAMES - FRAMES % WINDOW..];
        let last = tail.last().expect("a frame");
        let padded: Vec<Vec<u8>> = (0..WINDOW).map(|k| tail.get(k).unwrap_or(last).clone()).collect();
        assert_eq!(number(rest, "label") as usize, model.label(&padded));
    });
}

#[test]
fn wrong_settings_of_the_classifier() {
    guarded(60, || {
        let model = good(Good::default());
        let m = model.location();
        let cases = [
            ("clipclassifier".to_string(), "Set model="),
            (format!("clipclassifier model={m} label=fly"), "label property"),
            (format!("clipclassifier model={m} report-location=/nowhere/a.jsonl"), "report-location"),
            (format!("clipclassifier model={m} reference-location=/nowhere/a.jsonl"), "reference-location"),
            ("clipclassifier model=/nowhere.pt".to_string(), "/nowhere.pt"),
        ];
        for (element, says) in cases {
            let error = error_of(&format!("{} ! {element} ! fakesink", source(RGB)));
            assert!(error.contains(says), "{element}: {error}");
        }
    });
}

/// Stopping and disabling wait for no bin, whatever it does.
#[test]
fn a_bin_that_stalls_holds_nothing_up() {
    guarded(120, || {
        let model = good(Good::default());
        // One keeps the frames, one takes an hour for each and does not stop before it is done with it.
        for bin in ["valve drop=true", "identity sleep-time=3600000000"] {
            for stop in [true, false] {
                let pipeline = gst::parse::launch(&format!(
                    "videotestsrc ! {RGB} ! sparseadv name=a model={} survive=\"{bin}\" ! fakesink name=end",
                    model.location()
                ))
                .expect("a pipeline");
                let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
                let element = pipeline.by_name("a").expect("the element");
                assert!(pipeline.set_state(gst::State::Playing).is_ok());
                common::wait_until("frames inside", || {
                    let stats = element.property::<gst::Structure>("stats");
                    stats.get::<u64>("frames-in").is_ok_and(|n| n >= 8)
                });
                let began = std::time::Instant::now();
                if !stop {
                    element.set_property("enabled", false);
                    common::wait_until("frames", || {
                        let stats = element.property::<gst::Structure>("stats");
                        stats.get::<u64>("frames-out").is_ok_and(|n| n >= 8)
                    });
                }
                assert!(pipeline.set_state(gst::State::Null).is_ok());
                assert!(began.elapsed().as_secs() < 10, "{bin}: {:?}", began.elapsed());
            }
        }
    });
}

/// A bin with holes would be left out, or lose frames.
#[test]
fn bins_with_unlinked_pads_are_refused() {
    guarded(60, || {
        let model = good(Good::default());
        for (bin, word) in [
            ("jpegenc ! jpegparse ! avimux ! avidemux ! capsfilter", "capsfilter's sink"),
            ("jpegenc ! decodebin", "must be one chain"),
            ("identity identity", "identity's"),
            ("identity ! fakesink videotestsrc", "nothing leads"),
            ("videotestsrc", "takes no frames"),
        ] {
            let text = format!(
                "videotestsrc num-buffers=8 ! {RGB} ! sparseadv model={} survive=\"{bin}\" ! fakesink",
                model.location()
            );
            let error = error_of(&text);
            assert!(error.contains("survive property") && error.contains(word), "{bin}: {error}");
        }
    });
}

/// A measurement: `CODEC_RUNS=10000 cargo test --release --test survive runs_leave -- --ignored --nocapture`. Alone in
/// its process, or others' memory would count.
#[test]
#[ignore]
fn runs_leave_no_messages_behind() {
    guarded(60, || {
        let info = common::frames::rgb();
        let codec = gstsparseadv::element::codec::Codec::new("identity", &info, gst::ClockTime::from_mseconds(40));
        let codec = codec.expect("a codec");
        let runs = |n: usize| {
            for _ in 0..n {
                let frames = (0..2).map(|i| common::frames::frame(&info, i));
                let came = codec.run(frames.collect::<Vec<_>>().into_iter());
                assert_eq!(came.expect("frames").len(), 2);
            }
        };
        let resident = || {
            let text = std::fs::read_to_string("/proc/self/statm").expect("numbers");
            let pages: usize = text.split(' ').nth(1).expect("a number").parse().expect("a number");
            pages * 4096
        };
        runs(100);
        let before = resident();
        let more = std::env::var("CODEC_RUNS").map_or(400, |n| n.parse().expect("a number"));
        runs(more);
        let grown = resident().saturating_sub(before);
        println!("{more} runs: {grown} bytes more");
        // It was 20 kB a run.
        assert!(grown < 4_000_000 + more * 1000, "{more} runs: {grown} bytes more");
    });
}
