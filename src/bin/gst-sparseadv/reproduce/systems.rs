// SPDX-License-Identifier: MPL-2.0

//! What is compared: a way to select keyframes together with a way to optimize.

use serde::{Deserialize, Serialize};

use super::Arguments;
use super::rivals::{Has, Rival};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    Untargeted,
    Targeted,
}

impl Goal {
    pub fn name(self) -> &'static str {
        match self {
            Self::Untargeted => "untargeted",
            Self::Targeted => "targeted",
        }
    }
}

/// How keyframes are selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Selection {
    /// By gradient: the paper's own method
    Ours,
    /// The first frames, as in Wei et al. 2019
    Sa,
    /// The frames that differ most from the ones before
    Ifd,
    /// By the drop in probability without the frame, as in Wei et al. 2020
    Heuristic,
    /// Chance
    Random,
    /// Every frame
    Dense,
}

impl Selection {
    pub const ALL: [Self; 6] = [Self::Ours, Self::Sa, Self::Ifd, Self::Heuristic, Self::Random, Self::Dense];

    /// As the paper calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "Ours",
            Self::Sa => "SA",
            Self::Ifd => "IFD",
            Self::Heuristic => "Heuristic",
            Self::Random => "Random",
            Self::Dense => "Dense",
        }
    }

    fn property(self) -> &'static str {
        match self {
            Self::Ours => "gradient",
            Self::Sa => "fixed",
            Self::Ifd => "ifd",
            Self::Heuristic => "heuristic",
            Self::Random => "random",
            Self::Dense => "all",
        }
    }
}

/// How the perturbation is optimized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Optimization {
    /// The paper's two stages with Adam at SA's step of 0.255 gray level, a fixed set of keyframes
    Paper,
    /// SA's published program: class term and norm at once
    Published,
    /// The element's defaults: a walk along the decision boundary; keyframes join when the attack stalls
    Element,
}

impl Optimization {
    pub const ALL: [Self; 3] = [Self::Paper, Self::Published, Self::Element];

    pub fn name(self) -> &'static str {
        match self {
            Self::Paper => "two-stage",
            Self::Published => "SA's own",
            Self::Element => "element's default",
        }
    }

    /// Properties of the element. SA's step is 0.001 of values in 0..1.
    fn properties(self) -> &'static str {
        match self {
            Self::Paper => "search=two-stage learning-rate=0.255 learning-rate-decay=1 grow-after=0 confidence=0",
            Self::Published => {
                "search=weighted-sum learning-rate=0.255 learning-rate-decay=1 grow-after=0 confidence=0"
            }
            // Its own, whatever the others are given.
            Self::Element => "confidence=0 patience=-1 grow-after=-1",
        }
    }
}

/// Which of the systems a run is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Systems {
    /// Those of the paper's tables, which have the model's gradient
    Paper,
    /// Those without it
    BlackBox,
    /// Both, but of those with the gradient only what is compared with the others
    All,
}

/// The systems that a run is of, with a model for which it has this.
pub fn asked_for(arguments: &Arguments, goal: Goal, has: Has) -> Vec<System> {
    let mut systems = match arguments.systems {
        Systems::Paper => System::all(),
        Systems::BlackBox => Vec::new(),
        Systems::All => System::with_gradient(),
    };
    if arguments.only_variants {
        let kept = [Selection::Ours, Selection::Sa].map(|selection| System::new(selection, Optimization::Paper));
        systems.retain(|system| kept.contains(system));
    }
    systems.extend(arguments.variant.iter().map(|properties| System::with(properties)));
    if arguments.systems != Systems::Paper {
        let rivals = Rival::ALL.into_iter().filter(|rival| rival.runs(goal, has));
        systems.extend(rivals.map(|rival| System::BlackBox { rival }));
    }
    systems
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum System {
    /// Without the model's gradient.
    BlackBox { rival: Rival },
    /// With it.
    WhiteBox(WhiteBox),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WhiteBox {
    pub selection: Selection,
    /// Older results spell it the British way.
    #[serde(alias = "optimisation")]
    pub optimization: Optimization,
    /// Further properties by which it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl System {
    pub fn new(selection: Selection, optimization: Optimization) -> Self {
        Self::WhiteBox(WhiteBox { selection, optimization, variant: None })
    }

    /// Table 2: every selection with the paper's optimization. The ablation: the paper's three with the others.
    pub fn all() -> Vec<Self> {
        let paper = Selection::ALL.map(|selection| (selection, Optimization::Paper));
        let others = [Selection::Ours, Selection::Sa, Selection::Ifd]
            .into_iter()
            .flat_map(|selection| [Optimization::Published, Optimization::Element].map(|o| (selection, o)));
        let pairs = paper.into_iter().chain(others);
        pairs.map(|(selection, optimization)| Self::new(selection, optimization)).collect()
    }

    /// Those that stand beside the systems without the gradient: the paper's selection, those that it compares with, and
    /// this element's search.
    pub fn with_gradient() -> Vec<Self> {
        let paper = [Selection::Ours, Selection::Sa, Selection::Ifd, Selection::Heuristic]
            .map(|selection| Self::new(selection, Optimization::Paper));
        paper.into_iter().chain([Self::new(Selection::Ours, Optimization::Element)]).collect()
    }

    /// The paper's method with other properties.
    pub fn with(properties: &str) -> Self {
        let (selection, optimization) = (Selection::Ours, Optimization::Paper);
        Self::WhiteBox(WhiteBox { selection, optimization, variant: Some(properties.to_string()) })
    }

    /// The properties by which it is a variant of the paper's method, where it is one.
    pub fn variant(&self) -> Option<&str> {
        match self {
            Self::WhiteBox(white) => white.variant.as_deref(),
            Self::BlackBox { .. } => None,
        }
    }

    /// As tables have it.
    pub fn name(&self) -> String {
        match self {
            Self::BlackBox { rival } => rival.name().to_string(),
            Self::WhiteBox(WhiteBox { selection, optimization, variant }) => {
                let variant = variant.as_ref().map(|properties| format!(", {properties}")).unwrap_or_default();
                format!("{}, {}{variant}", selection.name(), optimization.name())
            }
        }
    }

    /// Properties of the element, as in gst-launch-1.0.
    pub fn properties(&self) -> String {
        match self {
            Self::BlackBox { rival } => rival.properties(),
            Self::WhiteBox(WhiteBox { selection, optimization, variant }) => format!(
                "keyframes={} {} {}",
                selection.property(),
                optimization.properties(),
                variant.as_deref().unwrap_or_default()
            ),
        }
    }
}
