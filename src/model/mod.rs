// SPDX-License-Identifier: MPL-2.0

//! The classifier under attack: a TorchScript archive, its metadata, and the passes through it. Knows nothing of
//! GStreamer.

pub mod archive;
pub mod classifier;
mod cudnn;
pub mod device;
pub mod error;
pub mod features;
pub mod kind;
pub mod libtorch;
pub mod metadata;
mod module;
mod probe;
mod refusal;
mod tensor;
mod warnings;

pub use archive::Origin;
pub use classifier::{Model, Options};
pub use device::DeviceChoice;
pub use error::Error;
pub use libtorch::version as libtorch_version;
pub use metadata::Metadata;
