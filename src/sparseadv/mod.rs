// SPDX-License-Identifier: MPL-2.0

//! The GStreamer element. The sink pad's thread only queues, the worker attacks, the source pad's task pushes:
//! decoding, attack and encoding overlap without `queue` elements.

use glib::prelude::*;

mod aids;
mod attack;
mod choice;
mod downstream;
mod failing;
mod imp;
mod latency;
mod lifecycle;
mod pads;
#[cfg(test)]
mod panics;
mod pursue;
mod queries;
pub mod settings;
mod state;
mod stats;
mod timing;
mod watching;
mod window;
mod worker;

glib::wrapper! {
    pub struct SparseAdv(ObjectSubclass<imp::SparseAdv>) @extends gst::Element, gst::Object;
}

pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    crate::element::meta::register();
    gst::Element::register(Some(plugin), "sparseadv", gst::Rank::NONE, SparseAdv::static_type())
}
