// SPDX-License-Identifier: MPL-2.0

//! The tables of `examples/fields.md`, made from the types.

use gstsparseadv::element::fields::{Field, Record};
use gstsparseadv::{clipclassifier, sparseadv};

use crate::out::outln;

const HEAD: &str = "# Fields of messages, reports and metas

This page is written by a program, from the types in the source: `gst-sparseadv fields`.

- A JSON line has the names with underscores. A message, a property and a meta are structures, which have dashes.
- A field with a question mark may be unknown. Then it is `null` in JSON, or left out, and a structure does not have it.
- A message of a window has the JSON line too, in the field `json`.
- Numbers of frames in a window count the frames that the model sees, from 0.
- Gray levels are those of the model's view, from 0 to 255. Means are over all its pixels, channels and frames.";

pub fn run() {
    outln!("{HEAD}");
    for record in sparseadv::records().iter().chain(&clipclassifier::records()) {
        let lines = if record.in_reports { ", and a line of `report-location`" } else { "" };
        outln!("\n## {}\n\n{}{lines}.\n", record.name, record.about);
        outln!("{}", table(record));
    }
}

fn table(record: &Record) -> String {
    let head = if record.in_reports {
        "| JSON | message | type in JSON | type in a message | unit | meaning |\n|---|---|---|---|---|---|"
    } else {
        "| field | type | unit | meaning |\n|---|---|---|---|"
    };
    let rows = record.fields.iter().map(|field| row(field, record.in_reports));
    [head.to_owned()].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

fn row(field: &Field, in_reports: bool) -> String {
    let Field { name, json_type, structure_type, unit, meaning, .. } = field;
    let (mark, unit) = (if field.optional { "?" } else { "" }, unit.as_deref().unwrap_or(""));
    let dashed = name.replace('_', "-");
    if in_reports {
        return format!("| `{name}` | `{dashed}` | {json_type}{mark} | {structure_type}{mark} | {unit} | {meaning} |");
    }
    format!("| `{dashed}` | {structure_type}{mark} | {unit} | {meaning} |")
}
