// SPDX-License-Identifier: MPL-2.0

//! Why an attack ended without a result.

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
    /// A codec that the window is sent through failed.
    #[error("{0}")]
    Transport(String),
    #[error("Expected keyframes within the window's {frames} frames, found {found}. Correct the keyframes property.")]
    KeyframeOutOfRange { frames: usize, found: usize },
    #[error(
        "Expected keyframes that can be chosen by answers alone, found {keyframes}, which needs the model's gradient. Set keyframes to all, \
         ifd, fixed, random, heuristic, agent:FILE or frame numbers, or access=gradient."
    )]
    NeedsGradient { keyframes: String },
    #[error(
        "Expected access=scores or logits for {what}, found access=label, which tells no probabilities. Set another one."
    )]
    NeedsScores { what: String },
    #[error(
        "Expected search=opt or sign-opt with keyframes=deletion, found another one. Set one of these, or other keyframes."
    )]
    NeedsRadius,
    #[error("Expected a surrogate for search=i2v, found none. Name a model of pictures with the surrogate property.")]
    NeedsSurrogate,
    #[error(
        "Expected keyframes=agent:{file} with the agent that the file holds, found that nobody has read it. Read it before the attack."
    )]
    NoAgent { file: String },
    #[error("Expected a label below the model's {classes} classes, found {found}.")]
    LabelOutOfRange { classes: usize, found: usize },
    #[error("The attack failed in libtorch: {0}.")]
    Torch(String),
    /// All queries that were allowed have been made; not a failure.
    #[error("The queries that max-queries allows are spent.")]
    Spent,
    /// Asked to stop; not a failure.
    #[error("The attack was canceled")]
    Canceled,
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        Self::Torch(crate::torch::message(&error))
    }
}
