// SPDX-License-Identifier: MPL-2.0

//! The element that classifies windows of a stream and lets the frames pass: behind a codec it says what is left of an
//! attack.

use glib::prelude::*;

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

pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    meta::register();
    gst::Element::register(Some(plugin), "clipclassifier", gst::Rank::NONE, ClipClassifier::static_type())
}
