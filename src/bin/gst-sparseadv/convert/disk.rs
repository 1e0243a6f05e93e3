// SPDX-License-Identifier: MPL-2.0

//! Where a converted tree keeps what is known of it, and how that is written.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use gstsparseadv::files::{self, Part};

/// Folder of records and settings in a converted tree.
pub const FOLDER: &str = ".sparseadv";

pub fn settings_path(root: &Path) -> PathBuf {
    root.join(FOLDER).join("settings.json")
}

pub fn damaged(path: &Path) -> impl Fn(serde_json::Error) -> anyhow::Error + '_ {
    move |error| {
        anyhow!(
            "Expected what gst-sparseadv convert wrote in {}, found something else: {error}. Remove that file, and what it is of is \
             converted again.",
            path.display()
        )
    }
}

/// Writes a file that is there whole or not at all, and its folder.
pub fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    folder_of(path)?;
    files::write_whole(path, bytes).with_context(|| format!("{} could not be written", path.display()))
}

fn folder_of(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().context("a file has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("The folder {} could not be made", folder.display()))
}

/// A name beside `path` for what is not whole yet, in a folder that is there.
pub fn part_of(path: &Path) -> anyhow::Result<Part> {
    folder_of(path)?;
    Part::beside(path).with_context(|| format!("{} could not be written", path.display()))
}

/// Gives a whole file its name.
pub fn publish(part: Part, path: &Path) -> anyhow::Result<()> {
    part.publish().with_context(|| format!("{} could not be written", path.display()))
}
