// SPDX-License-Identifier: MPL-2.0

//! Two runs, clip by clip: which windows have changed, and whether that is more than chance.
//!
//! Windows of one clip are not independent, so clips are compared: one is better where more of its windows are right after
//! the attack, and worse where fewer are. Where nothing has changed, both are equally likely. The exact test of that is
//! McNemar's (1947), which is of one window a clip, in the form of a sign test.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF};

use super::log;
use super::results::{Results, Window};
use super::summary::{Cell, Row, judged};

/// Windows of a cell that are named at the most.
const NAMED: usize = 50;
/// What is called more than chance.
const LEVEL: f64 = 0.05;

/// A run beside an earlier one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The folder of the earlier one, and its model where it goes by another name.
    pub folder: String,
    pub model: Option<String>,
    /// What makes the two differ besides.
    pub notes: Vec<String>,
    pub cells: Vec<Compared>,
}

/// What has changed for a model, a threat model and a channel, over the clips that both runs have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    #[serde(flatten)]
    pub cell: Cell,
    pub clips: usize,
    pub better: u64,
    pub worse: u64,
    /// The probability of so unequal a number of both where nothing has changed.
    pub p: f64,
    /// By how much the robust accuracy has grown.
    pub change: f64,
    pub changed: Vec<Changed>,
    /// Windows that are not named any more.
    pub left_out: usize,
}

/// A window that was right and is wrong, or the other way round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    pub clip: String,
    pub window: usize,
    pub truth: String,
    /// The labels after the attack.
    pub before: String,
    pub now: String,
}

impl Compared {
    pub fn is_loss(&self) -> bool {
        self.worse > self.better && self.p < LEVEL
    }
}

/// Compares results with those of a folder.
pub fn compare(now: &Results, folder: &Path, channels: &[String]) -> anyhow::Result<Comparison> {
    let before = log::read(folder)?;
    let names = |results: &Results| {
        let mut names: Vec<String> = results.windows.iter().map(|w| w.model.clone()).collect();
        names.sort();
        names.dedup();
        names
    };
    let (known, own) = (names(&before), names(now));
    // Two versions of one model have files of different names.
    let renamed = match (known.as_slice(), own.as_slice()) {
        ([known], [own]) if known != own => Some((own.clone(), known.clone())),
        _ => None,
    };
    let there = |model: &str| match &renamed {
        Some((own, known)) if own == model => known.clone(),
        _ => model.to_string(),
    };
    let mut cells: BTreeMap<Cell, Vec<&Window>> = BTreeMap::new();
    for window in &now.windows {
        for channel in channels {
            let cell = Cell {
                dataset: window.dataset.clone(),
                model: window.model.clone(),
                threat: window.threat.clone(),
                channel: channel.clone(),
            };
            cells.entry(cell).or_default().push(window);
        }
    }
    let compared = cells.into_iter().filter_map(|(cell, windows)| {
        let model = there(&cell.model);
        let of_cell = |w: &&Window| w.dataset == cell.dataset && w.model == model && w.threat == cell.threat;
        let earlier: Vec<&Window> = before.windows.iter().filter(of_cell).collect();
        compared(cell, &earlier, &windows)
    });
    Ok(Comparison {
        folder: folder.display().to_string(),
        cells: compared.collect(),
        model: renamed.map(|(_, known)| known),
        notes: notes(&before, now),
    })
}

/// Threat models of one name that are not the same.
fn notes(before: &Results, now: &Results) -> Vec<String> {
    let (Some(before), Some(now)) = (before.runs.last(), now.runs.last()) else { return Vec::new() };
    let mut notes: Vec<String> = now
        .threats
        .iter()
        .filter(|(name, threat)| before.threats.get(*name).is_some_and(|known| known != *threat))
        .map(|(name, _)| format!("the threat model {name} is another one than in the baseline"))
        .collect();
    if before.conditions.versions != now.conditions.versions {
        notes.push("the versions differ".into());
    }
    if before.conditions.channels != now.conditions.channels {
        notes.push("the channels differ; those of one name are compared".into());
    }
    notes
}

fn compared(cell: Cell, before: &[&Window], now: &[&Window]) -> Option<Compared> {
    let right = |windows: &[&Window]| -> BTreeMap<(String, usize), (bool, String, String)> {
        let all = judged(windows, &cell.channel).into_iter().map(|one| {
            let window = one.window;
            let last = window.attacked[&cell.channel].label.clone();
            let key = (window.clip.clone(), window.window);
            (key, (one.labels.last == one.labels.truth, window.truth.clone(), last))
        });
        all.collect()
    };
    let (before, now) = (right(before), right(now));
    let mut clips: BTreeMap<&str, (i64, u32)> = BTreeMap::new();
    let mut changed = Vec::new();
    for (key, (is_right, truth, label)) in &now {
        let Some((was_right, _, was)) = before.get(key) else { continue };
        let (sum, count) = clips.entry(key.0.as_str()).or_default();
        *sum += i64::from(*is_right) - i64::from(*was_right);
        *count += 1;
        if is_right != was_right {
            changed.push(Changed {
                clip: key.0.clone(),
                window: key.1,
                truth: truth.clone(),
                before: was.clone(),
                now: label.clone(),
            });
        }
    }
    let windows: u32 = clips.values().map(|(_, count)| count).sum();
    if windows == 0 {
        return None;
    }
    let count = |sign: i64| clips.values().filter(|(sum, _)| sum.signum() == sign).count() as u64;
    let (better, worse) = (count(1), count(-1));
    let change = clips.values().map(|(sum, _)| *sum as f64).sum::<f64>() / f64::from(windows);
    let left_out = changed.len().saturating_sub(NAMED);
    changed.truncate(NAMED);
    Some(Compared { clips: clips.len(), better, worse, p: sign_test(better, worse), change, changed, left_out, cell })
}

/// The exact probability, of both sides, of so unequal a number of two equally likely things.
fn sign_test(a: u64, b: u64) -> f64 {
    match Binomial::new(0.5, a + b) {
        Ok(all) if a + b > 0 => (2.0 * all.cdf(a.min(b))).min(1.0),
        _ => 1.0,
    }
}

/// Writes what was found beside the figures.
pub fn note(rows: &mut [Row], comparison: &Comparison) {
    for row in rows.iter_mut().filter(|row| row.class.is_none()) {
        if let Some(found) = comparison.cells.iter().find(|found| found.cell == row.cell) {
            row.robust_accuracy_change = Some(found.change);
            row.change_p = Some(found.p);
            row.significant_loss = Some(u8::from(found.is_loss()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exact tails of a fair coin.
    #[test]
    fn the_test_is_exact() {
        for (a, b, p) in [(0, 0, 1.0), (1, 0, 1.0), (3, 3, 1.0), (0, 5, 0.0625), (0, 6, 0.03125), (8, 1, 20.0 / 512.0)]
        {
            assert!((sign_test(a, b) - p).abs() < 1e-12, "{a} {b}: {}", sign_test(a, b));
        }
    }
}
