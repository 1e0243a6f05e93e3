// SPDX-License-Identifier: MPL-2.0

//! What the model says of a window: one element message, one JSON line.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::provenance::Provenance;
use crate::tally::Labels;

/// The classification of one window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WindowReport {
    pub window: u64,
    /// Presentation time of the first frame, and its running time, in nanoseconds.
    pub start_pts: Option<u64>,
    pub start_time: Option<u64>,
    /// Number of the first frame in the stream.
    pub first_frame: u64,
    /// Frames of the window that exist; less than T at the end of a stream.
    pub frames: usize,
    pub label: usize,
    pub label_name: String,
    pub probability: f64,
    /// Of all classes.
    pub probabilities: Vec<f64>,
    /// The label property, or the true label in the attacker's report, and whether it is what the model says.
    pub true_label: Option<usize>,
    pub correct: Option<bool>,
    /// What the model said before the attack and what the attack was after, by an upstream sparseadv's meta or report.
    pub clean_label: Option<usize>,
    pub target_label: Option<usize>,
    /// The window was fooled before the attack; it is in no rate.
    pub already_fooled: bool,
    /// Whether the attack's goal holds here; absent without a reference, and for a window that is in no rate.
    pub fooled: Option<bool>,
    pub seconds: f64,
    #[serde(flatten)]
    pub provenance: Arc<Provenance>,
}

impl WindowReport {
    /// What the rates are made of.
    pub fn labels(&self) -> Labels {
        Labels { truth: self.true_label, target: self.target_label, clean: self.clean_label, last: Some(self.label) }
    }

    /// The message's structure, `clipclassifier-window`: the main fields, and the JSON line as `json`.
    pub fn structure(&self) -> gst::Structure {
        let mut s = gst::Structure::builder("clipclassifier-window")
            .field("window", self.window)
            .field("first-frame", self.first_frame)
            .field("frames", self.frames as u32)
            .field("label", self.label as u32)
            .field("label-name", &self.label_name)
            .field("probability", self.probability)
            .field("already-fooled", self.already_fooled)
            .field("model", &self.provenance.model)
            .field("model-sha256", &self.provenance.model_sha256)
            .field("json", self.json())
            .build();
        for (name, value) in [("start-pts", self.start_pts), ("start-time", self.start_time)] {
            if let Some(value) = value {
                s.set(name, value);
            }
        }
        for (name, value) in
            [("clean-label", self.clean_label), ("true-label", self.true_label), ("target-label", self.target_label)]
        {
            if let Some(value) = value {
                s.set(name, value as u32);
            }
        }
        for (name, value) in [("correct", self.correct), ("fooled", self.fooled)] {
            if let Some(value) = value {
                s.set(name, value);
            }
        }
        s
    }

    pub fn json(&self) -> String {
        // Numbers and strings; there is nothing in it that could fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}
