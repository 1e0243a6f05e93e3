// SPDX-License-Identifier: MPL-2.0

//! The classification that the last frame of a window carries: a custom meta, read by name in any language.

/// Name of the meta. Its structure has the fields `window` (guint64), `first-frame` (guint64), `label` (guint),
/// `label-name` (string) and `probability` (gdouble).
pub const NAME: &str = "GstClipClassifierMeta";

pub fn register() {
    gst::meta::CustomMeta::register(NAME, &["video"]);
}

pub fn add(buffer: &mut gst::BufferRef, report: &super::report::WindowReport) -> Result<(), glib::BoolError> {
    let mut meta = gst::meta::CustomMeta::add(buffer, NAME)?;
    let structure = meta.mut_structure();
    structure.set("window", report.window);
    structure.set("first-frame", report.first_frame);
    structure.set("label", report.label as u32);
    structure.set("label-name", &report.label_name);
    structure.set("probability", report.probability);
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
