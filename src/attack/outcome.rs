// SPDX-License-Identifier: MPL-2.0

//! What an attack comes to.

use std::time::Duration;

use super::{Calls, Keyframes, Shape};

/// Frames of a window and what is added to each, `[3, height, width]` in gray levels of the model's view.
pub type Perturbation = Vec<(usize, Vec<f32>)>;

/// What an attack on a window came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The model's label of the clean window.
    pub clean_label: usize,
    /// Its label of the result; the clean one where nothing was found.
    pub final_label: usize,
    pub clean_probability: f64,
    /// Probability of the final label after the attack.
    pub final_probability: f64,
    /// The attack has reached the goal.
    pub success: bool,
    /// The clean window needed no attack ([`super::Goal::already_fooled`]), and got none.
    pub already_fooled: bool,
    pub keyframes: Keyframes,
    /// Ascending by frame; empty where there is none to apply.
    pub perturbation: Perturbation,
    pub calls: Calls,
    /// Up to the first look that showed a success. Readings that confirm are asked then; by a walk without a deadline at
    /// the end, about its result: the first look counts there that led by as much as a success loses in them.
    pub queries_first_success: Option<u32>,
    pub iterations_first_success: Option<u32>,
    pub trail: Trail,
    pub iterations: u32,
    pub size: Size,
    /// The time budget ended the attack.
    pub out_of_time: bool,
    /// The bound on queries ended it.
    pub out_of_queries: bool,
    /// Every gradient that the attack took was zero: that it found nothing is no robustness.
    pub zero_gradient: bool,
    pub duration: Duration,
    /// Logits of the result.
    pub logits: Vec<f32>,
}

/// The successes of a black box in the order they were kept, each smaller than the one before in what the search makes
/// small: how much a query more is worth.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Trail {
    /// Queries up to each success of a black-box search that was smaller than those before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trail_queries: Vec<u32>,
    /// The mean absolute perturbation of each of these, as `map`. Unit: gray levels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trail_map: Vec<f64>,
}

impl Trail {
    pub fn add(&mut self, queries: u32, map: f64) {
        self.trail_queries.push(queries);
        self.trail_map.push(map);
    }

    /// Queries until the result was there.
    pub fn to_result(&self) -> Option<u32> {
        self.trail_queries.last().copied()
    }

    /// Queries until the perturbation was no larger than this.
    pub fn until(&self, map: f64) -> Option<u32> {
        let mut all = self.trail_queries.iter().zip(&self.trail_map);
        all.find_map(|(queries, found)| (*found <= map).then_some(*queries))
    }
}

/// Sizes of a perturbation in gray levels of the model's view, over all real frames unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Size {
    /// MAP, the mean absolute perturbation of what the model sees of the pushed bytes. Unit: gray levels.
    pub map: f64,
    /// The same before rendering and rounding. Unit: gray levels.
    pub map_float: f64,
    /// `map` over the keyframes alone. Unit: gray levels.
    pub map_keyframes: f64,
    /// The largest absolute perturbation of a value. Unit: gray levels.
    pub max_abs: f64,
    /// The L2,1 norm, which is the sum of the frames' L2 norms. Unit: gray levels.
    pub l21: f64,
    /// The L2 norm of all. Unit: gray levels.
    pub l2: f64,
}

impl Size {
    /// Of a perturbation of so many frames of a window: by the sum of absolute values and the largest one that the model
    /// sees, the sum before rendering, and the L2 norms of the frames that the model sees.
    pub(super) fn of(shape: Shape, frames: usize, (sum, max_abs): (f64, f64), float: f64, norms: &[f64]) -> Self {
        let per = |sum: f64, frames: usize| sum / (frames * shape.frame_len()).max(1) as f64;
        Self {
            map: per(sum, shape.real),
            map_float: per(float, shape.real),
            map_keyframes: per(sum, frames),
            max_abs,
            l21: norms.iter().sum(),
            l2: norms.iter().map(|norm| norm * norm).sum::<f64>().sqrt(),
        }
    }
}

/// A success on the host.
#[derive(Clone, Debug)]
pub struct Best {
    pub perturbation: Perturbation,
    pub logits: Vec<f32>,
    pub size: Size,
}

/// News of an attack under way, so that a caller in a hurry has something to take.
pub enum Progress<'a> {
    /// The label of the clean window, and its probability.
    CleanLabel(usize, f64),
    /// What was asked of the model so far, and the iterations.
    Made(Calls, u32),
    /// A success that holds in all readings. A walk without a deadline tells of none.
    Improved(&'a Best),
}
