// SPDX-License-Identifier: MPL-2.0

//! What the model said before the attack: from the meta of an upstream sparseadv, or from its report, by time.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::files::open_growing;
use crate::sparseadv::meta;
use crate::tally::Labels;

/// From a frame's meta, where nothing between has dropped it: the labels before the attack, and what it was after.
pub fn of_meta(buffer: &gst::BufferRef) -> Option<Labels> {
    let meta = gst::meta::CustomMeta::from_buffer(buffer, meta::NAME).ok()?;
    let label = |name: &str| meta.structure().get::<u32>(name).ok().map(|l| l as usize);
    Some(Labels {
        truth: label("label"),
        target: label("target-label"),
        clean: Some(label("clean-label")?),
        last: None,
    })
}

/// A report of sparseadv, finished or still growing.
#[derive(Debug)]
pub struct AttackReport {
    path: PathBuf,
    /// The one file from the first frame on, whatever its name becomes.
    file: Option<File>,
    /// What was read behind the last whole line.
    rest: Vec<u8>,
    windows: Vec<Line>,
}

#[derive(Debug, serde::Deserialize)]
struct Line {
    start_time: Option<u64>,
    start_pts: Option<u64>,
    end_pts: Option<u64>,
    #[serde(default)]
    first_frame: u64,
    #[serde(default)]
    frames: u64,
    label: Option<usize>,
    clean_label: Option<usize>,
    target_label: Option<usize>,
}

impl Line {
    fn duration(&self) -> u64 {
        let times = self.start_pts.zip(self.end_pts);
        times.map_or(0, |(start, end)| end.saturating_sub(start))
    }

    fn holds(&self, time: u64) -> bool {
        self.start_time
            .is_some_and(|start| (start..start.saturating_add(self.duration())).contains(&time))
    }

    /// When the stream's first frame showed.
    fn begin(&self) -> Option<u64> {
        let before = self.duration() / self.frames.max(1) * self.first_frame;
        Some(self.start_time?.saturating_sub(before))
    }
}

impl AttackReport {
    pub fn at_path(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            file: None,
            rest: Vec::new(),
            windows: Vec::new(),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of windows found so far.
    pub fn windows(&self) -> usize {
        self.windows.len()
    }

    /// Opens the file, which an attacker in the same pipeline may be writing.
    pub fn open(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            let file = open_growing(&self.path)?;
            if file.metadata()?.is_dir() {
                return Err(io::Error::from(io::ErrorKind::IsADirectory));
            }
            self.file = Some(file);
        }
        Ok(())
    }

    /// The window that shows at `time`, a running time in nanoseconds of a stream whose first frame shows at `begin`. Reads on where the
    /// file has grown.
    pub fn at(&mut self, time: u64, begin: Option<u64>) -> io::Result<Option<Labels>> {
        let mut found = self.find(time, begin);
        if found.is_none() {
            self.read_on()?;
            found = self.find(time, begin);
        }
        Ok(found.and_then(|w| {
            Some(Labels {
                truth: w.label,
                target: w.target_label,
                clean: Some(w.clean_label?),
                last: None,
            })
        }))
    }

    fn find(&self, time: u64, begin: Option<u64>) -> Option<&Line> {
        let time = self.in_its_time(time, begin)?;
        self.windows.iter().find(|w| w.holds(time))
    }

    /// Muxers move a stream's begin to zero, and codecs by some frames: then times count from the first frame. A stream that begins much
    /// later than the attacked one is a later part of it.
    fn in_its_time(&self, time: u64, begin: Option<u64>) -> Option<u64> {
        let first = self.windows.first()?;
        let (Some(attacked), Some(begin)) = (first.begin(), begin) else {
            return Some(time);
        };
        if begin > attacked.saturating_add(first.duration() / 2) {
            return Some(time);
        }
        Some(time.saturating_sub(begin).saturating_add(attacked))
    }

    fn read_on(&mut self) -> io::Result<()> {
        self.open()?;
        if let Some(file) = &mut self.file {
            file.read_to_end(&mut self.rest)?;
        }
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(());
        };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        let lines = whole.split(|byte| *byte == b'\n');
        self.windows
            .extend(lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok()));
        Ok(())
    }
}
