// SPDX-License-Identifier: MPL-2.0

//! What was measured, as JSON lines that a later run adds to and that the pages are made of.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use gstsparseadv::attack::Calls;
use gstsparseadv::attack::{Size, Trail};
use serde::{Deserialize, Serialize};

use super::systems::{Goal, System};
use crate::journal::{self, is_cut_line, whole_lines};
use crate::provenance::Versions;

/// Name of the file in the results' folder.
pub const FILE: &str = "results.jsonl";
/// Of its lines.
pub const FORMAT: u32 = 1;

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
    /// Of the lines after it. Files that were made before it was written have none.
    #[serde(default)]
    pub results_format: u32,
    pub seed: u64,
    pub format: String,
    /// What every attack has besides its system's own.
    pub properties: String,
    pub iterations: [u32; 2],
    /// What attacks without the model's gradient have, where there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub black_box: Option<BlackBox>,
    #[serde(flatten)]
    pub versions: Versions,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlackBox {
    /// At the most.
    pub queries: u32,
    /// Clips that an attack begins with at the most.
    pub donors: u16,
    /// SHA-256 of the files, in hexadecimal.
    pub surrogates: Vec<String>,
    pub agent: Option<String>,
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
    #[serde(flatten)]
    pub calls: Calls,
    pub queries_first_success: Option<u32>,
    pub iterations_first_success: Option<u32>,
    #[serde(flatten)]
    pub trail: Trail,
    pub iterations: u32,
    pub perturbed_frames: usize,
    /// Share of frames left clean.
    pub sparse_rate: f64,
    /// What the model says of the window before and after the attack; older lines have none.
    #[serde(default)]
    pub clean_label: Option<String>,
    #[serde(default)]
    pub final_label: Option<String>,
    /// What other models say of the window, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub judged: BTreeMap<String, Judged>,
    #[serde(flatten)]
    pub size: Size,
    pub seconds: f64,
}

/// What a model says of a window that was attacked on another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Of the clean frames and of those pushed, by its own names.
    pub clean: String,
    pub label: String,
    /// Whether the first is the window's class.
    pub right: bool,
    /// Whether the other is another class, or the target where there is one.
    pub fooled: bool,
}

impl Attack {
    /// What it is the measurement of: no two lines have the same.
    pub fn key(&self) -> (&str, &str, Goal, &System, &str) {
        (&self.dataset, &self.model, self.goal, &self.system, &self.clip)
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
    /// Data sets with models, in the order they were measured.
    pub fn pairs(&self) -> Vec<(&str, &str)> {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for a in &self.accuracy {
            if !pairs.contains(&(&a.dataset, &a.model)) {
                pairs.push((&a.dataset, &a.model));
            }
        }
        pairs
    }

    /// The attacks of one system, by clip.
    pub fn of(&self, (dataset, model): (&str, &str), goal: Goal, system: &System) -> Vec<&Attack> {
        let of_system = |a: &&Attack| a.dataset == dataset && a.model == model && a.goal == goal && a.system == *system;
        let mut attacks: Vec<&Attack> = self.attacks.iter().filter(of_system).collect();
        attacks.sort_by(|a, b| a.clip.cmp(&b.clip));
        attacks
    }

    /// Of a folder that has some.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let bytes = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => anyhow!(
                "Expected results in {}, found no such file. Name the folder that gst-sparseadv reproduce wrote (--out).",
                path.display()
            ),
            _ => anyhow!("{} could not be read: {error}", path.display()),
        })?;
        Self::parse(&bytes, &path)
    }

    fn parse(bytes: &[u8], path: &Path) -> anyhow::Result<Self> {
        let mut results = Self::default();
        let (whole, cut) = bytes.split_at(whole_lines(bytes));
        if !cut.is_empty() && !is_cut_line(cut) {
            bail!(
                "Expected results of gst-sparseadv reproduce in {}, found that its last line is none. Name another folder.",
                path.display()
            );
        }
        let lines = whole.split(|b| *b == b'\n').enumerate();
        for (i, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
            let place = || format!("line {} of {}", i + 1, path.display());
            match serde_json::from_slice(line) {
                Ok(Line::Run(run)) if run.results_format > FORMAT => bail!(
                    "Expected results of format {FORMAT} or older, found format {} in {}. Use the newer gst-sparseadv that made them.",
                    run.results_format,
                    place()
                ),
                Ok(Line::Run(run)) => results.runs.push(run),
                Ok(Line::Accuracy(accuracy)) => results.accuracy.push(accuracy),
                Ok(Line::Attack(attack)) => results.attacks.push(*attack),
                Err(error) => bail!(
                    "Expected a line as gst-sparseadv reproduce writes it, found something else in {}: {error}. It is damaged or another \
                     version's; remove the line, and what it says is measured again.",
                    place()
                ),
            }
        }
        Ok(results)
    }
}

/// Adds lines to a folder's results. One process at a time has it.
pub struct Log(File);

impl Log {
    /// Opens the results of a folder and reads what is known. Nothing is changed before `fits` has seen that.
    pub fn open(folder: &Path, fits: impl FnOnce(&Results) -> anyhow::Result<()>) -> anyhow::Result<(Self, Results)> {
        fs::create_dir_all(folder).with_context(|| format!("The folder {} could not be made", folder.display()))?;
        let path: PathBuf = folder.join(FILE);
        let file = journal::open(&path, "reproduce")?;
        let bytes = fs::read(&path).with_context(|| format!("{} could not be read", path.display()))?;
        let known = Results::parse(&bytes, &path)?;
        fits(&known)?;
        // What a kill cut off goes, or the next line would become part of it; it is measured again.
        let whole = whole_lines(&bytes);
        if whole < bytes.len() {
            file.set_len(whole as u64)?;
        }
        Ok((Self(file), known))
    }

    pub fn add(&mut self, line: &Line) -> anyhow::Result<()> {
        let text = format!("{}\n", serde_json::to_string(line)?);
        self.0.write_all(text.as_bytes()).with_context(|| format!("{FILE} could not be written"))
    }
}
