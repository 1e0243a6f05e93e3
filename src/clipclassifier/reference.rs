// SPDX-License-Identifier: MPL-2.0

//! What the model said before the attack: from the meta of an upstream sparseadv, or from its report, by time.

use std::path::{Path, PathBuf};

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
    windows: Vec<Line>,
    read: usize,
}

#[derive(Debug, serde::Deserialize)]
struct Line {
    start_time: Option<u64>,
    start_pts: Option<u64>,
    end_pts: Option<u64>,
    label: Option<usize>,
    clean_label: Option<usize>,
    target_label: Option<usize>,
}

impl Line {
    fn holds(&self, time: u64) -> bool {
        let (Some(start), Some(first), Some(end)) = (self.start_time, self.start_pts, self.end_pts)
        else {
            return false;
        };
        (start..start + end.saturating_sub(first)).contains(&time)
    }
}

impl AttackReport {
    pub fn open(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            windows: Vec::new(),
            read: 0,
        }
    }

    /// The window that shows at `time`, a running time in nanoseconds. Reads on where the file has grown.
    pub fn at(&mut self, time: u64) -> std::io::Result<Option<Labels>> {
        if !self.windows.iter().any(|w| w.holds(time)) {
            let text = std::fs::read_to_string(&self.path)?;
            let fresh = text.get(self.read..).unwrap_or_default();
            let whole = fresh.rfind('\n').map_or(0, |at| at + 1);
            let lines = fresh[..whole].lines();
            self.windows
                .extend(lines.filter_map(|l| serde_json::from_str::<Line>(l).ok()));
            self.read += whole;
        }
        let found = self.windows.iter().find(|w| w.holds(time));
        Ok(found.and_then(|w| {
            Some(Labels {
                truth: w.label,
                target: w.target_label,
                clean: Some(w.clean_label?),
                last: None,
            })
        }))
    }
}
