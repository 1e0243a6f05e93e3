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
}
