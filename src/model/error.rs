// SPDX-License-Identifier: MPL-2.0

//! What can be wrong with a model: what was expected, what was found, what to do.

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("The model {path} cannot be read: {reason}. Expected a TorchScript archive; check the path.")]
    Unreadable { path: String, reason: String },
    #[error("Expected a TorchScript archive, found {found} in {path}. Export the model with torch.jit.save, as examples/python/export_model.py does.")]
    NotTorchScript { path: String, found: String },
    #[error("The TorchScript archive {path} cannot be loaded: {reason}. Export it again, with a PyTorch no newer than the libtorch this plugin is built with.")]
    Load { path: String, reason: String },
    #[error(
        "The metadata of {origin} cannot be used: {reason}. See the model contract in README.md."
    )]
    Metadata { origin: String, reason: String },
    #[error("The model refuses its input {shape}: {reason}. Expected a model that takes this size; correct window, layout, resize or crop in its metadata (or in a sidecar file model.pt.json), or the window-size property.")]
    Input { shape: String, reason: String },
    #[error("Expected logits of shape [1, classes] with at least 2 classes, found {found}. The model must return the logits, or a tuple of logits and features.")]
    Logits { found: String },
    #[error("Expected as many labels as logits, found {labels} labels and {logits} logits. Correct labels in the model's metadata.")]
    Labels { labels: usize, logits: usize },
    #[error("Expected finite logits, found {found} on a black window. The model's weights are damaged, or mean, std and range in its metadata are wrong.")]
    NotFinite { found: String },
    #[error("Expected logits that depend on the input by a gradient, found none. The model detaches its input (a no_grad block, a cast to integers, an in-place copy); export it without, by tracing if need be.")]
    NoGradient,
    #[error("The features returned are not on the path to the logits: they have no gradient. Return the very tensor that flows on to the logits, not a copy or reshape of it, or return the logits alone.")]
    FeaturesOffPath,
    #[error("Expected features of shape {expected}, found {found}. Correct feature_layout in the model's metadata, or return the logits alone.")]
    Features { expected: String, found: String },
    #[error("Expected a device as auto, cpu, cuda or cuda:N, found {found}. Correct the device property.")]
    DeviceName { found: String },
    #[error("Expected the device {wanted}, found {found}. Use device=auto or device=cpu, or a libtorch with CUDA and a driver that fits it.")]
    DeviceMissing { wanted: String, found: String },
    #[error("The model failed: {reason}")]
    Run { reason: String },
}

/// The message of a libtorch error without its C++ stack and TorchScript traceback.
pub fn torch_message(error: &tch::TchError) -> String {
    let text = error.to_string();
    let text = text.split("\nException raised").next().unwrap_or_default();
    // In a traceback the cause stands last.
    let text = match text
        .rfind("RuntimeError: ")
        .or_else(|| text.rfind("builtins."))
    {
        Some(at) => &text[at..],
        None => text,
    };
    let text = text.trim_start_matches("RuntimeError: ").trim();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    lines.join(" ").trim_end_matches('.').to_string()
}
