// SPDX-License-Identifier: MPL-2.0

//! How an attack's windows are found again behind it, by its report and by metas.

use std::fs;

use serde_json::Value;

use crate::common::guarded;
use crate::common::models::{Good, ModelFile, good};
use crate::common::pipeline::run;
use crate::{FRAMES, RGB, play, source};

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
