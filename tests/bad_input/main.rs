// SPDX-License-Identifier: MPL-2.0

//! Whatever is wrong with a model, a property or a stream becomes an error message that says what was expected, what
//! was found and what to do. Nothing panics, hangs or takes the process along, and what was put right works.

#[path = "../common/mod.rs"]
mod common;

mod agents;
mod files;
mod inputs;
mod models;
mod properties;
mod stream;

use gst::prelude::*;
use tch::Tensor;

use common::frames::{frame, rgb};
use common::models::{CLASSES, Good, ModelFile, SIDE, good, plain_metadata, traced, weights};
use common::rig::Rig;

/// Has the element refuse to start, and its message contain all of `words`; then shows that it starts with all put
/// right. Returns the message.
fn refused(model: &ModelFile, properties: &[(&str, &str)], words: &[&str]) -> String {
    let rig = Rig::idle(model, properties);
    refused_by(&rig, words)
}

fn refused_by(rig: &Rig, words: &[&str]) -> String {
    let started = rig.element.set_state(gst::State::Paused);
    let errors = rig.errors();
    assert!(started.is_err(), "it started in spite of {words:?}");
    assert_eq!(errors.len(), 1, "{errors:?}");
    println!("{}", errors[0]);
    tells(&errors[0], words);
    // The same element, put right.
    assert!(rig.element.set_state(gst::State::Null).is_ok());
    let right = good(Good::default());
    rig.element.set_property("model", right.location());
    for property in ["label", "target-label", "report-location", "region", "donors", "surrogate"] {
        rig.element.set_property(property, None::<&str>);
    }
    for (property, value) in [("access", "gradient"), ("search", "walk"), ("mode", "window")] {
        rig.element.set_property_from_str(property, value);
    }
    for (property, value) in [("device", "auto"), ("keyframes", "gradient")] {
        rig.element.set_property(property, value);
    }
    rig.element.set_property("window-size", 0u32);
    rig.play();
    rig.begin(&rgb());
    rig.feed((0..4).map(|i| frame(&rgb(), i)));
    rig.finish();
    assert_eq!(rig.buffers().len(), 4);
    errors[0].clone()
}

fn tells(message: &str, words: &[&str]) {
    let text = message.to_lowercase();
    for word in words {
        assert!(text.contains(&word.to_lowercase()), "nothing of {word:?} in: {message}");
    }
    assert!(!text.contains("panic"), "{message}");
}

/// A linear classifier, `wrap` makes of its logits and input what it returns.
fn linear(wrap: impl Fn(Tensor, &Tensor) -> Vec<Tensor>) -> ModelFile {
    let matrix = weights(3, &[3 * 4 * (SIDE * SIDE) as i64, CLASSES as i64], 0.1);
    traced(4, false, |x| wrap(x.flatten(1, -1).matmul(&matrix), x))
}

fn plain(model: ModelFile) -> ModelFile {
    model.with_metadata(&plain_metadata(4).to_string())
}
