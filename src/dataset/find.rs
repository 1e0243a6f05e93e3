// SPDX-License-Identifier: MPL-2.0

//! Where the lists of a set lie, and whether they are this set's.

use std::fs;
use std::path::{Path, PathBuf};

use super::lists::{self, Lists};
use super::names::is_list;
use super::tree::Tree;
use super::{Layout, Options};

/// Folders that the archives of lists unpack to.
const FOLDERS: [&str; 4] = ["ucfTrainTestlist", "testTrainMulti_7030_splits", "splits", "."];

/// What a search came to.
#[derive(Clone, Debug, Default)]
pub struct Search {
    pub lists: Option<Lists>,
    /// What is worth saying of it.
    pub notes: Vec<String>,
    /// A folder that has lists of other splits only.
    pub other_splits: Option<PathBuf>,
}

/// The names in a folder, in lower case. Nothing is asked of the files: folders beside a set may be large.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().to_lowercase()).collect()
}

/// Whose lists of a split a folder has.
fn layout_of(folder: &Path, split: u32) -> Option<Layout> {
    let names = names_in(folder);
    let ucf = ["trainlist", "testlist"].map(|list| format!("{list}{split:02}.txt"));
    let hmdb = format!("_test_split{split}.txt");
    if names.iter().any(|name| ucf.contains(name)) {
        Some(Layout::Ucf101)
    } else if names.iter().any(|name| name.ends_with(&hmdb)) {
        Some(Layout::Hmdb51)
    } else {
        None
    }
}

fn has_lists(folder: &Path) -> bool {
    names_in(folder).iter().any(|name| is_list(name))
}

/// The usual folders of lists in a folder.
fn usual(base: &Path) -> Vec<PathBuf> {
    let join = |name: &str| match name {
        "." => base.to_path_buf(),
        name => base.join(name),
    };
    FOLDERS.iter().map(|name| join(name)).collect()
}

/// The same, one folder deeper. Trees that `convert` made have copies of the lists, which are theirs.
fn deeper(base: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| entry.path())
        .filter(|folder| folder.is_dir() && !folder.join(".sparseadv").exists())
        .collect();
    folders.sort();
    folders.iter().flat_map(|folder| usual(folder)).collect()
}

pub fn find(tree: &Tree, options: &Options) -> Search {
    let mut search = Search::default();
    if let Some(folder) = &options.splits {
        search.lists = layout_of(folder, options.split).map(|layout| Lists { layout, folder: folder.clone() });
        search.other_splits = has_lists(folder).then(|| folder.clone());
        return search;
    }
    // Of `.` the parent is the real one.
    let real = tree.root.canonicalize().unwrap_or(tree.root.clone());
    let beside = real.parent().map(Path::to_path_buf);
    let near = |base: &Path| (usual(base), deeper(base));
    let (inside, inner) = near(&tree.root);
    let (outside, outer) = beside.as_deref().map(near).unwrap_or_default();
    let mut seen = Vec::new();
    let mut fit: Vec<(Lists, bool)> = Vec::new();
    for (folders, own, plain) in
        [(inside, true, true), (outside, false, true), (inner, true, false), (outer, false, false)]
    {
        for folder in folders {
            let Ok(place) = folder.canonicalize() else {
                continue;
            };
            if seen.contains(&place) {
                continue;
            }
            seen.push(place);
            let Some(layout) = layout_of(&folder, options.split) else {
                if has_lists(&folder) && own | plain && search.other_splits.is_none() {
                    search.other_splits = Some(folder);
                }
                continue;
            };
            let lists = Lists { layout, folder };
            // What lies outside may be another set's.
            if own || lists::name_a_clip(&lists, tree, options.split) {
                fit.push((lists, plain));
            } else if plain {
                search.notes.push(format!(
                    "the lists in {} name no clip of {}: they are not used",
                    lists.folder.display(),
                    tree.root.display()
                ));
            }
        }
    }
    if let [(first, plain), others @ ..] = &fit[..] {
        let folder = first.folder.display();
        if !others.is_empty() {
            let others: Vec<String> = others.iter().map(|(lists, _)| lists.folder.display().to_string()).collect();
            search.notes.push(format!(
                "there are lists of split {} in {folder} and in {}: those in {folder} are used (--splits names others)",
                options.split,
                others.join(", ")
            ));
        } else if !plain {
            search.notes.push(format!("the lists of split {} were found in {folder}", options.split));
        }
        search.lists = Some(first.clone());
    }
    search
}
