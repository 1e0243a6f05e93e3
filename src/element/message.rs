// SPDX-License-Identifier: MPL-2.0

//! Element messages, properties and metas made of records: a structure has a record's fields, with dashes for
//! underscores. A field that is added to a record is in its message too.

use glib::prelude::*;
use serde::Serialize;
use serde_json::{Map, Value};

/// Fields of a window's record that grow with the stream.
const OF_THE_STREAM: [&str; 5] = ["window", "first_frame", "start_pts", "end_pts", "start_time"];

/// A record as its JSON line.
pub fn json(record: &impl Serialize) -> String {
    // Numbers and strings; there is nothing in it that could fail.
    serde_json::to_string(record).unwrap_or_default()
}

/// The message of one window: its record's fields, and the JSON line as `json`. Whole numbers are `guint64` where they
/// grow with the stream, and `guint` elsewhere. Fields that are not known are left out.
pub fn of_window(name: &str, record: &impl Serialize) -> gst::Structure {
    let mut structure = structure(name, &fields(record), &grows);
    structure.set("json", json(record));
    structure
}

/// Sets a record's fields in a structure, as they are in the message of a window.
pub fn set(structure: &mut gst::StructureRef, record: &impl Serialize) {
    fill(structure, &fields(record), &grows);
}

/// Whether a field of a window's record grows with the stream.
pub fn grows(key: &str) -> bool {
    OF_THE_STREAM.contains(&key)
}

/// The same of many windows, all whole numbers `guint64`.
pub fn of_totals(name: &str, record: &impl Serialize) -> gst::Structure {
    structure(name, &fields(record), &|_| true)
}

fn fields(record: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(record) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

fn structure(name: &str, fields: &Map<String, Value>, is_wide: &dyn Fn(&str) -> bool) -> gst::Structure {
    let mut structure = gst::Structure::new_empty(name);
    fill(&mut structure, fields, is_wide);
    structure
}

fn fill(structure: &mut gst::StructureRef, fields: &Map<String, Value>, is_wide: &dyn Fn(&str) -> bool) {
    for (key, field) in fields {
        if let Some(value) = value(key, field, is_wide) {
            structure.set_value(key.replace('_', "-"), value);
        }
    }
}

fn value(key: &str, field: &Value, is_wide: &dyn Fn(&str) -> bool) -> Option<glib::SendValue> {
    Some(match field {
        Value::Null => return None,
        Value::Bool(known) => known.to_send_value(),
        Value::Number(number) => match number.as_u64() {
            Some(whole) if is_wide(key) => whole.to_send_value(),
            Some(whole) => (whole as u32).to_send_value(),
            None => number.as_f64()?.to_send_value(),
        },
        Value::String(text) => text.to_send_value(),
        Value::Array(items) => {
            gst::Array::from_values(items.iter().filter_map(|item| value(key, item, is_wide))).to_send_value()
        }
        Value::Object(fields) => structure(key, fields, is_wide).to_send_value(),
    })
}
