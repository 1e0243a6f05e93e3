// SPDX-License-Identifier: MPL-2.0

//! What can be wrong with a model: what was expected, what was found, what to do.

use super::kind::Found;
use super::refusal;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("The file {path} cannot be read: {reason}. Expected a TorchScript archive; check the path.")]
    Unreadable { path: String, reason: String },
    #[error("Expected a TorchScript archive, found {} in {path}. {}", found.what, found.remedy)]
    NotTorchScript { path: String, found: Found },
    #[error(
        "Expected {path} to be the file with the SHA-256 {expected}, found {found}. It was not loaded. Get the right file, or correct the model-sha256 property."
    )]
    OtherFile { path: String, expected: String, found: String },
    #[error("Expected {what} in {path} to have at most {most} bytes, found more. {remedy}")]
    TooLarge { what: String, path: String, most: u64, remedy: &'static str },
    #[error(
        "Expected {member} of {path} to fit the archive, found {found}. It is damaged, or made to do harm: export the model again, or do not use it."
    )]
    Damaged { member: String, path: String, found: String },
    #[error("The TorchScript archive {path} cannot be loaded: {reason}. {remedy}")]
    Load { path: String, reason: String, remedy: String },
    #[error("The metadata of {origin} cannot be used: {reason}. See the model contract in examples/README.md.")]
    Metadata { origin: String, reason: String },
    #[error("The model refuses its input {shape}: {reason}. {remedy}")]
    Input { shape: String, reason: String, remedy: String },
    #[error(
        "Expected two passes over one input to give the same logits, found that two passes over one input differ by {difference} ({input}). The model is random (dropout or noise at work in evaluation mode, or traced in training mode) or has a memory (a buffer that each pass changes), so that no result of it can be checked. Call .eval() before exporting, and take either out."
    )]
    NotRepeatable { difference: f32, input: String },
    #[error(
        "Expected a model that leaves its input alone, found one that changes its input in place even where it gets a copy of its own. Take operations such as x.sub_(mean) or x[...] = y out of its forward, or clone the input there, and export it again."
    )]
    WritesInput,
    #[error(
        "Expected logits that depend on the input by a gradient, found a quantized model, which has none. Export the model as it was before it was quantized."
    )]
    Quantized,
    #[error(
        "Expected logits of shape [1, classes] with at least 2 classes, found {found}. The model must return the logits, or a tuple of logits and features."
    )]
    Logits { found: String },
    #[error(
        "Expected {classes} logits of each window, as when the model was loaded, found logits of shape {found}. The model must return as many whatever it is shown; export it so."
    )]
    OtherLogits { classes: usize, found: String },
    #[error(
        "Expected as many labels as logits, found {labels} labels and {logits} logits. Correct labels in the model's metadata."
    )]
    Labels { labels: usize, logits: usize },
    #[error(
        "Expected finite logits, found {found} on {input}. The model's weights are damaged, or mean, std and range in its metadata are wrong."
    )]
    NotFinite { found: String, input: String },
    #[error(
        "Expected a finite gradient, found NaN or infinity on windows of texture and of noise. The model divides by zero or takes the root of zero, in its backward pass at least: add a small number there, and export it again."
    )]
    GradientNotFinite,
    #[error(
        "Expected logits that depend on the input by a gradient, found none. The model detaches its input (a no_grad block, a cast to integers, an in-place copy); export it without, by tracing if need be."
    )]
    NoGradient,
    #[error(
        "The features returned are not on the path to the logits: they have no gradient. Return the very tensor that flows on to the logits, not a copy or reshape of it, or return the logits alone."
    )]
    FeaturesOffPath,
    #[error(
        "Expected features of shape {expected}, found {found}. Correct feature_layout in the model's metadata, or return the logits alone."
    )]
    Features { expected: String, found: String },
    #[error(
        "Expected a surrogate of pictures, or one of windows of {frames} frames, that returns logits for each or for all; found {found} in {path}. Name another \
         with the surrogate property, or correct its metadata."
    )]
    Surrogate { path: String, frames: usize, found: String },
    #[error(
        "Expected of the agent {path} a probability for each of {frames} frames, a tensor of shape [{frames}] with numbers from 0 to 1, found {found}. It is given [1, 6, {frames}, height, width]. Learn one by gst-sparseadv learn --kind agent, or export yours so, for windows of any length."
    )]
    Agent { path: String, frames: usize, found: String },
    #[error("Expected a device as auto, cpu, cuda or cuda:N, found {found}. Correct the device property.")]
    DeviceName { found: String },
    #[error(
        "Expected the device {wanted}, found {found}. Use device=auto or device=cpu, or a libtorch with CUDA and a driver that fits it."
    )]
    DeviceMissing { wanted: String, found: String },
    #[error("The model failed: {reason}.{}", refusal::of_memory(reason).map(|text| format!(" {text}")).unwrap_or_default())]
    Run { reason: String },
}

impl Error {
    pub(super) fn no_pass() -> Self {
        Self::Run { reason: "a gradient was asked for before a forward pass".into() }
    }

    pub(super) fn nothing_shown() -> Self {
        Self::Run { reason: "nothing has been shown".into() }
    }
}
