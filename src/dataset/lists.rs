// SPDX-License-Identifier: MPL-2.0

//! UCF-101's and HMDB-51's lists against what lies in the class folders.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::error::Error;
use super::names::{Match, match_class, nearest};
use super::resolve::{Named, near, resolve};
use super::text::{self, Line};
use super::tree::{Kind, Tree};
use super::{DataSet, Layout};
use crate::files;

/// Nearest names are looked for only so often: a list whose set is elsewhere would take for ever.
const NEAREST: usize = 100;

/// The most bytes of a list: two million paths of a hundred bytes, and more than any set has clips.
const LARGEST: u64 = 256 << 20;

/// Lists that were found.
#[derive(Clone, Debug)]
pub struct Lists {
    pub layout: Layout,
    pub folder: PathBuf,
}

/// A file of a folder, whatever the case of its name.
fn file_in(folder: &Path, name: &str) -> Option<PathBuf> {
    let exact = folder.join(name);
    if exact.is_file() {
        return Some(exact);
    }
    let entries = super::tree::list(folder).ok()?;
    let found = entries.iter().find(|e| e.text.to_lowercase() == name.to_lowercase())?;
    Some(folder.join(&found.name))
}

fn read(path: &Path) -> Result<Vec<Line>, Error> {
    let bytes = files::read_at_most(path, LARGEST).map_err(Error::unreadable("list", path))?;
    Ok(text::lines(&bytes))
}

/// Whether lists have to do with a set: one of their clips is there.
pub fn name_a_clip(lists: &Lists, tree: &Tree, split: u32) -> bool {
    let Ok((labels, named, _)) = named(lists, tree, split) else {
        return false;
    };
    named.iter().any(|n| n.label.is_some_and(|label| resolve(tree, &labels[label], n).is_ok()))
}

pub fn open(lists: &Lists, tree: &Tree, split: u32) -> Result<DataSet, Error> {
    let (labels, named, notes) = named(lists, tree, split)?;
    let mut data = DataSet::new(lists.layout, labels);
    data.notes = notes;
    data.sides = format!("the sides are those of split {split} in {}", lists.folder.display());
    let mut spelt: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut sides: HashMap<PathBuf, [bool; 2]> = HashMap::new();
    let mut twice: Vec<String> = Vec::new();
    let mut both: Vec<String> = Vec::new();
    for n in &named {
        let found = match (&n.fault, n.label) {
            (Some(fault), _) => Err(fault.clone()),
            (None, None) => Err("it has no class".into()),
            (None, Some(label)) => resolve(tree, &data.labels[label], n),
        };
        let listed = [&[n.class.clone()][..], &n.file[..]].concat().join("/");
        match found {
            Ok(found) => {
                for (what, example) in found.notes {
                    spelt.entry(what).or_default().extend(example);
                }
                let met = sides.entry(found.path.clone()).or_default();
                if std::mem::replace(&mut met[usize::from(n.held_out)], true) {
                    twice.push(listed);
                    continue;
                }
                if met[0] && met[1] {
                    both.push(listed);
                }
                data.add(found.path, found.name, n.label.unwrap_or(0), n.held_out);
            }
            Err(mut reason) => {
                if n.fault.is_none() && data.missing.len() < NEAREST {
                    reason += &near(tree, n);
                }
                data.lose(tree.root.join(&listed), listed, &n.class, Some(n.held_out), reason);
            }
        }
    }
    data.notes.extend(spelt.into_iter().map(|(what, examples)| match &examples[..] {
        [] => what,
        [one] => format!("{what}: {one}"),
        [first, more @ ..] => format!("{what}: {first}, and {} more", more.len()),
    }));
    data.note_some("is in one list more than once; it counts once", &twice);
    data.note_some("is on both sides, as a training and as a test clip", &both);
    note_unlisted(&mut data, tree, lists);
    Ok(data)
}

/// Videos that no list names are on neither side.
fn note_unlisted(data: &mut DataSet, tree: &Tree, lists: &Lists) {
    let known: std::collections::HashSet<&PathBuf> = data.clips.iter().map(|c| &c.path).collect();
    let mut unlisted = Vec::new();
    for class in &tree.classes {
        for entry in class.entries.iter().filter(|e| e.kind == Kind::Video) {
            let path = tree.root.join(&class.name).join(&entry.name);
            if !known.contains(&path) {
                unlisted.push(format!("{}/{}", class.text, entry.text));
            }
        }
    }
    // HMDB-51's lists leave clips out on purpose.
    if lists.layout == Layout::Ucf101 {
        data.note_some("is in no list of this split and on neither side", &unlisted);
    } else {
        let classes: Vec<String> = tree
            .classes
            .iter()
            .filter(|c| c.has_videos() && match_class(&c.text, &data.labels) == Match::None)
            .map(|c| c.text.clone())
            .collect();
        data.note_some("is a class folder without a list; its clips are on neither side", &classes);
    }
}

type AllNamed = (Vec<String>, Vec<Named>, Vec<String>);

fn named(lists: &Lists, tree: &Tree, split: u32) -> Result<AllNamed, Error> {
    match lists.layout {
        Layout::Hmdb51 => hmdb51(&lists.folder, split),
        _ => ucf101(&lists.folder, tree, split),
    }
}

/// A class and its number, if the list says one.
type Numbered = (Option<u32>, String);

/// The classes by their numbers.
fn class_index(folder: &Path) -> Result<Option<Vec<Numbered>>, Error> {
    let Some(path) = file_in(folder, "classInd.txt") else {
        return Ok(None);
    };
    let lines = read(&path)?;
    let class = |line: &Line| {
        let text = line.text.as_str();
        let (number, name) = text.split_once(|c: char| c.is_whitespace() || c == ',' || c == ';').unwrap_or(("", text));
        match number.parse() {
            Ok(number) => (Some(number), text::path_in(name.trim()).0.to_owned()),
            Err(_) => (None, text.to_owned()),
        }
    };
    let classes: Vec<Numbered> = lines.iter().map(class).collect();
    if classes.is_empty() { Err(Error::NoClasses(path)) } else { Ok(Some(classes)) }
}

fn ucf101(folder: &Path, tree: &Tree, split: u32) -> Result<AllNamed, Error> {
    let mut notes = Vec::new();
    let classes = match class_index(folder)? {
        Some(classes) => classes,
        None => {
            notes.push(format!(
                "there is no classInd.txt in {}: the class folders are the classes, in the order of their names",
                folder.display()
            ));
            let names = tree.classes.iter().filter(|c| c.has_videos());
            names.map(|c| (None, c.text.clone())).collect()
        }
    };
    let labels: Vec<String> = classes.iter().map(|(_, name)| name.clone()).collect();
    let (mut named, mut misfits) = (Vec::new(), Vec::new());
    for (name, held_out) in [("trainlist", false), ("testlist", true)] {
        let name = format!("{name}{split:02}.txt");
        let Some(path) = file_in(folder, &name) else {
            let side = if held_out { "test" } else { "training" };
            notes.push(format!("there is no {name} in {}: no clip is a {side} clip", folder.display()));
            continue;
        };
        for line in read(&path)? {
            let (file, number) = text::path_in(&line.text);
            let number: Option<u32> = number.parse().ok();
            let numbered = number.and_then(|n| classes.iter().position(|(of, _)| *of == Some(n)));
            let mut n = ucf_clip(file, &labels, numbered, held_out, &path);
            if number.is_some() && n.label.is_some() && numbered != n.label {
                misfits.push(format!("{name}, line {}, \"{}\"", line.number, line.text));
            }
            n.line = line;
            named.push(n);
        }
    }
    if let Some(first) = misfits.first() {
        notes.push(format!(
            "the class number does not fit classInd.txt and the folder in {first}, and {} more: the folder's name counts",
            misfits.len() - 1
        ));
    }
    Ok((labels, named, notes))
}

/// A line's clip: its class is the folder next to the file that is one.
fn ucf_clip(file: &str, labels: &[String], numbered: Option<usize>, held_out: bool, list: &Path) -> Named {
    let parts = text::parts(file);
    let (folders, name) = match parts.split_last() {
        Some((name, folders)) => (folders, *name),
        None => (&[][..], ""),
    };
    let mut n = Named {
        line: Line { number: 0, text: String::new(), latin1: false },
        label: None,
        class: folders.last().copied().unwrap_or_default().to_owned(),
        file: vec![name.to_owned()],
        held_out,
        fault: None,
    };
    if parts.contains(&"..") {
        n.fault = Some(format!("its path in {} leads elsewhere", list.display()));
        return n;
    }
    for at in (0..folders.len()).rev() {
        match match_class(folders[at], labels) {
            Match::One(label) => {
                n.label = Some(label);
                n.class = folders[at].to_owned();
                n.file = parts[at + 1..].iter().map(|p| p.to_string()).collect();
                return n;
            }
            Match::Several(several) => {
                let names: Vec<&str> = several.iter().map(|i| labels[*i].as_str()).collect();
                n.fault = Some(format!("the class {} may be any of {}", folders[at], names.join(", ")));
                return n;
            }
            Match::None => {}
        }
    }
    // v_<Class>_gNN_cNN
    let told = name.strip_prefix("v_").and_then(|rest| rest.split("_g").next());
    let told = told.and_then(|class| match_class(class, labels).one());
    if folders.is_empty() {
        n.label = numbered.or(told);
        n.class = n.label.map_or(String::new(), |label| labels[label].clone());
    }
    if n.label.is_none() {
        let near = nearest(&n.class, labels.iter().map(String::as_str));
        let near = near.map_or(String::new(), |n| format!("; the nearest is {n}"));
        n.fault = Some(format!("its class \"{}\" in {} is none of classInd.txt{near}", n.class, list.display()));
    }
    n
}

fn hmdb51(folder: &Path, split: u32) -> Result<AllNamed, Error> {
    let suffix = format!("_test_split{split}.txt");
    let entries = super::tree::list(folder).map_err(Error::unreadable("folder", folder))?;
    let mut lists: Vec<(String, PathBuf)> = Vec::new();
    for entry in entries {
        let at = entry.text.len().saturating_sub(suffix.len());
        let is_one = entry.text.get(at..).is_some_and(|end| end.to_lowercase() == suffix);
        if is_one && at > 0 {
            lists.push((entry.text[..at].to_owned(), folder.join(&entry.name)));
        }
    }
    if lists.is_empty() {
        return Err(Error::NoListsOfClasses { suffix, folder: folder.to_path_buf() });
    }
    let labels: Vec<String> = lists.iter().map(|(class, _)| class.clone()).collect();
    let mut named = Vec::new();
    for (label, (class, path)) in lists.iter().enumerate() {
        for line in read(path)? {
            let (file, side) = text::path_in(&line.text);
            let parts = text::parts(file);
            let fault = match side {
                "0" => continue,
                "1" | "2" if !parts.contains(&"..") => None,
                _ => Some(format!(
                    "expected \"file.avi\" and 0, 1 or 2 in line {} of {}, found \"{}\"",
                    line.number,
                    path.display(),
                    line.text
                )),
            };
            named.push(Named {
                label: Some(label),
                class: class.clone(),
                file: vec![parts.last().copied().unwrap_or_default().to_owned()],
                held_out: side == "2",
                fault,
                line,
            });
        }
    }
    Ok((labels, named, Vec::new()))
}
