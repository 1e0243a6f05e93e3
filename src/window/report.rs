// SPDX-License-Identifier: MPL-2.0

//! What came of a window: one record, which is the JSON line and, with dashes in its names, the element message.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::attack::criterion::{argmax, softmax};
use crate::attack::{Best, Calls, Goal, Outcome, Perturbation, Size, Trail};
use crate::model::Metadata;
use crate::provenance::Provenance;
use crate::tally::Labels;

/// The result of one window. Frame numbers count the frames the model sees, 0..T. Perturbation sizes are in gray levels
/// 0..255 of the model's view, means over all its pixels, channels and frames unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct WindowReport {
    /// Number of the window in the stream, from 0.
    pub window: u64,
    /// Presentation time of the first frame. Unit: ns.
    pub start_pts: Option<u64>,
    /// Presentation time at which the last frame ends. Unit: ns.
    pub end_pts: Option<u64>,
    /// Running time of the first frame: it stays the same through encoders and muxers that move timestamps. Unit: ns.
    pub start_time: Option<u64>,
    /// Number of the first frame in the stream, from 0.
    pub first_frame: u64,
    /// Frames of the window that exist; less than T at the end of a stream.
    pub frames: usize,
    /// The true label, where it was given; all rates are then against it.
    pub label: Option<usize>,
    /// The label that a targeted attack is to reach.
    pub target_label: Option<usize>,
    /// What the model says of the window as it came.
    pub clean_label: Option<usize>,
    /// Its name, by the model's metadata.
    pub clean_label_name: Option<String>,
    /// The model's probability of that label.
    pub clean_probability: Option<f64>,
    /// What the model says of the window as it left.
    pub final_label: Option<usize>,
    /// Its name, by the model's metadata.
    pub final_label_name: Option<String>,
    /// The model's probability of that label.
    pub final_probability: Option<f64>,
    /// The goal holds for the bytes pushed; absent for a window that is in no rate, since it was already fooled or
    /// never classified.
    pub success: Option<bool>,
    /// The model is wrong about the clean window already, or gives the target's label; nobody attacks it.
    pub already_fooled: bool,
    #[serde(flatten)]
    pub calls: Calls,
    /// Queries up to the first success.
    pub queries_first_success: Option<u32>,
    /// Iterations up to the first success.
    pub iterations_first_success: Option<u32>,
    #[serde(flatten)]
    pub trail: Trail,
    /// Steps that the search has taken.
    pub iterations: u32,
    /// The weight of each frame, by which keyframes are selected.
    pub weights: Vec<f64>,
    #[serde(flatten)]
    pub perturbed: Perturbed,
    /// As pushed, seen through the model's resize and crop.
    #[serde(flatten)]
    pub size: Size,
    /// How long the attack took. Unit: s.
    pub seconds: f64,
    /// The deadline passed before the attack was done.
    pub overrun: bool,
    /// The bound on queries was reached before the attack was done.
    pub out_of_queries: bool,
    /// Every gradient the model gave was zero: a window that was not fooled so tells nothing of robustness.
    pub zero_gradient: bool,
    #[serde(flatten)]
    pub provenance: Arc<Provenance>,
}

/// The frames that leave perturbed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Perturbed {
    /// Frames that leave perturbed, by their place in the window.
    pub keyframes: Vec<usize>,
    /// How many these are.
    pub perturbed_frames: usize,
    /// Share of frames that leave clean, from 0 to 1.
    pub sparse_rate: f64,
}

impl Perturbed {
    /// `keyframes` of a window of `frames` frames.
    pub fn new(mut keyframes: Vec<usize>, frames: usize) -> Self {
        keyframes.sort_unstable();
        Self {
            perturbed_frames: keyframes.len(),
            sparse_rate: 1.0 - keyframes.len() as f64 / frames.max(1) as f64,
            keyframes,
        }
    }
}

impl Default for Perturbed {
    fn default() -> Self {
        Self::new(Vec::new(), 0)
    }
}

impl WindowReport {
    /// The report of a window nothing is known of yet: it left clean.
    pub fn clean(window: u64, frames: usize, goal: Goal, provenance: Arc<Provenance>) -> Self {
        let (label, target_label) = (goal.label(), goal.target());
        Self { window, frames, label, target_label, provenance, ..Self::default() }
    }

    /// What the rates are made of.
    pub fn labels(&self) -> Labels {
        Labels { truth: self.label, target: self.target_label, clean: self.clean_label, last: self.final_label }
    }

    pub fn set_outcome(&mut self, outcome: &Outcome) {
        self.clean_label = Some(outcome.clean_label);
        self.final_label = Some(outcome.final_label);
        self.clean_probability = Some(outcome.clean_probability);
        self.final_probability = Some(outcome.final_probability);
        self.already_fooled = outcome.already_fooled;
        self.success = (!outcome.already_fooled).then_some(outcome.success);
        self.calls = outcome.calls;
        self.queries_first_success = outcome.queries_first_success;
        self.iterations_first_success = outcome.iterations_first_success;
        self.trail.clone_from(&outcome.trail);
        self.iterations = outcome.iterations;
        self.weights.clone_from(&outcome.keyframes.weights);
        self.set_perturbation(&outcome.perturbation, outcome.size);
        self.seconds = outcome.duration.as_secs_f64();
        self.overrun = outcome.out_of_time;
        self.out_of_queries = outcome.out_of_queries;
        self.zero_gradient = outcome.zero_gradient;
    }

    /// What is known of an attack that was not let finish.
    pub fn set_best(&mut self, best: &Best) {
        let label = argmax(&best.logits);
        self.success = Some(true);
        self.final_label = Some(label);
        self.final_probability = Some(softmax(&best.logits)[label]);
        self.queries_first_success.get_or_insert(self.calls.queries);
        self.iterations_first_success.get_or_insert(self.iterations);
        self.set_perturbation(&best.perturbation, best.size);
    }

    /// The size of what was added to the model's views of all frames, by these as they came and as they left.
    pub fn set_size(&mut self, clean: &[f32], left: &[f32]) {
        let len = (clean.len() / self.frames.max(1)).max(1);
        let sums = clean.chunks_exact(len).zip(left.chunks_exact(len)).map(|(clean, left)| {
            clean.iter().zip(left).fold((0.0, 0.0, 0.0f64), |(sum, squares, max), (clean, left)| {
                let change = f64::from(left - clean);
                (sum + change.abs(), squares + change * change, max.max(change.abs()))
            })
        });
        let sums: Vec<(f64, f64, f64)> = sums.collect();
        let changed: Vec<usize> = (0..sums.len()).filter(|k| sums[*k].2 > 0.0).collect();
        let sum: f64 = sums.iter().map(|(sum, ..)| sum).sum();
        let per = |frames: usize| sum / (frames * len).max(1) as f64;
        self.size = Size {
            map: per(sums.len()),
            map_float: per(sums.len()),
            map_keyframes: per(changed.len()),
            max_abs: sums.iter().map(|(.., max)| *max).fold(0.0, f64::max),
            l21: sums.iter().map(|(_, squares, _)| squares.sqrt()).sum(),
            l2: sums.iter().map(|(_, squares, _)| squares).sum::<f64>().sqrt(),
        };
        self.perturbed = Perturbed::new(changed, self.frames);
    }

    /// What nobody can say of it cannot count as fooled.
    pub fn set_not_fooled(&mut self) {
        self.success = self.success.map(|_| false);
        self.final_label = self.clean_label;
        self.final_probability = self.clean_probability;
    }

    fn set_perturbation(&mut self, perturbation: &Perturbation, size: Size) {
        self.perturbed = Perturbed::new(perturbation.iter().map(|(k, _)| *k).collect(), self.frames);
        self.size = size;
    }

    /// Writes the labels' names beside them.
    pub fn name_labels(&mut self, metadata: &Metadata) {
        let name = |label: Option<usize>| label.map(|label| metadata.label_name(label));
        self.clean_label_name = name(self.clean_label);
        self.final_label_name = name(self.final_label);
    }
}
