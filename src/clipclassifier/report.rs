// SPDX-License-Identifier: MPL-2.0

//! What the model says of a window: one element message, one JSON line.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::provenance::Provenance;
use crate::tally::Labels;

/// The classification of one window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct WindowReport {
    /// Number of the window in the stream, from 0.
    pub window: u64,
    /// Presentation time of the first frame. Unit: ns.
    pub start_pts: Option<u64>,
    /// Running time of the first frame. Unit: ns.
    pub start_time: Option<u64>,
    /// Number of the first frame in the stream, from 0.
    pub first_frame: u64,
    /// Frames of the window that exist; less than T at the end of a stream.
    pub frames: usize,
    /// What the model says of the window.
    pub label: usize,
    /// Its name, by the model's metadata.
    pub label_name: String,
    /// The model's probability of that label.
    pub probability: f64,
    /// The probabilities of all classes.
    pub probabilities: Vec<f64>,
    /// The true label, by the property `label` or the attacker's report.
    pub true_label: Option<usize>,
    /// Whether it is what the model says.
    pub correct: Option<bool>,
    /// What the model said before the attack, by an upstream sparseadv's meta or report.
    pub clean_label: Option<usize>,
    /// What the attack was after, likewise.
    pub target_label: Option<usize>,
    /// The window was fooled before the attack; it is in no rate.
    pub already_fooled: bool,
    /// Whether the attack's goal holds here; absent without a reference, and for a window that is in no rate.
    pub fooled: Option<bool>,
    /// How long the classification took. Unit: s.
    pub seconds: f64,
    #[serde(flatten)]
    pub provenance: Arc<Provenance>,
}

impl WindowReport {
    /// What the rates are made of.
    pub fn labels(&self) -> Labels {
        Labels { truth: self.true_label, target: self.target_label, clean: self.clean_label, last: Some(self.label) }
    }
}
