// SPDX-License-Identifier: MPL-2.0

//! What was measured: JSON lines that a later call adds to, and that all that is told is made of.

use std::collections::{BTreeMap, HashSet};

use gstsparseadv::attack::{Calls, Size};
use serde::{Deserialize, Serialize};

use super::channels::Channel;
use super::judge::Answer;
use super::threat::Curve;
use crate::provenance::Versions;

/// Of the lines.
pub const FORMAT: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Line {
    Run(Box<Run>),
    Window(Box<Window>),
    Clip(Clip),
    Skipped(Skipped),
    /// All clips of this file were tried.
    End,
}

/// What the lines after it were made with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub command: String,
    pub conditions: Conditions,
    /// Of the names and classes of all clips, whichever part of them this is.
    pub clips_sha256: String,
    pub models: BTreeMap<String, ModelFile>,
    pub threats: BTreeMap<String, ThreatLine>,
}

/// What must be the same for all lines of a folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    pub results_format: u32,
    pub seed: u64,
    /// That is attacked.
    pub raw_format: String,
    /// Properties that every attack has in front of its threat model's, and behind them.
    pub properties: [String; 2],
    pub channels: Vec<Channel>,
    #[serde(flatten)]
    pub versions: Versions,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFile {
    pub file: String,
    pub sha256: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreatLine {
    /// All of the element's properties but the model, as gst-launch-1.0 takes them.
    pub properties: String,
    /// SHA-256 of a learned perturbation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve: Option<Curve>,
}

/// A window, attacked on a model by a threat model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    pub dataset: String,
    pub model: String,
    pub threat: String,
    pub clip: String,
    /// The true class, as the data set has it, and as the model names it.
    pub class: String,
    pub truth: String,
    /// What a targeted attack was to reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    pub window: usize,
    pub first_frame: usize,
    /// What the model says behind each channel of the clean clip and of the attacked one. A channel is missing where the
    /// clip has no such window.
    pub clean: BTreeMap<String, Answer>,
    pub attacked: BTreeMap<String, Answer>,
    /// By the element itself; absent where it left the window alone.
    pub success: Option<bool>,
    #[serde(flatten)]
    pub calls: Calls,
    pub queries_first_success: Option<u32>,
    pub iterations: u32,
    pub keyframes: Vec<usize>,
    pub perturbed_frames: usize,
    /// Of each frame, as the selection of keyframes weighs it.
    pub weights: Vec<f64>,
    #[serde(flatten)]
    pub size: Size,
    pub out_of_queries: bool,
    pub zero_gradient: bool,
    pub seconds: f64,
}

/// A clip whose windows are the lines before it: all of them, on a model by a threat model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clip {
    pub dataset: String,
    pub model: String,
    pub threat: String,
    pub clip: String,
    pub class: String,
    pub windows: usize,
    pub frames: usize,
    /// What was converted on the way, or found damaged.
    pub notes: Vec<String>,
    pub seconds: f64,
}

/// A clip that could not be evaluated on a model.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Skipped {
    pub dataset: String,
    pub model: String,
    pub clip: String,
    pub class: String,
    pub reason: String,
}

/// All lines of a folder, each unit once.
#[derive(Clone, Debug, Default)]
pub struct Results {
    pub runs: Vec<Run>,
    pub windows: Vec<Window>,
    pub clips: Vec<Clip>,
    pub skipped: Vec<Skipped>,
    /// The last line of a file that was added says that all of its clips were tried.
    pub ended: bool,
}

/// What a clip's attack is known by.
pub type Unit<'a> = (&'a str, &'a str, &'a str, &'a str);

impl Clip {
    pub fn unit(&self) -> Unit<'_> {
        (&self.dataset, &self.model, &self.threat, &self.clip)
    }
}

impl Window {
    pub fn unit(&self) -> Unit<'_> {
        (&self.dataset, &self.model, &self.threat, &self.clip)
    }

    /// Order in files that are made anew.
    pub fn key(&self) -> (Unit<'_>, usize) {
        (self.unit(), self.window)
    }
}

impl Results {
    /// Takes over the lines of a file, in their order. What it has already, and windows whose clip is not whole, stay out.
    pub fn add(&mut self, lines: Vec<Line>) {
        let mut open: Vec<Window> = Vec::new();
        let mut known: HashSet<[String; 4]> = self.clips.iter().map(|clip| owned(clip.unit())).collect();
        for line in lines {
            self.ended = matches!(line, Line::End);
            match line {
                Line::Run(run) => self.runs.push(*run),
                Line::Window(window) => open.push(*window),
                Line::Clip(clip) => {
                    let windows = std::mem::take(&mut open);
                    if known.insert(owned(clip.unit())) {
                        self.windows.extend(windows.into_iter().filter(|w| w.unit() == clip.unit()));
                        self.clips.push(clip);
                    }
                }
                Line::Skipped(skipped) => self.skipped.push(skipped),
                Line::End => {}
            }
        }
    }

    /// Sorts all, and forgets of the skipped clips those that were evaluated since, by all threat models of the last run.
    pub fn settle(&mut self) {
        self.windows.sort_by(|a, b| a.key().cmp(&b.key()));
        self.clips.sort_by(|a, b| a.unit().cmp(&b.unit()));
        let done: HashSet<[String; 4]> = self.clips.iter().map(|clip| owned(clip.unit())).collect();
        let threats: Vec<&String> = self.runs.last().map_or(Vec::new(), |run| run.threats.keys().collect());
        self.skipped.retain(|s| {
            let is_done = |threat: &&String| done.contains(&owned((&s.dataset, &s.model, threat, &s.clip)));
            threats.is_empty() || !threats.iter().all(is_done)
        });
        self.skipped.sort();
        self.skipped.dedup_by(|a, b| (&a.dataset, &a.model, &a.clip) == (&b.dataset, &b.model, &b.clip));
    }

    /// The windows of each clip, model and threat model.
    pub fn units(&self) -> BTreeMap<Unit<'_>, Vec<&Window>> {
        let mut units: BTreeMap<Unit, Vec<&Window>> = BTreeMap::new();
        for window in &self.windows {
            units.entry(window.unit()).or_default().push(window);
        }
        units
    }

    /// All as lines again, in order.
    pub fn into_lines(self) -> Vec<Line> {
        let mut windows = self.windows.into_iter().peekable();
        let mut lines: Vec<Line> = self.runs.into_iter().map(|run| Line::Run(Box::new(run))).collect();
        for clip in self.clips {
            while let Some(window) = windows.next_if(|w| w.unit() <= clip.unit()) {
                lines.push(Line::Window(Box::new(window)));
            }
            lines.push(Line::Clip(clip));
        }
        lines.extend(self.skipped.into_iter().map(Line::Skipped));
        lines.push(Line::End);
        lines
    }
}

pub fn owned((dataset, model, threat, clip): Unit) -> [String; 4] {
    [dataset, model, threat, clip].map(String::from)
}
