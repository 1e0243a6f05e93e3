// SPDX-License-Identifier: MPL-2.0

//! The GStreamer element. The sink pad's thread only queues, the worker attacks, the source pad's task pushes:
//! decoding, attack and encoding overlap without `queue` elements.

use glib::prelude::*;

mod bell;
pub mod codec;
mod failure;
pub mod format;
pub(crate) mod imp;
mod latency;
pub(crate) mod lifecycle;
pub mod meta;
pub(crate) mod pads;
pub mod planes;
pub(crate) mod properties;
mod queries;
pub(crate) mod queue;
pub mod report;
pub(crate) mod report_file;
pub(crate) mod settings;
mod state;
mod stats;
pub(crate) mod stream;
mod survive;
pub(crate) mod window;
mod worker;

pub use settings::{LossName, ObjectiveName, OptimizerName, Tail};

glib::wrapper! {
    pub struct SparseAdv(ObjectSubclass<imp::SparseAdv>) @extends gst::Element, gst::Object;
}

pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    meta::register();
    gst::Element::register(Some(plugin), "sparseadv", gst::Rank::NONE, SparseAdv::static_type())
}
