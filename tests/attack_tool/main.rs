// SPDX-License-Identifier: MPL-2.0

//! `gst-sparseadv attack` as a user calls it, on files made on the spot.

#[path = "../common/mod.rs"]
mod common;

mod containers;
mod damage;
mod inputs;
mod kept;
mod make;
mod words;
