// SPDX-License-Identifier: MPL-2.0

//! The systems without the model's gradient that ours is compared with, each as its paper runs it as far as a stream's
//! samples allow: what differs is said where the search is documented.

use serde::{Deserialize, Serialize};

use super::systems::Goal;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rival {
    /// Ours: signs of squares, then fewer frames and smaller values.
    Squares,
    /// The same, from what fools a surrogate.
    SquaresSurrogate,
    /// Jiang et al. 2019, in all frames.
    VBad,
    /// The same in the four frames that differ most from the ones before.
    VBadSparse,
    /// The same in all frames, with a surrogate.
    VBadSurrogate,
    /// Wei et al. 2020: deletion, salient pixels, the radius by labels.
    Wei,
    /// Wang et al. 2021: the same by signs, on the frames that an agent picks.
    WangAgent,
    /// The same on all frames.
    Wang,
    /// Jiang et al. 2023: a patch of another clip.
    Stde,
    /// Wei et al. 2022: from a surrogate of pictures alone.
    I2v,
}

/// What a run has for those that need it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Has {
    pub surrogate: bool,
    pub agent: bool,
}

impl Rival {
    pub const ALL: [Self; 10] = [
        Self::Squares,
        Self::SquaresSurrogate,
        Self::VBad,
        Self::VBadSparse,
        Self::VBadSurrogate,
        Self::Wei,
        Self::WangAgent,
        Self::Wang,
        Self::Stde,
        Self::I2v,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Squares => "Ours, squares",
            Self::SquaresSurrogate => "Ours, surrogate",
            Self::VBad => "V-BAD",
            Self::VBadSparse => "V-BAD, 4 frames",
            Self::VBadSurrogate => "V-BAD, surrogate",
            Self::Wei => "Wei 2020",
            Self::WangAgent => "Wang 2021",
            Self::Wang => "Wang 2021, all frames",
            Self::Stde => "STDE",
            Self::I2v => "I2V",
        }
    }

    /// What the model tells it.
    pub fn access(self) -> &'static str {
        match self {
            Self::Squares | Self::SquaresSurrogate | Self::VBad | Self::VBadSparse | Self::VBadSurrogate => "logits",
            Self::Wei | Self::WangAgent | Self::Wang | Self::Stde | Self::I2v => "label",
        }
    }

    /// Whether a run that has this can have it, for a goal. Neither I2V nor ours looks at a surrogate with a
    /// target.
    pub fn runs(self, goal: Goal, has: Has) -> bool {
        match self {
            Self::VBadSurrogate => has.surrogate,
            Self::WangAgent => has.agent,
            Self::I2v | Self::SquaresSurrogate => has.surrogate && goal == Goal::Untargeted,
            _ => true,
        }
    }

    /// Whether it is ours.
    pub fn ours(self) -> bool {
        matches!(self, Self::Squares | Self::SquaresSurrogate)
    }

    /// Whether it begins with other clips: with a target all but ours do.
    pub fn begins_with_clips(self, goal: Goal) -> bool {
        match self {
            Self::Squares | Self::SquaresSurrogate | Self::I2v => false,
            Self::VBad | Self::VBadSparse | Self::VBadSurrogate => goal == Goal::Targeted,
            Self::Wei | Self::WangAgent | Self::Wang | Self::Stde => true,
        }
    }

    pub fn takes_surrogate(self) -> bool {
        matches!(self, Self::SquaresSurrogate | Self::VBadSurrogate | Self::I2v)
    }

    /// Properties of the element.
    pub fn properties(self) -> String {
        let own = match self {
            Self::Squares | Self::SquaresSurrogate => "search=squares keyframes=all",
            Self::VBad | Self::VBadSurrogate => "search=v-bad keyframes=all",
            Self::VBadSparse => "search=v-bad keyframes=ifd:4",
            Self::Wei => "search=opt keyframes=deletion region=salient",
            // The agent's file may have spaces in its name, and is set by itself.
            Self::WangAgent | Self::Wang => "search=sign-opt keyframes=all region=salient",
            Self::Stde => "search=stde keyframes=all",
            Self::I2v => "search=i2v keyframes=all",
        };
        format!("access={} confidence=0 {own}", self.access())
    }
}
