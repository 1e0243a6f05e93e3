// SPDX-License-Identifier: MPL-2.0

//! The sparse attack of Xu et al., "Sparse Adversarial Attack for Video via Gradient-Based Keyframe Selection" (ICASSP
//! 2023), and the selections it is compared with. Plain Rust on slices of `f32`: it knows neither GStreamer nor
//! libtorch, only the two traits below.
//!
//! Frames and perturbations are `[3, height, width]` in gray levels 0..255, in the model's own geometry.

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Calls {
    pub forwards: u32,
    pub backwards: u32,
    pub queries: u32,
    /// Windows sent through a channel; no call of the model.
    #[serde(rename = "codec_runs")]
    pub channel_runs: u32,
}
