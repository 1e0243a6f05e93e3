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

/// By how much the goal is reached: the lead of the best wrong label over `label`, or of the target over the best other
/// one.
pub fn lead(logits: &[f32], goal: Goal, label: usize) -> f32 {
    let other = |except: usize| best_other(logits, except).map_or(f32::NEG_INFINITY, |(_, v)| v);
    match goal {
        Goal::Untargeted { .. } => other(label) - logits[label],
        Goal::Targeted { target, .. } => logits[target] - other(target),
    }
}

/// The class term, which the attack descends while the window keeps its label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstSparseAdvLoss")]
pub enum Loss {
    /// Minus the cross-entropy of the label (Eq. 1), or the cross-entropy of the target (Eq. 2).
    #[default]
    #[enum_value(name = "Cross-entropy, as in the paper", nick = "cross-entropy")]
    CrossEntropy,
    /// The label's logit minus the best other one, or the best other one minus the target's: f6 of Carlini and Wagner
    /// (S&P 2017), the distance to the nearest boundary where the model is nearly linear.
    #[enum_value(
        name = "The margin between the label's logit and the best other one (Carlini and Wagner)",
        nick = "margin"
    )]
    Margin,
}

/// The gradient of the class term with respect to the logits, to be descended.
pub fn cotangent(logits: &[f32], goal: Goal, label: usize, loss: Loss) -> Vec<f32> {
    match loss {
        Loss::CrossEntropy => cross_entropy(logits, goal, label),
        Loss::Margin => margin(logits, goal, label),
    }
}

fn margin(logits: &[f32], goal: Goal, label: usize) -> Vec<f32> {
    let (class, sign) = class_and_sign(goal, label);
    let rival = best_other(logits, class);
    let mut cotangent = vec![0.0; logits.len()];
    cotangent[class] = -sign;
    if let Some((rival, _)) = rival {
        cotangent[rival] = sign;
    }
    cotangent
}

/// The class that the term is about, and whether it is to fall (-1) or to rise (1).
fn class_and_sign(goal: Goal, label: usize) -> (usize, f32) {
    match goal {
        Goal::Untargeted { .. } => (label, -1.0),
        Goal::Targeted { target, .. } => (target, 1.0),
    }
}

/// The greatest logit but that of `class`, and whose it is.
fn best_other(logits: &[f32], class: usize) -> Option<(usize, f32)> {
    let others = logits.iter().copied().enumerate().filter(|(k, _)| *k != class);
    others.reduce(|best, other| if other.1 > best.1 { other } else { best })
}

/// Cross-entropy's gradient with respect to its logits is `p - onehot`. It is divided by its largest entry `1 -
/// p_class` here, which leaves -1 for the class and the others' shares of the rest: a model sure of itself has p so
/// near 1 that the gradient itself would vanish in f32 on the way to the pixels, and the optimizers rescale what they
/// are given anyway.
fn cross_entropy(logits: &[f32], goal: Goal, label: usize) -> Vec<f32> {
    let (class, sign) = class_and_sign(goal, label);
    let others = logits.iter().enumerate().filter(|(k, _)| *k != class);
    let best_other = best_other(logits, class).map_or(f32::NEG_INFINITY, |(_, v)| v);
    // Relative to the best other class, the shares of the other classes are finite however sure the model is.
    let shares: f64 = others.map(|(_, v)| f64::from(v - best_other).exp()).sum();
    logits
        .iter()
        .enumerate()
        .map(|(k, v)| {
            let g = if k == class { -1.0 } else { f64::from(v - best_other).exp() / shares };
            sign * g as f32
        })
        .collect()
}
