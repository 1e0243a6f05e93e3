// SPDX-License-Identifier: MPL-2.0

//! What is said about each window, and whether it is true: messages, the report file, totals, and the labels by an
//! independent judge.

use gst::prelude::*;
use serde_json::Value;

use crate::common::frames::{FRAME, bytes, frame, rgb};
use crate::common::guarded;
use crate::common::models::{Good, ModelFile, good};
use crate::common::oracle::{list, meta, number, real, reports, reports_in};
use crate::common::rig::Rig;
use crate::success::fooled;

/// The bytes of each frame.
pub type Frames = Vec<Vec<u8>>;

/// Runs `n` frames; returns those given and come as bytes, the rig, stopped, and the reports.
pub fn run(model: &ModelFile, properties: &[(&str, &str)], n: u64) -> (Frames, Frames, Rig, Vec<Value>) {
    let rig = Rig::new(model, properties);
    let info = rgb();
    rig.begin(&info);
    rig.feed((0..n).map(|i| frame(&info, i)));
    rig.finish();
    let given = (0..n).map(|i| bytes(&frame(&info, i))).collect();
    let came = rig.buffers().iter().map(|b| bytes(b)).collect();
    rig.stop();
    let reports = reports(&rig);
    (given, came, rig, reports)
}

const KEYS: [&str; 21] = [
    "window",
    "start_pts",
    "end_pts",
    "clean_label",
    "final_label",
    "clean_label_name",
    "final_label_name",
    "success",
    "queries",
    "queries_first_success",
    "keyframes",
    "weights",
    "perturbed_frames",
    "sparse_rate",
    "map",
    "map_float",
    "map_keyframes",
    "max_abs",
    "l21",
    "l2",
    "seconds",
];

#[test]
fn a_message_and_a_line_for_each_window() {
    guarded(60, || {
        let model = good(Good::default());
        let location = model.beside("report.jsonl");
        std::fs::write(&location, "{\"window\":9}\n").expect("a file");
        let rig = Rig::new(&model, &[("report-location", &location)]);
        let info = rgb();
        rig.begin(&info);
        rig.feed((0..10).map(|i| frame(&info, i)));
        rig.finish();
        // Each line is there as soon as its window is, not when the file is closed.
        let text = std::fs::read_to_string(&location).expect("the report");
        let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).expect("a JSON line")).collect();
        let messages = rig.messages();
        assert_eq!(lines, reports_in(&messages));
        assert_eq!(lines.len(), 3);
        for (w, line) in lines.iter().enumerate() {
            let has = |key: &str| line.get(key).is_some();
            let missing: Vec<_> = KEYS.iter().chain(&["overrun"]).filter(|k| !has(k)).collect();
            assert!(missing.is_empty(), "{missing:?}");
            assert_eq!(number(line, "window"), w as u64);
            assert_eq!(number(line, "start_pts"), w as u64 * 4 * FRAME);
            let last = frame(&info, if w == 2 { 9 } else { w as u64 * 4 + 3 });
            let end = last.pts().expect("a time") + last.duration().expect("a duration");
            assert_eq!(number(line, "end_pts"), end.nseconds());
            let weights: Vec<f64> =
                line["weights"].as_array().expect("weights").iter().filter_map(Value::as_f64).collect();
            assert_eq!(weights.len(), number(line, "frames") as usize);
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{weights:?}");
            assert_eq!(line["overrun"], false);
        }
        let structures = messages.iter().filter_map(|m| m.structure());
        let windows: Vec<_> = structures.filter(|s| s.name() == "sparseadv-window").collect();
        for (s, line) in windows.iter().zip(&lines) {
            assert_eq!(s.get::<bool>("success").ok(), line["success"].as_bool());
            assert_eq!(s.get::<f64>("map").ok(), line["map"].as_f64());
            assert_eq!(s.get::<u32>("final-label").ok(), Some(number(line, "final_label") as u32));
            let keyframes = s.get::<gst::Array>("keyframes").expect("keyframes");
            assert_eq!(keyframes.len(), list(line, "keyframes").len());
        }
    });
}

/// The sizes of the perturbation, from the bytes: at 16 x 16 RGB the view is the frame.
#[test]
fn sizes_are_those_of_the_pushed_bytes() {
    guarded(60, || {
        let model = good(Good::default());
        let (given, came, _, reports) = run(&model, &[], 12);
        for (w, report) in reports.iter().enumerate() {
            let mut sum = 0.0;
            let mut max = 0.0f64;
            let (mut l21, mut squares) = (0.0, 0.0);
            for i in w * 4..w * 4 + 4 {
                let difference = |(a, b): (&u8, &u8)| f64::from(a.abs_diff(*b));
                let d: Vec<f64> = given[i].iter().zip(&came[i]).map(difference).collect();
                sum += d.iter().sum::<f64>();
                max = d.iter().fold(max, |m, v| m.max(*v));
                let of_frame = d.iter().map(|v| v * v).sum::<f64>();
                l21 += of_frame.sqrt();
                squares += of_frame;
            }
            let map = sum / (4 * given[0].len()) as f64;
            let n = number(report, "perturbed_frames") as f64;
            let close = |key: &str, value: f64| {
                let reported = real(report, key);
                assert!((reported - value).abs() < 1e-4 * value.max(1.0), "{key} {value}: {report}");
            };
            close("map", map);
            close("map_keyframes", if n > 0.0 { map * 4.0 / n } else { 0.0 });
            close("max_abs", max);
            close("l21", l21);
            close("l2", squares.sqrt());
            close("sparse_rate", 1.0 - n / 4.0);
        }
        assert!(fooled(&reports) > 0);
    });
}

#[test]
fn totals_agree_with_the_lines() {
    guarded(60, || {
        let model = good(Good::default());
        let (_, came, rig, reports) = run(&model, &[], 30);
        let stats = rig.stats();
        let fooled: Vec<&Value> = reports.iter().filter(|r| r["success"] == true).collect();
        assert!(!fooled.is_empty());
        let mean = |key: &str| fooled.iter().map(|r| real(r, key)).sum::<f64>() / fooled.len() as f64;
        let close = |name: &str, value: f64| {
            let total = stats.get::<f64>(name).expect(name);
            assert!((total - value).abs() < 1e-9 * value.max(1.0), "{name}: {total}, {value}");
        };
        close("fooling-rate", fooled.len() as f64 / reports.len() as f64);
        close("mean-queries", mean("queries_first_success"));
        for (name, key) in [
            ("map", "map"),
            ("map-float", "map_float"),
            ("map-keyframes", "map_keyframes"),
            ("sparse-rate", "sparse_rate"),
        ] {
            close(name, mean(key));
        }
        let sum = |key: &str| reports.iter().map(|r| number(r, key)).sum::<u64>();
        assert_eq!(stats.get::<u64>("windows"), Ok(8));
        assert_eq!(stats.get::<u64>("queries"), Ok(sum("queries")));
        assert_eq!(stats.get::<u64>("forwards"), Ok(sum("forwards")));
        assert_eq!(stats.get::<u64>("frames-in"), Ok(30));
        assert_eq!(stats.get::<u64>("frames-out"), Ok(came.len() as u64));
    });
}

#[test]
fn two_runs_are_alike() {
    guarded(60, || {
        let model = good(Good::default());
        let (_, a, _, _) = run(&model, &[], 16);
        let (_, b, _, _) = run(&model, &[], 16);
        assert_eq!(a, b);
    });
}

/// The meta of each frame repeats the window's line.
#[test]
fn metas_agree_with_the_lines() {
    guarded(60, || {
        let model = good(Good::default());
        let (_, _, rig, reports) = run(&model, &[("stride", "5")], 14);
        for (i, buffer) in rig.buffers().iter().enumerate() {
            let Some(meta) = meta(buffer) else {
                assert_eq!(i % 5, 4, "frame {i} is in no window");
                continue;
            };
            assert_eq!((meta.window, meta.frame as usize), (i as u64 / 5, i % 5));
            let report = &reports[i / 5];
            assert_eq!(meta.keyframe, list(report, "keyframes").contains(&(i % 5)));
            assert_eq!(report["success"], meta.success);
            let weight = report["weights"][i % 5].as_f64().expect("a weight");
            // Numbers from text may differ in the last bit.
            assert!((weight - meta.weight).abs() < 1e-12);
        }
    });
}

/// READY is enough to choose another file; what each file holds is one run.
#[test]
fn another_report_after_ready() {
    guarded(60, || {
        let model = good(Good::default());
        let (first, second) = (model.beside("1.jsonl"), model.beside("2.jsonl"));
        let rig = Rig::new(&model, &[("report-location", &first)]);
        let info = rgb();
        for (location, windows) in [(&first, 2), (&second, 1)] {
            assert!(rig.element.set_state(gst::State::Ready).is_ok());
            rig.element.set_property("report-location", location);
            rig.play();
            rig.begin(&info);
            rig.feed((0..4 * windows).map(|i| frame(&info, i)));
            rig.first_reports(windows as usize);
            // Growing: the stream has not ended.
            let file = gstsparseadv::files::open_growing(location.as_ref());
            let text = std::io::read_to_string(file.expect("a report")).expect("text");
            assert_eq!(text.lines().count(), windows as usize, "{location}");
        }
    });
}
