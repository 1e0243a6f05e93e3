// SPDX-License-Identifier: MPL-2.0

//! The pages' files: each whole or not at all, and never over a file that is not a page.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use gstsparseadv::files;

use crate::provenance::digest;

/// The sums of the pages as they were written.
const WRITTEN: &str = ".pages.json";
/// What every page of any version has in it.
const MARKS: [&str; 3] = ["<title>Sparse adversarial attack</title>", "# Sparse adversarial attack", "<svg "];

/// Writes pages into a folder, unless one of their names is another file's.
pub fn write(folder: &Path, pages: &[(String, Vec<u8>)]) -> anyhow::Result<()> {
    let written = folder.join(WRITTEN);
    let mut sums: BTreeMap<String, String> =
        fs::read(&written).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    for (name, bytes) in pages {
        let path = folder.join(name);
        let Ok(data) = fs::symlink_metadata(&path) else {
            continue;
        };
        let ours = data.is_file()
            && fs::read(&path).is_ok_and(|found| sums.get(name) == Some(&digest(&found)) || is_page(&found, bytes));
        ensure!(
            ours,
            "Expected {} to be a page that gst-sparseadv report wrote, found another file. Move it, or measure into another folder.",
            path.display()
        );
    }
    for (name, bytes) in pages {
        let path = folder.join(name);
        files::write_whole(&path, bytes).with_context(|| format!("{} could not be written", path.display()))?;
        sums.insert(name.clone(), digest(bytes));
    }
    let text = serde_json::to_string_pretty(&sums)?;
    files::write_whole(&written, text.as_bytes()).with_context(|| format!("{} could not be written", written.display()))
}

/// Whether a file is a page like the new one: of the time before sums were kept, or written by a run that was killed.
fn is_page(found: &[u8], new: &[u8]) -> bool {
    let head = |bytes: &[u8]| -> String { String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned() };
    let (found, new) = (head(found), head(new));
    let marked = MARKS.iter().any(|mark| found.contains(mark) && new.contains(mark));
    marked || found.lines().next() == new.lines().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_page_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let page = |text: &str| vec![("a.csv".to_string(), text.into()), ("b.csv".to_string(), b"b\n1\n".to_vec())];
        write(folder.path(), &page("x,y\n1,2\n")).expect("pages");
        // Another version's columns, for it is known to be a page.
        write(folder.path(), &page("x,y,z\n1,2,3\n")).expect("pages");
        fs::write(at("b.csv"), "mine").expect("a file");
        let error = write(folder.path(), &page("x\n1\n")).expect_err("a refusal");
        assert!(error.to_string().contains("b.csv to be a page"), "{error}");
        assert_eq!(fs::read(at("b.csv")).expect("a file"), b"mine");
        assert_eq!(fs::read(at("a.csv")).expect("a file"), b"x,y,z\n1,2,3\n");
    }
}
