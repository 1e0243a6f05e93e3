// SPDX-License-Identifier: MPL-2.0

//! The GStreamer element. The sink pad's thread only queues, the worker attacks, the source pad's task pushes:
//! decoding, attack and encoding overlap without `queue` elements.

use glib::prelude::*;

#[cfg(feature = "cli")]
use crate::element::{fields::Record, message::grows, meta};
#[cfg(feature = "cli")]
use crate::window::report::WindowReport;

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

/// The fields of what this element says.
#[cfg(feature = "cli")]
pub fn records() -> [Record; 4] {
    let wide = |_: &str| true;
    [
        Record::of::<WindowReport>("sparseadv-window", "What came of a window: an element message", &grows)
            .in_reports(),
        Record::of::<stats::Totals>("sparseadv-stats", "Running totals: the property `stats`", &wide),
        Record::of::<choice::Chosen>("sparseadv-mode", "What `mode=auto` has chosen: an element message", &wide),
        Record::of::<meta::Record>(meta::NAME, "What a frame carries about its window: a custom meta", &grows),
    ]
}

pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    crate::element::meta::register();
    gst::Element::register(Some(plugin), "sparseadv", gst::Rank::NONE, SparseAdv::static_type())
}
