// SPDX-License-Identifier: MPL-2.0

//! What to attack, and within which bounds.

use std::sync::Arc;
use std::time::Duration;

use super::access::Access;
use super::norm::Norm;
use super::optimizer::Kind;
use super::surrogate::Surrogate;
use super::{Donors, Goal, Loss, Region, Selection};

/// How a perturbation is searched for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstSparseAdvSearch")]
pub enum Search {
    /// Along the decision boundary to the smallest perturbation in a [`Norm`], as FAB does.
    #[default]
    #[enum_value(name = "A walk along the decision boundary: fewest calls, smallest perturbation", nick = "walk")]
    Walk,
    /// The class term while the window keeps its label, the norm while it is fooled (Section 3.1).
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
    /// By the sign of a coefficient a patch, which answers alone tell (Jiang et al., ACM MM 2019).
    #[enum_value(name = "Black box: patches of a tentative direction, by answers alone (V-BAD)", nick = "v-bad")]
    VBad,
    /// For the signs of squares, by answers alone (Andriushchenko et al., ECCV 2020).
    #[enum_value(name = "Black box: a random search for the signs of squares, by answers alone", nick = "squares")]
    Squares,
    /// Along differences of the radius at which a direction fools (Wei et al., AAAI 2020).
    #[enum_value(name = "Black box: the radius at which a direction fools, by labels alone (Opt-attack)", nick = "opt")]
    Opt,
    /// The same by signs of its slopes (Wang et al., IJCAI 2021).
    #[enum_value(name = "Black box: the same, by the signs of its slopes (Sign-OPT)", nick = "sign-opt")]
    SignOpt,
    /// For a patch of another clip in few frames (Jiang et al., ICCV 2023).
    #[enum_value(name = "Black box: a patch of another clip in few frames, by labels alone (STDE)", nick = "stde")]
    Stde,
    /// Away from what a surrogate sees (Wei et al., CVPR 2022).
    #[enum_value(
        name = "Transfer: away from what a surrogate of pictures sees, no answers asked for (I2V)",
        nick = "i2v"
    )]
    I2v,
}

impl Search {
    /// Whether it asks for answers alone.
    pub fn is_black_box(self) -> bool {
        self.needs() < Access::Gradient
    }

    /// What it has to be told at the least.
    pub fn needs(self) -> Access {
        match self {
            Self::Walk | Self::TwoStage | Self::WeightedSum => Access::Gradient,
            Self::VBad => Access::Scores,
            Self::Squares | Self::Opt | Self::SignOpt | Self::Stde | Self::I2v => Access::Label,
        }
    }

    /// Whether it seeks the least radius at which a direction fools.
    pub fn seeks_radius(self) -> bool {
        matches!(self, Self::Opt | Self::SignOpt)
    }

    /// Whether it can begin with other clips.
    pub fn takes_donors(self) -> bool {
        matches!(self, Self::Opt | Self::SignOpt | Self::Stde | Self::VBad)
    }

    /// Whether it estimates gradients by probes.
    pub fn takes_probes(self) -> bool {
        matches!(self, Self::Opt | Self::SignOpt | Self::VBad)
    }

    /// Whether it looks at a surrogate.
    pub fn takes_surrogate(self) -> bool {
        matches!(self, Self::VBad | Self::I2v | Self::Squares)
    }

    /// Iterations without a smaller success that are enough.
    pub fn default_patience(self) -> u32 {
        match self {
            Self::Walk => 3,
            _ => 10,
        }
    }

    /// The lead that is a success: what the roundings of decoders that are not looked at may take away. Along a walk that
    /// is what is left of it beyond the readings that are. Independent roundings of all samples move the margin by a
    /// hundredth or less on the models that were measured.
    pub fn default_confidence(self) -> f32 {
        match self {
            Self::TwoStage | Self::WeightedSum => 0.5,
            _ => 0.02,
        }
    }

    /// The same behind codecs. What a codec takes away depends on the rest of the file too, which the loop does not have.
    /// Windows stay fooled behind an encoder of the whole file that are lost with half of this lead.
    pub fn surviving_confidence(self) -> f32 {
        match self {
            Self::TwoStage | Self::WeightedSum => 2.0,
            _ => 1.0,
        }
    }

    /// Iterations without any success that are enough for these keyframes.
    pub fn default_grow_after(self) -> u32 {
        match self {
            Self::Walk => 1,
            _ => 5,
        }
    }
}

/// Settings of one attack.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub goal: Goal,
    /// What the attack may know of the model's answers.
    pub access: Access,
    pub search: Search,
    /// What the walk makes small. The other searches make L2,1 small.
    pub norm: Norm,
    /// The class term of the two-stage search.
    pub loss: Loss,
    pub selection: Selection,
    /// What of a keyframe may change, where labels alone are asked for.
    pub region: Region,
    /// Clips to begin with.
    pub donors: Donors,
    /// A model whose gradients are known.
    pub surrogate: Option<Arc<dyn Surrogate>>,
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
    /// Queries after which it is.
    pub max_queries: Option<u32>,
    /// Queries for an estimate of a gradient, and the size of a probe in gray levels; where there is none, the search's own.
    pub probes: Option<u32>,
    pub probe: Option<f32>,
}

impl Config {
    /// The defaults for a goal: the paper's, but for the departures from it ([`crate::attack`]).
    pub fn new(goal: Goal) -> Self {
        Self::of(goal, Search::default())
    }

    /// The defaults of another search.
    pub fn of(goal: Goal, search: Search) -> Self {
        Self {
            goal,
            access: Access::default(),
            search,
            norm: Norm::default(),
            loss: Loss::default(),
            selection: Selection::default(),
            region: Region::default(),
            donors: Donors::default(),
            surrogate: None,
            boundary: goal.default_boundary(),
            max_iterations: goal.default_max_iterations(),
            patience: search.default_patience(),
            stop_early: false,
            grow_after: search.default_grow_after(),
            grow_by: 1,
            learning_rate: 2.0,
            learning_rate_decay: 0.7,
            optimizer: Kind::Adam,
            epsilon: 0.0,
            confidence: search.default_confidence(),
            seed: 0,
            time_budget: None,
            max_queries: None,
            probes: None,
            probe: None,
        }
    }

    /// Whether answers alone are asked for.
    pub fn is_black_box(&self) -> bool {
        self.search.is_black_box() || self.access < Access::Gradient
    }

    /// The bound on any value in gray levels; this one where none is set.
    pub fn bound_or(&self, usual: f32) -> f32 {
        if self.epsilon > 0.0 { self.epsilon } else { usual }
    }

    /// The class term whose gradient leads to the goal.
    pub fn class_term(&self) -> Loss {
        match self.search {
            Search::TwoStage | Search::WeightedSum => self.loss,
            _ => Loss::Margin,
        }
    }

    /// What is made small.
    pub fn minimized_norm(&self) -> Norm {
        match self.search {
            Search::Walk => self.norm,
            Search::TwoStage | Search::WeightedSum => Norm::L21,
            // Of what answers alone find, the smallest is kept: as it is mostly reported, or as it is searched for.
            Search::Squares | Search::Stde => Norm::L1,
            // Its bound is one on each value.
            Search::VBad => Norm::Linf,
            _ => Norm::L2,
        }
    }
}

/// A value of a property as a pipeline has it.
pub fn nick<E: glib::value::ToValue>(value: E) -> String {
    let value = value.to_value();
    glib::EnumValue::from_value(&value).map_or_else(String::new, |(_, value)| value.nick().to_string())
}
