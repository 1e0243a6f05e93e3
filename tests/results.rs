// SPDX-License-Identifier: MPL-2.0

//! The page of measurements in `examples/results` against the records it is made of.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/results")
}

/// The program that renders the page, on a folder of records.
fn results(folder: &Path, arguments: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join(".venv/bin/python"));
    let program = root.join("examples/python/results.py");
    command.arg(program).arg(folder).args(arguments).env("PYTHONDONTWRITEBYTECODE", "1");
    command.output().expect("expected .venv/bin/python; run tests/run.sh")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name");
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).expect("a copy");
        }
    }
}

fn copied() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    copy(&committed(), folder.path());
    folder
}

/// Files of a folder with this ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path());
    entries.filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

/// The folders that `gst-sparseadv reproduce` wrote.
fn reproduced(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path());
    entries.filter(|path| path.join("results.jsonl").is_file()).collect()
}

#[test]
fn the_page_is_what_its_records_give() {
    let output = results(&committed(), &["--check"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = copied();
    let page = folder.path().join("README.md");
    let text = fs::read_to_string(&page).expect("a page");
    // What waits for a machine to measure it has the command, and an empty table.
    let waits = |section: &&str| section.contains("this fills the") && !section.contains("Plugin ");
    for section in text.split("\n## ").skip(1).filter(|section| !waits(section)) {
        let named = section.lines().filter(|line| line.starts_with("Plugin ")).count();
        assert_eq!(named, 1, "commits named in {}", section.lines().next().unwrap_or_default());
    }
    fs::write(&page, text.replacen(" %", " ‰", 1)).expect("another page");
    assert_eq!(results(folder.path(), &["--check"]).status.code(), Some(1), "a figure changed by hand passes");
}

#[test]
fn no_table_has_rows_of_two_commits() {
    let mut refused = 0;
    for record in files(&committed(), ".json") {
        let folder = copied();
        let changed = folder.path().join(record.file_name().expect("a name"));
        let text = fs::read_to_string(&changed).expect("a record");
        let Some(start) = text.find("\"plugins\": [\"") else { continue };
        let start = start + "\"plugins\": [\"".len();
        let end = start + text[start..].find('"').expect("an end");
        fs::write(&changed, format!("{}0.0.0-another{}", &text[..start], &text[end..])).expect("a record");
        let output = results(folder.path(), &[]);
        // A table of one row would only be of another commit.
        if text.matches("\"plugins\": [\"").count() == 1 && output.status.success() {
            continue;
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("one commit measured") && said.contains("0.0.0-another"), "{}: {said}", record.display());
        refused += 1;
    }
    assert!(refused > 0, "no record has rows of the plugin");
    for measured in reproduced(&committed()) {
        let folder = copied();
        let changed = folder.path().join(measured.file_name().expect("a name")).join("results.jsonl");
        let text = fs::read_to_string(&changed).expect("results");
        let run = text.lines().next().expect("a line of the run");
        let start = run.find("\"plugin\":\"").expect("a plugin") + "\"plugin\":\"".len();
        let other = format!("{}0.0.0-another-{}\n", &run[..start], &run[start..]);
        fs::write(&changed, other + &text).expect("results");
        let output = results(folder.path(), &[]);
        assert_eq!(output.status.code(), Some(1), "{}: two commits are shown as one", measured.display());
    }
}

#[test]
fn reports_are_what_their_results_give() {
    let folder = copied();
    for measured in reproduced(folder.path()) {
        let kept: Vec<(PathBuf, Vec<u8>)> = [".md", ".svg"]
            .iter()
            .flat_map(|ending| files(&measured, ending))
            .map(|path| (path.clone(), fs::read(path).expect("a page")))
            .collect();
        assert!(kept.iter().any(|(path, _)| path.ends_with("report.md")), "{} has no report", measured.display());
        let tool =
            Command::new(env!("CARGO_BIN_EXE_gst-sparseadv")).arg("report").arg(&measured).output().expect("report");
        assert!(tool.status.success(), "{}", String::from_utf8_lossy(&tool.stderr));
        for (path, old) in kept {
            assert!(fs::read(&path).expect("a page") == old, "{} is not what its results give", path.display());
        }
    }
}
