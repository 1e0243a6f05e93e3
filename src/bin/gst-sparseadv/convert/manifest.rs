// SPDX-License-Identifier: MPL-2.0

//! The manifest of a converted tree: a row a clip and a row a window, as CSV and as JSON lines. Made anew from the records, in the order of
//! the clips' names, so that it does not depend on who converted which clip when. What differs from run to run, the times, lies apart.

use std::path::Path;

use serde_json::{json, Map, Value};

use super::record::{write_whole, Outcome, Record, Settings};

/// A part of a tree, `index` of `count`, from 1.
pub type Shard = Option<(usize, usize)>;

/// Columns of the windows' rows that are the element's report; times are not among them.
const WINDOW: [&str; 28] = [
    "window",
    "first_frame",
    "frames",
    "start_pts",
    "end_pts",
    "label",
    "target_label",
    "clean_label",
    "clean_label_name",
    "clean_probability",
    "final_label",
    "final_label_name",
    "final_probability",
    "success",
    "trivial",
    "queries",
    "forwards",
    "backwards",
    "queries_first_success",
    "iterations",
    "keyframes",
    "perturbed_frames",
    "sparse_rate",
    "map",
    "map_float",
    "map_keyframes",
    "max_abs",
    "l21",
];

/// Writes `manifest.jsonl`, `manifest-clips.csv`, `manifest-windows.csv` and `timings.csv`, with the shard's number in their names.
pub fn write(
    root: &Path,
    shard: Shard,
    settings: &Settings,
    records: &[Record],
) -> anyhow::Result<()> {
    let part = shard.map_or(String::new(), |(i, n)| format!(".{i}-of-{n}"));
    let clips: Vec<Value> = records.iter().map(|r| clip_row(r, settings)).collect();
    let windows: Vec<Value> = records
        .iter()
        .flat_map(|r| window_rows(r, settings))
        .collect();
    let mut lines = String::new();
    for (kind, rows) in [("clip", &clips), ("window", &windows)] {
        for row in rows {
            let mut line = json!({ "kind": kind });
            for (key, value) in row.as_object().into_iter().flatten() {
                line[key] = value.clone();
            }
            lines += &format!("{line}\n");
        }
    }
    let timings: Vec<Value> = records.iter().filter_map(timing_row).collect();
    write_whole(
        &root.join(format!("manifest{part}.jsonl")),
        lines.as_bytes(),
    )?;
    for (name, rows) in [
        ("manifest-clips", &clips),
        ("manifest-windows", &windows),
        ("timings", &timings),
    ] {
        write_whole(&root.join(format!("{name}{part}.csv")), &csv(rows)?)?;
    }
    Ok(())
}

fn clip_row(record: &Record, settings: &Settings) -> Value {
    let (mut status, mut reason, mut output, mut bytes, mut frames) =
        ("converted", Value::Null, Value::Null, 0, 0);
    let mut windows: &[Value] = &[];
    match &record.outcome {
        Outcome::Converted {
            output: path,
            bytes: b,
            frames: f,
            windows: w,
            ..
        } => {
            output = json!(path);
            (bytes, frames, windows) = (*b, *f, w);
        }
        Outcome::Skipped { reason: r } => {
            status = "skipped";
            reason = json!(r);
        }
    }
    let count = |key: &str| windows.iter().filter(|w| w[key] == true).count();
    let sum = |key: &str| windows.iter().filter_map(|w| w[key].as_u64()).sum::<u64>();
    let maps = windows.iter().filter_map(|w| w["map"].as_f64());
    let map = (!windows.is_empty()).then(|| maps.sum::<f64>() / windows.len() as f64);
    let mut row = json!({
        "clip": record.clip,
        "class": record.class,
        "status": status,
        "reason": reason,
        "output": output,
        "bytes": bytes,
        "frames": frames,
        "windows": windows.len(),
        "fooled": count("success"),
        "trivial": count("trivial"),
        "queries": sum("queries"),
        "perturbed_frames": sum("perturbed_frames"),
        "map": map,
    });
    for (key, value) in settings_columns(settings) {
        row[key] = value;
    }
    row
}

fn window_rows(record: &Record, settings: &Settings) -> Vec<Value> {
    let Outcome::Converted { windows, .. } = &record.outcome else {
        return Vec::new();
    };
    let row = |window: &Value| {
        let mut row = Map::new();
        row.insert("clip".into(), json!(record.clip));
        row.insert("class".into(), json!(record.class));
        for key in WINDOW {
            row.insert(key.into(), window[key].clone());
        }
        row.extend(settings_columns(settings));
        Value::Object(row)
    };
    windows.iter().map(row).collect()
}

fn timing_row(record: &Record) -> Option<Value> {
    let Outcome::Converted {
        windows, seconds, ..
    } = &record.outcome
    else {
        return None;
    };
    let attack: f64 = windows.iter().filter_map(|w| w["seconds"].as_f64()).sum();
    Some(json!({ "clip": record.clip, "seconds": seconds, "attack_seconds": attack }))
}

fn settings_columns(settings: &Settings) -> Map<String, Value> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// Rows with the same keys. Lists are written with spaces between.
fn csv(rows: &[Value]) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let keys: Vec<&String> = rows
        .first()
        .and_then(Value::as_object)
        .map(|row| row.keys().collect())
        .unwrap_or_default();
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
