// SPDX-License-Identifier: MPL-2.0

//! A window's record in its two forms: every field of the JSON line is in the element message, and a line is read back
//! as the record that it was.

use gst::prelude::*;
use gst_check::Harness;
use gstsparseadv::{clipclassifier, window};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::common::frames::{frame, rgb};
use crate::common::guarded;
use crate::common::models::{Good, LABELS, good};

/// The message of an element's first window.
fn message(element: &str) -> gst::Structure {
    let model = good(Good::default());
    let mut harness = Harness::new_parse(&format!("{element} model={} label=run", model.location()));
    let bus = gst::Bus::new();
    harness.element().expect("an element").set_bus(Some(&bus));
    let info = rgb();
    harness.set_src_caps(info.to_caps().expect("caps"));
    for k in 0..4 {
        assert!(harness.push(frame(&info, k)).is_ok());
    }
    harness.push_event(gst::event::Eos::new());
    while harness.pull_event().expect("an end of the stream").type_() != gst::EventType::Eos {}
    let messages = std::iter::from_fn(|| bus.pop());
    let structures = messages.filter_map(|m| m.structure().map(|s| s.to_owned()));
    structures.into_iter().find(|s| s.name().ends_with("-window")).expect("a window")
}

fn both_forms<T: Serialize + DeserializeOwned>(element: &str) -> gst::Structure {
    let structure = message(element);
    let line = structure.get::<&str>("json").expect("a line");
    let fields: Map<String, Value> = serde_json::from_str(line).expect("JSON");
    for (key, value) in &fields {
        assert_eq!(structure.has_field(key.replace('_', "-")), !value.is_null(), "{key} of {structure}");
    }
    let record: T = serde_json::from_str(line).expect("a record");
    assert_eq!(serde_json::to_string(&record).expect("JSON"), line);
    structure
}

#[test]
fn every_field_of_a_line_is_in_its_message_and_is_read_back() {
    guarded(60, || {
        let attacked = both_forms::<window::report::WindowReport>("sparseadv max-iterations=20");
        assert_eq!(attacked.get::<u64>("first-frame"), Ok(0));
        assert_eq!(attacked.get::<u32>("frames"), Ok(4));
        assert!(attacked.get::<u32>("codec-runs").is_ok() && attacked.get::<f64>("map-float").is_ok(), "{attacked}");
        let settings = attacked.get::<gst::Structure>("settings").expect("settings");
        assert_eq!(settings.get::<&str>("label"), Ok("run"));
        let classified = both_forms::<clipclassifier::report::WindowReport>("clipclassifier");
        assert!(classified.get::<u32>("label").is_ok() && classified.get::<u64>("window").is_ok(), "{classified}");
        assert_eq!(classified.get::<gst::Array>("probabilities").map(|p| p.len()), Ok(LABELS.len()));
    });
}
