// SPDX-License-Identifier: MPL-2.0

//! A window's result as a line of text.

use std::path::PathBuf;

use gstsparseadv::tally::{Labels, Tally};
use gstsparseadv::window::report::WindowReport;

use crate::seen::Place;

/// What is shown of a window.
pub struct Row {
    pub window: u64,
    /// Place of its first frame in the stream.
    pub first_frame: usize,
    pub frames: usize,
    pub clean: (usize, String),
    pub attacked: (usize, String),
    pub queries: u32,
    pub keyframes: Vec<usize>,
    pub weights: Vec<f64>,
    pub map: f64,
    pub map_keyframes: f64,
    labels: Labels,
    /// Label after encoding and decoding.
    pub after_codec: Option<(usize, String)>,
}

impl Row {
    /// `None` for a window that was never classified.
    pub fn new(report: WindowReport) -> Option<Self> {
        let labels = report.labels();
        Some(Self {
            window: report.window,
            first_frame: report.first_frame as usize,
            frames: report.frames,
            clean: (labels.clean?, report.clean_label_name.unwrap_or_default()),
            attacked: (labels.last?, report.final_label_name.unwrap_or_default()),
            queries: report.calls.queries,
            keyframes: report.perturbed.keyframes,
            weights: report.weights,
            map: report.size.map,
            map_keyframes: report.size.map_keyframes,
            labels,
            after_codec: None,
        })
    }

    /// Where it lies in the stream.
    pub fn place(&self) -> Place {
        Place { first: self.first_frame, frames: self.frames }
    }

    /// What a label of this window means.
    pub fn verdict(&self, label: usize) -> Verdict {
        let labels = Labels { last: Some(label), ..self.labels };
        match labels.fooled() {
            None => Verdict::AlreadyFooled,
            Some(true) => Verdict::Fooled,
            Some(false) => Verdict::NotFooled,
        }
    }

    /// One line, as [`heading`] names the columns; without what is known after the codec only.
    pub fn line(&self) -> String {
        let keyframes: Vec<String> = self.keyframes.iter().map(usize::to_string).collect();
        format!(
            "{:>6}  {:<24} {:<15} {:>7}  {:<16} {:>9.4} {:>9.3}",
            self.window,
            format!("{} -> {}", self.clean.1, self.attacked.1),
            self.verdict(self.attacked.0).as_str(),
            self.queries,
            keyframes.join(","),
            self.map,
            self.map_keyframes
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Fooled,
    NotFooled,
    /// Before the attack; the window is in no rate.
    AlreadyFooled,
}

impl Verdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fooled => "fooled",
            Self::NotFooled => "not fooled",
            Self::AlreadyFooled => "already fooled",
        }
    }
}

/// The columns of [`Row::line`].
pub fn heading() -> String {
    format!(
        "{:>6}  {:<24} {:<15} {:>7}  {:<16} {:>9} {:>9}",
        "window", "clean -> attacked", "verdict", "queries", "keyframes", "MAP", "in them"
    )
}

/// What the windows come to, on the bytes pushed and after the codec.
pub fn summary(rows: &[Row], encoder: &str) -> String {
    let mut text = format!("on the bytes pushed: {}\n", tally(rows, |row| Some(row.attacked.0)).sentence());
    if rows.iter().any(|row| row.after_codec.is_some()) {
        let after = tally(rows, |row| row.after_codec.as_ref().map(|a| a.0));
        text += &format!("after {encoder}: {}\n", after.sentence());
        text += &undone(rows);
    }
    text + "MAP: mean absolute perturbation in gray levels 0..255, over all frames, and over the keyframes."
}

/// The same as a line of JSON, with the files that were written. `examples/README.md` says what is in it.
pub fn totals(rows: &[Row], written: &[PathBuf]) -> serde_json::Value {
    let of = |tally: Tally| serde_json::json!({ "tally": tally, "rates": tally.rates() });
    let after = rows.iter().any(|row| row.after_codec.is_some());
    let after = after.then(|| of(tally(rows, |row| row.after_codec.as_ref().map(|a| a.0))));
    let written: Vec<String> = written.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    serde_json::json!({ "pushed": of(tally(rows, |row| Some(row.attacked.0))), "after_codec": after, "wrote": written })
}

/// Which windows were fooled on the bytes pushed, and are not behind the codec.
fn undone(rows: &[Row]) -> String {
    const NAMED: usize = 10;
    let undone = rows.iter().filter_map(|row| {
        let (label, name) = row.after_codec.as_ref()?;
        let fooled = |label| row.verdict(label) == Verdict::Fooled;
        (fooled(row.attacked.0) && !fooled(*label)).then(|| format!("{} ({name})", row.window))
    });
    let undone: Vec<String> = undone.collect();
    let more = undone.len().saturating_sub(NAMED);
    let named = undone[..undone.len() - more].join(", ");
    match (undone.is_empty(), more) {
        (true, _) => String::new(),
        (_, 0) => format!("undone by the codec: window {named}\n"),
        _ => format!("undone by the codec: window {named} and {more} more\n"),
    }
}

fn tally(rows: &[Row], last: impl Fn(&Row) -> Option<usize>) -> Tally {
    let mut tally = Tally::default();
    for row in rows {
        tally.add(Labels { last: last(row), ..row.labels });
    }
    tally
}
