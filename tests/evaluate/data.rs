// SPDX-License-Identifier: MPL-2.0

//! A small list of clips, its evaluation that nothing disturbed, and calls of the tool.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::clips::{EXAMPLES, encode, frames};

/// Two windows, and one of each other clip. The last one's class is not what it shows: the model is wrong about it.
const CLIPS: [(&str, &str, &str, Range<usize>); 4] = [
    ("a-walk.avi", "walk", "walk", 0..32),
    ("b-walk.avi", "walk", "walk", 32..56),
    ("c-jack.avi", "jack", "jack", 0..24),
    ("d-jack.avi", "jack", "walk", 32..56),
];

pub struct Data {
    dir: TempDir,
}

/// The same for all tests.
pub fn data() -> &'static Data {
    static DATA: OnceLock<Data> = OnceLock::new();
    DATA.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut list = "clip,label\n".to_string();
        for (name, shows, class, part) in CLIPS {
            encode(&frames(shows)[part], &dir.path().join(name));
            list += &format!("{name},{class}\n");
        }
        fs::write(dir.path().join("clips.csv"), list).expect("a list");
        let data = Data { dir };
        fs::write(data.at("settings.toml"), SETTINGS.replace("EXAMPLES", EXAMPLES)).expect("settings");
        data.expect(0, &[&data.arg("settings.toml"), "--out", &data.arg("whole")]);
        data
    })
}

/// Enough to fool some windows, and not all.
const SETTINGS: &str = r#"
data = ["list=clips.csv"]
model = ["EXAMPLES/figures-c3d.pt"]
threat-model = ["sparse-l2", "universal=EXAMPLES/figures-c3d.safetensors"]
epsilons = [1, 2]
channel = ["jpeg=jpegenc quality=30 ! jpegdec"]
phases = [8]
max-iterations = 4
"#;

impl Data {
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn arg(&self, name: &str) -> String {
        self.at(name).to_str().expect("UTF-8").to_string()
    }

    /// The results of the whole list, which nothing changes any more.
    pub fn whole(&self) -> String {
        self.arg("whole")
    }

    /// A copy of these to change.
    pub fn copied(&self, name: &str) -> String {
        fs::create_dir_all(self.at(name)).expect("a folder");
        // Without the folder of videos.
        for entry in fs::read_dir(self.at("whole")).expect("results").flatten().filter(|e| e.path().is_file()) {
            fs::copy(entry.path(), self.at(name).join(entry.file_name())).expect("a copy");
        }
        self.arg(name)
    }

    /// `evaluate` with these arguments, which ends so. Returns its output.
    pub fn expect(&self, status: i32, arguments: &[&str]) -> Output {
        expect(status, evaluate().args(arguments))
    }

    /// The whole list once more into a copy of its results: nothing is left to measure.
    pub fn again(&self, copy: &str, status: i32, more: &[&str]) -> Output {
        let (settings, copy) = (self.arg("settings.toml"), self.arg(copy));
        let arguments = [&[settings.as_str(), "--out", copy.as_str()], more].concat();
        self.expect(status, &arguments)
    }
}

pub fn evaluate() -> Command {
    let mut command = tool();
    command.arg("evaluate");
    command
}

pub fn tool() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gst-sparseadv"));
    command.env("OMP_NUM_THREADS", "1").env_remove("GITHUB_STEP_SUMMARY");
    command
}

pub fn expect(status: i32, command: &mut Command) -> Output {
    let output = command.output().expect("gst-sparseadv");
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    output
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

pub fn summary(folder: &str) -> Value {
    let text = fs::read_to_string(Path::new(folder).join("summary.json")).expect("a summary");
    serde_json::from_str(&text).expect("JSON")
}

/// The lines of a kind, of all files of a folder.
pub fn lines(folder: &str, kind: &str) -> Vec<Value> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        if entry.path().extension().is_some_and(|end| end == "jsonl") {
            let text = fs::read_to_string(entry.path()).expect("lines");
            let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
            found.extend(lines.filter(|line| line["kind"] == kind));
        }
    }
    found
}

/// What a window is, and all of it that does not go by the clock.
pub fn windows(folder: &str) -> BTreeMap<String, Value> {
    let all = lines(folder, "window").into_iter().map(|mut line| {
        line["seconds"] = Value::Null;
        let key = ["dataset", "model", "threat", "clip", "window"].map(|name| line[name].to_string());
        (key.join(" "), line)
    });
    let count = lines(folder, "window").len();
    let all: BTreeMap<String, Value> = all.collect();
    assert_eq!(all.len(), count, "a window twice");
    all
}

/// A summary without what goes by the clock and by the call.
pub fn figures(folder: &str) -> Value {
    let mut summary = summary(folder);
    for name in ["date", "command"] {
        summary[name] = Value::Null;
    }
    summary
}
