// SPDX-License-Identifier: MPL-2.0

//! What came of a window: one JSON line, one element message.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::attack::criterion::argmax;
use crate::attack::{Best, Calls, Goal, Outcome, Size};
use crate::model::Metadata;
use crate::provenance::Provenance;
use crate::tally::Labels;

/// The result of one window. Frame numbers count the frames the model sees, 0..T. Perturbation sizes are in gray levels
/// 0..255 of the model's view, means over all its pixels, channels and frames unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WindowReport {
    pub window: u64,
    /// Presentation time of the first frame and end of the last, in nanoseconds.
    pub start_pts: Option<u64>,
    pub end_pts: Option<u64>,
    /// Running time of the first frame, in nanoseconds: it stays the same through encoders and muxers that move
    /// timestamps.
    pub start_time: Option<u64>,
    /// Number of the first frame in the stream.
    pub first_frame: u64,
    /// Frames of the window that exist; less than T at the end of a stream.
    pub frames: usize,
    /// The true label, where it was given; all rates are then against it.
    pub label: Option<usize>,
    pub target_label: Option<usize>,
    pub clean_label: Option<usize>,
    pub clean_label_name: Option<String>,
    pub clean_probability: Option<f64>,
    pub final_label: Option<usize>,
    pub final_label_name: Option<String>,
    pub final_probability: Option<f64>,
    /// The goal holds for the bytes pushed; absent for a window that is in no rate, since it was already fooled or
    /// never classified.
    pub success: Option<bool>,
    /// The model is wrong about the clean window already, or gives the target's label; nobody attacks it
    /// ([`crate::tally`]).
    pub already_fooled: bool,
    pub queries: u32,
    pub forwards: u32,
    pub backwards: u32,
    /// Windows sent through the bins of the survive property.
    pub codec_runs: u32,
    pub queries_first_success: Option<u32>,
    pub iterations_first_success: Option<u32>,
    pub iterations: u32,
    pub keyframes: Vec<usize>,
    pub weights: Vec<f64>,
    pub perturbed_frames: usize,
    /// Share of frames left clean.
    pub sparse_rate: f64,
    /// As pushed, seen through the model's resize and crop.
    pub map: f64,
    /// Before rendering and rounding.
    pub map_float: f64,
    /// As `map`, over the perturbed frames alone.
    pub map_keyframes: f64,
    pub max_abs: f64,
    pub l21: f64,
    pub seconds: f64,
    /// The deadline passed before the attack was done.
    pub overrun: bool,
    /// Every gradient the model gave was zero: a window that was not fooled so tells nothing of robustness.
    pub zero_gradient: bool,
    #[serde(flatten)]
    pub provenance: Arc<Provenance>,
}

impl WindowReport {
    /// The report of a window nothing is known of yet: it left clean.
    pub fn clean(window: u64, frames: usize, provenance: Arc<Provenance>) -> Self {
        Self { window, frames, sparse_rate: 1.0, provenance, ..Self::default() }
    }

    /// What the rates are made of.
    pub fn labels(&self) -> Labels {
        Labels { truth: self.label, target: self.target_label, clean: self.clean_label, last: self.final_label }
    }

    pub fn set_calls(&mut self, calls: Calls) {
        self.queries = calls.queries;
        self.forwards = calls.forwards;
        self.backwards = calls.backwards;
        self.codec_runs = calls.codec_runs;
    }

    pub fn set_clean_label(&mut self, label: usize, metadata: &Metadata) {
        self.clean_label = Some(label);
        self.clean_label_name = Some(metadata.label_name(label));
    }

    pub fn set_final_label(&mut self, label: usize, metadata: &Metadata) {
        self.final_label = Some(label);
        self.final_label_name = Some(metadata.label_name(label));
    }

    /// Notes which frames leave perturbed.
    pub fn set_perturbed(&mut self, keyframes: Vec<usize>) {
        self.perturbed_frames = keyframes.len();
        self.sparse_rate = 1.0 - keyframes.len() as f64 / self.frames.max(1) as f64;
        self.keyframes = keyframes;
    }

    pub fn set_outcome(&mut self, outcome: &Outcome, metadata: &Metadata) {
        self.set_clean_label(outcome.clean_label, metadata);
        self.set_final_label(outcome.final_label, metadata);
        self.clean_probability = Some(outcome.clean_probability);
        self.final_probability = Some(outcome.final_probability);
        self.already_fooled = outcome.already_fooled;
        self.success = (!outcome.already_fooled).then_some(outcome.success);
        self.set_calls(outcome.calls);
        self.queries_first_success = outcome.queries_first_success;
        self.iterations_first_success = outcome.iterations_first_success;
        self.iterations = outcome.iterations;
        self.weights.clone_from(&outcome.keyframes.weights);
        self.set_perturbed(outcome.perturbation.iter().map(|(k, _)| *k).collect());
        self.set_size(outcome.size);
        self.seconds = outcome.duration.as_secs_f64();
        self.overrun = outcome.out_of_time;
        self.zero_gradient = outcome.zero_gradient;
    }

    pub fn set_goal(&mut self, goal: Goal) {
        self.label = goal.label();
        self.target_label = goal.target();
    }

    /// What is known of an attack that was not let finish.
    pub fn set_best(&mut self, best: &Best, calls: Calls, metadata: &Metadata) {
        self.success = Some(true);
        self.set_final_label(argmax(&best.logits), metadata);
        self.set_calls(calls);
        self.queries_first_success = Some(calls.queries);
        let mut keyframes: Vec<usize> = best.perturbation.iter().map(|(k, _)| *k).collect();
        keyframes.sort_unstable();
        self.set_perturbed(keyframes);
        self.set_size(best.size);
    }

    fn set_size(&mut self, size: Size) {
        self.map = size.map;
        self.map_float = size.map_float;
        self.map_keyframes = size.map_keyframes;
        self.max_abs = size.max_abs;
        self.l21 = size.l21;
    }

    /// The element message's structure, `sparseadv-window`: the JSON line's fields with dashes for underscores, and the
    /// line itself as `json`. Fields that are not known are left out.
    pub fn structure(&self) -> gst::Structure {
        let mut s = gst::Structure::builder("sparseadv-window")
            .field("window", self.window)
            .field("first-frame", self.first_frame)
            .field("frames", self.frames as u32)
            .field("already-fooled", self.already_fooled)
            .field("queries", self.queries)
            .field("forwards", self.forwards)
            .field("backwards", self.backwards)
            .field("codec-runs", self.codec_runs)
            .field("iterations", self.iterations)
            .field("perturbed-frames", self.perturbed_frames as u32)
            .field("sparse-rate", self.sparse_rate)
            .field("map", self.map)
            .field("map-float", self.map_float)
            .field("map-keyframes", self.map_keyframes)
            .field("max-abs", self.max_abs)
            .field("l21", self.l21)
            .field("seconds", self.seconds)
            .field("overrun", self.overrun)
            .field("zero-gradient", self.zero_gradient)
            .field("keyframes", gst::Array::new(self.keyframes.iter().map(|k| *k as u32)))
            .field("weights", gst::Array::new(self.weights.iter().copied()))
            .field("model", &self.provenance.model)
            .field("model-sha256", &self.provenance.model_sha256)
            .field("json", self.json())
            .build();
        let labels = [
            ("label", self.label),
            ("target-label", self.target_label),
            ("clean-label", self.clean_label),
            ("final-label", self.final_label),
        ];
        for (name, value) in labels {
            if let Some(value) = value {
                s.set(name, value as u32);
            }
        }
        let names = [("clean-label-name", &self.clean_label_name), ("final-label-name", &self.final_label_name)];
        for (name, value) in names {
            if let Some(value) = value {
                s.set(name, value);
            }
        }
        if let Some(success) = self.success {
            s.set("success", success);
        }
        for (name, value) in [("start-pts", self.start_pts), ("end-pts", self.end_pts), ("start-time", self.start_time)]
        {
            if let Some(value) = value {
                s.set(name, value);
            }
        }
        for (name, value) in [
            ("queries-first-success", self.queries_first_success),
            ("iterations-first-success", self.iterations_first_success),
        ] {
            if let Some(value) = value {
                s.set(name, value);
            }
        }
        s
    }

    pub fn json(&self) -> String {
        // A plain structure of numbers and strings; there is nothing in it that could fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}
