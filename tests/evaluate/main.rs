// SPDX-License-Identifier: MPL-2.0

//! `gst-sparseadv evaluate` as it is called: its figures, its gates, killed, in parts, and beside a baseline.

#[path = "../common/mod.rs"]
mod common;
mod data;
mod figures;
mod gates;
mod runs;
