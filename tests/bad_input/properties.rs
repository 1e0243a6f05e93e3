// SPDX-License-Identifier: MPL-2.0

//! Properties that do not fit the model or the machine.

use serde_json::json;

use crate::common::frames::{frame, rgb};
use crate::common::guarded;
use crate::common::models::{Good, good, pictures, traced_with, weights};
use crate::common::rig::Rig;
use crate::{linear, plain, refused, refused_by};

#[test]
fn no_model() {
    guarded(60, || {
        let rig = Rig::build(None, &[], None);
        refused_by(&rig, &["expected", "model property", "found none", "set model="]);
    });
}

#[test]
fn labels_that_are_none() {
    guarded(60, || {
        let model = good(Good::default());
        for property in ["label", "target-label"] {
            let words = [property, "expected", "below the model's 4", "found 4"];
            refused(&model, &[(property, "4")], &words);
            let words = [property, "expected", "walk, run, jump, wave", "found swim"];
            refused(&model, &[(property, "swim")], &words);
        }
        let nameless = plain(linear(|logits, _| vec![logits]));
        refused(&nameless, &[("label", "walk")], &["expected", "names no labels", "found walk"]);
    });
}

#[test]
fn keyframes_that_are_none() {
    guarded(60, || {
        let model = good(Good::default());
        for keyframes in ["best", "fixed:0", "fixed:many", "all:3", "gradient:sideways", "1,-2", ""] {
            let words = ["keyframes property", "expected", "gradient:features", "found", keyframes];
            refused(&model, &[("keyframes", keyframes)], &words);
        }
        for (keyframes, found) in [("0,4", "4"), ("fixed:5", "5"), ("random:9", "9")] {
            let words = ["keyframes property", "at most", "window of 4", "found", found];
            refused(&model, &[("keyframes", keyframes)], &words);
        }
    });
}

#[test]
fn a_report_that_cannot_be_written() {
    guarded(60, || {
        let model = good(Good::default());
        let nowhere = model.beside("missing/report.jsonl");
        let words = ["expected", "report-location", "missing", "no such file", "another place"];
        refused(&model, &[("report-location", &nowhere)], &words);
        // A disk that fills up is no reason to stop a stream.
        let rig = Rig::new(&model, &[("report-location", "/dev/full")]);
        rig.begin(&rgb());
        rig.feed((0..9).map(|i| frame(&rgb(), i)));
        rig.finish();
        assert_eq!(rig.buffers().len(), 9);
        let messages = rig.messages();
        let warnings = messages.iter().filter(|m| m.type_() == gst::MessageType::Warning);
        assert_eq!(warnings.count(), 1);
        assert!(!messages.iter().any(|m| m.type_() == gst::MessageType::Error));
    });
}

#[test]
fn devices_that_are_not_there() {
    guarded(60, || {
        let model = good(Good::default());
        let words = ["expected a device", "auto, cpu, cuda", "found gpu", "device property"];
        refused(&model, &[("device", "gpu")], &words);
        let words = ["expected the device cuda:99", "found", "use device=auto"];
        refused(&model, &[("device", "cuda:99")], &words);
    });
}

#[test]
fn a_black_box_that_is_none() {
    guarded(60, || {
        let model = good(Good::default());
        let of = |set: &[(&str, &str)], words: &[&str]| refused(&model, set, words);
        of(&[("access", "scores")], &["search property", "access=scores", "found walk", "access=gradient"]);
        of(
            &[("access", "label"), ("search", "v-bad")],
            &["search property", "access=label", "found v-bad", "access=scores"],
        );
        let gradient = [("search", "v-bad"), ("keyframes", "gradient")];
        of(&gradient, &["keyframes property", "access=logits", "found gradient", "access=gradient"]);
        let heuristic = [("access", "label"), ("search", "opt"), ("keyframes", "heuristic:2")];
        of(&heuristic, &["keyframes property", "access=label", "found heuristic:2", "access=scores"]);
        of(&[("search", "squares"), ("keyframes", "deletion")], &["keyframes property", "opt", "found squares"]);
        of(&[("keyframes", "deletion")], &["keyframes property", "opt", "found walk"]);
        of(&[("search", "squares"), ("region", "salient")], &["region property", "opt", "found squares"]);
        of(&[("search", "opt"), ("region", "salient:2")], &["region property", "(0, 1]", "found salient:2"]);
        of(&[("search", "squares"), ("mode", "causal")], &["mode=window", "gradients"]);
        of(&[("search", "opt"), ("donors", "/nowhere")], &["donors property", "folder", "/nowhere"]);
        let beside = model.beside("empty");
        std::fs::create_dir(&beside).unwrap();
        of(&[("search", "opt"), ("donors", &beside)], &["donors property", "folder", "found none in 0 files"]);
    });
}

#[test]
fn a_surrogate_that_is_none() {
    guarded(60, || {
        let model = good(Good::default());
        refused(&model, &[("search", "i2v")], &["expected a surrogate", "found none", "surrogate property"]);
        let of = |file: &str, words: &[&str]| {
            for search in ["i2v", "v-bad"] {
                refused(&model, &[("search", search), ("surrogate", file)], words);
            }
        };
        of("/nowhere.pt", &["surrogate property", "/nowhere.pt", "torchscript archive"]);
        let text = model.beside("text.pt");
        std::fs::write(&text, "no model").unwrap();
        of(&text, &["surrogate property", "expected a torchscript archive", "text.pt"]);
        let longer = good(Good { window: 6, ..Good::default() });
        of(longer.location(), &["surrogate property", "windows of 4 frames", "found one of 6 frames"]);
        // What is a surrogate is none that can be attacked.
        refused(&pictures(), &[], &["metadata", "layout", "bchw", "pictures"]);
    });
}

#[test]
fn a_surrogate_without_a_slope() {
    guarded(60, || {
        let model = good(Good::default());
        let gray = json!({ "layout": "BCHW", "resize": [16, 16], "crop": [16, 16] }).to_string();
        let input = weights(9, &[1, 3, 16, 16], 0.5);
        let of = |net: fn(&tch::Tensor) -> tch::Tensor, words: &[&str]| {
            let file = traced_with(&[input.shallow_clone()], |inputs| vec![net(&inputs[0])]).with_metadata(&gray);
            refused(&model, &[("search", "i2v"), ("surrogate", file.location())], words);
        };
        of(|x| x.detach().mean_dim([2i64, 3].as_slice(), false, tch::Kind::Float), &["surrogate property", "gradient"]);
        of(|x| x.mean_dim([2i64, 3].as_slice(), false, tch::Kind::Float) / 0.0, &["surrogate property", "finite"]);
        of(|x| x.sum(tch::Kind::Float), &["surrogate property", "that returns"]);
    });
}
