// SPDX-License-Identifier: MPL-2.0

//! What is kept of each clip: one small file a clip, written in one step. A clip is done when its record exists, so
//! that a conversion killed at any moment goes on where it was, and parts made by several machines come together by
//! putting their folders together.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use gstsparseadv::files::{self, LONGEST_NAME, shortened};
use gstsparseadv::window::report::WindowReport;
use serde::{Deserialize, Serialize};

use super::begun::{self, Settings};
use super::disk::{FOLDER, damaged, part_of, settings_path, write_whole};
use super::plan::{Job, Missing, Side};
use super::shard::Shard;
use crate::provenance::{self, Difference};

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
        /// What was converted on the way, left out, or found damaged.
        #[serde(default)]
        notes: Vec<String>,
        /// Wall time.
        seconds: f64,
    },
    Skipped {
        reason: String,
    },
    /// Named by a list or a link, and not there.
    Missing {
        reason: String,
    },
}

/// The records of a converted tree.
pub struct Records {
    root: PathBuf,
    /// Digest of the tree's settings.
    pub settings: String,
    /// Locked as long as this tree is written.
    locks: Vec<File>,
}

impl Records {
    /// Opens the tree for `settings` and this part of it, or says why it cannot go on with them.
    pub fn open(root: &Path, settings: &Settings, shard: Shard) -> anyhow::Result<Self> {
        let mut records = Self { root: root.to_path_buf(), settings: settings.digest()?, locks: Vec::new() };
        let found = begun::settings(root, settings)?;
        if let Some(Difference { field, before, now }) = provenance::differences(&found, settings)?.first() {
            bail!(
                "{} was begun with {field} {before}, now it is {now}. Convert into another folder, or remove that one",
                root.display()
            );
        }
        records.locks = begun::lock(root, shard)?;
        Ok(records)
    }

    /// Opens a tree that was made earlier, and its settings.
    pub fn reopen(root: &Path) -> anyhow::Result<(Self, Settings)> {
        let settings = begun::read_settings(&settings_path(root))?;
        let records = Self { root: root.to_path_buf(), settings: settings.digest()?, locks: Vec::new() };
        Ok((records, settings))
    }

    /// The file of something about a clip, with a name that file systems take.
    fn file_of(&self, folder: &str, clip: &str) -> PathBuf {
        let longest = LONGEST_NAME - ".json".len();
        let (class, name) = match clip.rsplit_once('/') {
            Some((class, name)) => (class, name),
            None => ("", clip),
        };
        let mut path = self.root.join(FOLDER).join(folder);
        path.extend(class.split('/').map(|part| shortened(part, LONGEST_NAME)));
        path.join(format!("{}.json", shortened(name, longest)))
    }

    fn path(&self, clip: &str) -> PathBuf {
        self.file_of("clips", clip)
    }

    /// Whether a clip's output may be written: there is none, or it is this tree's own. From now on it is.
    pub fn may_write(&self, job: &Job) -> Result<(), String> {
        let path = self.root.join(&job.output);
        let claim = self.file_of("begun", &job.clip);
        if fs::symlink_metadata(&path).is_ok() {
            let record = self.path(&job.clip);
            let made = match read_record(&record).map(|r| r.outcome) {
                Ok(Outcome::Converted { output, .. }) => output == job.output,
                Ok(_) => false,
                // A damaged record is still one of this tree.
                Err(_) => record.exists(),
            };
            // A process may have been killed between the video and its record.
            let begun = fs::read_to_string(&claim).is_ok_and(|output| output == job.output);
            return match made || begun {
                true => Ok(()),
                false => Err(format!(
                    "{} is there already and was not made by this conversion; move it, or convert into another folder",
                    path.display()
                )),
            };
        }
        let write = || -> io::Result<()> {
            claim.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(&claim, &job.output)
        };
        write().map_err(|error| format!("{} could not be written: {error}", claim.display()))
    }

    /// A path in UTF-8 that leads to a clip: GStreamer's descriptions and the worker's requests are text.
    pub fn reachable(&self, job: &Job) -> io::Result<PathBuf> {
        if job.source.to_str().is_some() {
            return Ok(job.source.clone());
        }
        let link = self.link(&job.clip);
        link.parent().map_or(Ok(()), fs::create_dir_all)?;
        // One of a run that was killed.
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(job.source.canonicalize()?, &link)?;
        Ok(link)
    }

    fn link(&self, clip: &str) -> PathBuf {
        self.file_of("begun", &format!("{clip}.link"))
    }

    /// An error where nothing more can be written to the tree: the disk is full, say. Then it is not the clip's fault.
    pub fn check_space(&self) -> anyhow::Result<()> {
        const ROOM: usize = 1 << 20;
        let place = self.root.join(FOLDER).join("space");
        let part = part_of(&place)?;
        fs::write(part.part(), vec![0; ROOM])
            .with_context(|| format!("Nothing more can be written in {}", self.root.display()))
    }

    /// Keeps which clips are missing, in the place of what an earlier run has found so.
    pub fn set_missing(&self, side: Side, missing: &[Missing]) -> anyhow::Result<()> {
        let records: Vec<Record> = missing
            .iter()
            .map(|m| Record {
                clip: m.clip.clone(),
                class: m.class.clone(),
                settings: self.settings.clone(),
                outcome: Outcome::Missing { reason: m.reason.clone() },
            })
            .collect();
        let path = self.missing_path(side);
        if records.is_empty() && !path.exists() {
            return Ok(());
        }
        write_whole(&path, serde_json::to_string(&records)?.as_bytes())
    }

    fn missing_path(&self, side: Side) -> PathBuf {
        let name = format!("missing-{side:?}.json").to_lowercase();
        self.root.join(FOLDER).join(name)
    }

    /// The record of a clip, if it is done: with these settings, and a converted one also has its video.
    pub fn get(&self, clip: &str) -> Option<Record> {
        let record = read_record(&self.path(clip)).ok()?;
        (record.settings == self.settings && self.has_video(&record)).then_some(record)
    }

    fn has_video(&self, record: &Record) -> bool {
        match &record.outcome {
            Outcome::Converted { output, bytes, .. } => {
                fs::metadata(self.root.join(output)).is_ok_and(|m| m.len() == *bytes)
            }
            Outcome::Skipped { .. } | Outcome::Missing { .. } => true,
        }
    }

    pub fn put(&self, record: &Record) -> anyhow::Result<()> {
        let text = serde_json::to_string(record)?;
        let path = self.path(&record.clip);
        files::remove_parts(&path);
        write_whole(&path, text.as_bytes())?;
        // The record says it now; if nothing was begun, all the better.
        let _ = fs::remove_file(self.file_of("begun", &record.clip));
        let _ = fs::remove_file(self.link(&record.clip));
        Ok(())
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
        let lost: Vec<&str> = records.iter().filter(|r| !self.has_video(r)).map(|r| r.clip.as_str()).collect();
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
                    records.push(read_record(&path)?);
                }
            }
        }
        let known: std::collections::HashSet<String> = records.iter().map(|r| r.clip.clone()).collect();
        for side in [Side::All, Side::Train, Side::Test] {
            let path = self.missing_path(side);
            if let Ok(text) = fs::read(&path) {
                let missing: Vec<Record> = serde_json::from_slice(&text).map_err(damaged(&path))?;
                // What was missing once may have been converted since.
                records.extend(missing.into_iter().filter(|r| !known.contains(&r.clip)));
            }
        }
        records.sort_by(|a, b| a.clip.cmp(&b.clip));
        records.dedup_by(|a, b| a.clip == b.clip);
        Ok(records)
    }
}

fn read_record(path: &Path) -> anyhow::Result<Record> {
    let text = fs::read(path).with_context(|| format!("{} could not be read", path.display()))?;
    serde_json::from_slice(&text).map_err(damaged(path))
}

#[cfg(test)]
mod tests;
