// SPDX-License-Identifier: MPL-2.0

//! Universal perturbations: learning them, and judging them on clips that they were not learned from. Agents that pick
//! keyframes are learned in the same way.

mod clips;
mod descent;
pub mod judge;
pub mod learn;
mod verdict;

use gstsparseadv::element::codec;

/// The bins of an argument.
fn codecs(survive: &str) -> impl Iterator<Item = &str> {
    codec::split(survive).filter(|bin| !bin.is_empty())
}

/// So many at the most, as far apart as they can be.
fn spread<T: Copy>(all: &[T], most: usize) -> Vec<T> {
    let some = all.len().min(most);
    (0..some).map(|i| all[i * all.len() / some]).collect()
}
