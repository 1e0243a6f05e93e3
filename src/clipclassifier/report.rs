// SPDX-License-Identifier: MPL-2.0

//! What the model says of a window: one element message, one JSON line.

use serde::{Deserialize, Serialize};

/// The classification of one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// The label property, if set, and whether it is what the model says.
    pub true_label: Option<usize>,
    pub correct: Option<bool>,
    /// What the model said before the attack, by an upstream sparseadv's meta or report, and whether it says something else now; in a
    /// targeted attack, whether it says the target.
    pub clean_label: Option<usize>,
    pub target_label: Option<usize>,
    pub fooled: Option<bool>,
    pub seconds: f64,
}

impl WindowReport {
    /// The message's structure, `clipclassifier-window`: the main fields, and the JSON line as `json`.
    pub fn structure(&self) -> gst::Structure {
        let mut s = gst::Structure::builder("clipclassifier-window")
            .field("window", self.window)
            .field("first-frame", self.first_frame)
            .field("frames", self.frames as u32)
            .field("label", self.label as u32)
            .field("label-name", &self.label_name)
            .field("probability", self.probability)
            .field("json", self.json())
            .build();
        for (name, value) in [
            ("start-pts", self.start_pts),
            ("start-time", self.start_time),
        ] {
            if let Some(value) = value {
                s.set(name, value);
            }
        }
        for (name, value) in [
            ("clean-label", self.clean_label),
            ("true-label", self.true_label),
        ] {
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
