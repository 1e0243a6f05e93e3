// SPDX-License-Identifier: MPL-2.0

//! The summary for people and for spreadsheets: GitHub-flavored Markdown, and CSV.

use anyhow::Context;

use super::baseline::Compared;
use super::interval::Estimate;
use super::summary::{Row, Summary};

/// Clips and windows that are named in each list at the most.
const NAMED: usize = 20;

pub fn markdown(summary: &Summary) -> String {
    let several = datasets(summary) > 1;
    let mut text = format!("## Robustness: {}\n\n", summary.verdict.as_str());
    text += &format!(
        "{} clips, {} windows attacked, {} clips skipped. Intervals hold 95 % over clips.\n\n",
        summary.clips,
        summary.windows,
        summary.skipped.len()
    );
    text += &gates(summary);
    let head = head(several, false);
    let rows = summary.rows.iter().filter(|row| row.class.is_none());
    text += &table(&head, rows.map(|row| cells(row, several, None)));
    text += &classes(summary, several);
    text += &listed(&notes(summary));
    text += &baseline(summary);
    text += &made(summary);
    text
}

/// How many data sets there are.
pub fn datasets(summary: &Summary) -> usize {
    let mut names: Vec<&str> = summary.rows.iter().map(|row| row.cell.dataset.as_str()).collect();
    names.dedup();
    names.len()
}

/// The columns of [`cells`].
pub fn head(several: bool, class: bool) -> Vec<&'static str> {
    let names = several.then_some("data set").into_iter().chain(["model", "threat model", "channel"]);
    let figures = ["clips", "windows", "clean accuracy", "robust accuracy", "fooling rate", "calls", "MAP"];
    names.chain(class.then_some("class")).chain(figures).chain(["perturbed frames"]).collect()
}

pub fn cells(row: &Row, several: bool, class: Option<&str>) -> Vec<String> {
    let cell = &row.cell;
    let names = [&cell.model, &cell.threat, &cell.channel].map(String::clone);
    let shares = [row.clean_accuracy, row.robust_accuracy, row.fooling_rate].map(percent);
    let means = [number(row.calls, 1), number(row.map, 3), number(row.perturbed_frames, 1)];
    several
        .then(|| cell.dataset.clone())
        .into_iter()
        .chain(names)
        .chain(class.map(String::from))
        .chain([row.clips.to_string(), row.windows.to_string()])
        .chain(shares)
        .chain(means)
        .collect()
}

fn classes(summary: &Summary, several: bool) -> String {
    let of_class: Vec<&Row> = summary.rows.iter().filter(|row| row.class.is_some()).collect();
    let distinct = of_class.iter().any(|row| row.class != of_class[0].class);
    // One class says what all of them say.
    if !distinct {
        return String::new();
    }
    let head = head(several, true);
    let rows = of_class.into_iter().map(|row| cells(row, several, row.class.as_deref()));
    format!("<details><summary>By class</summary>\n\n{}</details>\n\n", table(&head, rows))
}

fn gates(summary: &Summary) -> String {
    let rows = summary.gates.iter().map(|gate| {
        let value = gate.value.map_or("no value".into(), |value| format!("{value:.4}"));
        let verdict = if gate.fails { "**failed**" } else { "passed" };
        vec![verdict.into(), format!("`{}`", gate.gate), gate.cell.clone(), value]
    });
    match summary.gates.is_empty() {
        true => String::new(),
        false => table(&["gate", "fails if", "of", "value"], rows),
    }
}

/// What has to be known besides, in sentences.
pub fn notes(summary: &Summary) -> Vec<String> {
    let masked = summary.rows.iter().filter(|row| row.class.is_none() && row.zero_gradient > 0);
    let masked = masked.map(|row| {
        format!(
            "{}: the gradient of {} windows was zero throughout. That these are not fooled is no robustness.",
            row.cell.path(),
            row.zero_gradient
        )
    });
    let skipped = summary.skipped.iter().take(NAMED);
    let skipped = skipped.map(|skipped| format!("skipped {} ({}): {}", skipped.clip, skipped.model, skipped.reason));
    let more = summary.skipped.len().checked_sub(NAMED + 1).map(|more| format!("and {} clips more", more + 1));
    masked.chain(skipped).chain(more).collect()
}

fn listed(lines: &[String]) -> String {
    let list: String = lines.iter().map(|line| format!("- {}\n", escape(line))).collect();
    if list.is_empty() { list } else { list + "\n" }
}

fn baseline(summary: &Summary) -> String {
    let Some(baseline) = &summary.baseline else { return String::new() };
    let mut text = format!("### Against the baseline {}\n\n", baseline.folder);
    if let Some(model) = &baseline.model {
        text += &format!("- its model is {model}\n");
    }
    baseline.notes.iter().for_each(|note| text += &format!("- {note}\n"));
    let rows = baseline.cells.iter().map(compared);
    text += &format!("\n{}", table(&COMPARED, rows));
    for found in &baseline.cells {
        for one in found.changed.iter().take(NAMED) {
            text += &format!(
                "- {}: {} window {}: {} became {} (it is {})\n",
                found.cell.path(),
                one.clip,
                one.window,
                one.before,
                one.now,
                one.truth
            );
        }
        let more = found.left_out + found.changed.len().saturating_sub(NAMED);
        if more > 0 {
            text += &format!("- {}: and {more} windows more\n", found.cell.path());
        }
    }
    text + "\n"
}

/// The columns of [`compared`].
pub const COMPARED: [&str; 7] = ["of", "clips", "better", "worse", "robust accuracy", "p", "meaning"];

pub fn compared(found: &Compared) -> Vec<String> {
    vec![
        found.cell.path(),
        found.clips.to_string(),
        found.better.to_string(),
        found.worse.to_string(),
        format!("{:+.1} %", 100.0 * found.change),
        format!("{:.4}", found.p),
        meaning(found).into(),
    ]
}

fn meaning(found: &Compared) -> &'static str {
    match (found.is_loss(), found.better + found.worse) {
        (true, _) => "worse by more than chance",
        (_, 0) => "no clip has changed",
        _ if found.p < 0.05 => "better by more than chance",
        _ => "chance explains it",
    }
}

/// What made it.
fn made(summary: &Summary) -> String {
    let mut text = "<details><summary>How it was made</summary>\n\n".to_string();
    text += &format!("- `gst-sparseadv {}`\n- {}\n", summary.command, summary.date);
    let versions = &summary.conditions.versions;
    text += &format!("- {}, libtorch {}, {}\n", versions.plugin, versions.libtorch, versions.gstreamer);
    for (name, model) in &summary.models {
        text += &format!("- model {name}: {}, SHA-256 {}\n", model.file, model.sha256);
    }
    for (name, threat) in &summary.threats {
        text += &format!("- threat model {name}: `sparseadv {}`\n", threat.properties);
    }
    for channel in &summary.conditions.channels {
        let phase = match channel.phase {
            0 => String::new(),
            phase => format!(", windows {phase} frames later"),
        };
        text += &format!("- channel {}: `{}`{phase}\n", channel.name, channel.bin);
    }
    text + "\n</details>\n"
}

fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(ToString::to_string).collect();
    let mut text = line(&head) + &format!("|{}\n", "---|".repeat(head.len()));
    for row in rows {
        text += &line(&row.iter().map(|cell| escape(cell)).collect::<Vec<_>>());
    }
    text + "\n"
}

/// A text that ends no cell of a table.
fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

pub fn percent(estimate: Option<Estimate>) -> String {
    let Some(Estimate { value, low, high }) = estimate else { return "-".into() };
    let interval = low.zip(high).map(|(low, high)| format!(" [{:.1}, {:.1}]", 100.0 * low, 100.0 * high));
    format!("{:.1} %{}", 100.0 * value, interval.unwrap_or_default())
}

pub fn number(estimate: Option<Estimate>, digits: usize) -> String {
    let Some(Estimate { value, low, high }) = estimate else { return "-".into() };
    let interval = low.zip(high).map(|(low, high)| format!(" [{low:.digits$}, {high:.digits$}]"));
    format!("{value:.digits$}{}", interval.unwrap_or_default())
}

/// All rows, with a column for each part of each figure.
pub fn csv(rows: &[Row]) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(
        ["dataset", "model", "threat", "channel", "class", "clips", "windows"]
            .into_iter()
            .chain(FIGURES.iter().flat_map(|(name, _)| *name))
            .chain(["zero_gradient", "robust_accuracy_change", "change_p", "significant_loss"]),
    )?;
    for row in rows {
        let cell = &row.cell;
        let text = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
        let mut record = vec![
            cell.dataset.clone(),
            cell.model.clone(),
            cell.threat.clone(),
            cell.channel.clone(),
            row.class.clone().unwrap_or_default(),
            row.clips.to_string(),
            row.windows.to_string(),
        ];
        for (_, figure) in FIGURES {
            let estimate = figure(row);
            record.push(text(estimate.map(|e| e.value)));
            record.push(text(estimate.and_then(|e| e.low)));
            record.push(text(estimate.and_then(|e| e.high)));
        }
        record.push(row.zero_gradient.to_string());
        record.push(text(row.robust_accuracy_change));
        record.push(text(row.change_p));
        record.push(text(row.significant_loss.map(f64::from)));
        writer.write_record(record)?;
    }
    writer.into_inner().context("summary.csv")
}

type Figure = ([&'static str; 3], fn(&Row) -> Option<Estimate>);

const FIGURES: [Figure; 7] = [
    (["clean_accuracy", "clean_accuracy.low", "clean_accuracy.high"], |row| row.clean_accuracy),
    (["robust_accuracy", "robust_accuracy.low", "robust_accuracy.high"], |row| row.robust_accuracy),
    (["fooling_rate", "fooling_rate.low", "fooling_rate.high"], |row| row.fooling_rate),
    (["calls", "calls.low", "calls.high"], |row| row.calls),
    (["map", "map.low", "map.high"], |row| row.map),
    (["max_abs", "max_abs.low", "max_abs.high"], |row| row.max_abs),
    (["perturbed_frames", "perturbed_frames.low", "perturbed_frames.high"], |row| row.perturbed_frames),
];
