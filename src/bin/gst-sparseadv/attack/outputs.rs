// SPDX-License-Identifier: MPL-2.0

//! The files that a run writes: all of them when it is done, or none.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use gstsparseadv::files::{self, Part};

/// Files under way, in the order in which they get their names.
pub struct Outputs {
    files: Vec<Output>,
}

struct Output {
    what: &'static str,
    path: PathBuf,
    part: Part,
}

/// The video, by the name its user knows it by.
pub const VIDEO: &str = "the output";
pub const REPORT: &str = "--report";
pub const PICTURE: &str = "--picture";
pub const PAGE: &str = "--page";

impl Outputs {
    /// Makes sure that each can be written and that none takes the place of what is read, or of another.
    pub fn new(wanted: &[(&'static str, Option<&Path>)], inputs: &[(&str, &Path)]) -> anyhow::Result<Self> {
        let wanted: Vec<(&'static str, &Path)> =
            wanted.iter().filter_map(|(what, path)| Some((*what, (*path)?))).collect();
        files::check_outputs(&wanted, inputs).map_err(|e| anyhow!(e))?;
        let mut files = Vec::new();
        for (what, path) in wanted {
            files::check_regular(what, path).map_err(|e| anyhow!(e))?;
            // What killed runs left.
            files::remove_parts(path);
            let part =
                Part::beside(path).and_then(|part| File::create_new(part.part()).map(|_| part)).with_context(|| {
                    format!("Expected a place for {what} that can be written, found {}", path.display())
                })?;
            files.push(Output { what, path: path.to_path_buf(), part });
        }
        Ok(Self { files })
    }

    /// Where to write one, if it is wanted.
    pub fn part(&self, what: &str) -> Option<&Path> {
        let found = self.files.iter().find(|f| f.what == what);
        found.map(|f| f.part.part())
    }

    /// Gives all their names. Returns these.
    pub fn publish(mut self) -> anyhow::Result<Vec<PathBuf>> {
        let mut names = Vec::new();
        for Output { path, part, .. } in std::mem::take(&mut self.files) {
            part.publish().with_context(|| format!("{} could not be written", path.display()))?;
            names.push(path);
        }
        Ok(names)
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        for Output { path, .. } in &self.files {
            // The element may have left files of its own beside the report's part.
            files::remove_parts(path);
        }
    }
}
