// SPDX-License-Identifier: MPL-2.0

//! The manifest of a converted tree: a row a clip, a row a window and a row a class, as CSV and as JSON lines. Made
//! anew from the records, in the order of the clips' names, so that it does not depend on who converted which clip
//! when. What differs from run to run, the times, lies apart.

use std::collections::BTreeMap;
use std::path::Path;

use gstsparseadv::tally::{Rates, Tally};
use gstsparseadv::window::report::WindowReport;
use serde::Serialize;
use serde_json::{Map, Value};

use super::begun::Settings;
use super::disk::write_whole;
use super::record::{Outcome, Record};
use super::shard::Shard;

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
    let clips = rows(records.iter().map(|record| ClipRow::new(record, settings)))?;
    let mut windows = Vec::new();
    for record in records {
        for window in self::windows(record) {
            windows.push(window_row(record, window, settings)?);
        }
    }
    let classes = rows(classes(records).into_iter().map(|(class, tally)| ClassRow { class, tally: tally.into() }))?;
    let mut lines = String::new();
    for (kind, rows) in [("clip", &clips), ("window", &windows), ("class", &classes)] {
        for row in rows {
            lines += &serde_json::to_string(&Line { kind, row })?;
            lines.push('\n');
        }
    }
    let timings = rows(records.iter().filter_map(Timing::new))?;
    let tables = [&clips, &windows, &classes, &timings].map(|rows| csv(rows));
    let contents = std::iter::once(Ok(lines.into_bytes())).chain(tables);
    for (name, bytes) in names(&part).iter().zip(contents) {
        write_whole(&root.join(name), &bytes?)?;
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

/// A row's columns, in their order.
type Row = Map<String, Value>;

#[derive(Serialize)]
struct Line<'a> {
    kind: &'a str,
    #[serde(flatten)]
    row: &'a Row,
}

/// Counts and rates. Without the ground truth both accuracies are empty.
#[derive(Serialize)]
struct Counts {
    #[serde(flatten)]
    tally: Tally,
    #[serde(flatten)]
    rates: Rates,
}

impl From<Tally> for Counts {
    fn from(tally: Tally) -> Self {
        Self { rates: tally.rates(), tally }
    }
}

#[derive(Serialize)]
struct ClassRow {
    class: String,
    #[serde(flatten)]
    tally: Counts,
}

#[derive(Serialize)]
struct ClipRow<'a> {
    clip: &'a str,
    class: &'a str,
    status: &'a str,
    reason: Option<&'a str>,
    notes: Option<String>,
    output: Option<&'a str>,
    bytes: u64,
    frames: u64,
    #[serde(flatten)]
    tally: Counts,
    queries: u64,
    codec_runs: u64,
    perturbed_frames: usize,
    /// The mean over all windows, attacked or not: how far the file is from the clip.
    map: Option<f64>,
    #[serde(flatten)]
    settings: &'a Settings,
}

impl<'a> ClipRow<'a> {
    fn new(record: &'a Record, settings: &'a Settings) -> Self {
        let windows = windows(record);
        let map: f64 = windows.iter().map(|w| w.size.map).sum();
        let mut row = Self {
            clip: &record.clip,
            class: &record.class,
            status: "converted",
            reason: None,
            notes: None,
            output: None,
            bytes: 0,
            frames: 0,
            tally: tally(record).into(),
            queries: windows.iter().map(|w| u64::from(w.calls.queries)).sum(),
            codec_runs: windows.iter().map(|w| u64::from(w.calls.codec_runs)).sum(),
            perturbed_frames: windows.iter().map(|w| w.perturbed.perturbed_frames).sum(),
            map: (!windows.is_empty()).then(|| map / windows.len() as f64),
            settings,
        };
        match &record.outcome {
            Outcome::Converted { output, bytes, frames, notes, .. } => {
                row.output = Some(output);
                (row.bytes, row.frames) = (*bytes, *frames);
                row.notes = (!notes.is_empty()).then(|| notes.join("; "));
            }
            Outcome::Skipped { reason } => (row.status, row.reason) = ("skipped", Some(reason.as_str())),
            Outcome::Missing { reason } => (row.status, row.reason) = ("missing", Some(reason.as_str())),
        }
        row
    }
}

/// Every field of a window's report, but for those that stand elsewhere.
#[derive(Serialize)]
struct WindowRow<'a> {
    clip: &'a str,
    class: &'a str,
    #[serde(flatten)]
    report: Row,
    #[serde(flatten)]
    settings: &'a Settings,
}

fn window_row(record: &Record, window: &WindowReport, settings: &Settings) -> anyhow::Result<Row> {
    // What made a window stands in the settings' columns, its time in another file.
    let provenance = columns(&window.provenance)?;
    let mut report = columns(window)?;
    report.retain(|key, _| key != "seconds" && !provenance.contains_key(key));
    columns(&WindowRow { clip: &record.clip, class: &record.class, report, settings })
}

#[derive(Serialize)]
struct Timing<'a> {
    clip: &'a str,
    seconds: f64,
    attack_seconds: f64,
}

impl<'a> Timing<'a> {
    fn new(record: &'a Record) -> Option<Self> {
        let Outcome::Converted { windows, seconds, .. } = &record.outcome else {
            return None;
        };
        let attack_seconds = windows.iter().map(|w| w.seconds).sum();
        Some(Self { clip: &record.clip, seconds: *seconds, attack_seconds })
    }
}

fn rows(records: impl Iterator<Item = impl Serialize>) -> anyhow::Result<Vec<Row>> {
    records.map(|record| columns(&record)).collect()
}

fn columns(record: &impl Serialize) -> anyhow::Result<Row> {
    Ok(serde_json::from_value(serde_json::to_value(record)?)?)
}

/// Rows with the same columns. Lists are written with spaces between.
fn csv(rows: &[Row]) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    if let Some(row) = rows.first() {
        writer.write_record(row.keys())?;
    }
    for row in rows {
        writer.write_record(row.values().map(cell))?;
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
