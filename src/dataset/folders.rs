// SPDX-License-Identifier: MPL-2.0

//! Plain class folders, split here so that a group (an actor, a source film) is never on both sides.

use std::collections::BTreeSet;

use super::error::Error;
use super::names::stem;
use super::tree::{Kind, Tree};
use super::{DataSet, Layout, Options};

/// HMDB-51's fields after the action: body part, camera motion, people, direction, quality, take.
const HMDB_SUFFIX_FIELDS: usize = 6;
/// Names of groups that an error lists.
const NAMED: usize = 40;

pub fn open(tree: &Tree, options: &Options) -> Result<DataSet, Error> {
    let mut labels = Vec::new();
    let mut files = Vec::new();
    for class in tree.classes.iter().filter(|c| c.has_videos()) {
        for entry in class.entries.iter().filter(|e| e.kind == Kind::Video) {
            let group = group_of(&entry.text, &class.text);
            let path = tree.root.join(&class.name).join(&entry.name);
            let name = format!("{}/{}", class.text, entry.text);
            files.push((path, name, labels.len(), group));
        }
        labels.push(class.text.clone());
    }
    let groups: BTreeSet<&str> = files.iter().map(|file| file.3.as_str()).collect();
    let held_out = held_out(tree, options, &groups)?;
    let mut data = DataSet::new(Layout::Folders, labels);
    data.sides = match &options.test_groups[..] {
        [] => format!(
            "the test side of split {} is 30 % of the {} groups (actors, source films) that the names tell",
            options.split,
            groups.len()
        ),
        named => format!("the test side is the groups {}", named.join(", ")),
    };
    for (path, name, label, group) in &files {
        let held_out = held_out.contains(group.as_str());
        data.add(path.clone(), name.clone(), *label, held_out);
    }
    lose_broken(&mut data, tree);
    Ok(data)
}

/// The groups of the test side.
fn held_out<'a>(tree: &Tree, options: &'a Options, groups: &BTreeSet<&'a str>) -> Result<BTreeSet<&'a str>, Error> {
    if options.test_groups.is_empty() {
        // Whole tenths, so that the three splits never share a group.
        let start = 3 * (options.split as usize - 1);
        let tenth = |index: usize| 10 * index / groups.len();
        let chosen = |(index, group)| (start..start + 3).contains(&tenth(index)).then_some(group);
        return Ok(groups.iter().copied().enumerate().filter_map(chosen).collect());
    }
    let wanted = options.test_groups.iter().map(String::as_str);
    let unknown: Vec<&str> = wanted.clone().filter(|group| !groups.contains(group)).collect();
    if !unknown.is_empty() {
        return Err(Error::UnknownGroups {
            root: tree.root.clone(),
            unknown: unknown.into_iter().map(str::to_owned).collect(),
            known: groups.iter().take(NAMED).copied().collect::<Vec<_>>().join(", "),
        });
    }
    Ok(wanted.collect())
}

/// What would be a clip if it could be read.
fn lose_broken(data: &mut DataSet, tree: &Tree) {
    for class in &tree.classes {
        let folder = tree.root.join(&class.name);
        if let Some(error) = &class.error {
            let name = class.text.clone();
            data.lose(folder.clone(), name, &class.text, None, error.clone());
        }
        for entry in &class.entries {
            if let Kind::Lost(reason) = &entry.kind {
                let name = format!("{}/{}", class.text, entry.text);
                let path = folder.join(&entry.name);
                data.lose(path, name, &class.text, None, reason.clone());
            }
        }
    }
    for entry in &tree.loose {
        if let Kind::Lost(reason) = &entry.kind {
            let path = tree.root.join(&entry.name);
            data.lose(path, entry.text.clone(), &entry.text, None, reason.clone());
        }
    }
}

/// Whether names are of one of the sets that come with lists.
pub fn looks_like_a_known_set(tree: &Tree) -> Option<&'static str> {
    let mut videos = tree.classes.iter().flat_map(|class| class.entries.iter()).filter(|e| e.kind == Kind::Video);
    videos.find_map(|e| {
        let fields: Vec<&str> = stem(&e.text).split('_').collect();
        match fields[..] {
            ["v", _, .., group, clip] if is_numbered(group, 'g') && is_numbered(clip, 'c') => Some("UCF-101"),
            _ if is_hmdb(&fields) => Some("HMDB-51"),
            _ => None,
        }
    })
}

fn is_hmdb(fields: &[&str]) -> bool {
    matches!(fields, [source @ .., _, motion, people, _, _, _]
        if !source.is_empty() && ["cm", "nm"].contains(motion) && people.starts_with("np"))
}

/// Who or where a clip of plain folders is from: UCF's `gNN`, else what precedes the class's name (an actor or
/// HMDB-51's source), else what precedes HMDB-51's suffix fields, else the whole name.
pub fn group_of(file: &str, class: &str) -> String {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let fields: Vec<&str> = stem.split('_').collect();
    if let [.., group, clip] = fields[..]
        && is_numbered(group, 'g')
        && is_numbered(clip, 'c')
    {
        return group.to_owned();
    }
    if let Some(at) = stem.rfind(&format!("_{class}")).filter(|&at| at > 0) {
        return stem[..at].to_owned();
    }
    if is_hmdb(&fields) {
        return fields[..fields.len() - HMDB_SUFFIX_FIELDS].join("_");
    }
    stem.to_owned()
}

/// `g07` for the letter g.
fn is_numbered(field: &str, letter: char) -> bool {
    field.strip_prefix(letter).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}
