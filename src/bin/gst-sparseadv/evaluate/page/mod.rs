// SPDX-License-Identifier: MPL-2.0

//! The page for people: the verdict and the figures, then curves, then a table of clips, and some of them to look at.

use std::path::Path;

use anyhow::Context;
use gstsparseadv::files::write_whole;
use serde::Serialize;

mod clips;
mod curves;

use super::curve::Point;
use super::gallery::FOLDER;
use super::gate::Verdict;
use super::interval::Estimate;
use super::preview::VIDEOS;
use super::results::Results;
use super::summary::{Row, Summary};
use super::tell;
use crate::html;
use crate::picture::AMPLIFY;

/// Name of the file in the results' folder.
pub const FILE: &str = "page.html";

/// What the template takes.
#[derive(Serialize)]
struct Data<'a> {
    title: String,
    verdict: &'static str,
    class: &'static str,
    /// What there is to know first, in sentences.
    lead: Vec<String>,
    gates: Vec<String>,
    sums: Vec<Sum<'a>>,
    notes: Vec<String>,
    curves: Vec<String>,
    channels: Vec<&'a String>,
    units: &'a [clips::Unit<'a>],
    left_out: usize,
    shown: Vec<clips::Shown<'a>>,
    /// Of those shown.
    links: Vec<&'a str>,
    videos: [&'static str; 3],
    amplified: i32,
    folder: &'static str,
    class_head: Vec<&'static str>,
    classes: Vec<Vec<String>>,
    baseline_head: [&'static str; 7],
    baseline: Vec<Vec<String>>,
    summary: &'a Summary,
}

/// A row of the table of figures.
#[derive(Serialize)]
struct Sum<'a> {
    row: &'a Row,
    clean: Option<Share>,
    robust: Option<Share>,
    fooled: Option<Share>,
    means: [String; 3],
}

/// A share in per cent.
#[derive(Serialize)]
struct Share {
    value: f64,
    low: Option<f64>,
    high: Option<f64>,
}

/// Writes the page, with at most so many clips to look at.
pub fn write(out: &Path, results: &Results, summary: &Summary, points: &[Point], most: usize) -> anyhow::Result<()> {
    let several = tell::datasets(summary) > 1;
    let all = clips::units(results, summary);
    let shown = clips::shown(&all, out, most);
    let kept = &all[..all.len().min(clips::LISTED)];
    let of_class = summary.rows.iter().filter(|row| row.class.is_some());
    let baseline = summary.baseline.iter().flat_map(|baseline| &baseline.cells);
    let data = Data {
        title: format!("Robustness: {}", summary.verdict.as_str()),
        verdict: summary.verdict.as_str(),
        class: if summary.verdict == Verdict::Failed { "fooled" } else { "kept" },
        lead: lead(summary),
        gates: summary.gates.iter().map(|gate| gate.told()).collect(),
        sums: summary.rows.iter().filter(|row| row.class.is_none()).map(sum).collect(),
        notes: tell::notes(summary),
        curves: curves::drawn(points)?,
        channels: summary.conditions.channels.iter().map(|channel| &channel.name).collect(),
        units: kept,
        left_out: all.len() - kept.len(),
        links: shown.iter().map(|clip| clip.unit.id.as_str()).collect(),
        shown,
        videos: VIDEOS,
        amplified: AMPLIFY,
        folder: FOLDER,
        class_head: tell::head(several, true),
        classes: of_class.map(|row| tell::cells(row, several, row.class.as_deref())).collect(),
        baseline_head: tell::COMPARED,
        baseline: baseline.map(tell::compared).collect(),
        summary,
    };
    let page = html::page("evaluate.html", &data)?;
    let path = out.join(FILE);
    write_whole(&path, page.as_bytes()).with_context(|| format!("{} could not be written", path.display()))
}

fn sum(row: &Row) -> Sum<'_> {
    let share = |estimate: Option<Estimate>| {
        let percent = |value: f64| 100.0 * value;
        let Estimate { value, low, high } = estimate?;
        Some(Share { value: percent(value), low: low.map(percent), high: high.map(percent) })
    };
    Sum {
        row,
        clean: share(row.clean_accuracy),
        robust: share(row.robust_accuracy),
        fooled: share(row.fooling_rate),
        means: [tell::number(row.calls, 1), tell::number(row.map, 3), tell::number(row.perturbed_frames, 1)],
    }
}

/// The verdict, and the model that is the least robust, in words.
fn lead(summary: &Summary) -> Vec<String> {
    let failed = summary.gates.iter().filter(|gate| gate.fails).count();
    let gates = summary.gates.len();
    let mut lead = vec![match (gates, failed) {
        (0, _) => "No gate was set (--fail-if).".to_string(),
        (1, 0) => "The gate has passed.".into(),
        (1, _) => "The gate has failed.".into(),
        (_, 0) => format!("All {gates} gates have passed."),
        _ => format!("{failed} of {gates} gates have failed."),
    }];
    let sums = summary.rows.iter().filter(|row| row.class.is_none());
    let known = sums.filter_map(|row| Some((row, row.robust_accuracy?)));
    if let Some((row, robust)) = known.min_by(|a, b| a.1.value.total_cmp(&b.1.value)) {
        lead.push(format!(
            "The least robust is {}: {} of {} windows in {} are right after the attack.",
            row.cell.path(),
            words(robust),
            row.windows,
            if row.clips == 1 { "one clip".to_string() } else { format!("{} clips", row.clips) }
        ));
        if let Some(clean) = row.clean_accuracy {
            lead.push(format!("Without the attack {} are right there.", words(clean)));
        }
    }
    match summary.skipped.len() {
        0 => {}
        1 => lead.push("One clip was skipped.".into()),
        skipped => lead.push(format!("{skipped} clips were skipped.")),
    }
    lead
}

/// A share with its interval, as a part of a sentence.
fn words(Estimate { value, low, high }: Estimate) -> String {
    let interval =
        low.zip(high).map(|(low, high)| format!(" (95 % interval from {:.0} % to {:.0} %)", 100.0 * low, 100.0 * high));
    format!("{:.1} %{}", 100.0 * value, interval.unwrap_or_default())
}
