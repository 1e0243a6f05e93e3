// SPDX-License-Identifier: MPL-2.0

//! Which clips there are to convert, and where each goes.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::bail;
use gstsparseadv::dataset::{self, DataSet, Layout};
use gstsparseadv::files::{LONGEST_NAME, shortened};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Every video in the class folders, whatever the lists say
    All,
    Train,
    Test,
}

/// A clip to convert.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Path below the data set's folder, with `/`. Bytes that are not UTF-8 are written as `%XX`, see
    /// [`dataset::display`].
    pub clip: String,
    pub class: String,
    pub source: PathBuf,
    /// Path below the converted tree's folder, with `/`.
    pub output: String,
}

/// A clip that a list or a link names and that cannot be had.
#[derive(Clone, Debug, PartialEq)]
pub struct Missing {
    pub clip: String,
    pub class: String,
    pub reason: String,
}

/// What there is to do.
pub struct Plan {
    /// Sorted by name.
    pub jobs: Vec<Job>,
    /// Sorted by name.
    pub missing: Vec<Missing>,
    /// The set as its lists have it.
    pub lists: DataSet,
    /// What is worth saying before it begins.
    pub notes: Vec<String>,
}

/// The clips of a set, with outputs of `extension`.
pub fn jobs(root: &Path, side: Side, options: &dataset::Options, extension: &str) -> anyhow::Result<Plan> {
    let (lists, files, mut notes) = open(root, side, options)?;
    let outputs = outputs(&files, extension);
    let mut missing = missing(side, &lists, &files);
    let (mut jobs, mut names) = (Vec::new(), HashSet::new());
    for clip in files.clips.iter().filter(|c| side.takes(Some(c.held_out))) {
        let class = files.labels[clip.label].clone();
        if !names.insert(clip.name.clone()) {
            missing.push(Missing {
                clip: clip.path.display().to_string(),
                class,
                reason: format!("another file goes by the name {} too; rename one", clip.name),
            });
            continue;
        }
        let output = outputs.get(&clip.path).cloned().unwrap_or_default();
        let own = format!("{}.{extension}", dataset::stem(&clip.name));
        if output != own && file_name(&own).len() <= LONGEST_NAME {
            notes.push(format!("{} becomes {output}, for {own} is another clip's", clip.name));
        }
        jobs.push(Job { class, source: clip.path.clone(), output, clip: clip.name.clone() });
    }
    jobs.sort_by(|a, b| a.clip.cmp(&b.clip));
    missing.sort_by(|a, b| (&a.clip, &a.reason).cmp(&(&b.clip, &b.reason)));
    missing.dedup_by(|a, b| a.clip == b.clip);
    missing.retain(|m| !names.contains(&m.clip));
    if jobs.is_empty() && missing.is_empty() {
        let side = if side == Side::Train { "training" } else { "test" };
        bail!(
            "Expected {side} clips in {}, found none among {} clips: {}.",
            root.display(),
            files.clips.len(),
            files.sides
        );
    }
    Ok(Plan { jobs, missing, lists, notes })
}

impl Side {
    /// Whether it takes a clip that is, or is not, a test clip.
    fn takes(self, held_out: Option<bool>) -> bool {
        match self {
            Self::All => true,
            Self::Train => held_out != Some(true),
            Self::Test => held_out != Some(false),
        }
    }
}

/// The set by its lists, the set that the clips are taken from, and what is worth saying of both.
fn open(root: &Path, side: Side, options: &dataset::Options) -> anyhow::Result<(DataSet, DataSet, Vec<String>)> {
    let listed = dataset::open(root, options);
    if side != Side::All {
        let set = listed?;
        let mut notes = vec![set.sides.clone()];
        notes.extend(set.notes.iter().cloned());
        return Ok((set.clone(), set, notes));
    }
    let all =
        dataset::Options { layout: Some(Layout::Folders), splits: None, test_groups: Vec::new(), ..options.clone() };
    let mut files = match &listed {
        Ok(set) if set.layout == Layout::Folders => set.clone(),
        _ => dataset::open(root, &all)?,
    };
    files.sides.clear();
    let mut notes = files.notes.clone();
    let lists = match listed {
        Ok(lists) => lists,
        Err(error) if options.splits.is_some() => return Err(error.into()),
        // All clips are converted, whatever lists say.
        Err(error) => {
            notes.push(format!("no lists are copied: {:#}", anyhow::Error::from(error)));
            files.clone()
        }
    };
    notes.extend(lists.notes.iter().cloned());
    let mut said = HashSet::new();
    notes.retain(|note| said.insert(note.clone()));
    Ok((lists, files, notes))
}

fn missing(side: Side, lists: &DataSet, files: &DataSet) -> Vec<Missing> {
    let all = lists.missing.iter().chain(&files.missing);
    all.filter(|m| side.takes(m.held_out))
        .map(|m| Missing { clip: m.name.clone(), class: m.class.clone(), reason: m.reason.clone() })
        .collect()
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What each clip becomes. `a.avi` and `a.mp4` of one folder would become one file, `A.avi` and `a.avi` too on some
/// file systems: the later ones keep their extension in the name. It does not depend on the side that is converted.
fn outputs(files: &DataSet, extension: &str) -> HashMap<PathBuf, String> {
    let mut clips: Vec<_> = files.clips.iter().map(|c| (&c.name, &c.path)).collect();
    clips.sort();
    clips.dedup();
    let (mut taken, mut outputs) = (HashSet::new(), HashMap::new());
    for (name, path) in clips {
        let plain = dataset::stem(name);
        let more = (2..).map(|n| format!("{name}.{n}"));
        let names = [plain.to_owned(), name.clone()].into_iter().chain(more);
        let mut fitting = names.map(|stem| fitting(&stem, extension));
        let free = fitting.find(|output| taken.insert(dataset::folded(output)));
        outputs.insert(path.clone(), free.unwrap_or_default());
    }
    outputs
}

/// `stem.extension` with a name that file systems take.
fn fitting(stem: &str, extension: &str) -> String {
    let longest = LONGEST_NAME.saturating_sub(1 + extension.len());
    let (folder, name) = match stem.rsplit_once('/') {
        Some((folder, name)) => (format!("{folder}/"), name),
        None => (String::new(), stem),
    };
    format!("{folder}{}.{extension}", shortened(name, longest))
}
