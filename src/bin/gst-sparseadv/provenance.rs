// SPDX-License-Identifier: MPL-2.0

//! What made a result: kept beside every one.

use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Versions {
    pub plugin: String,
    pub libtorch: String,
    pub gstreamer: String,
}

impl Versions {
    pub fn here() -> Self {
        Self {
            plugin: concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")).into(),
            libtorch: env!("LIBTORCH_VERSION").into(),
            gstreamer: gst::version_string().into(),
        }
    }
}

/// SHA-256 of a file, in hexadecimal.
pub fn sha256(path: &Path) -> anyhow::Result<String> {
    let bytes =
        std::fs::read(path).with_context(|| format!("{} could not be read", path.display()))?;
    Ok(digest(&bytes))
}

/// SHA-256 in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}
