// SPDX-License-Identifier: MPL-2.0

//! The objective of SA, "Sparse Adversarial Perturbations for Videos" (Wei et al., AAAI 2019), in the form its program
//! has: class term and norm descended together with constant weights. The peer that the paper measures itself against.

use super::loss::Loss;
use super::{Goal, loss, norm};

/// Initial perturbation in gray levels.
pub const INITIAL: f32 = 0.01;
/// Weight of the norm.
pub const LAMBDA: f64 = 1.0;
/// Gray levels of the unit that the program's perturbations are in.
const UNIT: f64 = 255.0;

/// The gradient of `-log(1 - p_label)`, or of `-log p_target`, with respect to the logits.
pub fn cotangent(logits: &[f32], goal: Goal, label: usize) -> Vec<f32> {
    let probabilities = loss::probabilities(logits);
    // The cotangent of the two-stage loss is the same direction, scaled.
    let scale = match goal {
        Goal::Untargeted { .. } => probabilities[label],
        Goal::Targeted { target, .. } => 1.0 - probabilities[target],
    };
    let mut cotangent = loss::cotangent(logits, goal, label, Loss::CrossEntropy);
    cotangent.iter_mut().for_each(|c| *c *= scale as f32);
    cotangent
}

/// Turns `gradient`, the class term's by gray levels, into that of the whole objective by perturbations in 0..1, at
/// `delta` in gray levels.
pub fn add_norm(delta: &[f32], len: usize, gradient: &mut [f32]) {
    for (delta, gradient) in delta.chunks_exact(len).zip(gradient.chunks_exact_mut(len)) {
        // d/dx sqrt(mean(x^2)) = x / (n rms) = x / (sqrt(n) ||x||), the same in either unit; zero where there is no
        // perturbation.
        let norm = norm::l2(delta);
        let scale = if norm > 0.0 { LAMBDA / ((len as f64).sqrt() * norm) } else { 0.0 };
        for (g, d) in gradient.iter_mut().zip(delta) {
            *g = (UNIT * f64::from(*g) + scale * f64::from(*d)) as f32;
        }
    }
}
