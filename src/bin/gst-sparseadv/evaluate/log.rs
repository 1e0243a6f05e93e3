// SPDX-License-Identifier: MPL-2.0

//! The files that results are kept in: one of a whole run, or one of each part. A clip's lines are added in one write, so
//! that a run which is killed at any moment goes on where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;

use super::results::{FORMAT, Line, Results, Run};
use crate::convert::shard::Shard;
use crate::journal::{self, is_cut_line, whole_lines};
use crate::provenance::{Difference, differences};

/// Name of the file of a whole run.
pub const FILE: &str = "windows.jsonl";

/// Name of a part's file.
fn name_of(shard: Shard) -> String {
    shard.map_or(FILE.into(), |(i, n)| format!("windows.{i}-of-{n}.jsonl"))
}

/// The part that a file's name says it is of, for parts alone.
fn part_of(name: &str) -> Option<(usize, usize)> {
    let part = name.strip_prefix("windows.")?.strip_suffix(".jsonl")?;
    let (i, n) = part.split_once("-of-")?;
    Some((i.parse().ok()?, n.parse().ok()?))
}

/// Whether a folder holds results of an evaluation.
pub fn is_there(folder: &Path) -> bool {
    files(folder).is_ok_and(|files| !files.is_empty())
}

/// The files with lines, the whole run's first.
fn files(folder: &Path) -> anyhow::Result<Vec<(Shard, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("{} could not be read", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let part = part_of(&name);
        if name == FILE || part.is_some() {
            files.push((part, entry.path()));
        }
    }
    files.sort();
    Ok(files)
}

/// All results of a folder.
pub fn read(folder: &Path) -> anyhow::Result<Results> {
    let files = files(folder)?;
    if files.is_empty() {
        bail!(
            "Expected results of gst-sparseadv evaluate in {}, found no {FILE}. Name the folder that it wrote (--out).",
            folder.display()
        );
    }
    let mut results = Results::default();
    for (_, path) in files {
        results.add(lines(&path)?.0);
    }
    results.settle();
    Ok(results)
}

/// The parts of which a folder has sisters, and which are not whole themselves, as `i/n`. An error where they were not made
/// alike.
pub fn parts_lost(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut done: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    let mut first: Option<(PathBuf, Run)> = None;
    for (part, path) in files(folder)? {
        let mut results = Results::default();
        results.add(lines(&path)?.0);
        let Some((i, n)) = part else {
            if results.ended {
                return Ok(Vec::new());
            }
            continue;
        };
        let of = done.entry(n).or_default();
        if results.ended {
            of.insert(i);
        }
        for run in results.runs {
            let (there, known) = first.get_or_insert((path.clone(), run.clone()));
            fits(known, &run, &path)?;
            if run.clips_sha256 != known.clips_sha256 {
                bail!(
                    "Expected parts of the same clips, found others in {} than in {}. Evaluate them with the same settings.",
                    path.display(),
                    there.display()
                );
            }
        }
    }
    let lost = |(n, done): (&usize, &BTreeSet<usize>)| -> Vec<String> {
        (1..=*n).filter(|i| !done.contains(i)).map(|i| format!("{i}/{n}")).collect()
    };
    // Where one count is whole, those of an earlier try do not matter.
    let lost: Vec<Vec<String>> = done.iter().map(lost).collect();
    match lost.iter().any(Vec::is_empty) {
        true => Ok(Vec::new()),
        false => Ok(lost.concat()),
    }
}

/// Refuses lines that were made in another way.
fn fits(known: &Run, now: &Run, path: &Path) -> anyhow::Result<()> {
    let said = |Difference { field, before, now }: Difference| format!("{field} {before} there and {now} here");
    let mut others: Vec<String> = differences(&known.conditions, &now.conditions)?.into_iter().map(said).collect();
    for (name, model) in &now.models {
        if known.models.get(name).is_some_and(|known| known.sha256 != model.sha256) {
            others.push(format!("another model of the name {name}"));
        }
    }
    for (name, threat) in &now.threats {
        if known.threats.get(name).is_some_and(|known| known != threat) {
            others.push(format!("another threat model of the name {name}"));
        }
    }
    if !others.is_empty() {
        bail!(
            "Expected the settings and versions that the results in {} were begun with, found others: {}. Use another --out.",
            path.display(),
            others.join("; ")
        );
    }
    Ok(())
}

/// The lines of a file, and how many of its bytes are whole units.
fn lines(path: &Path) -> anyhow::Result<(Vec<Line>, usize)> {
    let bytes = fs::read(path).with_context(|| format!("{} could not be read", path.display()))?;
    let whole = whole_lines(&bytes);
    if !is_cut_line(&bytes[whole..]) {
        bail!("Expected results of gst-sparseadv evaluate in {}, found that its last line is none.", path.display());
    }
    let (mut lines, mut units, mut at) = (Vec::new(), 0, 0);
    for (n, line) in bytes[..whole].split_inclusive(|b| *b == b'\n').enumerate() {
        at += line.len();
        let line = parse(line).with_context(|| format!("line {} of {}", n + 1, path.display()))?;
        // Windows of a clip that a kill cut off are no unit.
        if !matches!(line, Line::Window(_)) {
            units = at;
        }
        lines.push(line);
    }
    Ok((lines, units))
}

/// Of a line that may be of a newer version.
#[derive(Deserialize)]
struct Peek {
    conditions: Option<PeekConditions>,
}

#[derive(Deserialize)]
struct PeekConditions {
    #[serde(default)]
    results_format: u32,
}

fn parse(line: &[u8]) -> anyhow::Result<Line> {
    if let Ok(Peek { conditions: Some(PeekConditions { results_format }) }) = serde_json::from_slice(line)
        && results_format > FORMAT
    {
        bail!(
            "Expected results of format {FORMAT} or older, found format {results_format}. Use the newer gst-sparseadv that made them."
        );
    }
    serde_json::from_slice(line).context(
        "Expected a line as gst-sparseadv evaluate writes it, found something else. Remove its clip's lines, and they are measured again",
    )
}

/// What a folder knows that goes on with this run; an error where it was made in another way.
pub fn known(folder: &Path, this: &Run) -> anyhow::Result<Results> {
    let mut known = Results::default();
    if folder.exists() {
        for (_, path) in files(folder)? {
            let (found, _) = lines(&path)?;
            for line in &found {
                if let Line::Run(run) = line {
                    fits(run, this, &path)?;
                }
            }
            known.add(found);
        }
    }
    known.settle();
    Ok(known)
}

/// Adds lines to a file. One process at a time has it.
pub struct Log {
    file: File,
    path: PathBuf,
}

impl Log {
    /// Opens the file of a part.
    pub fn open(folder: &Path, shard: Shard) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("The folder {} could not be made", folder.display()))?;
        let path = folder.join(name_of(shard));
        let file = journal::open(&path, "evaluate")?;
        let (_, whole) = lines(&path)?;
        file.set_len(whole as u64).with_context(|| format!("{} could not be written", path.display()))?;
        Ok(Self { file, path })
    }

    /// In one write.
    pub fn add(&mut self, lines: &[Line]) -> anyhow::Result<()> {
        let mut text = String::new();
        for line in lines {
            text += &serde_json::to_string(line)?;
            text.push('\n');
        }
        self.file.write_all(text.as_bytes()).with_context(|| format!("{} could not be written", self.path.display()))
    }
}

/// Writes all results of parts into the file of a whole run.
pub fn write_whole(folder: &Path, results: Results) -> anyhow::Result<()> {
    let mut text = String::new();
    for line in results.into_lines() {
        text += &serde_json::to_string(&line)?;
        text.push('\n');
    }
    let path = folder.join(FILE);
    gstsparseadv::files::write_whole(&path, text.as_bytes())
        .with_context(|| format!("{} could not be written", path.display()))
}
