// SPDX-License-Identifier: MPL-2.0

//! Which clips are evaluated on, with their true classes.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use gstsparseadv::dataset::{self, Layout};
use rand::seq::SliceRandom;
use serde::Deserialize;

use super::settings::Settings;
use crate::convert::{Side, jobs};
use crate::provenance::digest;
use crate::reproduce::metrics::seeded;

/// A clip of known class.
#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    /// Its path below the set's folder, with `/`.
    pub name: String,
    pub class: String,
    pub path: PathBuf,
}

/// What cannot be had, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Lost {
    pub clip: String,
    pub class: String,
    pub reason: String,
}

/// The clips of one name.
#[derive(Clone, Debug, Default)]
pub struct Set {
    pub name: String,
    /// Sorted by name.
    pub clips: Vec<Clip>,
    pub missing: Vec<Lost>,
    /// What is worth saying.
    pub notes: Vec<String>,
}

/// A line of a list.
#[derive(Deserialize)]
struct Listed {
    clip: String,
    label: String,
}

/// The sets that the settings name.
pub fn all(settings: &Settings) -> anyhow::Result<Vec<Set>> {
    ensure!(
        !settings.data.is_empty(),
        "Expected clips as --data NAME=PATH, found none. Name a data set, a list or a video."
    );
    let mut names = HashSet::new();
    let mut sets = Vec::new();
    for data in &settings.data {
        let (name, path) = data.split_once('=').with_context(|| format!("Expected --data NAME=PATH, found {data}."))?;
        ensure!(names.insert(name), "Expected one --data of the name {name}, found two. Rename one.");
        let mut set = open(path.as_ref(), settings)?;
        set.name = name.to_string();
        set.clips = chosen(std::mem::take(&mut set.clips), settings);
        sets.push(set);
    }
    Ok(sets)
}

/// What tells these clips from others.
pub fn digest_of(sets: &[Set]) -> String {
    let names = |set: &Set| {
        let clips: Vec<String> = set.clips.iter().map(|c| format!("{}\t{}", c.name, c.class)).collect();
        format!("{}\n{}", set.name, clips.join("\n"))
    };
    digest(sets.iter().map(names).collect::<Vec<_>>().join("\n\n").as_bytes())
}

fn open(path: &Path, settings: &Settings) -> anyhow::Result<Set> {
    if path.is_dir() {
        return folder(path, settings);
    }
    if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv")) {
        return list(path);
    }
    ensure!(path.is_file(), "Expected a folder, a list or a video in --data, found nothing: {}.", path.display());
    let Some(label) = &settings.label else {
        bail!("Expected the true label of {} as --label, found none. Add it.", path.display());
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Set { clips: vec![Clip { name, class: label.clone(), path: path.into() }], ..Set::default() })
}

fn folder(root: &Path, settings: &Settings) -> anyhow::Result<Set> {
    let options = settings.dataset();
    let side = match settings.side {
        Some(side) => side,
        None => match dataset::open(root, &options) {
            Ok(set) if set.layout != Layout::Folders || !settings.test_groups.is_empty() => Side::Test,
            _ => Side::All,
        },
    };
    let plan = jobs(root, side, &options, "")?;
    let mut notes = plan.notes;
    // Those of convert's outputs mean nothing here.
    notes.retain(|note| !note.contains(" becomes ") && !note.starts_with("no lists are copied"));
    Ok(Set {
        clips: plan.jobs.into_iter().map(|job| Clip { name: job.clip, class: job.class, path: job.source }).collect(),
        missing: plan.missing.into_iter().map(|m| Lost { clip: m.clip, class: m.class, reason: m.reason }).collect(),
        notes,
        ..Set::default()
    })
}

/// Paths in a list are relative to its folder.
fn list(path: &Path) -> anyhow::Result<Set> {
    let mut set = Set::default();
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(path)
        .with_context(|| format!("{} could not be read", path.display()))?;
    let mut names = HashSet::new();
    for (n, row) in reader.deserialize().enumerate() {
        let Listed { clip, label } = row.with_context(|| {
            format!(
                "Expected the columns clip and label in {}, found another row {}. Correct it",
                path.display(),
                n + 2
            )
        })?;
        let place = folder.join(&clip);
        if !names.insert(clip.clone()) {
            bail!("Expected each clip once in {}, found {clip} twice. Remove one.", path.display());
        }
        if place.is_file() {
            set.clips.push(Clip { path: place, name: clip, class: label });
        } else {
            set.missing.push(Lost { reason: format!("{} does not exist", place.display()), clip, class: label });
        }
    }
    ensure!(!names.is_empty(), "Expected clips in {}, found none. Add rows.", path.display());
    set.clips.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(set)
}

/// At most so many of each class, the same ones for a seed.
fn chosen(clips: Vec<Clip>, settings: &Settings) -> Vec<Clip> {
    let Some(most) = settings.clips else { return clips };
    let mut classes: BTreeMap<String, Vec<Clip>> = BTreeMap::new();
    for clip in clips {
        classes.entry(clip.class.clone()).or_default().push(clip);
    }
    let mut some: Vec<Clip> = classes
        .into_values()
        .flat_map(|mut clips| {
            clips.shuffle(&mut seeded(settings.seed()));
            clips.truncate(most as usize);
            clips
        })
        .collect();
    some.sort_by(|a, b| a.name.cmp(&b.name));
    some
}
