// SPDX-License-Identifier: MPL-2.0

//! What made a result: kept beside every one.

use std::path::Path;

use anyhow::Context;
pub use gstsparseadv::provenance::{Versions, digest};
use serde::Serialize;
use serde_json::{Map, Value};

/// A field in which two records of one kind differ.
pub struct Difference {
    pub field: String,
    pub before: Value,
    pub now: Value,
}

pub fn differences<T: Serialize>(before: &T, now: &T) -> anyhow::Result<Vec<Difference>> {
    let fields = |record: &T| serde_json::from_value::<Map<String, Value>>(serde_json::to_value(record)?);
    let (mut before, now) = (fields(before)?, fields(now)?);
    let pairs = now.into_iter().map(|(field, now)| (before.remove(&field).unwrap_or_default(), field, now));
    let different = pairs.filter(|(before, _, now)| before != now);
    Ok(different.map(|(before, field, now)| Difference { field, before, now }).collect())
}

/// SHA-256 of a file, in hexadecimal.
pub fn sha256(path: &Path) -> anyhow::Result<String> {
    gstsparseadv::provenance::sha256(path).with_context(|| format!("{} could not be read", path.display()))
}
