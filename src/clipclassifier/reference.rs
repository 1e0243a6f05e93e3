// SPDX-License-Identifier: MPL-2.0

//! What the model said before the attack: from the meta of an upstream sparseadv, or from its report, by time.

use std::path::{Path, PathBuf};

use crate::sparseadv::meta;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reference {
    pub clean_label: usize,
    pub target_label: Option<usize>,
}

impl Reference {
    /// Whether an attack with this reference has reached its goal where the model says `label`.
    pub fn fooled(self, label: usize) -> bool {
        match self.target_label {
            Some(target) => label == target,
            None => label != self.clean_label,
        }
    }
}

/// From a frame's meta, where nothing between has dropped it. Targets are not in it.
pub fn of_meta(buffer: &gst::BufferRef) -> Option<Reference> {
    let meta = gst::meta::CustomMeta::from_buffer(buffer, meta::NAME).ok()?;
    let label = meta.structure().get::<u32>("clean-label").ok()?;
    Some(Reference {
        clean_label: label as usize,
        target_label: None,
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
    pub fn at(&mut self, time: u64) -> std::io::Result<Option<Reference>> {
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
            Some(Reference {
                clean_label: w.clean_label?,
                target_label: w.target_label,
            })
        }))
    }
}
