// SPDX-License-Identifier: MPL-2.0

//! The feature map of a model, and which input frames each of its steps sees.

use super::metadata::{FeatureLayout, FeatureWindow};

/// The feature map the model returns and what it says of frames.
pub(super) struct Features {
    pub layout: FeatureLayout,
    pub coverage: Coverage,
    pub shape: Vec<i64>,
}

/// For each feature step the input frames it covers: a per-frame map covers one each (Eq. 3), a 3D convolution z of
/// them (Eq. 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    frames: usize,
    steps: Vec<Vec<usize>>,
}

impl Coverage {
    pub fn new(frames: usize, steps: Vec<Vec<usize>>) -> Self {
        Self { frames, steps }
    }

    /// From the model's own statement.
    pub fn from_window(frames: usize, steps: usize, window: FeatureWindow) -> Self {
        let covered = |j: usize| {
            let first = window.start + (j * window.stride) as isize;
            (0..frames).filter(|k| (first..first + window.size as isize).contains(&(*k as isize))).collect()
        };
        Self::new(frames, (0..steps).map(covered).collect())
    }

    pub fn steps(&self) -> &[Vec<usize>] {
        &self.steps
    }

    /// Whether the map tells no frame from another: its time axis has collapsed, or every step sees every frame.
    pub fn is_blind(&self) -> bool {
        let seen_by = |k: usize| -> Vec<bool> { self.steps.iter().map(|frames| frames.contains(&k)).collect() };
        self.frames > 1 && (1..self.frames).all(|k| seen_by(k) == seen_by(0))
    }
}
