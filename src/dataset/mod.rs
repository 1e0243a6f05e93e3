// SPDX-License-Identifier: MPL-2.0

//! Finds the clips of an action recognition set, their classes and who is held out, in three layouts on disk:
//!
//! - UCF-101: class folders of `v_<Class>_gNN_cNN.avi` and `classInd.txt`, `trainlistNN.txt`, `testlistNN.txt`;
//! - HMDB-51: class folders and `<class>_test_split<N>.txt` with lines `file.avi 1` (train), `2` (test) or `0` (unused);
//! - plain class folders, split here so that a group (an actor, a source film) is never on both sides.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{bail, ensure, Context, Result};

/// Where split lists are looked for: inside the set or beside it, under the names their archives unpack to.
const SPLIT_FOLDERS: [&str; 4] = [
    "ucfTrainTestlist",
    "testTrainMulti_7030_splits",
    "splits",
    ".",
];
const VIDEO_EXTENSIONS: [&str; 9] = [
    "avi", "mp4", "mkv", "mov", "webm", "mpg", "mpeg", "m4v", "wmv",
];
/// HMDB-51's fields after the action: body part, camera motion, people, direction, quality, take.
const HMDB_SUFFIX_FIELDS: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    Ucf101,
    Hmdb51,
    Folders,
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ucf101" => Ok(Self::Ucf101),
            "hmdb51" => Ok(Self::Hmdb51),
            "folders" => Ok(Self::Folders),
            _ => Err(format!(
                "expected ucf101, hmdb51 or folders, found {text:?}"
            )),
        }
    }
}

/// Which side of a data set, and the command-line options that say so.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// `None`: told from the lists that are there.
    #[arg(skip)]
    pub layout: Option<Layout>,
    /// Which of the set's three splits
    #[arg(long, default_value_t = 1)]
    pub split: u32,
    /// Folder of the split lists, if not in or beside the set
    #[arg(long)]
    pub splits: Option<PathBuf>,
    /// Groups (actors, source films) that are the test clips of plain folders, with commas between; by default the split's 30 % of them
    #[arg(long, value_delimiter = ',')]
    pub test_groups: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    pub path: PathBuf,
    /// Index into the labels.
    pub label: usize,
    pub held_out: bool,
}

#[derive(Clone, Debug)]
pub struct DataSet {
    pub layout: Layout,
    pub labels: Vec<String>,
    pub clips: Vec<Clip>,
    /// Files that the lists name but the folders lack.
    pub missing: Vec<PathBuf>,
    /// The folder of the lists that say who is held out.
    pub lists: Option<PathBuf>,
}

/// Lists the clips of the set in the folder `root`.
pub fn open(root: &Path, options: &Options) -> Result<DataSet> {
    ensure!(
        root.is_dir(),
        "expected a data set's folder, found no folder at {}",
        root.display()
    );
    ensure!(
        (1..=3).contains(&options.split),
        "expected split 1, 2 or 3, found {}",
        options.split
    );
    let found = find_lists(root, options);
    if let (Some(folder), None) = (&options.splits, &found) {
        bail!(
            "expected the lists of split {} in {}, found none",
            options.split,
            folder.display()
        );
    }
    let layout = options
        .layout
        .or(found.as_ref().map(|(layout, _)| *layout))
        .unwrap_or(Layout::Folders);
    let lists = found
        .filter(|(of, _)| *of == layout)
        .map(|(_, lists)| lists);
    let mut data = match (layout, lists.clone()) {
        (Layout::Folders, _) => folders(root, options),
        (Layout::Ucf101, Some(lists)) => ucf101(root, &lists, options.split),
        (Layout::Hmdb51, Some(lists)) => hmdb51(root, &lists, options.split),
        (_, None) => bail!(
            "expected the lists of split {} (trainlist{:02}.txt or <class>_test_split{}.txt) in or beside {}, found none: unpack them there, \
             name their folder, or read the set as plain folders",
            options.split, options.split, options.split, root.display()
        ),
    }?;
    data.lists = lists;
    Ok(data)
}

/// The folder with lists of the wanted split, and whose lists they are.
fn find_lists(root: &Path, options: &Options) -> Option<(Layout, PathBuf)> {
    let around = [Some(root), root.parent()];
    let candidates: Vec<PathBuf> = match &options.splits {
        Some(folder) => vec![folder.clone()],
        None => around
            .into_iter()
            .flatten()
            .flat_map(|base| SPLIT_FOLDERS.map(|name| base.join(name)))
            .collect(),
    };
    let ucf = format!("trainlist{:02}.txt", options.split);
    let hmdb = format!("_test_split{}.txt", options.split);
    candidates.into_iter().find_map(|folder| {
        let names = names_in(&folder).ok()?;
        if names.contains(&ucf) {
            Some((Layout::Ucf101, folder))
        } else if names.iter().any(|name| name.ends_with(&hmdb)) {
            Some((Layout::Hmdb51, folder))
        } else {
            None
        }
    })
}

fn ucf101(root: &Path, lists: &Path, split: u32) -> Result<DataSet> {
    let class_list = lists.join("classInd.txt");
    let labels: Vec<String> = read(&class_list)?
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned))
        .collect();
    ensure!(
        !labels.is_empty(),
        "expected lines such as \"1 ApplyEyeMakeup\" in {}, found none",
        class_list.display()
    );
    let mut data = DataSet::new(Layout::Ucf101, labels);
    for (list, held_out) in [("trainlist", false), ("testlist", true)] {
        let list = lists.join(format!("{list}{split:02}.txt"));
        for line in read(&list)?.lines().filter(|line| !line.trim().is_empty()) {
            // Training lines end in the class number, which says no more than the folder does.
            let path = match line.trim().rsplit_once(' ') {
                Some((path, number)) if number.bytes().all(|b| b.is_ascii_digit()) => path,
                _ => line.trim(),
            };
            let class = path.split('/').next().unwrap_or_default();
            let label = data
                .labels
                .iter()
                .position(|l| l == class)
                .with_context(|| {
                    format!(
                    "expected <class>/<file> with a class of classInd.txt in {}, found {line:?}",
                    list.display()
                )
                })?;
            data.add(root.join(path), label, held_out);
        }
    }
    Ok(data)
}

fn hmdb51(root: &Path, lists: &Path, split: u32) -> Result<DataSet> {
    let suffix = format!("_test_split{split}.txt");
    let labels: Vec<String> = names_in(lists)?
        .iter()
        .filter_map(|name| name.strip_suffix(&suffix).map(str::to_owned))
        .collect();
    let mut data = DataSet::new(Layout::Hmdb51, labels);
    for (label, class) in data.labels.clone().iter().enumerate() {
        let list = lists.join(format!("{class}{suffix}"));
        for line in read(&list)?.lines().filter(|line| !line.trim().is_empty()) {
            let (file, side) = line.trim().rsplit_once(' ').unwrap_or((line, ""));
            let held_out = match side {
                "0" => continue,
                "1" => false,
                "2" => true,
                _ => bail!(
                    "expected \"file.avi\" and 0, 1 or 2 in {}, found {line:?}",
                    list.display()
                ),
            };
            data.add(root.join(class).join(file.trim_end()), label, held_out);
        }
    }
    Ok(data)
}

fn folders(root: &Path, options: &Options) -> Result<DataSet> {
    let mut labels = Vec::new();
    let mut files = Vec::new();
    for class in names_in(root)?
        .into_iter()
        .filter(|n| root.join(n).is_dir())
    {
        let videos: Vec<String> = names_in(&root.join(&class))?
            .into_iter()
            .filter(|name| is_video(name))
            .collect();
        if videos.is_empty() {
            continue;
        }
        for name in videos {
            let group = group_of(&name, &class);
            files.push((root.join(&class).join(name), labels.len(), group));
        }
        labels.push(class);
    }
    let groups: BTreeSet<&str> = files.iter().map(|(_, _, group)| group.as_str()).collect();
    let held_out: BTreeSet<&str> = if options.test_groups.is_empty() {
        // Whole tenths, so that the three splits never share a group.
        let start = 3 * (options.split as usize - 1);
        let tenth = |index: usize| 10 * index / groups.len();
        let chosen = |(index, group)| (start..start + 3).contains(&tenth(index)).then_some(group);
        groups
            .iter()
            .copied()
            .enumerate()
            .filter_map(chosen)
            .collect()
    } else {
        let wanted = options.test_groups.iter().map(String::as_str);
        if let Some(unknown) = wanted.clone().find(|group| !groups.contains(group)) {
            bail!(
                "expected test groups of {}, found {unknown:?}; there are {}",
                root.display(),
                groups
                    .iter()
                    .take(40)
                    .copied()
                    .collect::<Vec<_>>()
                    .join(", ")
            );
        }
        wanted.collect()
    };
    let mut data = DataSet::new(Layout::Folders, labels);
    for (path, label, group) in &files {
        data.add(path.clone(), *label, held_out.contains(group.as_str()));
    }
    Ok(data)
}

impl DataSet {
    /// An error where there is nothing to train on, or nothing to test with.
    pub fn require_both_sides(&self) -> Result<()> {
        for (side, held_out) in [("training", false), ("test", true)] {
            ensure!(
                self.clips.iter().any(|clip| clip.held_out == held_out),
                "expected {side} clips, found none among {} clips ({} files of the lists are missing)",
                self.clips.len(),
                self.missing.len()
            );
        }
        Ok(())
    }

    fn new(layout: Layout, labels: Vec<String>) -> Self {
        Self {
            layout,
            labels,
            clips: Vec::new(),
            missing: Vec::new(),
            lists: None,
        }
    }

    fn add(&mut self, path: PathBuf, label: usize, held_out: bool) {
        if path.is_file() {
            self.clips.push(Clip {
                path,
                label,
                held_out,
            });
        } else {
            self.missing.push(path);
        }
    }
}

/// The index of a class among labels: spelt the same, else the only one that is the same without regard to case, blanks, `_` and `-`.
pub fn find_class(name: &str, labels: &[String]) -> Option<usize> {
    if let Some(exact) = labels.iter().position(|label| label == name) {
        return Some(exact);
    }
    let plain = |text: &str| -> String {
        let kept = text
            .chars()
            .filter(|c| !c.is_whitespace() && !"_-".contains(*c));
        kept.flat_map(char::to_lowercase).collect()
    };
    let name = plain(name);
    let mut alike = labels
        .iter()
        .enumerate()
        .filter(|(_, label)| plain(label) == name);
    match (alike.next(), alike.next()) {
        (Some((index, _)), None) => Some(index),
        _ => None,
    }
}

/// Who or where a clip of plain folders is from: UCF's `gNN`, else what precedes the class's name (an actor or HMDB-51's source), else
/// what precedes HMDB-51's suffix fields, else the whole name.
pub fn group_of(file: &str, class: &str) -> String {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let fields: Vec<&str> = stem.split('_').collect();
    if let [.., group, clip] = fields[..] {
        if is_numbered(group, 'g') && is_numbered(clip, 'c') {
            return group.to_owned();
        }
    }
    if let Some(at) = stem.rfind(&format!("_{class}")).filter(|&at| at > 0) {
        return stem[..at].to_owned();
    }
    if let [source @ .., _, motion, people, _, _, _] = &fields[..] {
        if !source.is_empty() && ["cm", "nm"].contains(motion) && people.starts_with("np") {
            return fields[..fields.len() - HMDB_SUFFIX_FIELDS].join("_");
        }
    }
    stem.to_owned()
}

/// `g07` for the letter g.
fn is_numbered(field: &str, letter: char) -> bool {
    field
        .strip_prefix(letter)
        .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

pub fn is_video(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, extension)| {
        VIDEO_EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str())
    })
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("{} could not be read", path.display()))
}

/// Sorted, for classes and splits must not depend on the file system.
fn names_in(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder)
        .with_context(|| format!("the folder {} could not be read", folder.display()))?;
    let mut names = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<String>>>()?;
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests;
