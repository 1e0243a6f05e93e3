// SPDX-License-Identifier: MPL-2.0

//! What lies in a set's class folders: every file, with what it is.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::names::{container, display, extension, is_list, is_litter, is_video};

/// What everybody knows to be no video; nothing is read of it.
const NO_VIDEO: &[&str] = &[
    "txt", "csv", "tsv", "json", "jsonl", "xml", "md", "html", "pdf", "srt", "vtt", "sub", "jpg", "jpeg", "png", "gif",
    "bmp", "webp", "wav", "mp3", "aac", "m4a", "flac", "npy", "npz", "pkl", "mat", "pt", "pth", "zip", "rar", "7z",
    "tar", "gz", "py", "sh", "log", "xgtf", "tmp", "part",
];
/// First bytes that tell a container.
const HEAD: usize = 192;

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Video,
    /// Another file, and why it is not taken unless a list names it.
    Other(String),
    Folder,
    /// A link that leads nowhere, say: what cannot be read, and why.
    Lost(String),
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub name: OsString,
    pub text: String,
    pub kind: Kind,
}

impl AsRef<str> for Entry {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

#[derive(Clone, Debug)]
pub struct Class {
    pub name: OsString,
    pub text: String,
    pub entries: Vec<Entry>,
    /// Why the folder could not be read.
    pub error: Option<String>,
}

impl AsRef<str> for Class {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl Class {
    pub fn has_videos(&self) -> bool {
        self.entries.iter().any(|e| e.kind == Kind::Video)
    }
}

#[derive(Clone, Debug)]
pub struct Tree {
    pub root: PathBuf,
    pub classes: Vec<Class>,
    /// What lies in the set's folder itself: videos, and links that lead nowhere.
    pub loose: Vec<Entry>,
}

impl Tree {
    pub fn read(root: &Path) -> Result<Self, Error> {
        let listed = list(root).map_err(Error::unreadable("folder", root))?;
        let (mut classes, mut loose) = (Vec::new(), Vec::new());
        for entry in listed {
            match entry.kind {
                Kind::Folder if entry.text.starts_with('.') => {}
                Kind::Folder => {
                    let (entries, error) = match list(&root.join(&entry.name)) {
                        Ok(entries) => (entries, None),
                        Err(error) => (Vec::new(), Some(format!("the folder could not be read: {error}"))),
                    };
                    let class = Class { name: entry.name, text: entry.text, entries, error };
                    if !holds_lists(&class) {
                        classes.push(class);
                    }
                }
                Kind::Video => loose.push(entry),
                Kind::Lost(_) if !entry.text.starts_with('.') => loose.push(entry),
                _ => {}
            }
        }
        Ok(Self { root: root.to_path_buf(), classes, loose })
    }

    /// What there is where no video is in a class folder, and what to call.
    pub fn hint(&self) -> String {
        let at = self.root.display();
        let deeper = |class: &Class| {
            let folder = self.root.join(&class.name);
            let inner = class.entries.iter().filter(|e| e.kind == Kind::Folder);
            inner.into_iter().find_map(|sub| {
                let within = list(&folder.join(&sub.name)).ok()?;
                let video = within.into_iter().find(|e| e.kind == Kind::Video)?;
                Some(format!("{}/{}/{}", class.text, sub.text, video.text))
            })
        };
        let found: Vec<(&Class, String)> =
            self.classes.iter().filter_map(|class| Some((class, deeper(class)?))).collect();
        if let Some((first, example)) = found.first() {
            let folders: Vec<String> = found.iter().take(5).map(|(class, _)| format!("{at}/{}", class.text)).collect();
            return format!(
                "them one level deeper, {example} say. Name the folder that has the class \
                 folders, as in: gst-sparseadv convert {at}/{} DST. Such folders are {}.",
                first.text,
                folders.join(", ")
            );
        }
        let loose = self.loose.iter().filter(|e| e.kind == Kind::Video).count();
        if let Some(first) = self.loose.iter().find(|e| e.kind == Kind::Video) {
            return format!(
                "{loose} in the folder itself, {} say. Make a folder for each class, or \
                 attack them without classes: pipelines/convert-folder.sh.",
                first.text
            );
        }
        let other = self.classes.iter().find_map(|class| {
            let e = class.entries.iter().find(|e| e.kind != Kind::Folder)?;
            Some(format!("{}/{}", class.text, e.text))
        });
        match other {
            Some(other) => format!("none; there is {other}, say. Give videos a usual extension, .avi or .mp4 say."),
            None => "none. Name the folder that has a folder for each class.".into(),
        }
    }
}

/// Whether a folder has the lists, and is no class.
fn holds_lists(class: &Class) -> bool {
    class.entries.iter().any(|e| is_list(&e.text)) && !class.has_videos()
}

/// All but litter, sorted: classes and splits must not depend on the file system.
pub fn list(folder: &Path) -> std::io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if !is_litter(&name) {
            let text = display(&name);
            let kind = kind(&folder.join(&name), &name, &text);
            entries.push(Entry { name, text, kind });
        }
    }
    entries.sort_by(|a, b| a.text.cmp(&b.text).then_with(|| a.name.cmp(&b.name)));
    Ok(entries)
}

fn kind(path: &Path, name: &OsStr, text: &str) -> Kind {
    let data = match fs::metadata(path) {
        Ok(data) => data,
        Err(error) => return Kind::Lost(why_lost(path, &error)),
    };
    if data.is_dir() {
        return Kind::Folder;
    }
    if !data.is_file() {
        return Kind::Lost("neither a file nor a folder".into());
    }
    if text.starts_with('.') {
        return Kind::Other("its name begins with a dot".into());
    }
    if is_video(text) || is_video(&name.to_string_lossy()) {
        return Kind::Video;
    }
    let extension = extension(text).map(str::to_ascii_lowercase);
    if extension.as_deref().is_some_and(|e| NO_VIDEO.contains(&e)) {
        return Kind::Other("its extension is no video's".into());
    }
    Kind::Other(match head(path) {
        Ok(head) => match container(&head) {
            Some(container) => {
                format!("its extension is no video's, though it looks like {container}; rename it to take it")
            }
            None => "its extension is no video's".into(),
        },
        Err(error) => format!("its extension is no video's, and it cannot be read: {error}"),
    })
}

/// Why there is nothing to read at a path.
pub fn why_lost(path: &Path, error: &std::io::Error) -> String {
    match fs::read_link(path) {
        Ok(to) => format!("a link to {}, which leads nowhere: {error}", to.display()),
        Err(_) => error.to_string(),
    }
}

fn head(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(HEAD as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
