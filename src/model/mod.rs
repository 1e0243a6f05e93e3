// SPDX-License-Identifier: MPL-2.0

//! The classifier under attack: a TorchScript archive, its metadata, and the passes through it. Knows nothing of GStreamer.

pub mod archive;
pub mod classifier;
pub mod device;
pub mod error;
pub mod features;
pub mod metadata;
mod probe;
mod tensor;

pub use archive::Origin;
pub use classifier::{Model, Options};
pub use device::DeviceChoice;
pub use error::Error;
pub use metadata::Metadata;
