// SPDX-License-Identifier: MPL-2.0

//! The classification that the last frame of a window carries: a custom meta, read by name in any language.

use serde::Serialize;

use crate::element::message;

/// Name of the meta. Its structure has the fields of [`Record`].
pub const NAME: &str = "GstClipClassifierMeta";

pub fn register() {
    gst::meta::CustomMeta::register(NAME, &["video"]);
}

/// What the meta holds, with dashes in its names.
#[derive(Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Record<'a> {
    /// Number of the window in the stream, from 0.
    window: u64,
    /// Number of the window's first frame in the stream, from 0.
    first_frame: u64,
    /// What the model says of the window.
    label: usize,
    /// Its name, by the model's metadata.
    label_name: &'a str,
    /// The model's probability of that label.
    probability: f64,
}

pub fn add(buffer: &mut gst::BufferRef, report: &super::report::WindowReport) -> Result<(), glib::BoolError> {
    let mut meta = gst::meta::CustomMeta::add(buffer, NAME)?;
    let super::report::WindowReport { window, first_frame, label, probability, .. } = *report;
    let record = Record { window, first_frame, label, label_name: &report.label_name, probability };
    message::set(meta.mut_structure(), &record);
    #[cfg(feature = "analytics")]
    add_analytics(buffer, report)?;
    Ok(())
}

/// The same as GstAnalytics has it, joined to what the frame carries already.
#[cfg(feature = "analytics")]
fn add_analytics(buffer: &mut gst::BufferRef, report: &super::report::WindowReport) -> Result<(), glib::BoolError> {
    use gst_analytics::prelude::*;
    let class = glib::Quark::from_str(&report.label_name);
    let probability = report.probability as f32;
    if let Some(mut relations) = buffer.meta_mut::<gst_analytics::AnalyticsRelationMeta>() {
        relations.add_one_cls_mtd(probability, class)?;
        return Ok(());
    }
    gst_analytics::AnalyticsRelationMeta::add(buffer).add_one_cls_mtd(probability, class)?;
    Ok(())
}
