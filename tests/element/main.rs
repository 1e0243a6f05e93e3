// SPDX-License-Identifier: MPL-2.0

//! The element between two pads: frames, events, control, reports.

#[path = "../common/mod.rs"]
mod common;

mod agent;
mod conduct;
mod control;
mod downstream;
mod events;
mod formats;
mod frames;
mod keyframes;
mod properties;
mod random;
mod report;
mod success;
