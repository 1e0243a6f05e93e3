// SPDX-License-Identifier: MPL-2.0

//! What is kept of each clip: one small file a clip, written in one step. A clip is done when its record exists, so that a conversion
//! killed at any moment goes on where it was, and parts made by several machines come together by putting their folders together.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context};
use gstsparseadv::sparseadv::report::WindowReport;
use serde::{Deserialize, Serialize};

use crate::provenance::{self, Versions};

/// Folder of records and settings in a converted tree.
const FOLDER: &str = ".sparseadv";

/// What made a tree; a conversion goes on only with the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub model: String,
    pub model_sha256: String,
    pub properties: String,
    pub encoder: String,
    pub muxer: String,
    pub extension: String,
    pub min_frames: usize,
    pub threads: usize,
    pub seed: u64,
    #[serde(flatten)]
    pub versions: Versions,
}

impl Settings {
    fn digest(&self) -> anyhow::Result<String> {
        Ok(provenance::digest(&serde_json::to_vec(self)?))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Path of the source below the data set's folder, with `/`.
    pub clip: String,
    pub class: String,
    /// Digest of the settings that it was made with: parts that are put together may come from different ones.
    pub settings: String,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Converted {
        /// Path below the converted tree's folder, with `/`.
        output: String,
        bytes: u64,
        frames: u64,
        /// The element's reports.
        windows: Vec<WindowReport>,
        /// Wall time.
        seconds: f64,
    },
    Skipped {
        reason: String,
    },
}

/// The records of a converted tree.
pub struct Records {
    root: PathBuf,
    /// Digest of the tree's settings.
    settings: String,
}

impl Records {
    /// Opens the tree for `settings`, or says why it cannot go on with them.
    pub fn open(root: &Path, settings: &Settings) -> anyhow::Result<Self> {
        let records = Self {
            root: root.to_path_buf(),
            settings: settings.digest()?,
        };
        let path = settings_path(root);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let found: Settings = serde_json::from_str(&text)
                    .with_context(|| format!("the settings in {}", path.display()))?;
                let (found, wanted) = (
                    serde_json::to_value(found)?,
                    serde_json::to_value(settings)?,
                );
                for (key, wanted) in wanted.as_object().into_iter().flatten() {
                    if found[key] != *wanted {
                        bail!(
                            "{} was begun with {key} {}, now it is {wanted}. Convert into another folder, or remove that one",
                            root.display(),
                            found[key]
                        );
                    }
                }
            }
            Err(_) => write_whole(&path, serde_json::to_string_pretty(settings)?.as_bytes())?,
        }
        Ok(records)
    }

    /// Opens a tree that was made earlier, and its settings.
    pub fn reopen(root: &Path) -> anyhow::Result<(Self, Settings)> {
        let path = settings_path(root);
        let text = fs::read_to_string(&path).with_context(|| {
            format!(
                "expected a tree made by gst-sparseadv convert, found no {}",
                path.display()
            )
        })?;
        let settings: Settings = serde_json::from_str(&text)
            .with_context(|| format!("the settings in {}", path.display()))?;
        let records = Self {
            root: root.to_path_buf(),
            settings: settings.digest()?,
        };
        Ok((records, settings))
    }

    /// Digest of the tree's settings.
    pub fn settings(&self) -> &str {
        &self.settings
    }

    fn path(&self, clip: &str) -> PathBuf {
        self.root
            .join(FOLDER)
            .join("clips")
            .join(format!("{clip}.json"))
    }

    /// The record of a clip, if it is done: with these settings, and a converted one also has its video.
    pub fn get(&self, clip: &str) -> Option<Record> {
        let text = fs::read_to_string(self.path(clip)).ok()?;
        let record: Record = serde_json::from_str(&text).ok()?;
        (record.settings == self.settings && self.has_video(&record)).then_some(record)
    }

    fn has_video(&self, record: &Record) -> bool {
        match &record.outcome {
            Outcome::Converted { output, bytes, .. } => {
                fs::metadata(self.root.join(output)).is_ok_and(|m| m.len() == *bytes)
            }
            Outcome::Skipped { .. } => true,
        }
    }

    pub fn put(&self, record: &Record) -> anyhow::Result<()> {
        let text = serde_json::to_string(record)?;
        let path = self.path(&record.clip);
        remove_parts(&path);
        write_whole(&path, text.as_bytes())
    }

    /// All records, if one conversion could have made them and their videos are there.
    pub fn of_one_tree(&self) -> anyhow::Result<Vec<Record>> {
        let records = self.all()?;
        if let Some(other) = records.iter().find(|r| r.settings != self.settings) {
            bail!(
                "expected parts made with the same settings, those in {}, found that {} was made with others. Convert it again with these",
                settings_path(&self.root).display(),
                other.clip
            );
        }
        let lost: Vec<&str> = records
            .iter()
            .filter(|r| !self.has_video(r))
            .map(|r| r.clip.as_str())
            .collect();
        if !lost.is_empty() {
            bail!(
                "expected the videos that the records are of, found none, or of another size, for {} of {}: {}. Copy the parts' folders whole, or call convert again",
                lost.len(),
                records.len(),
                lost.join(", ")
            );
        }
        Ok(records)
    }

    /// All records, sorted by clip.
    pub fn all(&self) -> anyhow::Result<Vec<Record>> {
        let mut records = Vec::new();
        let mut folders = vec![self.root.join(FOLDER).join("clips")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|e| e == "json") {
                    let text = fs::read_to_string(&path)?;
                    let record = serde_json::from_str::<Record>(&text)
                        .with_context(|| format!("the record {}", path.display()))?;
                    records.push(record);
                }
            }
        }
        records.sort_by(|a, b| a.clip.cmp(&b.clip));
        Ok(records)
    }
}

fn settings_path(root: &Path) -> PathBuf {
    root.join(FOLDER).join("settings.json")
}

/// Writes a file that is there whole or not at all.
pub fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let part = part_of(path)?;
    let write = || -> std::io::Result<()> { File::create(&part)?.write_all(bytes) };
    write().with_context(|| format!("{} could not be written", part.display()))?;
    publish(&part, path)
}

/// A name beside `path` for what is not whole yet; another one every time: processes of several machines may share a number.
pub fn part_of(path: &Path) -> anyhow::Result<PathBuf> {
    let folder = path.parent().context("a file has a folder")?;
    fs::create_dir_all(folder)
        .with_context(|| format!("the folder {} could not be made", folder.display()))?;
    let name = path.file_name().context("a file has a name")?;
    let number: u64 = rand::random();
    Ok(folder.join(format!(".{}.part-{number:016x}", name.to_string_lossy())))
}

/// Removes what killed processes left of `path`.
pub fn remove_parts(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return;
    };
    let prefix = format!(".{}.part-", name.to_string_lossy());
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            // If it is gone already, all the better.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Gives a whole file its name, after its bytes have reached the disk.
pub fn publish(part: &Path, path: &Path) -> anyhow::Result<()> {
    let publish = || -> std::io::Result<()> {
        File::open(part)?.sync_all()?;
        fs::rename(part, path)
    };
    publish().with_context(|| format!("{} could not be written", path.display()))
}
