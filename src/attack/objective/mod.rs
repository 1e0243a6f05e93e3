// SPDX-License-Identifier: MPL-2.0

//! What an iteration descends.

pub mod two_stage;
pub mod weighted_sum;
