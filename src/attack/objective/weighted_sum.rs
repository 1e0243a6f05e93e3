// SPDX-License-Identifier: MPL-2.0

//! The objective of SA, "Sparse Adversarial Perturbations for Videos" (Wei et al., AAAI 2019), in the form its program
//! has: class term and norm descended together with constant weights. The peer that the paper measures itself against.

use tch::{Kind, TchError, Tensor};

use crate::attack::criterion::{self, Goal, Loss};
use crate::attack::norm;
use crate::torch;

/// Initial perturbation in gray levels.
pub const INITIAL: f32 = 0.01;
/// Weight of the norm.
pub const LAMBDA: f64 = 1.0;
/// Gray levels of the unit that the program's perturbations are in.
const UNIT: f64 = 255.0;

/// The gradient of `-log(1 - p_label)`, or of `-log p_target`, with respect to the logits.
pub fn grad_logits(logits: &[f32], goal: Goal, label: usize) -> Vec<f32> {
    let probabilities = criterion::softmax(logits);
    // That of the two-stage loss is the same direction, scaled.
    let scale = match goal {
        Goal::Untargeted { .. } => probabilities[label],
        Goal::Targeted { target, .. } => 1.0 - probabilities[target],
    };
    let mut gradient = criterion::grad_logits(logits, goal, label, Loss::CrossEntropy);
    gradient.iter_mut().for_each(|c| *c *= scale as f32);
    gradient
}

/// From `gradient`, the class term's by gray levels, that of the whole objective by perturbations in 0..1, at `delta` in
/// gray levels. Both are `[1, frames, 3, height, width]`.
pub fn add_norm(delta: &Tensor, gradient: &Tensor) -> Result<Tensor, TchError> {
    let size = (delta.numel() / delta.size()[1].max(1) as usize).max(1) as f64;
    // d/dx sqrt(mean(x^2)) = x / (n rms) = x / (sqrt(n) ||x||), the same in either unit; zero where there is no
    // perturbation.
    let scale = |norm: f64| if norm > 0.0 { LAMBDA / (size.sqrt() * norm) } else { 0.0 };
    let scales: Vec<f64> = norm::frame_norms(delta)?.into_iter().map(scale).collect();
    let scales = torch::upload_f64(&scales, &[1, scales.len() as i64, 1, 1, 1], delta.device())?;
    let class = gradient.f_to_kind(Kind::Double)?.f_mul_scalar(UNIT)?;
    class.f_add(&delta.f_to_kind(Kind::Double)?.f_mul(&scales)?)?.f_to_kind(Kind::Float)
}
