// SPDX-License-Identifier: MPL-2.0

//! The classifier under attack: a TorchScript archive, its metadata, and the passes through it. It knows nothing of
//! GStreamer.
//!
//! # The model contract
//!
//! `forward` takes one float tensor `[B, 3, T, H, W]` or `[B, T, 3, H, W]`. It returns the logits `[B, K]`, or a tuple
//! of the logits and a feature map. The feature map weighs the keyframes. It is `[B, C, T', H', W']`, `[B, T', C, H',
//! W']` or `[B, T', D]`, and it must be the very tensor that flows on to the logits.
//!
//! [`Metadata`] say what the model expects of its input, and have a default for every field. They lie in the archive's
//! member `extra/sparseadv.json`, or in a file `MODEL.pt.json` beside the archive, which wins. `examples/README.md` has
//! the contract with a table of all fields, for people who write models.
//!
//! A TorchScript file is a program: loading it runs code that can read and write files. Load only files that are
//! trusted.
//!
//! An archive is looked into before libtorch gets it. Tensors that do not lie within their storages are refused, and names
//! that are there twice. So are code and values nested too deeply, and sizes beyond all models. `tests/hostile` tries what
//! mutations do. What the code itself does when it runs is not checked. It can loop, fill the memory and end the process.
//! By `torch.from_file` it writes into any file that its user may write.
//! For files of others set `model-sha256`, or run the pipeline as a user of its own with bounds on time and memory.
//!
//! A model may have `encode_frames` and `classify_features` besides, which encode frame by frame ([`frames`]). Whether they
//! are `forward` together is found out when the model is loaded.
//!
//! The file of an [`Agent`] is a program too, and is looked into in the same way.
//!
//! # Passes
//!
//! A [`Model`] is a handle: a model that was loaded once, and a window that it is shown. Handles of one model may be on
//! several threads. Each pass is made on the model's own thread. Handles that [`join`](Model::join) wait for one another, and
//! their passes are made as one.
//!
//! # What is refused
//!
//! When a model is loaded, a few passes probe it. A model that is random, keeps a state from call to call, or returns
//! something else than the contract says is refused. A model in half precision, or one that writes into its input,
//! works with a warning or a copy.

pub mod agent;
pub mod archive;
mod autocast;
mod batch;
pub mod classifier;
mod cudnn;
mod desk;
pub mod device;
mod engine;
pub mod error;
#[cfg(test)]
mod fault;
pub mod features;
pub mod frames;
mod halves;
pub mod kind;
mod lens;
pub mod libtorch;
mod loaded;
pub mod members;
pub mod metadata;
mod module;
pub mod nesting;
pub mod pickle;
pub mod precision;
mod probe;
mod refusal;
mod shared;
mod surrogate;
mod tensor;
mod tf32;
mod together;
mod warnings;

pub use agent::Agent;
pub use archive::Origin;
pub use classifier::Model;
pub use device::DeviceChoice;
pub use error::Error;
pub use frames::Encoded;
pub use libtorch::version as libtorch_version;
pub use loaded::Options;
pub use metadata::Metadata;
pub use precision::Precision;
pub use surrogate::Surrogate;
pub use together::together;
