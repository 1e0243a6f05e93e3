// SPDX-License-Identifier: MPL-2.0

//! Models that cannot be attacked.

use serde_json::json;
use tch::{Kind, Tensor};

use crate::common::guarded;
use crate::common::models::{Good, SIDE, good};
use crate::{linear, plain, refused};

#[test]
fn the_wrong_input_size() {
    guarded(60, || {
        let metadata = json!({ "window": 4, "resize": [24, 24], "crop": [24, 24] });
        let model = good(Good::default()).with_sidecar(&metadata.to_string());
        let remedy = ["refuses its input", "correct window, layout, resize or crop"];
        refused(&model, &[], &[remedy[0], "[1, 3, 4, 24, 24]", remedy[1]]);
        // No metadata at all: C3D's values.
        let bare = linear(|logits, _| vec![logits]);
        refused(&bare, &[], &[remedy[0], "[1, 3, 16, 112, 112]", remedy[1]]);
        let model = good(Good::default());
        refused(&model, &[("window-size", "7")], &[remedy[0], "window-size", "[1, 3, 7, 16, 16]"]);
    });
}

#[test]
fn logits_of_the_wrong_shape() {
    guarded(60, || {
        let words = |shape| ["expected logits", "[1, classes]", shape, "must return the logits"];
        let flat = plain(linear(|logits, _| vec![logits.view([-1])]));
        refused(&flat, &[], &words("[4]"));
        let two = plain(linear(|logits, _| vec![logits.view([2, 2])]));
        refused(&two, &[], &words("[2, 2]"));
        let one = plain(linear(|logits, _| vec![logits.narrow(1, 0, 1)]));
        refused(&one, &[], &words("[1, 1]"));
        let none = plain(linear(|logits, _| vec![logits.sum(Kind::Float)]));
        refused(&none, &[], &words("[]"));
    });
}

#[test]
fn no_gradient() {
    guarded(60, || {
        let words = ["expected", "gradient", "found none", "detaches"];
        refused(&plain(linear(|logits, _| vec![logits.detach()])), &[], &words);
        refused(&plain(linear(|logits, _| vec![logits.to_kind(Kind::Int64)])), &[], &words);
        // Constants: a graph that the input is no part of.
        let constant = plain(linear(|logits, _| vec![logits.detach() * 0.0 + 1.0]));
        refused(&constant, &[], &words);
    });
}

#[test]
fn features_off_the_path() {
    guarded(60, || {
        let words = ["features", "not on the path", "return"];
        let map = |x: &Tensor| x * 2.0;
        let detached = plain(linear(|logits, x| vec![logits, map(x).detach()]));
        refused(&detached, &[], &words);
        let copied = plain(linear(|logits, x| vec![logits, map(x).copy()]));
        refused(&copied, &[], &words);
    });
}

#[test]
fn features_of_no_known_shape() {
    guarded(60, || {
        let metadata = json!({ "window": 4, "resize": [SIDE, SIDE], "crop": [SIDE, SIDE], "feature_layout": "BTD" });
        let model = good(Good::default()).with_sidecar(&metadata.to_string());
        refused(&model, &[], &["expected features", "btd", "found [1, 4, 4, 7, 7]", "feature_layout"]);
        let bare = good(Good { features: false, ..Good::default() });
        let wanted = [("keyframes", "gradient:features")];
        refused(&bare, &wanted, &["expected", "feature map", "use keyframes=gradient"]);
    });
}

#[test]
fn not_a_number_on_black() {
    guarded(60, || {
        let model = plain(linear(|logits, x| vec![logits + (x.mean(Kind::Float) - 0.1).log()]));
        refused(&model, &[], &["expected finite logits", "nan", "black", "mean, std and range"]);
    });
}
