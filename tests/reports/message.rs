// SPDX-License-Identifier: MPL-2.0

//! A window's record in its two forms: every field of the JSON line is in the element message, and a line is read back
//! as the record that it was.

use std::collections::BTreeMap;

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

/// The types that `examples/fields.md` gives the fields of a message, by their names.
fn documented(message: &str) -> BTreeMap<String, String> {
    let page = include_str!("../../examples/fields.md");
    let part = page.split("\n## ").find(|part| part.lines().next() == Some(message)).expect("a table");
    let rows = part.lines().filter(|line| line.starts_with("| `")).map(|line| line.split('|').map(str::trim));
    let rows = rows.map(|cells| cells.collect::<Vec<_>>());
    rows.map(|cells| (cells[2].trim_matches('`').to_owned(), cells[4].trim_end_matches('?').to_owned())).collect()
}

/// Whether a structure has just the fields of the page that are known, of the types that it says.
fn is_as_documented(structure: &gst::Structure) {
    let documented = documented(structure.name());
    let own = structure.iter().filter(|(name, _)| *name != "json");
    let mut found = 0;
    for (name, value) in own {
        let told = documented.get(name.as_str()).unwrap_or_else(|| panic!("examples/fields.md has no {name}"));
        assert_eq!(told.split(" of ").next(), Some(value.type_().name()), "{name}");
        found += 1;
    }
    assert!(found > 10, "{structure}");
}

#[test]
fn every_field_of_a_line_is_in_its_message_and_is_read_back() {
    guarded(60, || {
        let attacked = both_forms::<window::report::WindowReport>("sparseadv max-iterations=20");
        is_as_documented(&attacked);
        assert_eq!(attacked.get::<u64>("first-frame"), Ok(0));
        assert_eq!(attacked.get::<u32>("frames"), Ok(4));
        assert!(attacked.get::<u32>("codec-runs").is_ok() && attacked.get::<f64>("map-float").is_ok(), "{attacked}");
        let settings = attacked.get::<gst::Structure>("settings").expect("settings");
        assert_eq!(settings.get::<&str>("label"), Ok("run"));
        let classified = both_forms::<clipclassifier::report::WindowReport>("clipclassifier");
        is_as_documented(&classified);
        assert!(classified.get::<u32>("label").is_ok() && classified.get::<u64>("window").is_ok(), "{classified}");
        assert_eq!(classified.get::<gst::Array>("probabilities").map(|p| p.len()), Ok(LABELS.len()));
    });
}
