// SPDX-License-Identifier: MPL-2.0

//! What a model is loaded by.

use std::path::PathBuf;

use super::DeviceChoice;

/// How to load a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    pub path: PathBuf,
    pub device: DeviceChoice,
    /// Frames a window, instead of the metadata's.
    pub window: Option<usize>,
}
