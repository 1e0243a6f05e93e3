// SPDX-License-Identifier: MPL-2.0

//! The class term of Eq. 1 and Eq. 2 and the label it is judged by.

use super::Goal;

/// The index of the greatest logit; the first of equals.
pub fn top(logits: &[f32]) -> usize {
    let mut best = 0;
    for (k, v) in logits.iter().enumerate() {
        if *v > logits[best] {
            best = k;
        }
    }
    best
}

/// Softmax, computed in double precision.
pub fn probabilities(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp: Vec<f64> = logits.iter().map(|z| f64::from(z - max).exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.into_iter().map(|e| e / sum).collect()
}

/// By how much the goal is reached: the lead of the best wrong label over `label`, or of the target over the best other one.
pub fn lead(logits: &[f32], goal: Goal, label: usize) -> f32 {
    let other = |except: usize| {
        let rest = logits.iter().enumerate().filter(|(k, _)| *k != except);
        rest.map(|(_, v)| *v).fold(f32::NEG_INFINITY, f32::max)
    };
    match goal {
        Goal::Untargeted { .. } => other(label) - logits[label],
        Goal::Targeted { target } => logits[target] - other(target),
    }
}

/// The gradient of the class term with respect to the logits, to be descended: of minus the cross-entropy of `label` (Eq. 1), or of the
/// cross-entropy of the target (Eq. 2).
///
/// Cross-entropy's gradient with respect to its logits is `p - onehot`. It is divided by its largest entry `1 - p_class` here, which leaves
/// -1 for the class and the others' shares of the rest: a model sure of itself has p so near 1 that the gradient itself would vanish in f32
/// on the way to the pixels, and the optimisers rescale what they are given anyway.
pub fn cotangent(logits: &[f32], goal: Goal, label: usize) -> Vec<f32> {
    let (class, sign) = match goal {
        Goal::Untargeted { .. } => (label, -1.0),
        Goal::Targeted { target } => (target, 1.0),
    };
    let others = logits.iter().enumerate().filter(|(k, _)| *k != class);
    let best_other = others
        .clone()
        .map(|(_, v)| *v)
        .fold(f32::NEG_INFINITY, f32::max);
    // Relative to the best other class, the shares of the other classes are finite however sure the model is.
    let shares: f64 = others.map(|(_, v)| f64::from(v - best_other).exp()).sum();
    logits
        .iter()
        .enumerate()
        .map(|(k, v)| {
            let g = if k == class {
                -1.0
            } else {
                f64::from(v - best_other).exp() / shares
            };
            (sign * g) as f32
        })
        .collect()
}
