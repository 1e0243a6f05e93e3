// SPDX-License-Identifier: MPL-2.0

//! Gates: conditions on figures of the summary under which a run has failed.

use std::str::FromStr;

use anyhow::{anyhow, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::interval::Estimate;
use super::summary::Row;

/// Exit statuses beside 0.
pub const FAILED: u8 = 1;
pub const SKIPPED: u8 = 2;
pub const COULD_NOT_RUN: u8 = 3;

/// What a run comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Passed,
    Failed,
    /// No gate has failed, but some clips were skipped.
    Skipped,
}

impl Verdict {
    pub fn of(gates: &[Checked], skipped: usize, allow_skipped: bool) -> Self {
        match gates.iter().any(|gate| gate.fails) {
            true => Self::Failed,
            false if skipped > 0 && !allow_skipped => Self::Skipped,
            false => Self::Passed,
        }
    }

    pub fn status(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed => FAILED,
            Self::Skipped => SKIPPED,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "passed, but clips were skipped",
        }
    }
}

/// A condition, as `[SCOPE: ]FIGURE<NUMBER`.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    text: String,
    /// A model, or a model and what it is seen with, as `c3d/sparse-l2/h264`; `*` stands for anything. Nothing is all.
    scope: Option<String>,
    class: Option<String>,
    figure: String,
    comparison: Comparison,
    bound: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a gate says of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    pub gate: String,
    /// The row, as model, threat model and channel; a class behind them where the gate is about one.
    pub cell: String,
    pub dataset: String,
    /// Absent where nothing was counted, which fails.
    pub value: Option<f64>,
    pub fails: bool,
}

impl FromStr for Gate {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let wrong = |what: &str| {
            anyhow!(
                "Expected --fail-if as \"[SCOPE: ]FIGURE<NUMBER\", found {what} in \"{text}\". An example: \"c3d/*: robust_accuracy<0.5\"."
            )
        };
        let (scope, condition) = match text.split_once(':') {
            Some((scope, condition)) => (Some(scope.trim()), condition),
            None => (None, text),
        };
        let (scope, class) = match scope.map(|scope| scope.split_once("class=").unwrap_or((scope, ""))) {
            Some((scope, class)) => (Some(scope.trim()), Some(class.trim()).filter(|class| !class.is_empty())),
            None => (None, None),
        };
        let at = condition.find(['<', '>']).ok_or_else(|| wrong("no < or >"))?;
        let (figure, rest) = condition.split_at(at);
        let (comparison, bound) = match (rest.strip_prefix("<="), rest.strip_prefix(">=")) {
            (Some(bound), _) => (Comparison::LessOrEqual, bound),
            (_, Some(bound)) => (Comparison::GreaterOrEqual, bound),
            _ if rest.starts_with('<') => (Comparison::Less, &rest[1..]),
            _ => (Comparison::Greater, &rest[1..]),
        };
        let bound: f64 = bound.trim().parse().map_err(|_| wrong("no number"))?;
        ensure!(bound.is_finite(), wrong("no number"));
        let figure = figure.trim().to_string();
        let known = figures();
        ensure!(
            known.contains(&figure),
            "Expected a figure of the summary in --fail-if, found \"{figure}\" in \"{text}\". The figures are {}; those with an interval have .low and .high too.",
            known.iter().filter(|name| !name.contains('.')).cloned().collect::<Vec<_>>().join(", ")
        );
        Ok(Self {
            text: text.trim().into(),
            scope: scope.filter(|scope| !scope.is_empty()).map(String::from),
            class: class.map(String::from),
            figure,
            comparison,
            bound,
        })
    }
}

impl Gate {
    /// What it says of each row that it is about. An error where there is none.
    pub fn check(&self, rows: &[Row]) -> anyhow::Result<Vec<Checked>> {
        let about = rows.iter().filter(|row| row.class == self.class && self.is_about(row));
        let checked: Vec<Checked> = about.map(|row| self.judge(row)).collect();
        let cells = rows.iter().filter(|row| row.class.is_none()).map(|row| row.cell.path());
        ensure!(
            !checked.is_empty(),
            "Expected a scope of --fail-if that is about some figures, found none for \"{}\". There are {}.",
            self.text,
            cells.collect::<Vec<_>>().join(", ")
        );
        Ok(checked)
    }

    fn is_about(&self, row: &Row) -> bool {
        let Some(scope) = &self.scope else { return true };
        let path = row.cell.path();
        let paths = [format!("{}/{path}", row.cell.dataset), path];
        paths.iter().any(|path| fits(scope, path) || fits(&format!("{scope}/*"), path))
    }

    fn judge(&self, row: &Row) -> Checked {
        let value = value(row, &self.figure);
        let holds = |value: f64| match self.comparison {
            Comparison::Less => value < self.bound,
            Comparison::LessOrEqual => value <= self.bound,
            Comparison::Greater => value > self.bound,
            Comparison::GreaterOrEqual => value >= self.bound,
        };
        let class = row.class.as_ref().map(|class| format!(" class={class}")).unwrap_or_default();
        Checked {
            gate: self.text.clone(),
            cell: row.cell.path() + &class,
            dataset: row.cell.dataset.clone(),
            value,
            // What cannot be told is not passed.
            fails: value.is_none_or(holds),
        }
    }
}

impl Checked {
    /// As a sentence.
    pub fn told(&self) -> String {
        let value = self.value.map_or("there is no value".into(), |value| format!("it is {value:.4}"));
        let verdict = if self.fails { "failed" } else { "passed" };
        format!("{verdict}: \"{}\" for {}: {value}", self.gate, self.cell)
    }
}

/// A figure of a row: a number, or that of an estimate.
fn value(row: &Row, figure: &str) -> Option<f64> {
    let fields = serde_json::to_value(row).ok()?;
    let (name, part) = figure.split_once('.').unwrap_or((figure, "value"));
    let field = fields.get(name)?;
    field.as_f64().or_else(|| field.get(part)?.as_f64())
}

/// All that a gate may be about.
fn figures() -> Vec<String> {
    let some = Some(Estimate::default());
    let row = Row {
        clean_accuracy: some,
        robust_accuracy: some,
        fooling_rate: some,
        calls: some,
        map: some,
        max_abs: some,
        perturbed_frames: some,
        robust_accuracy_change: Some(0.0),
        change_p: Some(0.0),
        significant_loss: Some(0),
        ..Row::default()
    };
    let Ok(Value::Object(fields)) = serde_json::to_value(row) else { return Vec::new() };
    let names = fields.into_iter().flat_map(|(name, value)| match value {
        Value::Number(_) => vec![name],
        Value::Object(_) => vec![format!("{name}.low"), format!("{name}.high"), name],
        _ => Vec::new(),
    });
    names.collect()
}

/// Whether a text fits a pattern in which `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or("")) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::super::summary::Cell;
    use super::*;

    fn row(model: &str, threat: &str, channel: &str, class: Option<&str>, robust: f64) -> Row {
        let cell = Cell { dataset: "d".into(), model: model.into(), threat: threat.into(), channel: channel.into() };
        let robust_accuracy = Some(Estimate { value: robust, low: Some(robust - 0.1), high: Some(robust + 0.1) });
        Row { cell, class: class.map(String::from), robust_accuracy, ..Row::default() }
    }

    fn failing(gate: &str) -> Vec<String> {
        let rows = [
            row("c3d", "linf-4/255", "identity", None, 0.2),
            row("c3d", "linf-4/255", "identity", Some("walk"), 0.1),
            row("c3d", "sparse-l2", "h264", None, 0.4),
            row("lrcn", "sparse-l2", "h264", None, 0.6),
        ];
        let checked = gate.parse::<Gate>().expect(gate).check(&rows).expect(gate);
        checked.into_iter().filter(|c| c.fails).map(|c| c.cell).collect()
    }

    #[test]
    fn a_gate_is_about_the_rows_of_its_scope() {
        assert_eq!(failing("robust_accuracy<0.5"), ["c3d/linf-4/255/identity", "c3d/sparse-l2/h264"]);
        assert_eq!(failing("c3d/sparse-l2/h264: robust_accuracy<0.5"), ["c3d/sparse-l2/h264"]);
        assert_eq!(failing("d/c3d/linf-4/255: robust_accuracy < 0.5"), ["c3d/linf-4/255/identity"]);
        assert_eq!(failing("*/h264: robust_accuracy>=0.6"), ["lrcn/sparse-l2/h264"]);
        assert_eq!(failing("lrcn: robust_accuracy<0.6"), Vec::<String>::new());
        assert_eq!(failing("lrcn: robust_accuracy.low<=0.5"), ["lrcn/sparse-l2/h264"]);
        assert_eq!(failing("c3d class=walk: robust_accuracy<0.5"), ["c3d/linf-4/255/identity class=walk"]);
        // What has no value is not passed.
        assert_eq!(failing("lrcn: fooling_rate>0.5"), ["lrcn/sparse-l2/h264"]);
    }

    #[test]
    fn wrong_gates_are_refused_in_words() {
        for (text, word) in [
            ("robust_accuracy=0.5", "no < or >"),
            ("robust_accuracy<half", "no number"),
            ("robust_accuracy<NaN", "no number"),
            ("robustness<0.5", "clean_accuracy"),
            ("model<1", "clean_accuracy"),
        ] {
            let error = text.parse::<Gate>().expect_err(text).to_string();
            assert!(error.contains(word) && error.contains(text), "{error}");
        }
        let gate: Gate = "nosuch: robust_accuracy<0.5".parse().expect("a gate");
        let error = gate.check(&[row("c3d", "t", "identity", None, 0.1)]).expect_err("no such").to_string();
        assert!(error.contains("c3d/t/identity"), "{error}");
    }
}
