// SPDX-License-Identifier: MPL-2.0

//! The sparse attack of Xu et al., "Sparse Adversarial Attack for Video via Gradient-Based Keyframe Selection" (ICASSP
//! 2023), and the selections it is compared with. It knows nothing of GStreamer.
//!
//! Perturbations and views are `[3, height, width]` for each frame, in gray levels 0..255, in the model's own geometry.
//!
//! # The method
//!
//! 1. *Select.* The clean window goes through the model once. The gradient of the label's logit by the model's feature
//!    map weighs the frames (Eq. 3 and Eq. 4). The frames with the largest weights become keyframes, until their
//!    weights reach the share b of the sum. Other selections take the place of this step.
//! 2. *Search.* While the window keeps its label, a step descends the class term (Eq. 1 untargeted, Eq. 2 targeted).
//!    While the window is fooled, a step descends the L2,1 norm of the perturbation instead. These are the two stages.
//! 3. *Settle.* The success with the smallest norm is the result.
//!
//! # How success is defined
//!
//! The paper judges a float tensor. This attack judges the bytes that are pushed. Each iteration renders the
//! perturbation into the samples of the stream's own planes that the model's view depends on. It rounds them to 8 bits
//! and reads them back as any decoder would: chroma repeated over the pixels it covers, the caps' matrix and range,
//! 8-bit RGB, bilinear resize, center crop. Then it asks the model.
//!
//! - A window is fooled when the label of that view has changed, with a margin of at least `confidence` between the
//!   logits. Other decoders' rounding may take the margin away.
//! - The same must hold when chroma is interpolated instead of repeated, since programs differ in that. If only that
//!   reading fails, its gradient leads on.
//! - With `survive`, the same must hold behind each codec.
//! - A window is already fooled when the model is wrong about it before the attack, or gives the target. It is not
//!   attacked.
//!
//! The perturbation has the resolution of the view, and is interpolated into the rectangle of the planes that the crop
//! covers. So an iteration costs the same at any stream size, and the perturbation is smooth. In the gradient, rounding
//! and codecs count as the identity (straight-through).
//!
//! # What is measured
//!
//! - *MAP* is the mean absolute perturbation in gray levels, of what the model sees, over all pixels, channels and
//!   frames of the window (`map`). It is also given over the keyframes (`map_keyframes`), and before rendering and
//!   rounding (`map_float`).
//! - *SR*, the sparse rate, is the share of frames left clean. The paper's text says "perturbed". But a boundary of 0.3
//!   can select at most 5 of 16 frames, and Table 2 has 82 %.
//! - A *query* is a forward pass of the model, with or without its backward, or a further backward on the same pass.
//!   Forwards and backwards are also counted apart. *MQ*, the mean number of queries up to the first success, includes
//!   those of the selection.
//!
//! # Departures from the paper
//!
//! The two-stage rule, L2,1, Eq. 3 and Eq. 4, the boundaries and the bounds on iterations are the paper's. These
//! properties give the paper's attack: `learning-rate=0.255 learning-rate-decay=1 patience=0 grow-after=0
//! confidence=0`. By default the attack departs from the paper in these:
//!
//! - *Absolute gradients*, normalized to sum to 1. A share b in (0, 1] needs non-negative weights.
//! - *The gradients of both stages at unit RMS.* Adam's moments are shared by two losses of unrelated units.
//! - *`learning-rate` 2.* Steps of a quarter of a gray level take many steps to move any 8-bit sample.
//! - *`learning-rate-decay` 0.7.* The step decays whenever a fooled window gets its label back. The boundary between
//!   the labels then lies within the last step.
//! - *`patience` 10.* A window that fell on the third query must not cost hundreds. A success that is smaller by less
//!   than one per cent does not renew the patience.
//! - *`grow-after` 5.* Two or three keyframes are too few for some windows of an LRCN. Without growth such windows take
//!   hundreds of iterations. The frames that join are chosen by the gradient of the step at hand, which costs no call.
//! - *`confidence` 0.5, and two readings of chroma.* Decoders differ in how they bring chroma to full size, and in how
//!   they round. A margin alone was not enough in a decoder that interpolates chroma.
//! - *Measured coverage of features.* When the model is loaded, it is measured which frames each feature step depends
//!   on, unless the metadata say so. A layer whose time axis has collapsed is not used: a warning says so, and the
//!   input gradient weighs the frames.

pub mod config;
pub mod keyframes;
pub mod loss;
pub mod norm;
pub mod optimizer;
pub mod run;
mod state;
pub mod two_stage;
pub mod weighted_sum;

pub use config::{Config, Goal, Objective};
pub use keyframes::{Selection, Weighing};
pub use loss::Loss;
pub use run::{Outcome, Progress, run};
pub use two_stage::Best;

/// Frames of a window and what is added to each, `[3, height, width]` in gray levels of the model's view.
pub type Perturbation = Vec<(usize, Vec<f32>)>;

/// The window under attack: clean frames, and what becomes of a perturbation on its way into them and back to the
/// model.
pub trait Scene {
    /// T, the frames the model sees.
    fn frames(&self) -> usize;
    /// How many of them exist; the rest repeat the last one.
    fn real_frames(&self) -> usize {
        self.frames()
    }
    /// Values a frame, 3 * height * width.
    fn frame_len(&self) -> usize;
    /// The same frames as another program may read them; a success has to hold there too.
    fn second_reading(&mut self) -> Option<&mut dyn Scene> {
        None
    }
    /// Ways that the frames take to whoever classifies them, a codec say; where there are any, a success has to hold
    /// behind each.
    fn channels(&self) -> usize {
        0
    }
    /// The whole window as it comes out of a channel, at the perturbation last given to [`Scene::perturbed`].
    fn received(&mut self, channel: usize, view: &mut [f32]) -> Result<(), Error> {
        let _ = view;
        Err(Error::Channel(format!("there is no channel {channel}")))
    }
    /// The model's view of a clean frame.
    fn clean(&self, frame: usize, view: &mut [f32]);
    /// The model's view of `frames` with perturbations rendered into them. `delta` and `views` hold the frames one
    /// after the other.
    fn perturbed(&mut self, frames: &[usize], delta: &[f32], views: &mut [f32]);
    /// Writes to `grad_delta` what `grad_views` makes of it, at the perturbation last given to [`Scene::perturbed`] for
    /// these frames.
    fn backward(&mut self, frames: &[usize], grad_views: &[f32], grad_delta: &mut [f32]);
}

/// The model under attack. Views are `[T, 3, height, width]` in gray levels.
pub trait Classifier {
    fn classes(&self) -> usize;
    /// The logits; one forward pass.
    fn forward(&mut self, view: &[f32]) -> Result<Vec<f32>, Error>;
    /// The same for a view of which only the frames `changed` differ from the last forward's, and which gets one
    /// backward pass at the most: less to copy and to keep.
    fn forward_changed(&mut self, view: &[f32], changed: &[usize]) -> Result<Vec<f32>, Error> {
        let _ = changed;
        self.forward(view)
    }
    /// The gradient of `sum_k cotangent[k] * logits[k]` of the last forward with respect to the frames `frames` of the
    /// view; what `grad_view` holds for other frames is not defined. One backward pass.
    fn backward(&mut self, cotangent: &[f32], frames: &[usize], grad_view: &mut [f32]) -> Result<(), Error>;
    /// Eq. 3 and Eq. 4 at the last forward: each frame's weight from the gradient of `sum_k cotangent[k] * logits[k]`
    /// (the paper's: of one logit) with respect to the model's feature map, not yet normalized; `None` where the model
    /// gives no feature map to weigh frames by. One backward pass, which also writes the gradient with respect to the
    /// whole view to `grad_view`.
    fn feature_weights(
        &mut self,
        cotangent: &[f32],
        weighing: Weighing,
        grad_view: &mut [f32],
    ) -> Result<Option<Vec<f64>>, Error>;
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Classifier(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error(
        "The model's output is not finite (expected {classes} numbers, found {found}). Its weights or its metadata (mean, std, range) do not fit this input."
    )]
    NotFinite { classes: usize, found: String },
    #[error(
        "The model's gradient is not finite at iteration {iteration}. Its weights or its metadata (mean, std, range) do not fit this input."
    )]
    GradientNotFinite { iteration: u32 },
    #[error("{0}")]
    Channel(String),
    #[error("Expected keyframes within the window's {frames} frames, found {found}. Correct the keyframes property.")]
    KeyframeOutOfRange { frames: usize, found: usize },
    #[error("Expected a label below the model's {classes} classes, found {found}.")]
    LabelOutOfRange { classes: usize, found: usize },
    /// Asked to stop; not a failure.
    #[error("The attack was canceled")]
    Canceled,
}

/// Calls of the model so far. A query is one forward pass, with or without its backward, or a further backward by
/// itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    pub forwards: u32,
    pub backwards: u32,
    pub queries: u32,
    /// Windows sent through a channel; no call of the model.
    pub channel_runs: u32,
}
