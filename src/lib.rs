// SPDX-License-Identifier: MPL-2.0

//! Sparse adversarial attacks on video classifiers inside GStreamer pipelines.
//!
//! - [`attack`]: the method of Xu et al. and its baselines, on plain slices.
//! - [`model`]: TorchScript classifiers.
//! - [`video`]: what a model sees of a stream's bytes, and how a perturbation gets into them.
//! - [`mod@sparseadv`]: the GStreamer element around the three.
//! - [`mod@clipclassifier`]: the element that classifies what is left of an attack.
//! - [`dataset`]: the folders that action recognition sets come in.
//! - [`files`]: outputs that appear whole or not at all.
//! - [`tally`]: what a window's labels come to, and the rates over windows.
//! - [`provenance`]: what made a result.

pub mod attack;
pub mod clipclassifier;
pub mod dataset;
pub mod element;
pub mod files;
pub mod model;
pub mod provenance;
pub mod sparseadv;
pub mod tally;
pub mod target;
pub mod torch;
pub mod video;
pub mod window;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    sparseadv::register(plugin)?;
    clipclassifier::register(plugin)
}

gst::plugin_define!(
    sparseadv,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    // GStreamer's name of the MPL-2.0.
    "MPL-2.0",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_REPOSITORY"),
    env!("BUILD_REL_DATE")
);
