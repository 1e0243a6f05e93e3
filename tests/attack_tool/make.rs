// SPDX-License-Identifier: MPL-2.0

//! Clips, calls of the tool, and what is in the files it writes.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gst::prelude::*;
use tempfile::TempDir;

use crate::common;
use crate::common::pipeline::run;

pub const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data");
pub const FRAMES: usize = 20;

pub struct Folder(TempDir);

pub fn folder() -> Folder {
    common::init();
    Folder(tempfile::tempdir().expect("a folder"))
}

impl Folder {
    pub fn at(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.0.path().join(name.as_ref())
    }

    /// Names of all files, hidden ones too.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).expect("a folder");
        let names = entries.map(|e| e.expect("a file").file_name());
        let mut names: Vec<String> = names.map(|n| n.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// A clip of a moving ball. `caps` is its format and size, `chain` what encodes it.
    pub fn clip(&self, name: &str, caps: &str, chain: &str) -> PathBuf {
        self.long_clip(name, FRAMES, caps, chain)
    }

    pub fn long_clip(&self, name: &str, frames: usize, caps: &str, chain: &str) -> PathBuf {
        let path = self.at(name);
        run(&format!(
            "videotestsrc num-buffers={frames} pattern=ball ! video/x-raw,framerate=25/1,{caps} ! {chain} ! filesink location={}",
            path.display()
        ));
        path
    }

    pub fn mp4(&self, name: &str) -> PathBuf {
        self.clip(name, "format=I420,width=96,height=80", "x264enc ! mp4mux")
    }

    pub fn avi(&self, name: &str) -> PathBuf {
        let chain = "x264enc bframes=0 key-int-max=5 ! avimux";
        self.clip(name, "format=I420,width=96,height=80", chain)
    }
}

pub fn model() -> String {
    format!("{EXAMPLES}/figures-c3d.pt")
}

pub fn command(input: impl AsRef<OsStr>, output: impl AsRef<OsStr>, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gst-sparseadv"));
    command.arg("attack").arg(input).arg(output);
    if !more.contains(&"--model") {
        command.args(["--model", &model()]);
    }
    if !more.iter().any(|a| a.contains("max-iterations")) {
        command.args(["--max-iterations", "1"]);
    }
    command.args(more);
    command
}

pub fn attack(input: impl AsRef<OsStr>, output: impl AsRef<OsStr>, more: &[&str]) -> Output {
    command(input, output, more).output().expect("the tool")
}

pub fn done(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    said(output)
}

/// A failure that says so, in these words.
pub fn refused(output: &Output, words: &str) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = said(output);
    assert!(said.contains(words), "expected {words:?} in {said}");
    said
}

pub fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// Width and height of each frame.
pub fn sizes(path: &Path) -> Vec<(i32, i32)> {
    let pipeline = gst::parse::launch("filesrc name=file ! decodebin ! appsink name=end sync=false");
    let pipeline = pipeline.expect("a pipeline").downcast::<gst::Pipeline>();
    let pipeline = pipeline.expect("a pipeline");
    let file = pipeline.by_name("file").expect("a source");
    file.set_property("location", path.to_str().expect("UTF-8"));
    let end = pipeline.by_name("end").expect("a sink");
    let end = end.downcast::<gst_app::AppSink>().expect("an appsink");
    pipeline.set_state(gst::State::Playing).expect("a start");
    let mut sizes = Vec::new();
    while let Some(sample) = end.try_pull_sample(gst::ClockTime::from_seconds(20)) {
        let caps = sample.caps().and_then(|c| c.structure(0)).expect("caps");
        let field = |name| caps.get::<i32>(name).expect(name);
        sizes.push((field("width"), field("height")));
    }
    assert!(end.is_eos(), "{} does not end", path.display());
    pipeline.set_state(gst::State::Null).expect("an end");
    sizes
}

/// Overwrites bytes of a file behind a mark in it.
pub fn patch(path: &Path, mark: &[u8], offset: usize, bytes: &[u8]) {
    let mut all = fs::read(path).expect("a file");
    let found = all.windows(mark.len()).position(|w| w == mark);
    let at = found.expect("the mark") + offset;
    all[at..at + bytes.len()].copy_from_slice(bytes);
    fs::write(path, all).expect("a file");
}

/// The beginning of a file as another.
pub fn cut(from: &Path, to: &Path, percent: usize) -> usize {
    let all = fs::read(from).expect("a file");
    let length = all.len() * percent / 100;
    fs::write(to, &all[..length]).expect("a file");
    all.len()
}
