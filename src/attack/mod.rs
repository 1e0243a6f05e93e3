// SPDX-License-Identifier: MPL-2.0

//! The sparse attack of Xu et al., "Sparse Adversarial Attack for Video via Gradient-Based Keyframe Selection" (ICASSP
//! 2023), and the selections it is compared with. It knows neither GStreamer nor models, only the three traits of
//! [`target`]: perturbation in, logits out, and what can be differentiated of that. Tensors stay on the target's device.
//!
//! Perturbations are `[batch, frames, 3, height, width]` in gray levels 0..255, in the model's own geometry.

pub mod calls;
pub mod config;
pub mod criterion;
mod error;
pub mod norm;
pub mod objective;
pub mod optimizer;
pub mod outcome;
mod readings;
mod run;
mod search;
pub mod select;
pub mod support;
pub mod target;

pub use calls::Calls;
pub use config::{Config, Objective};
pub use criterion::{Goal, Loss};
pub use error::Error;
pub use outcome::{Best, Outcome, Perturbation, Progress, Size};
pub use run::run;
pub use select::{Keyframes, Selection};
pub use target::{Delta, Differentiate, FeatureGradient, Features, Query, Reading, Shape};
