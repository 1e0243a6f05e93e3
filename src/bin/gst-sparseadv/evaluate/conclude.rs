// SPDX-License-Identifier: MPL-2.0

//! From results to the verdict, and all that is told of them.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, ensure};

use super::baseline;
use super::curve;
use super::gate::{Checked, Gate, Verdict};
use super::outputs::Outputs;
use super::page;
use super::results::{Results, Run};
use super::settings::Settings;
use super::summary::{self, Row, Summary};
use super::tell::percent;
use crate::out::outln;

/// Writes everything about results of one or more runs that were made alike, and says the verdict.
pub fn conclude(
    results: &Results,
    gates: &[Gate],
    settings: &Settings,
    out: &Path,
    outputs: &Outputs,
) -> anyhow::Result<Verdict> {
    let run = results.runs.last().context("Expected results of a run, found none.")?;
    ensure!(
        !results.windows.is_empty(),
        "Expected windows that were attacked, found none: {} clips were skipped. {}",
        results.skipped.len(),
        results.skipped.first().map_or(String::new(), |one| format!("The first is {}: {}", one.clip, one.reason))
    );
    let summary = summed(results, gates, settings, outputs, run)?;
    let channels = names(run);
    let points = curve::points(results, &summary.threats, &channels);
    outputs.write(out, &summary, &points)?;
    page::write(out, results, &summary, &points, outputs.page_clips())?;
    say(&summary, out);
    Ok(summary.verdict)
}

fn names(run: &Run) -> Vec<String> {
    run.conditions.channels.iter().map(|channel| channel.name.clone()).collect()
}

fn summed(
    results: &Results,
    gates: &[Gate],
    settings: &Settings,
    outputs: &Outputs,
    run: &Run,
) -> anyhow::Result<Summary> {
    let channels = names(run);
    let mut rows = summary::rows(results, &channels);
    let baseline = outputs.baseline.as_deref().map(|folder| baseline::compare(results, folder, &channels));
    let baseline = baseline.transpose().context("--baseline")?;
    if let Some(comparison) = &baseline {
        baseline::note(&mut rows, comparison);
    }
    let checked = gates.iter().map(|gate| gate.check(&rows)).collect::<anyhow::Result<Vec<_>>>()?;
    let checked: Vec<Checked> = checked.into_iter().flatten().collect();
    let verdict = Verdict::of(&checked, results.skipped.len(), settings.allow_skipped == Some(true));
    let mut threats = run.threats.clone();
    let mut models = run.models.clone();
    for run in &results.runs {
        threats.extend(run.threats.clone());
        models.extend(run.models.clone());
    }
    let clips: HashSet<(&str, &str)> =
        results.clips.iter().map(|clip| (clip.dataset.as_str(), clip.clip.as_str())).collect();
    Ok(Summary {
        format: summary::FORMAT,
        verdict,
        status: verdict.status(),
        date: glib::DateTime::now_utc()?.format("%Y-%m-%dT%H:%M:%SZ")?.to_string(),
        command: run.command.clone(),
        conditions: run.conditions.clone(),
        models,
        threats,
        clips: clips.len(),
        windows: results.windows.len(),
        skipped: results.skipped.clone(),
        rows,
        gates: checked,
        baseline,
    })
}

/// The verdict and the figures in a few lines.
fn say(summary: &Summary, out: &Path) {
    let sums: Vec<&Row> = summary.rows.iter().filter(|row| row.class.is_none()).collect();
    let width = sums.iter().map(|row| row.cell.path().len()).max().unwrap_or(0);
    for row in sums {
        outln!(
            "{:<width$}  clean {}  robust {}  fooled {}",
            row.cell.path(),
            percent(row.clean_accuracy),
            percent(row.robust_accuracy),
            percent(row.fooling_rate)
        );
    }
    summary.gates.iter().for_each(|gate| outln!("{}", gate.told()));
    let skipped = summary.skipped.len();
    outln!("{}: {skipped} clips skipped; {} has the figures", summary.verdict.as_str(), out.join(page::FILE).display());
}
