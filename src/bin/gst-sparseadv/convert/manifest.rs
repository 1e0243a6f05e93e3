// SPDX-License-Identifier: MPL-2.0

//! The manifest of a converted tree: a row a clip, a row a window and a row a class, as CSV and as JSON lines. Made
//! anew from the records, in the order of the clips' names, so that it does not depend on who converted which clip
//! when. What differs from run to run, the times, lies apart.

use std::collections::BTreeMap;
use std::path::Path;

use gstsparseadv::tally::Tally;
use gstsparseadv::window::report::WindowReport;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::record::{Outcome, Record, Settings};

/// A part of a tree, `index` of `count`, from 1.
pub type Shard = Option<(usize, usize)>;

/// Fields of a window's report that are not in its row: what made it stands in the row's last columns, its time in
/// another file.
const NOT_IN_ROWS: [&str; 9] =
    ["seconds", "format", "model", "model_sha256", "input", "settings", "plugin", "libtorch", "gstreamer"];

/// The files that are written beside the videos; `part` is empty, or names a shard.
pub fn names(part: &str) -> [String; 5] {
    let csv = |name: &str| format!("{name}{part}.csv");
    [
        format!("manifest{part}.jsonl"),
        csv("manifest-clips"),
        csv("manifest-windows"),
        csv("manifest-classes"),
        csv("timings"),
    ]
}

/// The row of all classes together.
pub const ALL: &str = "(all)";

/// Writes `manifest.jsonl`, `manifest-clips.csv`, `manifest-windows.csv`, `manifest-classes.csv` and `timings.csv`,
/// with the shard's number in their names.
pub fn write(root: &Path, shard: Shard, settings: &Settings, records: &[Record]) -> anyhow::Result<()> {
    let part = shard.map_or(String::new(), |(i, n)| format!(".{i}-of-{n}"));
    let made = settings_columns(settings);
    let clips: Vec<Value> = records.iter().map(|r| clip_row(r, &made)).collect();
    let windows: Vec<Value> = records.iter().flat_map(|r| window_rows(r, &made)).collect();
    let classes: Vec<Value> = classes(records).iter().map(|(class, tally)| class_row(class, tally)).collect();
    let mut lines = String::new();
    for (kind, rows) in [("clip", &clips), ("window", &windows), ("class", &classes)] {
        for row in rows {
            let mut line = json!({ "kind": kind });
            for (key, value) in row.as_object().into_iter().flatten() {
                line[key] = value.clone();
            }
            lines += &format!("{line}\n");
        }
    }
    let timings: Vec<Value> = records.iter().filter_map(timing_row).collect();
    let tables = [&clips, &windows, &classes, &timings].map(|rows| csv(rows));
    let contents = std::iter::once(Ok(lines.into_bytes())).chain(tables);
    for (name, bytes) in names(&part).iter().zip(contents) {
        super::record::write_whole(&root.join(name), &bytes?)?;
    }
    Ok(())
}

/// What the windows of a record come to.
pub fn tally(record: &Record) -> Tally {
    let mut tally = Tally::default();
    for window in windows(record) {
        tally.add(window.labels());
    }
    tally
}

/// What the windows of each class come to, and at last those of all.
pub fn classes(records: &[Record]) -> Vec<(String, Tally)> {
    let mut of_class: BTreeMap<&str, Tally> = BTreeMap::new();
    let mut all = Tally::default();
    for record in records {
        let tally = tally(record);
        of_class.entry(&record.class).or_default().merge(&tally);
        all.merge(&tally);
    }
    let classes = of_class.into_iter().map(|(class, tally)| (class.to_string(), tally));
    classes.chain([(ALL.to_string(), all)]).collect()
}

fn windows(record: &Record) -> &[WindowReport] {
    match &record.outcome {
        Outcome::Converted { windows, .. } => windows,
        Outcome::Skipped { .. } | Outcome::Missing { .. } => &[],
    }
}

fn clip_row(record: &Record, made: &Map<String, Value>) -> Value {
    let windows = windows(record);
    let (mut output, mut bytes, mut frames, mut reason) = (Value::Null, 0, 0, Value::Null);
    let mut said = Value::Null;
    let status = match &record.outcome {
        Outcome::Converted { output: path, bytes: b, frames: f, notes, .. } => {
            said = json!((!notes.is_empty()).then(|| notes.join("; ")));
            output = json!(path);
            (bytes, frames) = (*b, *f);
            "converted"
        }
        Outcome::Skipped { reason: r } => {
            reason = json!(r);
            "skipped"
        }
        Outcome::Missing { reason: r } => {
            reason = json!(r);
            "missing"
        }
    };
    let sum = |of: fn(&WindowReport) -> u64| windows.iter().map(of).sum::<u64>();
    let map: f64 = windows.iter().map(|w| w.map).sum();
    let mut row = Map::new();
    row.insert("clip".into(), json!(record.clip));
    row.insert("class".into(), json!(record.class));
    row.insert("status".into(), json!(status));
    row.insert("reason".into(), reason);
    row.insert("notes".into(), said);
    row.insert("output".into(), output);
    row.insert("bytes".into(), json!(bytes));
    row.insert("frames".into(), json!(frames));
    row.extend(tally_columns(&tally(record)));
    row.insert("queries".into(), json!(sum(|w| w.queries.into())));
    row.insert("codec_runs".into(), json!(sum(|w| w.codec_runs.into())));
    row.insert("perturbed_frames".into(), json!(sum(|w| w.perturbed_frames as u64)));
    // The mean over all windows, attacked or not: how far the file is from the clip.
    row.insert("map".into(), json!((!windows.is_empty()).then(|| map / windows.len() as f64)));
    row.extend(made.clone());
    Value::Object(row)
}

fn window_rows(record: &Record, made: &Map<String, Value>) -> Vec<Value> {
    let row = |window: &WindowReport| {
        let mut row = Map::new();
        row.insert("clip".into(), json!(record.clip));
        row.insert("class".into(), json!(record.class));
        row.extend(object(window));
        row.retain(|key, _| !NOT_IN_ROWS.contains(&key.as_str()));
        row.extend(made.clone());
        Value::Object(row)
    };
    windows(record).iter().map(row).collect()
}

fn class_row(class: &str, tally: &Tally) -> Value {
    let mut row = Map::new();
    row.insert("class".into(), json!(class));
    row.extend(tally_columns(tally));
    Value::Object(row)
}

/// Counts and rates. Without the ground truth both accuracies are empty.
fn tally_columns(tally: &Tally) -> Map<String, Value> {
    let mut columns = object(tally);
    columns.insert("clean_accuracy".into(), json!(tally.clean_accuracy()));
    columns.insert("robust_accuracy".into(), json!(tally.robust_accuracy()));
    columns.insert("fooling_rate".into(), json!(tally.fooling_rate()));
    columns
}

fn timing_row(record: &Record) -> Option<Value> {
    let Outcome::Converted { windows, seconds, .. } = &record.outcome else {
        return None;
    };
    let attack: f64 = windows.iter().map(|w| w.seconds).sum();
    Some(json!({ "clip": record.clip, "seconds": seconds, "attack_seconds": attack }))
}

fn settings_columns(settings: &Settings) -> Map<String, Value> {
    object(settings)
}

fn object(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// Rows with the same keys. Lists are written with spaces between.
fn csv(rows: &[Value]) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let keys: Vec<&String> =
        rows.first().and_then(Value::as_object).map(|row| row.keys().collect()).unwrap_or_default();
    if !keys.is_empty() {
        writer.write_record(&keys)?;
    }
    for row in rows {
        writer.write_record(keys.iter().map(|key| cell(&row[key.as_str()])))?;
    }
    Ok(writer.into_inner()?)
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(" "),
        value => value.to_string(),
    }
}
