// SPDX-License-Identifier: MPL-2.0

//! What is said about each window, and whether it is true: messages, the report file, totals, and the labels by an
//! independent judge.

use gst::prelude::*;
use serde_json::Value;

use crate::common::frames::{FRAME, bytes, frame, rgb};
use crate::common::guarded;
use crate::common::models::{Good, LABELS, ModelFile, good};
use crate::common::oracle::{Cut, list, meta, number, real, reports, reports_in, windows};
use crate::common::rig::Rig;

/// The bytes of each frame.
type Frames = Vec<Vec<u8>>;

/// Runs `n` frames; returns those given and come as bytes, the rig, stopped, and the reports.
fn run(model: &ModelFile, properties: &[(&str, &str)], n: u64) -> (Frames, Frames, Rig, Vec<Value>) {
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

fn pick(frames: &[Vec<u8>], window: &[usize]) -> Vec<Vec<u8>> {
    window.iter().map(|i| frames[*i].clone()).collect()
}

const KEYS: [&str; 20] = [
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

/// The judge is libtorch on the pushed bytes; at 16 x 16 RGB they are the model's view.
fn judged(variant: Good, cut: Cut, n: u64, properties: &[(&str, &str)]) -> Vec<Value> {
    let model = good(variant);
    let (step, stride) = (cut.step.to_string(), cut.stride.to_string());
    let mut all = vec![("frame-step", step.as_str()), ("stride", &stride)];
    all.extend_from_slice(properties);
    let (given, came, _, reports) = run(&model, &all, n);
    let windows = windows(n as usize, cut);
    assert_eq!(reports.len(), windows.len());
    for (window, report) in windows.iter().zip(&reports) {
        let clean = model.label(&pick(&given, window));
        let fooled = model.label(&pick(&came, window));
        assert_eq!(report["clean_label_name"], LABELS[clean], "{report}");
        assert_eq!(number(report, "clean_label") as usize, clean, "{report}");
        assert_eq!(number(report, "final_label") as usize, fooled, "{report}");
        assert_eq!(report["final_label_name"], LABELS[fooled], "{report}");
        let target = report["target_label"].as_u64().map(|t| t as usize);
        let success = target.map_or(fooled != clean, |target| fooled == target);
        assert_eq!(report["success"], success, "{report}");
    }
    reports
}

fn fooled(reports: &[Value]) -> usize {
    reports.iter().filter(|r| r["success"] == true).count()
}

const SIDE_BY_SIDE: Cut = Cut { window: 4, step: 1, stride: 0, pad: true };

#[test]
fn success_is_true() {
    guarded(60, || {
        let reports = judged(Good::default(), SIDE_BY_SIDE, 30, &[]);
        assert!(fooled(&reports) >= 7, "{} of 8", fooled(&reports));
    });
}

#[test]
fn failure_is_true() {
    guarded(60, || {
        let tight = [("epsilon", "0.6"), ("keyframes", "fixed:1"), ("grow-after", "0")];
        let reports = judged(Good::default(), SIDE_BY_SIDE, 22, &tight);
        assert!(fooled(&reports) < reports.len(), "half a gray level did it");
    });
}

#[test]
fn success_is_true_of_a_recurrent_layout_and_a_sidecar() {
    guarded(60, || {
        let variant = Good { btchw: true, sidecar: true, features: false, ..Good::default() };
        let reports = judged(variant, SIDE_BY_SIDE, 11, &[]);
        assert!(fooled(&reports) >= 2);
    });
}

#[test]
fn success_is_true_of_spread_windows() {
    guarded(60, || {
        let cut = Cut { step: 2, ..SIDE_BY_SIDE };
        assert!(fooled(&judged(Good::default(), cut, 27, &[])) >= 3);
    });
}

/// A later window may change the frames of an earlier one, so each is judged when its last frame has left.
fn overlapping(stride: usize) {
    guarded(60, move || {
        let cut = Cut { stride, ..SIDE_BY_SIDE };
        let reports = judged(Good::default(), cut, 23, &[]);
        // What one window does must not undo what another did.
        let fooled = fooled(&reports);
        assert!(fooled * 4 >= reports.len() * 3, "{fooled} fooled");
    });
}

#[test]
fn success_is_true_of_windows_that_overlap_by_half() {
    overlapping(2);
}

#[test]
fn success_is_true_of_windows_one_apart() {
    overlapping(1);
}

#[test]
fn success_is_true_of_windows_three_apart() {
    overlapping(3);
}

#[test]
fn the_target_is_reached_by_name_and_by_index() {
    guarded(60, || {
        for target in [LABELS[2], "2"] {
            let reports = judged(Good::default(), SIDE_BY_SIDE, 16, &[("target-label", target)]);
            assert!(fooled(&reports) >= 3, "{}", fooled(&reports));
            assert!(reports.iter().all(|r| r["target_label"] == 2));
        }
    });
}

/// Measured against the given label, a window that the model errs on by itself is none to attack.
#[test]
fn a_given_label_counts() {
    guarded(60, || {
        let model = good(Good::default());
        let (given, _, _, reports) = run(&model, &[], 4);
        let clean = number(&reports[0], "clean_label") as usize;
        let other = LABELS[(clean + 1) % LABELS.len()];
        let (_, came, rig, reports) = run(&model, &[("label", other)], 4);
        assert_eq!(came, given, "a window with another label was attacked");
        assert_eq!(reports[0]["already_fooled"], true);
        assert_eq!(reports[0]["success"], Value::Null);
        let stats = rig.stats();
        assert_eq!(stats.get::<u64>("already-fooled"), Ok(1));
        assert!(!stats.has_field("fooling-rate"), "it counts in no rate: {stats}");
        let (_, came, _, reports) = run(&model, &[("label", LABELS[clean])], 4);
        assert_ne!(came, given);
        assert_eq!(reports[0]["label"], clean);
        assert_eq!(reports[0]["success"], true);
        assert_eq!(reports[0]["already_fooled"], false);
        assert_ne!(model.label(&came), clean);
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
            let mut l21 = 0.0;
            for i in w * 4..w * 4 + 4 {
                let difference = |(a, b): (&u8, &u8)| f64::from(a.abs_diff(*b));
                let d: Vec<f64> = given[i].iter().zip(&came[i]).map(difference).collect();
                sum += d.iter().sum::<f64>();
                max = d.iter().fold(max, |m, v| m.max(*v));
                l21 += d.iter().map(|v| v * v).sum::<f64>().sqrt();
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
