// SPDX-License-Identifier: MPL-2.0

//! Finds the clips of an action recognition set, their classes and who is held out, in three layouts on disk:
//!
//! - UCF-101: class folders of `v_<Class>_gNN_cNN.avi` and `classInd.txt`, `trainlistNN.txt`, `testlistNN.txt`;
//! - HMDB-51: class folders and `<class>_test_split<N>.txt` with lines `file.avi 1` (train), `2` (test) or `0`
//!   (unused);
//! - plain class folders, split here so that a group (an actor, a source film) is never on both sides.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

mod error;
mod find;
mod folders;
mod lists;
mod names;
mod resolve;
mod rewrite;
mod text;
mod tree;

pub use error::Error;
pub use folders::group_of;
pub use names::{
    Match, VIDEO_EXTENSIONS, display, display_path, find_class, folded, is_list, is_video, match_class, nearest, stem,
};
pub use rewrite::rewrite;
use tree::{Kind, Tree};

/// How many names a note gives.
const EXAMPLES: usize = 3;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    Ucf101,
    Hmdb51,
    #[default]
    Folders,
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ucf101" => Ok(Self::Ucf101),
            "hmdb51" => Ok(Self::Hmdb51),
            "folders" => Ok(Self::Folders),
            _ => Err(format!("expected ucf101, hmdb51 or folders, found {text:?}")),
        }
    }
}

/// Which split of a data set.
#[derive(Clone, Debug)]
pub struct Options {
    /// `None`: told from the lists that are there.
    pub layout: Option<Layout>,
    /// Which of the set's splits, 1 to 3.
    pub split: u32,
    /// Folder of the split lists, if not in or beside the set.
    pub splits: Option<PathBuf>,
    /// Groups (actors, source films) that are the test clips of plain folders. Where it is empty, the split's 30 % of
    /// them are.
    pub test_groups: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    pub path: PathBuf,
    /// Its path below the set's folder as text, with `/`: see [`display`] for names that are not UTF-8.
    pub name: String,
    /// Index into the labels.
    pub label: usize,
    pub held_out: bool,
}

/// A clip that is named, by a list or a link, and cannot be had.
#[derive(Clone, Debug, PartialEq)]
pub struct Missing {
    pub path: PathBuf,
    /// Below the set's folder, as the list spells it.
    pub name: String,
    pub class: String,
    /// `None` where no list says.
    pub held_out: Option<bool>,
    pub reason: String,
}

/// What lies in the set and is no clip, and why not.
#[derive(Clone, Debug, PartialEq)]
pub struct PassedOver {
    pub path: PathBuf,
    pub name: String,
    pub reason: String,
}

#[derive(Clone, Debug, Default)]
pub struct DataSet {
    pub layout: Layout,
    pub labels: Vec<String>,
    pub clips: Vec<Clip>,
    /// Clips that are named and cannot be had.
    pub missing: Vec<Missing>,
    pub passed_over: Vec<PassedOver>,
    /// The folder of the lists that say who is held out.
    pub lists: Option<PathBuf>,
    /// By what the clips are training or test clips.
    pub sides: String,
    /// What else is worth saying, a sentence each.
    pub notes: Vec<String>,
}

/// Lists the clips of the set in the folder `root`. Each clip that is named somewhere is found, or missing with the
/// reason.
pub fn open(root: &Path, options: &Options) -> Result<DataSet, Error> {
    if !root.is_dir() {
        return Err(Error::NoFolder(root.to_path_buf()));
    }
    let split = options.split;
    if !(1..=3).contains(&split) {
        return Err(Error::Split(split));
    }
    let tree = Tree::read(root)?;
    let search = find::find(&tree, options);
    if let (Some(folder), None) = (&options.splits, &search.lists) {
        return Err(Error::NoListsIn { split, folder: folder.clone() });
    }
    let layout = options.layout.or(search.lists.as_ref().map(|l| l.layout));
    let lists = search.lists.filter(|l| layout.is_none_or(|layout| layout == l.layout));
    if let (None, None, Some(folder)) = (options.layout, &lists, search.other_splits) {
        return Err(Error::OtherSplits { split, folder });
    }
    let mut data = match (layout.unwrap_or_default(), &lists) {
        (Layout::Folders, _) => folders::open(&tree, options),
        (_, Some(lists)) => lists::open(lists, &tree, split),
        (_, None) => Err(Error::NoLists { split, root: root.to_path_buf() }),
    }?;
    if options.layout.is_none() {
        data.notes.splice(0..0, search.notes);
        if let (Layout::Folders, Some(set)) = (data.layout, folders::looks_like_a_known_set(&tree)) {
            data.sides = format!(
                "no lists of split {split} were found in or beside {}, though its names are {set}'s: {}",
                root.display(),
                data.sides
            );
        }
    }
    data.lists = lists.map(|l| l.folder);
    data.pass_over(&tree);
    data.note_links();
    if !data.clips.is_empty() {
        return Ok(data);
    }
    match data.missing.first() {
        None => Err(Error::NoVideos { root: root.to_path_buf(), hint: tree.hint() }),
        Some(first) if data.layout != Layout::Folders => Err(Error::NoClips {
            root: root.to_path_buf(),
            named: data.missing.len(),
            first: first.name.clone(),
            reason: first.reason.clone(),
        }),
        Some(_) => Ok(data),
    }
}

impl DataSet {
    /// An error where there is nothing to train on, or nothing to test with.
    pub fn require_both_sides(&self) -> Result<(), Error> {
        for (side, held_out) in [("training", false), ("test", true)] {
            if self.clips.iter().all(|clip| clip.held_out != held_out) {
                let (clips, missing, sides) = (self.clips.len(), self.missing.len(), self.sides.clone());
                return Err(Error::NoClipsOfSide { side, clips, missing, sides });
            }
        }
        Ok(())
    }

    fn new(layout: Layout, labels: Vec<String>) -> Self {
        Self { layout, labels, ..Self::default() }
    }

    fn add(&mut self, path: PathBuf, name: String, label: usize, held_out: bool) {
        self.clips.push(Clip { path, name, label, held_out });
    }

    fn lose(&mut self, path: PathBuf, name: String, class: &str, held_out: Option<bool>, reason: String) {
        self.missing.push(Missing { path, name, class: class.to_owned(), held_out, reason });
    }

    /// A note of several names that something holds for.
    fn note_some(&mut self, what: &str, names: &[String]) {
        if let [first, more @ ..] = names {
            self.notes.push(match more.len() {
                0 => format!("{first} {what}"),
                n => format!("{first} {what}; so are {n} more"),
            });
        }
    }

    /// Notes what lies in the class folders and is not taken.
    fn pass_over(&mut self, tree: &Tree) {
        let taken: std::collections::HashSet<PathBuf> = self.clips.iter().map(|c| c.path.clone()).collect();
        let mut found = Vec::new();
        let mut pass = |path: PathBuf, name: String, reason: &str| {
            if !taken.contains(&path) {
                found.push(PassedOver { path, name, reason: reason.to_owned() });
            }
        };
        for entry in tree.loose.iter().filter(|e| e.kind == Kind::Video) {
            let path = tree.root.join(&entry.name);
            pass(path, entry.text.clone(), "it lies in no class folder");
        }
        for class in &tree.classes {
            let folder = tree.root.join(&class.name);
            if class.error.is_none() && !class.has_videos() {
                pass(folder.clone(), class.text.clone(), "a folder without a video in it");
            }
            for entry in &class.entries {
                let reason = match &entry.kind {
                    Kind::Other(reason) => reason,
                    Kind::Folder => "a folder in a class folder",
                    _ => continue,
                };
                let name = format!("{}/{}", class.text, entry.text);
                pass(folder.join(&entry.name), name, reason);
            }
        }
        let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for file in &found {
            by_reason.entry(&file.reason).or_default().push(&file.name);
        }
        for (reason, names) in by_reason {
            let more = match names.len().saturating_sub(EXAMPLES) {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            let names = names[..names.len().min(EXAMPLES)].join(", ");
            self.notes.push(format!("passed over {names}{more}: {reason}"));
        }
        self.passed_over = found;
    }

    /// Notes clips that are one file under two names.
    fn note_links(&mut self) {
        let mut met: std::collections::HashMap<(u64, u64), &Clip> = std::collections::HashMap::new();
        let mut twice = Vec::new();
        for clip in &self.clips {
            let Ok(data) = std::fs::metadata(&clip.path) else {
                continue;
            };
            let first = *met.entry((data.dev(), data.ino())).or_insert(clip);
            if first.path != clip.path {
                twice.push(format!("{} is the file {}", clip.name, first.name));
            }
        }
        if let [first, more @ ..] = &twice[..] {
            let more = match more.len() {
                0 => String::new(),
                n => format!("; so are {n} more the files of others"),
            };
            self.notes.push(format!("{first} by another name{more}"));
        }
    }
}

#[cfg(test)]
mod tests;
