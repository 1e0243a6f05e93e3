// SPDX-License-Identifier: MPL-2.0

//! Whole pipelines, in this process and by `gst-launch-1.0` with the built plugin: real containers, codecs, seeks and
//! other elements.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use gst::prelude::*;
use serde_json::Value;

use common::guarded;
use common::models::{Good, ModelFile, good};
use common::oracle::{list, number, reports_in};
use common::pipeline::{pulled, run, until_eos};

const FRAMES: usize = 40;
const RAW: &str = "video/x-raw,format=I420,width=64,height=48,framerate=25/1";

/// A clip of a moving ball.
fn clip(model: &ModelFile, name: &str, encoder: &str) -> String {
    let location = model.beside(name);
    run(&format!("videotestsrc pattern=ball num-buffers={FRAMES} ! {RAW} ! {encoder} ! filesink location={location}"));
    location
}

/// The decoded frames of a file, as I420.
fn decoded(location: &str) -> Vec<Vec<u8>> {
    let text = format!(
        "filesrc location={location} ! decodebin ! videoconvert ! video/x-raw,format=I420 ! appsink name=end sync=false"
    );
    pulled(&text)
}

// Looking ahead, this encoder loses frames of its own.
const CLIPS: [(&str, &str); 3] = [
    ("a.mp4", "x264enc ! mp4mux"),
    ("a.avi", "avenc_mpeg4 ! avimux"),
    ("a.webm", "vp9enc deadline=1 cpu-used=8 lag-in-frames=0 ! webmmux"),
];

/// The pipeline of the README, word for word.
fn readme(input: &str, model: &str, output: &str) -> String {
    format!(
        "filesrc location={input} ! decodebin ! sparseadv model={model} ! x264enc ! mp4mux ! filesink location={output}"
    )
}

#[test]
fn clips_of_three_containers_in_process() {
    guarded(120, || {
        let model = good(Good::default());
        for (name, encoder) in CLIPS {
            let input = clip(&model, name, encoder);
            let output = model.beside("b.mp4");
            let messages = run(&readme(&input, model.location(), &output));
            let reports = reports_in(&messages);
            assert_eq!(reports.len(), FRAMES / 4, "{name}");
            assert!(reports.iter().any(|r| r["success"] == true), "{name}");
            assert_eq!(decoded(&output).len(), FRAMES, "{name}");
        }
    });
}

/// The plugin that was built along with this test.
fn plugin() -> PathBuf {
    let test = std::env::current_exe().expect("this test");
    let deps = test.parent().expect("target/.../deps");
    let places = [deps.join(".."), deps.to_path_buf()];
    let built = |place: &PathBuf| {
        let path = place.join("libgstsparseadv.so");
        let time = path.metadata().and_then(|m| m.modified()).ok()?;
        Some((time, path))
    };
    let newest = places.iter().filter_map(built).max();
    newest.expect("libgstsparseadv.so beside the test: run cargo build --release first").1
}

/// `gst-launch-1.0` as a user has it, with nothing but the plugin's directory told.
fn launch(directory: &Path, arguments: &[&str]) -> std::process::Output {
    let plugins = directory.join("plugins");
    if !plugins.exists() {
        std::fs::create_dir(&plugins).expect("a directory");
        // By itself: beside it lie other libraries, which would be scanned too.
        std::os::unix::fs::symlink(plugin(), plugins.join("libgstsparseadv.so")).expect("a link");
    }
    let mut command = Command::new("timeout");
    command.arg("60").arg("gst-launch-1.0").args(arguments);
    command.env("GST_PLUGIN_PATH", &plugins);
    command.env("GST_REGISTRY", directory.join("registry.bin"));
    command.env("GST_DEBUG_NO_COLOR", "1");
    command.output().expect("gst-launch-1.0")
}

fn text(output: &std::process::Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

#[test]
fn clips_of_three_containers_by_gst_launch() {
    guarded(120, || {
        let model = good(Good::default());
        for (name, encoder) in CLIPS {
            let input = clip(&model, name, encoder);
            let output = model.beside("b.mp4");
            let line = readme(&input, model.location(), &output);
            let words: Vec<&str> = std::iter::once("-m").chain(line.split(' ')).collect();
            let ended = launch(model.dir.path(), &words);
            assert!(ended.status.success(), "{}", text(&ended));
            let windows = text(&ended).matches("sparseadv-window").count();
            assert!(windows >= FRAMES / 4, "{windows}");
            assert_eq!(decoded(&output).len(), FRAMES, "{name}");
        }
    });
}

/// What is wrong is the first thing a user of `gst-launch-1.0` reads.
#[test]
fn gst_launch_says_what_is_wrong() {
    guarded(60, || {
        let model = good(Good::default());
        let line = "videotestsrc num-buffers=8 ! sparseadv model=/missing.pt ! fakesink";
        let ended = launch(model.dir.path(), &line.split(' ').collect::<Vec<_>>());
        assert!(!ended.status.success());
        let text = text(&ended);
        let error = text.lines().find(|l| l.starts_with("ERROR: from element"));
        let error = error.unwrap_or_else(|| panic!("{text}"));
        assert!(error.contains("/missing.pt") && error.contains("cannot be read"), "{error}");
    });
}

/// Lossless, so that each frame can be compared with the same stream without the element.
#[test]
fn frames_that_are_not_reported_are_identical() {
    guarded(60, || {
        let model = good(Good::default());
        let report = model.beside("report.jsonl");
        let (clean, attacked) = (model.beside("clean.mkv"), model.beside("attacked.mkv"));
        let source = format!("videotestsrc pattern=ball num-buffers=43 ! {RAW}");
        let coder = "avenc_ffv1 ! matroskamux ! filesink";
        let element = format!("sparseadv model={} report-location={report} grow-after=0", model.location());
        run(&format!("{source} ! {coder} location={clean}"));
        run(&format!("{source} ! {element} ! {coder} location={attacked}"));
        let (clean, attacked) = (decoded(&clean), decoded(&attacked));
        assert_eq!((clean.len(), attacked.len()), (43, 43));
        let text = std::fs::read_to_string(report).expect("a report");
        let mut keyframes = vec![false; 43];
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).expect("a line");
            for k in list(&line, "keyframes") {
                keyframes[number(&line, "window") as usize * 4 + k] = true;
            }
        }
        let changed: Vec<bool> = clean.iter().zip(&attacked).map(|(a, b)| a != b).collect();
        assert_eq!(changed, keyframes);
        let n = keyframes.iter().filter(|k| **k).count();
        assert!((5..=30).contains(&n), "{n} keyframes of 43");
    });
}

#[test]
fn a_file_with_sound() {
    guarded(60, || {
        let model = good(Good::default());
        let (input, output) = (model.beside("a.mkv"), model.beside("b.mkv"));
        run(&format!(
            "matroskamux name=mux ! filesink location={input} \
             videotestsrc pattern=ball num-buffers={FRAMES} ! {RAW} ! x264enc tune=zerolatency ! queue ! mux. \
             audiotestsrc num-buffers=60 samplesperbuffer=1024 ! audio/x-raw,rate=44100 ! vorbisenc ! queue ! mux."
        ));
        run(&format!(
            "filesrc location={input} ! decodebin name=file matroskamux name=mux ! filesink location={output} \
             file. ! sparseadv model={} ! x264enc tune=zerolatency ! queue ! mux. \
             file. ! audioconvert ! vorbisenc ! queue ! mux.",
            model.location()
        ));
        assert_eq!(packets(&output, "video_0"), FRAMES);
        // Vorbis packets of at most 2048 samples.
        assert!(packets(&output, "audio_0") >= 60 * 1024 / 2048);
    });
}

/// The number of packets in a stream of a file.
fn packets(location: &str, stream: &str) -> usize {
    let text = format!("filesrc location={location} ! matroskademux name=d d.{stream} ! appsink name=end sync=false");
    pulled(&text).len()
}

/// The times of the frames that a sink shows, since the last call of the returned function.
fn shown(pipeline: &gst::Pipeline) -> impl Fn() -> Vec<u64> {
    let times = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = times.clone();
    let sink = pipeline.by_name("end").expect("a sink");
    let pad = sink.static_pad("sink").expect("a pad");
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let pts = info.buffer().and_then(|b| b.pts());
        noted.lock().expect("times").extend(pts.map(|t| t.mseconds()));
        gst::PadProbeReturn::Ok
    });
    move || std::mem::take(&mut *times.lock().expect("times"))
}

#[test]
fn seeking() {
    guarded(60, || {
        let model = good(Good::default());
        let input = clip(&model, "a.avi", "avenc_mpeg4 ! avimux");
        let text = format!(
            "filesrc location={input} ! decodebin ! sparseadv model={} ! fakesink name=end sync=false",
            model.location()
        );
        let pipeline = gst::parse::launch(&text).expect("a pipeline");
        let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
        let times = shown(&pipeline);
        let bus = pipeline.bus().expect("a bus");
        assert!(pipeline.set_state(gst::State::Paused).is_ok());
        for start in [800, 0, 1200, 400] {
            let (paused, _, _) = pipeline.state(gst::ClockTime::from_seconds(20));
            assert!(paused.is_ok());
            times();
            let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
            let sought = pipeline.seek_simple(flags, gst::ClockTime::from_mseconds(start));
            assert!(sought.is_ok());
        }
        assert!(pipeline.set_state(gst::State::Playing).is_ok());
        until_eos(&bus);
        let came = times();
        assert!(pipeline.set_state(gst::State::Null).is_ok());
        let expected: Vec<u64> = (10..FRAMES as u64).map(|i| i * 40).collect();
        assert_eq!(came, expected);
    });
}

/// A seek with a stop, and an element that wants no more: each ends the stream downstream first.
#[test]
fn an_end_that_comes_from_downstream() {
    guarded(60, || {
        let model = good(Good::default());
        let text = format!(
            "videotestsrc ! {RAW} ! sparseadv model={} ! identity eos-after=11 ! fakesink name=end",
            model.location()
        );
        let pipeline = gst::parse::launch(&text).expect("a pipeline");
        let bus = pipeline.bus().expect("a bus");
        assert!(pipeline.set_state(gst::State::Playing).is_ok());
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(8), &kinds);
        assert!(pipeline.set_state(gst::State::Null).is_ok());
        let end = end.expect("neither EOS nor an error: the pipeline hangs");
        assert_eq!(end.type_(), gst::MessageType::Eos, "{end:?}");
    });
}

/// Two branches share their frames: what is written in one must not be seen in the other.
#[test]
fn a_tee_keeps_its_frames() {
    guarded(60, || {
        let model = good(Good::default());
        let (clean, beside) = (model.beside("clean.mkv"), model.beside("beside.mkv"));
        let source = format!("videotestsrc pattern=ball num-buffers={FRAMES} ! {RAW}");
        let coder = "avenc_ffv1 ! matroskamux ! filesink";
        run(&format!("{source} ! {coder} location={clean}"));
        run(&format!(
            "{source} ! tee name=t t. ! queue max-size-buffers=0 max-size-time=0 ! {coder} location={beside} \
             t. ! queue ! sparseadv model={} keyframes=all ! fakesink sync=false",
            model.location()
        ));
        assert_eq!(decoded(&clean), decoded(&beside));
    });
}

/// Two elements one after the other, each with its own model and report.
#[test]
fn two_in_a_row() {
    guarded(60, || {
        let (four, six) = (good(Good::default()), good(Good { window: 6, ..Good::default() }));
        let messages = run(&format!(
            "videotestsrc pattern=ball num-buffers=24 ! {RAW} ! sparseadv name=a model={} ! sparseadv name=b model={} ! fakesink sync=false",
            four.location(),
            six.location()
        ));
        let of = |name: &str| {
            let from = |m: &&gst::Message| m.src().is_some_and(|s| s.name() == name);
            let own: Vec<gst::Message> = messages.iter().filter(from).cloned().collect();
            reports_in(&own).len()
        };
        assert_eq!((of("a"), of("b")), (6, 4));
    });
}

/// Formats that the element does not take are converted or refused, never taken.
#[test]
fn formats_that_are_not_taken() {
    guarded(60, || {
        let model = good(Good::default());
        for wrong in ["width=8,height=8", "format=P010_10LE"] {
            let text = format!(
                "videotestsrc num-buffers=3 ! video/x-raw,{wrong} ! sparseadv model={} ! fakesink",
                model.location()
            );
            // The parser sees it for itself, or the negotiation does.
            if let Ok(pipeline) = gst::parse::launch(&text) {
                let bus = pipeline.bus().expect("a bus");
                let _ = pipeline.set_state(gst::State::Playing);
                let kinds = [gst::MessageType::Error, gst::MessageType::Eos];
                let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(10), &kinds);
                assert!(pipeline.set_state(gst::State::Null).is_ok());
                assert_eq!(end.expect("an end").type_(), gst::MessageType::Error);
            }
        }
        let converted = format!(
            "videotestsrc num-buffers=8 ! video/x-raw,format=P010_10LE ! videoconvert ! sparseadv model={} ! fakesink",
            model.location()
        );
        assert_eq!(reports_in(&run(&converted)).len(), 2);
    });
}

/// Stopping in the middle of a stream, again and again, at any moment.
#[test]
fn stops_at_any_moment() {
    guarded(60, || {
        let model = good(Good::default());
        let text =
            format!("videotestsrc pattern=ball ! {RAW} ! sparseadv model={} ! fakesink sync=false", model.location());
        let pipeline = gst::parse::launch(&text).expect("a pipeline");
        for wait in 0..12 {
            assert!(pipeline.set_state(gst::State::Playing).is_ok());
            std::thread::sleep(Duration::from_millis(wait * 7));
            let state = match wait % 3 {
                0 => gst::State::Null,
                1 => gst::State::Ready,
                _ => gst::State::Paused,
            };
            assert!(pipeline.set_state(state).is_ok());
        }
        assert!(pipeline.set_state(gst::State::Null).is_ok());
    });
}
