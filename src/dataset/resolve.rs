// SPDX-License-Identifier: MPL-2.0

//! The file that a line of a list means.

use std::fs;
use std::path::PathBuf;

use super::names::{Match, match_class, match_file, nearest, stem};
use super::text::{self, Line};
use super::tree::{Class, Kind, Tree};

/// One clip of a list.
pub struct Named {
    pub line: Line,
    pub label: Option<usize>,
    /// The class as the list spells it, and the file below it.
    pub class: String,
    pub file: Vec<String>,
    pub held_out: bool,
    /// Why it is none.
    pub fault: Option<String>,
}

pub struct Found {
    pub path: PathBuf,
    /// Below the set's folder, as text.
    pub name: String,
    /// What was spelt otherwise, and an example.
    pub notes: Vec<(String, Option<String>)>,
}

/// The class folder that a list means.
fn class_folder<'a>(tree: &'a Tree, label: &str, n: &Named) -> Result<&'a Class, String> {
    let at = tree.root.display();
    for name in [&n.class, label] {
        match match_class(name, &tree.classes) {
            Match::One(index) => return Ok(&tree.classes[index]),
            Match::Several(several) => {
                let names: Vec<&str> = several.iter().map(|i| tree.classes[*i].text.as_str()).collect();
                return Err(format!("the class {name} may be any of the folders {} in {at}", names.join(", ")));
            }
            Match::None => {}
        }
    }
    Err(format!("there is no class folder {} in {at}", n.class))
}

pub fn resolve(tree: &Tree, label: &str, n: &Named) -> Result<Found, String> {
    let class = class_folder(tree, label, n)?;
    if let Some(error) = &class.error {
        return Err(error.clone());
    }
    let folder = tree.root.join(&class.name);
    let mut notes = Vec::new();
    if class.text != n.class {
        let note = format!("the class {} of the lists is the folder {}", n.class, class.text);
        notes.push((note, None));
    }
    let [file] = &n.file[..] else {
        let below = n.file.join("/");
        let path = folder.join(&below);
        let name = format!("{}/{below}", class.text);
        return match fs::metadata(&path) {
            Ok(data) if data.is_file() => Ok(Found { path, name, notes }),
            Ok(_) => Err("it is no file".into()),
            Err(error) => Err(super::tree::why_lost(&path, &error)),
        };
    };
    // A list in Latin-1 may be of files whose names are.
    let bytes = n.line.latin1.then(|| text::as_bytes(file)).flatten();
    let spelt = bytes.iter().chain([file]);
    let found =
        spelt.map(|name| match_file(name, &class.entries)).find(|found| *found != Match::None).unwrap_or(Match::None);
    let index = match found {
        Match::One(index) => index,
        Match::None => return Err("there is no such file".into()),
        Match::Several(several) => {
            let names: Vec<&str> = several.iter().map(|i| class.entries[*i].text.as_str()).collect();
            return Err(format!("it may be any of {}", names.join(", ")));
        }
    };
    let entry = &class.entries[index];
    match &entry.kind {
        Kind::Video | Kind::Other(_) => {}
        Kind::Folder => return Err("it is a folder".into()),
        Kind::Lost(reason) => return Err(reason.clone()),
    }
    if entry.text != *file && bytes.as_ref() != Some(&entry.text) {
        let what = if stem(&entry.text) == stem(file) { "with another extension" } else { "under another spelling" };
        notes.push((
            format!("clips of the lists were found {what}"),
            Some(format!("{}/{} for {file}", class.text, entry.text)),
        ));
    }
    Ok(Found { path: folder.join(&entry.name), name: format!("{}/{}", class.text, entry.text), notes })
}

/// The nearest name there is, as a remark.
pub fn near(tree: &Tree, n: &Named) -> String {
    let class = tree.classes.iter().find(|c| c.text == n.class);
    let found = match (class, &n.file[..]) {
        (Some(class), [file]) => nearest(file, class.entries.iter().map(|e| e.text.as_str())),
        (None, _) => nearest(&n.class, tree.classes.iter().map(|c| c.text.as_str())),
        _ => None,
    };
    found.map_or(String::new(), |name| format!("; the nearest name is {name}"))
}
