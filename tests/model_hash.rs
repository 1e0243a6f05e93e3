// SPDX-License-Identifier: MPL-2.0

//! `model-sha256`: no other file is loaded than the one that was looked at.

mod common;

use common::frames::{frame, rgb};
use common::guarded;
use common::models::{Good, good};
use common::rig::Rig;
use gst::prelude::*;

#[test]
fn the_right_file_is_attacked_in_either_case() {
    guarded(60, || {
        let model = good(Good::default());
        let hash = gstsparseadv::provenance::sha256(&model.path).expect("a hash");
        for hash in [hash.clone(), hash.to_uppercase()] {
            let rig = Rig::new(&model, &[("model-sha256", &hash)]);
            rig.begin(&rgb());
            rig.feed((0..4).map(|n| frame(&rgb(), n)));
            rig.finish();
            assert_eq!(rig.stats().get::<u64>("fooled"), Ok(1));
        }
    });
}

#[test]
fn any_other_file_is_refused() {
    guarded(60, || {
        let (model, other) = (good(Good::default()), good(Good { features: false, ..Good::default() }));
        let hash = gstsparseadv::provenance::sha256(&other.path).expect("a hash");
        for element in ["sparseadv", "clipclassifier"] {
            for (set, expected) in [(hash.as_str(), "It was not loaded"), ("abc", "64 hexadecimal digits")] {
                let element = gst::ElementFactory::make(element).property("model", model.location());
                let element = element.property("model-sha256", set).build().expect("an element");
                let bus = gst::Bus::new();
                element.set_bus(Some(&bus));
                assert!(element.set_state(gst::State::Ready).is_err());
                let message = bus.pop_filtered(&[gst::MessageType::Error]).expect("an error");
                let gst::MessageView::Error(error) = message.view() else { panic!("{message:?}") };
                let text = error.error().to_string();
                assert!(text.contains(expected) && text.contains(set), "{text}");
                assert!(element.set_state(gst::State::Null).is_ok());
            }
        }
        // One that is none at all is not read either.
        std::fs::write(&model.path, "no archive").expect("a file");
        let rig = Rig::idle(&model, &[("model-sha256", &hash)]);
        assert!(rig.element.set_state(gst::State::Ready).is_err());
        assert!(rig.errors()[0].contains("It was not loaded"));
    });
}
