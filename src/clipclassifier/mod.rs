// SPDX-License-Identifier: MPL-2.0

//! The element that classifies windows of a stream and lets the frames pass: behind a codec it says what is left of an
//! attack.

use glib::prelude::*;

#[cfg(feature = "cli")]
use crate::element::{fields::Record, message::grows};

mod gather;
mod imp;
mod lifecycle;
pub mod meta;
pub mod reference;
pub mod report;
mod stats;
mod windows;
mod worker;

glib::wrapper! {
    pub struct ClipClassifier(ObjectSubclass<imp::ClipClassifier>) @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

/// The fields of what this element says.
#[cfg(feature = "cli")]
pub fn records() -> [Record; 3] {
    [
        Record::of::<report::WindowReport>(
            "clipclassifier-window",
            "What the model says of a window: an element message",
            &grows,
        )
        .in_reports(),
        Record::of::<stats::Totals>("clipclassifier-stats", "Running totals: the property `stats`", &|_| true),
        Record::of::<meta::Record>(meta::NAME, "What the last frame of a window carries: a custom meta", &grows),
    ]
}

pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    meta::register();
    gst::Element::register(Some(plugin), "clipclassifier", gst::Rank::NONE, ClipClassifier::static_type())
}
