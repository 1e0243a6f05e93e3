// SPDX-License-Identifier: MPL-2.0

//! Files that appear whole or not at all, and never in the place of one that was only to be read.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

mod bounded;
mod growing;
pub mod learning;

pub use bounded::read_at_most;
pub use growing::{Growing, LONGEST_LINE, growing_names, open_growing};

/// The longest name that the usual file systems take, in bytes.
pub const LONGEST_NAME: usize = 255;

/// Whether two paths name one file: relative paths, links of either kind, and file systems that ignore case included.
/// What does not exist yet is compared by its folder and name.
pub fn same(a: &Path, b: &Path) -> bool {
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        // Neither is there: names that differ in case alone are one file on some file systems, and which one this is
        // cannot be told.
        (Err(_), Err(_)) => match (place(a), place(b)) {
            (Some((folder, name)), Some(other)) => folder == other.0 && name.to_lowercase() == other.1.to_lowercase(),
            _ => a == b,
        },
        _ => false,
    }
}

/// The real folder of a file that need not exist, and its name. A link that leads nowhere is followed: writing would
/// create what it names.
fn place(path: &Path) -> Option<(PathBuf, String)> {
    let target = fs::read_link(path).ok();
    let target = target.map(|t| path.parent().unwrap_or(Path::new("")).join(t));
    let path = target.as_deref().unwrap_or(path);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name()?.to_string_lossy().into_owned();
    Some((folder.canonicalize().ok()?, name))
}

/// Says which output would be written in the place of an input, or of another output. Each comes with the name its user
/// knows it by.
pub fn check_outputs(outputs: &[(&str, &Path)], inputs: &[(&str, &Path)]) -> Result<(), String> {
    for (n, (what, path)) in outputs.iter().enumerate() {
        if path.is_dir() {
            return Err(format!("Expected a file to write as {what}, found the folder {}.", path.display()));
        }
        let others = inputs.iter().chain(&outputs[..n]);
        if let Some((other, with)) = others.into_iter().find(|(_, other)| same(path, other)) {
            return Err(format!(
                "Expected another file for {what} than {other}, found the same one: {} is {}. Nothing was written; name another file.",
                path.display(),
                with.display()
            ));
        }
    }
    Ok(())
}

/// The files at a path, or in a folder and as deep below it, by their names. Links to nothing and folders that nobody may
/// read are passed over.
pub fn within(path: &Path, depth: usize) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    list(path, depth, &mut files)?;
    files.sort();
    Ok(files)
}

fn list(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.metadata()?.is_dir() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    if depth > 0 {
        for entry in path.read_dir()? {
            let _ = list(&entry?.path(), depth - 1, files);
        }
    }
    Ok(())
}

/// Refuses what is there and no file: writing would replace a device, or wait for a pipe.
pub fn check_regular(what: &str, path: &Path) -> Result<(), String> {
    match path.metadata() {
        Ok(about) if !about.is_file() && !about.is_dir() => {
            Err(format!("Expected a file to write as {what}, found a device or a pipe: {}.", path.display()))
        }
        _ => Ok(()),
    }
}

/// A file under way. It gets its name when it is whole; dropped before, it is removed.
#[derive(Debug)]
pub struct Part {
    path: PathBuf,
    part: PathBuf,
    done: bool,
}

impl Part {
    /// A name beside `path` for what is not whole yet, another one every time: processes of several machines may share
    /// a folder. The file itself is not made.
    pub fn beside(path: &Path) -> io::Result<Self> {
        let number = unique();
        let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let part = path.with_file_name(format!("{}{number:016x}", prefix(&name.to_string_lossy())));
        Ok(Self { path: path.to_path_buf(), part, done: false })
    }

    /// Where to write.
    pub fn part(&self) -> &Path {
        &self.part
    }

    /// Gives the whole file its name, after its bytes have reached the disk.
    pub fn publish(mut self) -> io::Result<()> {
        File::open(&self.part)?.sync_all()?;
        fs::rename(&self.part, &self.path)?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.done {
            // If it was never made, all the better.
            let _ = fs::remove_file(&self.part);
        }
    }
}

/// What the names of all parts of a file begin with. A long name is cut, or the part's would be too long for the file
/// system; a sum of the whole name keeps its parts from another's.
fn prefix(name: &str) -> String {
    let longest = LONGEST_NAME - ".".len() - ".part-".len() - 16;
    format!(".{}.part-", shortened(name, longest))
}

/// A name of at most `longest` bytes: one that is longer is cut, with `~` and a sum of the whole name behind it.
pub fn shortened(name: &str, longest: usize) -> String {
    if name.len() <= longest {
        return name.to_owned();
    }
    // FNV-1a: the same on every machine and in every version.
    let sum = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut end = longest.saturating_sub("~".len() + 16).min(name.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}~{sum:016x}", &name[..end])
}

/// A number that no other call returns, here or on another machine.
fn unique() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library's own source of random keys.
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// Writes a file that is there whole or not at all.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = Part::beside(path)?;
    File::create_new(part.part())?.write_all(bytes)?;
    part.publish()
}

/// Removes what killed processes left of `path`.
pub fn remove_parts(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return;
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let prefix = prefix(&name.to_string_lossy());
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            // If it is gone already, all the better.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_is_the_same_by_any_of_its_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a"), "a").expect("a file");
        fs::write(at("b"), "a").expect("a file");
        symlink(at("a"), at("link")).expect("a link");
        fs::hard_link(at("a"), at("hard")).expect("a link");
        symlink(at("none"), at("dangling")).expect("a link");
        fs::create_dir(at("sub")).expect("a folder");
        for other in ["a", "link", "hard", "sub/../a", "./a"] {
            assert!(same(&at("a"), &at(other)), "{other}");
        }
        assert!(!same(&at("a"), &at("b")));
        assert!(!same(&at("a"), &at("A")), "another file on this file system");
        assert!(same(&at("new"), &at("sub/../new")));
        assert!(same(&at("new"), &at("NEW")), "one file on some file systems");
        assert!(same(&at("dangling"), &at("none")));
        assert!(!same(&at("new"), &at("sub/new")));
    }

    #[test]
    fn a_part_that_is_dropped_leaves_the_older_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.mp4");
        fs::write(&path, "old").expect("a file");
        let part = Part::beside(&path).expect("a name");
        fs::write(part.part(), "half").expect("a file");
        drop(part);
        assert_eq!(fs::read_to_string(&path).expect("the older file"), "old");
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1);
        write_whole(&path, b"new").expect("a whole file");
        assert_eq!(fs::read_to_string(&path).expect("the new file"), "new");
    }

    #[test]
    fn the_longest_names_have_parts() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["x".repeat(255), "ä".repeat(127)] {
            let path = folder.path().join(name);
            write_whole(&path, b"whole").expect("a whole file");
            fs::write(Part::beside(&path).expect("a name").part(), "left").expect("a part");
            remove_parts(&path);
            assert_eq!(fs::read_to_string(&path).expect("the file"), "whole");
        }
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 2);
    }
}
