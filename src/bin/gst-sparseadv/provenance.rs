// SPDX-License-Identifier: MPL-2.0

//! What made a result: kept beside every one.

use std::path::Path;

use anyhow::Context;
pub use gstsparseadv::provenance::{Versions, digest};

/// SHA-256 of a file, in hexadecimal.
pub fn sha256(path: &Path) -> anyhow::Result<String> {
    gstsparseadv::provenance::sha256(path).with_context(|| format!("{} could not be read", path.display()))
}
