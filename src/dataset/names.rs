// SPDX-License-Identifier: MPL-2.0

//! Names as file systems, lists and models spell them, and which of them mean the same.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use unicode_normalization::UnicodeNormalization;

/// What decodebin plays with the plugins of GStreamer's own sets, in lower case. pipelines/convert-folder.sh has the
/// same list.
pub const VIDEO_EXTENSIONS: &[&str] = &[
    "avi", "mp4", "mkv", "mov", "webm", "mpg", "mpeg", "m4v", "wmv", "3g2", "3gp", "asf", "divx", "dv", "f4v", "flv",
    "h264", "264", "h265", "265", "hevc", "ivf", "m1v", "m2p", "m2t", "m2ts", "m2v", "mjpeg", "mjpg", "mod", "mpe",
    "mpv", "mts", "mxf", "nut", "ogg", "ogm", "ogv", "qt", "rm", "rmvb", "tod", "ts", "vob", "xvid", "y4m",
];

/// What systems and archivers leave in folders.
const LITTER: &[&str] = &[
    "__macosx",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "@eadir",
    "#recycle",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "icon\r",
    "cvs",
];
/// Hidden files and folders of systems and of tools.
const DOT_LITTER: &[&str] = &[
    ".ds_store",
    ".git",
    ".gitignore",
    ".gitattributes",
    ".gitkeep",
    ".svn",
    ".sparseadv",
    ".directory",
    ".localized",
    ".cache",
    ".ipynb_checkpoints",
    ".spotlight-v100",
    ".fseventsd",
];

/// Whether a file or folder is what a system has left there, and nobody's data.
pub fn is_litter(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_lowercase();
    let prefixes = ["._", ".trash", ".nfs", ".fuse_hidden", ".apdisk", ".com.apple"];
    LITTER.contains(&name.as_str())
        || DOT_LITTER.contains(&name.as_str())
        || name.ends_with(":zone.identifier")
        || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

pub fn is_video(name: &str) -> bool {
    extension(name).is_some_and(|e| VIDEO_EXTENSIONS.contains(&e.to_ascii_lowercase().as_str()))
}

/// What follows the last dot, if something precedes it.
pub fn extension(name: &str) -> Option<&str> {
    name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, extension)| extension)
}

pub fn stem(name: &str) -> &str {
    match extension(name) {
        Some(extension) => &name[..name.len() - extension.len() - 1],
        None => name,
    }
}

/// A name as text that leads back to its bytes. UTF-8 stands as it is. In any other name `%XX` stands for a byte that
/// is not UTF-8, and `%25` for a per cent sign.
pub fn display(name: &OsStr) -> String {
    if let Some(text) = name.to_str() {
        return text.to_owned();
    }
    let mut text = String::new();
    for chunk in name.as_bytes().utf8_chunks() {
        text += &chunk.valid().replace('%', "%25");
        for byte in chunk.invalid() {
            text += &format!("%{byte:02X}");
        }
    }
    text
}

/// The same of a path below a folder, with `/`.
pub fn display_path(path: &Path) -> String {
    // Part by part: a per cent sign in a UTF-8 name is no escape, whatever its folder is called.
    let parts: Vec<String> = path.iter().map(display).collect();
    parts.join("/")
}

/// What two spellings of a file's name have in common: case and the way accents are written say nothing.
pub fn folded(name: &str) -> String {
    name.nfc().flat_map(char::to_lowercase).nfc().collect()
}

/// What two spellings of a class have in common: blanks, `_` and `-` say nothing either.
pub fn class_key(name: &str) -> String {
    folded(name).chars().filter(|c| !c.is_whitespace() && !['_', '-'].contains(c)).collect()
}

/// What a name was found to mean among others.
#[derive(Clone, Debug, PartialEq)]
pub enum Match {
    One(usize),
    None,
    /// Several, and none of them is spelt like it.
    Several(Vec<usize>),
}

impl Match {
    pub fn one(self) -> Option<usize> {
        match self {
            Self::One(index) => Some(index),
            _ => None,
        }
    }
}

fn unique(name: &str, names: &[impl AsRef<str>], key: impl Fn(&str) -> String) -> Match {
    if let Some(exact) = names.iter().position(|n| n.as_ref() == name) {
        return Match::One(exact);
    }
    let wanted = key(name);
    only(names, |n| key(n) == wanted)
}

/// The only one of the names that fits.
fn only(names: &[impl AsRef<str>], fits: impl Fn(&str) -> bool) -> Match {
    let found: Vec<usize> = (0..names.len()).filter(|index| fits(names[*index].as_ref())).collect();
    match found[..] {
        [] => Match::None,
        [one] => Match::One(one),
        _ => Match::Several(found),
    }
}

/// The class of that name: spelt so, or else the only one that differs in case, blanks, `_` and `-` alone.
pub fn match_class(name: &str, names: &[impl AsRef<str>]) -> Match {
    unique(name, names, class_key)
}

/// The place of a class among a model's labels, or those of a list, by the same rule.
pub fn find_class(name: &str, labels: &[String]) -> Option<usize> {
    match_class(name, labels).one()
}

/// The file of that name: spelt so, or the only one that differs in case alone, or the only video of that name with
/// another extension.
pub fn match_file(name: &str, names: &[impl AsRef<str>]) -> Match {
    match unique(name, names, folded) {
        Match::None => {
            let wanted = folded(if is_video(name) { stem(name) } else { name });
            only(names, |n| is_video(n) && folded(stem(n)) == wanted)
        }
        found => found,
    }
}

/// The name that a misspelt one most likely stands for.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = class_key(name);
    names
        .into_iter()
        .map(|n| (distance(&wanted, &class_key(n)), n))
        // Half of it wrong is another name.
        .filter(|(distance, _)| 2 * distance <= wanted.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, n)| n)
}

/// How many letters have to be changed, added or removed (Levenshtein, 1966).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

/// The container that a file's first bytes are of, whatever its name says.
pub fn container(head: &[u8]) -> Option<&'static str> {
    let at = |place: usize, text: &[u8]| head.get(place..place + text.len()) == Some(text);
    Some(match () {
        () if at(0, b"RIFF") && at(8, b"AVI ") => "AVI",
        () if at(4, b"ftyp") || at(4, b"moov") || at(4, b"mdat") => "MP4 or QuickTime",
        () if at(0, b"\x1a\x45\xdf\xa3") => "Matroska or WebM",
        () if at(0, b"FLV\x01") => "Flash video",
        () if at(0, b"OggS") => "Ogg",
        () if at(0, b"\0\0\x01\xba") || at(0, b"\0\0\x01\xb3") => "MPEG",
        () if at(0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11") => "ASF or WMV",
        () if at(0, b"G") && at(188, b"G") => "an MPEG transport stream",
        () if at(0, b"YUV4MPEG2") => "YUV4MPEG2",
        () if at(0, b"DKIF") => "IVF",
        () => return None,
    })
}

/// Whether a file is one of the lists, by its name.
pub fn is_list(name: &str) -> bool {
    let name = name.to_lowercase();
    let split = |prefix: &str| {
        let number = name.strip_prefix(prefix).and_then(|n| n.strip_suffix(".txt"));
        number.is_some_and(|n| n.len() == 2 && n.bytes().all(|b| b.is_ascii_digit()))
    };
    split("trainlist") || split("testlist") || (1..=3).any(|n| name.ends_with(&format!("_test_split{n}.txt")))
}
