// SPDX-License-Identifier: MPL-2.0

//! What to attack, and within which bounds.

use std::time::Duration;

use super::Selection;
use super::loss::Loss;
use super::optimizer::Kind;

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

/// What is descended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstSparseAdvObjective")]
pub enum Objective {
    /// The class term while the window keeps its label, the norm while it is fooled (Section 3.1).
    #[default]
    #[enum_value(
        name = "The class term while the label holds, the norm while it is fooled: the paper",
        nick = "two-stage"
    )]
    TwoStage,
    /// Both at once with constant weights, as SA's published program does (Wei et al., AAAI 2019): `-log(1 - p_y)`, or
    /// `-log p_target`, plus the sum over frames of the root mean square of the perturbation in 0..1, from an initial
    /// value of 0.01 gray level.
    #[enum_value(name = "Both with constant weights, as SA's program (Wei et al., AAAI 2019)", nick = "weighted-sum")]
    WeightedSum,
}

/// Settings of one attack.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub goal: Goal,
    pub objective: Objective,
    pub loss: Loss,
    pub selection: Selection,
    /// b in (0, 1].
    pub boundary: f64,
    /// Updates of the perturbation at the most.
    pub max_iterations: u32,
    /// Iterations without a smaller success after which a fooled window is done; 0 uses all iterations, as the paper
    /// does.
    pub patience: u32,
    /// The first success is the result; nothing is spent on making it smaller.
    pub stop_early: bool,
    /// Iterations without any success after which `grow_by` frames join the keyframes; 0 never, as in the paper. A
    /// selection by gradient is continued by the gradient of the class term at that point, others in their own order.
    pub grow_after: u32,
    pub grow_by: u32,
    /// Step of the optimizer in gray levels.
    pub learning_rate: f32,
    /// What the step is multiplied by each time a fooled window gets its label back; 1 keeps it.
    pub learning_rate_decay: f32,
    pub optimizer: Kind,
    /// Bound on any pixel's perturbation in gray levels; 0 for none.
    pub epsilon: f32,
    /// Lead of the wrong (or target) label's logit that counts as success: what other decoders' roundings may take
    /// away.
    pub confidence: f32,
    /// Seed of random choices, and of nothing else.
    pub seed: u64,
    /// Wall time after which the best so far is the result.
    pub time_budget: Option<Duration>,
}

impl Config {
    /// The defaults for a goal: the paper's, but for those that README.md gives reasons for ("Defaults that are not the
    /// paper's").
    pub fn new(goal: Goal) -> Self {
        Self {
            goal,
            objective: Objective::default(),
            loss: Loss::default(),
            selection: Selection::default(),
            boundary: goal.default_boundary(),
            max_iterations: goal.default_max_iterations(),
            patience: 10,
            stop_early: false,
            grow_after: 5,
            grow_by: 1,
            learning_rate: 2.0,
            learning_rate_decay: 0.7,
            optimizer: Kind::Adam,
            epsilon: 0.0,
            confidence: 0.5,
            seed: 0,
            time_budget: None,
        }
    }
}
