// SPDX-License-Identifier: MPL-2.0

//! A small set, calls of the tool, and what they leave.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use tempfile::TempDir;

pub use crate::common::clips::{EXAMPLES, encode, frames};

/// Enough to fool some windows; keyframes by chance, for the seed must make them the same whoever converts a clip. Which
/// precision is faster, and how many windows come in time to be attacked together, goes by the clock.
pub const PROPERTIES: &str = "precision=f32 batch-windows=1 keyframes=random:4 max-iterations=12 patience=1";
/// Frames of a clip: a window and a half.
pub const FRAMES: usize = 24;
pub const CLIPS: [&str; 4] = ["jack/a_jack.avi", "jack/b_jack.avi", "walk/a_walk.avi", "walk/b_walk.avi"];

/// A set in plain class folders and its conversion that nothing disturbed.
pub struct Data {
    pub dir: TempDir,
    undisturbed: OnceLock<PathBuf>,
}

/// The same for all tests, as long as one of them runs.
pub fn data() -> Arc<Data> {
    static DATA: Mutex<Weak<Data>> = Mutex::new(Weak::new());
    let mut shared = DATA.lock().expect("the data");
    shared.upgrade().unwrap_or_else(|| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for class in ["jack", "walk"] {
            let frames = frames(class);
            for (start, name) in [(0, "a"), (FRAMES, "b")] {
                let clip = dir.path().join(format!("set/{class}/{name}_{class}.avi"));
                encode(&frames[start..start + FRAMES], &clip);
            }
        }
        let undisturbed = OnceLock::new();
        let data = Arc::new(Data { dir, undisturbed });
        *shared = Arc::downgrade(&data);
        data
    })
}

impl Data {
    pub fn set(&self) -> PathBuf {
        self.dir.path().join("set")
    }

    pub fn clip(&self, name: &str) -> PathBuf {
        self.set().join(name)
    }

    pub fn undisturbed(&self) -> &Path {
        self.undisturbed.get_or_init(|| {
            let tree = self.dir.path().join("undisturbed");
            expect(0, &convert(&self.set(), &tree, &[]));
            let fooled = clip_rows(&tree).into_iter().map(|row| row["fooled"].clone());
            let fooled: Vec<String> = fooled.collect();
            assert_eq!(fooled.len(), CLIPS.len());
            // Else there would be little to compare.
            assert!(fooled.iter().any(|n| n != "0"), "{fooled:?}");
            tree
        })
    }
}

pub fn command(source: &Path, destination: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gst-sparseadv"));
    command.arg("convert").args([source, destination]);
    command.args(["--model", &format!("{EXAMPLES}/figures-lrcn.pt")]);
    // What is said twice would be refused.
    if !more.contains(&"--properties") {
        command.args(["--properties", PROPERTIES]);
    }
    command.args(more);
    command
}

pub fn convert(source: &Path, destination: &Path, more: &[&str]) -> Output {
    let output = command(source, destination, more).output();
    output.expect("gst-sparseadv")
}

pub fn merge(tree: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gst-sparseadv"));
    command.arg("merge").arg(tree);
    command.output().expect("gst-sparseadv")
}

pub fn expect(status: i32, output: &Output) {
    assert_eq!(output.status.code(), Some(status), "{output:?}");
}

/// A failure that says so.
pub fn refused(output: &Output, words: &str) {
    expect(1, output);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(words), "{said}");
}

pub fn start(source: &Path, destination: &Path, more: &[&str]) -> Child {
    let mut command = command(source, destination, more);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("gst-sparseadv")
}

/// Waits until a conversion has finished its first clip.
pub fn until_a_record(process: &mut Child, tree: &Path) {
    while records(tree) == 0 {
        let ended = process.try_wait().expect("a process");
        assert_eq!(ended, None, "it ended without a record");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn records(tree: &Path) -> usize {
    recorded(tree).len()
}

/// The clips that have a record, by their place in the tree.
pub fn recorded(tree: &Path) -> Vec<String> {
    let names = files(&tree.join(".sparseadv/clips"));
    names.iter().filter_map(|name| Some(name.strip_suffix(".json")?.to_string())).collect()
}

/// The running processes that `parent` has started.
pub fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let ids = processes.filter_map(|p| p.file_name().to_str()?.parse().ok());
    ids.filter(|id| stat(*id).is_some_and(|(_, of)| of == parent)).collect()
}

/// A process's state and its parent.
pub fn stat(id: u32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.to_string(), fields.next()?.parse().ok()?))
}

/// All files below a folder, by their paths, sorted.
pub fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let below = path.strip_prefix(folder).expect("a path below");
                found.push(below.to_str().expect("UTF-8").to_string());
            }
        }
    }
    found.sort();
    found
}

pub fn copy_tree(from: &Path, to: &Path) {
    for name in files(from) {
        let path = to.join(&name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::copy(from.join(name), path).expect("a copy");
    }
}

/// Videos and whole manifests: all but the records, the times and the parts' manifests.
pub fn product(tree: &Path) -> BTreeMap<String, Vec<u8>> {
    let names = files(tree)
        .into_iter()
        .filter(|name| !name.starts_with(".sparseadv/") && !name.starts_with("timings") && !name.contains("-of-"));
    names.map(|name| (name.clone(), fs::read(tree.join(name)).expect("a file"))).collect()
}

pub fn assert_same(tree: &Path, expected: &Path) {
    let (found, expected) = (product(tree), product(expected));
    let names = |product: &BTreeMap<String, Vec<u8>>| product.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&expected));
    for name in ["manifest.jsonl", "manifest-clips.csv", "manifest-windows.csv"] {
        let text = |product: &BTreeMap<String, Vec<u8>>| String::from_utf8(product[name].clone()).expect("text");
        assert_eq!(text(&found), text(&expected), "{name}");
    }
    for (name, bytes) in found {
        assert!(bytes == expected[&name], "{name} is another");
    }
    let parts: Vec<String> = files(tree);
    assert!(!parts.iter().any(|n| n.contains(".part-")), "{parts:?}");
}

pub fn clip_rows(tree: &Path) -> Vec<HashMap<String, String>> {
    let manifest = csv::Reader::from_path(tree.join("manifest-clips.csv"));
    let rows = manifest.expect("a manifest").into_deserialize();
    rows.map(|row| row.expect("a row")).collect()
}

pub fn converted(tree: &Path) -> Vec<String> {
    let rows = clip_rows(tree).into_iter();
    let rows = rows.filter(|row| row["status"] == "converted");
    rows.map(|row| row["clip"].clone()).collect()
}
