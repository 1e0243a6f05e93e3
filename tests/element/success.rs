// SPDX-License-Identifier: MPL-2.0

//! Whether what is said about success is true, by an independent judge.

use serde_json::Value;

use super::report::run;
use crate::common::guarded;
use crate::common::models::{Good, LABELS, good, pictures};
use crate::common::oracle::{Cut, number, windows};

fn pick(frames: &[Vec<u8>], window: &[usize]) -> Vec<Vec<u8>> {
    window.iter().map(|i| frames[*i].clone()).collect()
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

pub fn fooled(reports: &[Value]) -> usize {
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
        let tight = [("epsilon", "1"), ("keyframes", "fixed:1"), ("grow-after", "0")];
        let reports = judged(Good::default(), SIDE_BY_SIDE, 22, &tight);
        assert!(fooled(&reports) < reports.len(), "one gray level in one frame did it");
    });
}

/// Each with no more than it needs to be told, and within its queries.
#[test]
fn success_is_true_of_a_black_box() {
    guarded(120, || {
        let pictures = pictures();
        let searches =
            [("squares", "scores"), ("v-bad", "scores"), ("opt", "label"), ("sign-opt", "label"), ("stde", "label")];
        let aided = [("v-bad", "scores", pictures.location()), ("squares", "label", pictures.location())];
        let plain = searches.map(|(search, access)| (search, access, ""));
        for (search, access, surrogate) in plain.into_iter().chain(aided) {
            let common = [("search", search), ("access", access), ("max-queries", "300"), ("seed", "1")];
            let aid = [("surrogate", surrogate)];
            let set: Vec<(&str, &str)> =
                common.into_iter().chain(aid.into_iter().filter(|(_, file)| !file.is_empty())).collect();
            let reports = judged(Good::default(), SIDE_BY_SIDE, 22, &set);
            assert!(fooled(&reports) >= 4, "{search}: {} of 6", fooled(&reports));
            for report in &reports {
                let of = |name: &str| number(report, name);
                let purposes = ["clean", "selection", "start", "search", "confirmation"];
                let sum: u64 = purposes.iter().map(|purpose| of(&format!("queries_{purpose}"))).sum();
                assert_eq!(sum, of("queries"), "{report}");
                assert!(sum <= 300 && of("backwards") == 0, "{report}");
                assert_eq!(report["out_of_queries"] == true, sum == 300, "{report}");
            }
        }
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
