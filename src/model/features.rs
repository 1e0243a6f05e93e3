// SPDX-License-Identifier: MPL-2.0

//! Which input frames each step of a feature map sees, and from it the frames' weights of Eq. 3 and Eq. 4.

use super::metadata::FeatureWindow;

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

    /// Eq. 4: a frame's weight is the mean over the steps that cover it of the steps' weights; zero where none does.
    /// With one step a frame it is Eq. 3.
    pub fn frame_weights(&self, step_weights: &[f64]) -> Vec<f64> {
        let weight = |k: usize| {
            let covering = self.steps.iter().zip(step_weights);
            let covering: Vec<f64> = covering.filter(|(frames, _)| frames.contains(&k)).map(|(_, w)| *w).collect();
            covering.iter().sum::<f64>() / covering.len().max(1) as f64
        };
        (0..self.frames).map(weight).collect()
    }
}
