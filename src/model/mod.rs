// SPDX-License-Identifier: MPL-2.0

//! The classifier under attack: a TorchScript archive, its metadata, and the passes through it. Knows nothing of GStreamer.

pub mod metadata;

pub use metadata::Metadata;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("The metadata of {origin} cannot be used: {reason}. See the model contract in README.md.")]
    Metadata { origin: String, reason: String },
}
