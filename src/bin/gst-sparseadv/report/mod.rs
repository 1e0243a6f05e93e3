// SPDX-License-Identifier: MPL-2.0

//! `report`: pages from results, as HTML that opens offline, Markdown, CSV and SVG.

use std::path::{Path, PathBuf};

use serde_json::json;

mod accuracy;
mod figure;
mod pages;
mod systems;
mod table;
mod tables;
mod transfer;

use self::figure::Curve;
use crate::html;
use crate::reproduce::metrics::fooled_within;
use crate::reproduce::paper;
use crate::reproduce::results::Results;
use crate::reproduce::systems::{Goal, Optimization, Selection, System};

#[derive(clap::Args)]
#[command(after_help = "Example:\n  gst-sparseadv report results\n\n\
    Writes report.html, report.md, a CSV file for each table and figure-2-*.svg into that folder.")]
pub struct Arguments {
    /// Folder of results.jsonl, made by reproduce
    pub folder: PathBuf,
}

/// Writes the pages of a folder's results beside them.
pub fn pages(folder: &Path) -> anyhow::Result<()> {
    let results = Results::read(folder)?;
    let tables = tables::all(&results);

    let figures = figures(&results)?;
    let by_queries = systems::figures(&results)?;
    let mut pages: Vec<(String, Vec<u8>)> = Vec::new();
    for table in &tables {
        pages.push((format!("{}.csv", table.name), table.csv()?));
    }
    for (name, svg) in figures.iter().chain(&by_queries) {
        pages.push((format!("{name}.svg"), svg.clone().into_bytes()));
    }
    pages.push(("report.md".into(), markdown(&results, &tables, [&figures, &by_queries]).into_bytes()));
    pages.push(("report.html".into(), html(&results, &tables, [&figures, &by_queries])?.into_bytes()));
    pages::write(folder, &pages)?;
    crate::out::outln!("wrote {}", folder.join("report.html").display());
    Ok(())
}

/// A curve of ours and one of SA for each data set and model.
fn figures(results: &Results) -> anyhow::Result<Vec<(String, String)>> {
    let mut figures = Vec::new();
    for pair in results.pairs() {
        let measured = measured_iterations(results);
        let mut curves = Vec::new();
        for selection in [Selection::Ours, Selection::Sa] {
            let attacks = results.of(pair, Goal::Untargeted, &System::new(selection, Optimization::Paper));
            if !attacks.is_empty() {
                let points = (0..).map(f64::from).zip(fooled_within(&attacks, measured)).collect();
                curves.push(Curve { name: selection.name(), points });
            }
        }
        if !curves.is_empty() {
            let title = format!("{}, {}", pair.1, pair.0);
            let name = format!("figure-2-{}-{}", file_name(pair.0), file_name(pair.1));
            figures.push((name, figure::by_iterations(&title, &curves, measured)?));
        }
    }
    Ok(figures)
}

/// How far the figure's axis goes: never beyond what an untargeted attack was allowed.
fn measured_iterations(results: &Results) -> u32 {
    let bound = results.runs.iter().map(|run| run.iterations[0]).min();
    // Without a line of the run, as far as attacks went.
    let untargeted = results.attacks.iter().filter(|a| a.goal == Goal::Untargeted);
    let went = untargeted.map(|a| a.iterations).max().unwrap_or(1);
    bound.unwrap_or(went).clamp(1, figure::ITERATIONS)
}

fn file_name(text: &str) -> String {
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }
    };
    text.chars().map(safe).collect()
}

const TITLE: &str = "Sparse adversarial attack";
const FIGURE_TITLE: &str = "Figure 2. Fooling rate against the maximum number of iterations";

/// What was called, each once: a run that went on where it was is the same.
fn conditions(results: &Results) -> Vec<String> {
    let mut lines: Vec<String> = results
        .runs
        .iter()
        .map(|run| {
            format!(
                "gst-sparseadv {} (seed {}, frames {}, {}; sparseadv {}, libtorch {}, {})",
                run.command,
                run.seed,
                if run.format.is_empty() { "as decoded" } else { &run.format },
                run.properties,
                run.versions.plugin,
                run.versions.libtorch,
                run.versions.gstreamer
            )
        })
        .collect();
    let mut said = std::collections::HashSet::new();
    lines.retain(|line| said.insert(line.clone()));
    lines
}

/// Figures by their files' names.
type Figures = Vec<(String, String)>;

/// The figures that follow a table, and what is said of them.
fn behind<'a>(
    table: &table::Table,
    [figure_2, by_queries]: [&'a Figures; 2],
) -> Option<(&'static str, &'static str, &'a Figures)> {
    match table.name {
        tables::TABLE_2 => Some((FIGURE_TITLE, paper::FIGURE_2, figure_2)),
        systems::TABLE => Some((systems::FIGURE, systems::FIGURE_NOTE, by_queries)),
        _ => None,
    }
}

fn markdown(results: &Results, tables: &[table::Table], figures: [&Figures; 2]) -> String {
    let mut text = format!("# {TITLE}: the paper's experiments\n\n");
    for line in conditions(results) {
        text += &format!("    {line}\n");
    }
    for table in tables {
        text += &format!("\n{}", table.markdown());
        if let Some((title, note, figures)) = behind(table, figures) {
            text += &format!("\n## {title}\n\n{note}\n\n");
            for (name, _) in figures {
                text += &format!("![{name}]({name}.svg)\n");
            }
        }
    }
    text
}

fn html(results: &Results, tables: &[table::Table], figures: [&Figures; 2]) -> anyhow::Result<String> {
    let parts = tables.iter().map(|table| {
        let figures = behind(table, figures).map(|(title, note, figures)| {
            let drawings: Vec<&String> = figures.iter().map(|(_, svg)| svg).collect();
            json!({"title": title, "note": note, "drawings": drawings})
        });
        json!({"table": table, "figures": figures})
    });
    let parts: Vec<_> = parts.collect();
    html::page("report.html", &json!({"title": TITLE, "conditions": conditions(results), "parts": parts}))
}
