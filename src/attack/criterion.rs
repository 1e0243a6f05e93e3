// SPDX-License-Identifier: MPL-2.0

//! What counts as success, and the class term of Eq. 1 and Eq. 2 that leads there.

/// What counts as success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Any label but this one; `None` stands for the model's own label of the clean window (Eq. 1).
    Untargeted { label: Option<usize> },
    /// Just this label (Eq. 2). The true label, where it is known, only says which windows are rightly classified and
    /// worth an attack.
    Targeted { target: usize, label: Option<usize> },
}

impl Goal {
    /// By the true label and the target, where there are any.
    pub fn new(label: Option<usize>, target: Option<usize>) -> Self {
        match target {
            Some(target) => Self::Targeted { target, label },
            None => Self::Untargeted { label },
        }
    }

    pub fn is_targeted(self) -> bool {
        matches!(self, Self::Targeted { .. })
    }

    /// The true label, where it is known.
    pub fn label(self) -> Option<usize> {
        match self {
            Self::Untargeted { label } | Self::Targeted { label, .. } => label,
        }
    }

    pub fn target(self) -> Option<usize> {
        match self {
            Self::Untargeted { .. } => None,
            Self::Targeted { target, .. } => Some(target),
        }
    }

    /// Whether `last` is what the attack is after, on a window whose clean label is `clean`.
    pub fn reached(self, clean: usize, last: usize) -> bool {
        match self {
            Self::Untargeted { label } => last != label.unwrap_or(clean),
            Self::Targeted { target, .. } => last == target,
        }
    }

    /// Whether a window of the clean label `clean` needs no attack: it is wrong already, or what the attack is after.
    pub fn already_fooled(self, clean: usize) -> bool {
        self.label().is_some_and(|label| label != clean) || self.reached(clean, clean)
    }

    /// b, the share of the weight that the keyframes must reach (Section 4.1).
    pub fn default_boundary(self) -> f64 {
        if self.is_targeted() { 0.4 } else { 0.3 }
    }

    /// The paper's bound on iterations (Section 4.1).
    pub fn default_max_iterations(self) -> u32 {
        if self.is_targeted() { 1000 } else { 500 }
    }
}

/// The index of the greatest logit; the first of equals.
pub fn argmax(logits: &[f32]) -> usize {
    let mut best = 0;
    for (k, v) in logits.iter().enumerate() {
        if *v > logits[best] {
            best = k;
        }
    }
    best
}

/// Softmax, computed in double precision.
pub fn softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp: Vec<f64> = logits.iter().map(|z| f64::from(z - max).exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.into_iter().map(|e| e / sum).collect()
}

/// By how much the goal is reached: the lead of the best wrong label over `label`, or of the target over the best other
/// one.
pub fn margin(logits: &[f32], goal: Goal, label: usize) -> f32 {
    let other = |except: usize| best_other(logits, except).map_or(f32::NEG_INFINITY, |(_, v)| v);
    match goal {
        Goal::Untargeted { .. } => other(label) - logits[label],
        Goal::Targeted { target, .. } => logits[target] - other(target),
    }
}

/// A goal at one window.
#[derive(Clone, Copy, Debug)]
pub struct Criterion {
    pub goal: Goal,
    /// The label to be left.
    pub label: usize,
    /// The margin that has to be exceeded.
    pub confidence: f32,
}

impl Criterion {
    /// By how much the goal is reached.
    pub fn margin(&self, logits: &[f32]) -> f32 {
        margin(logits, self.goal, self.label)
    }

    /// Whether the goal is reached by the margin asked for and `more`.
    pub fn holds(&self, logits: &[f32], more: f32) -> bool {
        self.margin(logits) > self.confidence + more
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
pub fn grad_logits(logits: &[f32], goal: Goal, label: usize, loss: Loss) -> Vec<f32> {
    match loss {
        Loss::CrossEntropy => cross_entropy(logits, goal, label),
        Loss::Margin => margin_gradient(logits, goal, label),
    }
}

fn margin_gradient(logits: &[f32], goal: Goal, label: usize) -> Vec<f32> {
    let (class, sign) = class_and_sign(goal, label);
    let rival = best_other(logits, class);
    let mut gradient = vec![0.0; logits.len()];
    gradient[class] = -sign;
    if let Some((rival, _)) = rival {
        gradient[rival] = sign;
    }
    gradient
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
