// SPDX-License-Identifier: MPL-2.0

//! Universal perturbations: one that fools a classifier on whatever a stream shows, at any place in it. They are learned
//! once and cost no pass of the model afterwards, so that a live stream needs neither lookahead nor latency.
//!
//! - `circular` and `frame` are C-DUP and 2D-DUP (Li et al., *Stealthy Adversarial Perturbations Against Real-Time Video
//!   Classification Systems*, NDSS 2019): a period of frames that works at any phase, and one frame for all.
//! - `border` is adversarial framing (Zajac et al., AAAI 2019): a ring at the edge of what the model sees.
//! - `flicker` is one color a frame (Pony et al., CVPR 2021).
//! - `region` is a rectangle, as in attacks by patches.

mod file;
pub mod learn;
pub mod pursuit;
mod smooth;
pub mod state;

use serde::{Deserialize, Serialize};

use crate::model::Metadata;
use crate::video::View;
use crate::video::changes::{Changes, Paint};

pub use file::Error;

/// The version of the file that this program writes and reads.
pub const FORMAT: u32 = 1;

/// Where a perturbation is and how it repeats. Sizes and places are in pixels of the model's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// As many frames as a window has, one after another and again from the first.
    Circular,
    /// The same in every frame.
    Frame,
    /// A ring of this width at the edge, the same in every frame.
    Border(usize),
    /// One color a frame, as many as a window has frames.
    Flicker,
    /// A rectangle from row `top` and column `left` on, the same in every frame.
    Region { top: usize, left: usize, height: usize, width: usize },
}

impl Kind {
    /// Whether every frame gets the same.
    pub fn is_still(self) -> bool {
        !matches!(self, Self::Circular | Self::Flicker)
    }

    /// Whether it is shown in place of the picture, and not added to it.
    pub fn replaces(self) -> bool {
        matches!(self, Self::Border(_) | Self::Region { .. })
    }

    /// 1 where it may change a view of this height and width, 0 elsewhere, `[height, width]`; nothing where it may
    /// everywhere.
    pub fn mask(self, [height, width]: [usize; 2]) -> Option<Vec<f32>> {
        let inside: Box<dyn Fn(usize, usize) -> bool> = match self {
            Self::Circular | Self::Frame | Self::Flicker => return None,
            Self::Border(ring) => Box::new(move |y, x| y < ring || x < ring || y + ring >= height || x + ring >= width),
            Self::Region { top, left, height, width } => {
                Box::new(move |y, x| (top..top + height).contains(&y) && (left..left + width).contains(&x))
            }
        };
        Some((0..height * width).map(|i| f32::from(u8::from(inside(i / width, i % width)))).collect())
    }
}

/// What the values stand for.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Gray levels to add.
    Added(Vec<i8>),
    /// Gray levels to show in place of the picture.
    Shown(Vec<u8>),
}

/// What a file says beside the values. What else was written there is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the file's format, 1.
    pub format: u32,
    pub kind: Kind,
    /// The view it was learned in: size, resize and steps of the model's metadata.
    pub view: Metadata,
    /// SHA-256 of the model's file.
    pub model_sha256: String,
    /// On what it was learned, and what it came to there.
    #[serde(flatten)]
    pub learned: serde_json::Map<String, serde_json::Value>,
}

/// A universal perturbation, of whole gray levels.
#[derive(Clone, Debug, PartialEq)]
pub struct Universal {
    pub header: Header,
    /// `[period, 3, height, width]`; both sizes are 1 for a color.
    pub values: Values,
    pub shape: [usize; 4],
}

impl Universal {
    /// One frame for all of a model's views, that changes nothing.
    pub fn nothing(view: Metadata, model_sha256: &str) -> Self {
        let [height, width] = view.crop;
        let learned = serde_json::Map::new();
        let header = Header { format: FORMAT, kind: Kind::Frame, view, model_sha256: model_sha256.into(), learned };
        Self { header, values: Values::Added(vec![0; 3 * height * width]), shape: [1, 3, height, width] }
    }

    /// Frames after which it begins again.
    pub fn period(&self) -> usize {
        self.shape[0]
    }

    /// Which of its frames a frame of the stream gets, by its number: as many of the stream's frames get the same one as
    /// lie between two of a window.
    pub fn phase(&self, number: u64) -> usize {
        let step = self.header.view.frame_step.max(1) as u64;
        (number / step % self.period() as u64) as usize
    }

    /// What it changes in a stream's frames at a phase.
    pub fn changes_at(&self, view: &View, phase: usize) -> Changes {
        let values = self.expanded(phase);
        match (&self.values, self.header.kind.mask(self.header.view.crop)) {
            (Values::Shown(_), Some(mask)) => view.changes(Paint::Replace { shown: &values, mask: &mask }),
            _ => view.changes(Paint::Add(&values)),
        }
    }

    /// The values of a phase, `[3, height, width]` of the view.
    pub fn expanded(&self, phase: usize) -> Vec<f32> {
        let [height, width] = self.header.view.crop;
        let [_, _, rows, cols] = self.shape;
        let from = phase * 3 * rows * cols;
        let at = |i: usize| match &self.values {
            Values::Added(values) => f32::from(values[from + i]),
            Values::Shown(values) => f32::from(values[from + i]),
        };
        match (rows, cols) {
            (1, 1) => (0..3 * height * width).map(|i| at(i / (height * width))).collect(),
            _ => (0..3 * height * width).map(at).collect(),
        }
    }
}
