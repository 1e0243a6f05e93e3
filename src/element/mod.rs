// SPDX-License-Identifier: MPL-2.0

//! What both elements are made of: caps and formats, frames in memory, codecs, messages, metas, report files, and what pads say.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) mod bell;
pub mod codec;
pub mod donors;
mod failure;
#[cfg(feature = "cli")]
pub mod fields;
pub mod format;
pub(crate) mod message;
pub mod meta;
pub mod model;
pub(crate) mod pads;
pub mod planes;
pub(crate) mod report_file;
pub mod settings;
pub mod stream;
pub mod survive;

/// A lock that a panic elsewhere does not poison: the data are consistent between statements, and pad functions must
/// not panic.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
