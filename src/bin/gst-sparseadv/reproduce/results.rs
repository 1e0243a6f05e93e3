// SPDX-License-Identifier: MPL-2.0

//! What was measured, as JSON lines that a later run adds to and that the pages are made of.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::systems::{Goal, System};
use crate::provenance::Versions;

/// Name of the file in the results' folder.
pub const FILE: &str = "results.jsonl";

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Line {
    Run(Run),
    Accuracy(Accuracy),
    Attack(Box<Attack>),
}

/// What the lines after it were made with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub command: String,
    pub seed: u64,
    pub format: String,
    /// What every attack has besides its system's own.
    pub properties: String,
    pub iterations: [u32; 2],
    #[serde(flatten)]
    pub versions: Versions,
}

/// The model's label of a test clip's middle window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    pub dataset: String,
    pub model: String,
    #[serde(default)]
    pub model_sha256: String,
    pub clip: String,
    pub class: String,
    pub label: String,
}

/// One attack on one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attack {
    pub dataset: String,
    pub model: String,
    pub goal: Goal,
    pub system: System,
    pub clip: String,
    pub class: String,
    pub target: Option<String>,
    pub success: bool,
    /// The goal held too when the frames pushed were classified again, from their bytes, by another element.
    pub verified: bool,
    pub queries: u32,
    pub forwards: u32,
    pub backwards: u32,
    pub queries_first_success: Option<u32>,
    pub iterations_first_success: Option<u32>,
    pub iterations: u32,
    pub perturbed_frames: usize,
    /// Share of frames left clean.
    pub sparse_rate: f64,
    /// Grey levels 0..255.
    pub map: f64,
    pub map_keyframes: f64,
    pub seconds: f64,
}

impl Attack {
    /// What it is the measurement of: no two lines have the same.
    pub fn key(&self) -> (&str, &str, Goal, &System, &str) {
        (
            &self.dataset,
            &self.model,
            self.goal,
            &self.system,
            &self.clip,
        )
    }
}

/// All lines of a folder.
#[derive(Clone, Debug, Default)]
pub struct Results {
    pub runs: Vec<Run>,
    pub accuracy: Vec<Accuracy>,
    pub attacks: Vec<Attack>,
}

impl Results {
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("expected results in {}", path.display()))?;
        let mut results = Self::default();
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            match serde_json::from_str(line) {
                Ok(Line::Run(run)) => results.runs.push(run),
                Ok(Line::Accuracy(accuracy)) => results.accuracy.push(accuracy),
                Ok(Line::Attack(attack)) => results.attacks.push(*attack),
                // Cut off by a kill; it is measured again.
                Err(_) if i + 1 == lines.len() && !text.ends_with('\n') => {}
                Err(error) => {
                    return Err(error).context(format!("line {} of {}", i + 1, path.display()))
                }
            }
        }
        Ok(results)
    }
}

/// Adds lines to a folder's results.
pub struct Log(File);

impl Log {
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let path: PathBuf = folder.join(FILE);
        // What a kill cut off goes, or the next line would become part of it.
        if let Ok(bytes) = std::fs::read(&path) {
            let whole = bytes
                .iter()
                .rposition(|b| *b == b'\n')
                .map_or(0, |at| at + 1);
            if whole < bytes.len() {
                OpenOptions::new()
                    .write(true)
                    .open(&path)?
                    .set_len(whole as u64)?;
            }
        }
        let file = OpenOptions::new().create(true).append(true).open(&path);
        Ok(Self(file.with_context(|| {
            format!("{} could not be written", path.display())
        })?))
    }

    pub fn add(&mut self, line: &Line) -> anyhow::Result<()> {
        Ok(self
            .0
            .write_all(format!("{}\n", serde_json::to_string(line)?).as_bytes())?)
    }
}
