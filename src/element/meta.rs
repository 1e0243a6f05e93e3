// SPDX-License-Identifier: MPL-2.0

//! What each frame that leaves carries about its window: a custom meta, so that C, Python and Rust applications read it
//! by name with `gst_buffer_get_custom_meta` and encoders copy it along.

use crate::tally::Labels;

/// Name of the meta. Its structure has the fields `window` (guint64), `frame` (guint, place in the window), `keyframe`
/// (gboolean, whether this frame is perturbed), `weight` (gdouble), `success` and `already-fooled` (gboolean), and,
/// where known, `label` (the true one), `target-label`, `clean-label` and `final-label` (guint).
pub const NAME: &str = "GstSparseAdvMeta";

pub fn register() {
    // Tagged as video, so that elements that change no pixels of a frame keep it.
    gst::meta::CustomMeta::register(NAME, &["video"]);
}

/// What the meta says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FrameInfo {
    pub window: u64,
    pub frame: u32,
    pub keyframe: bool,
    pub weight: f64,
    pub success: bool,
    pub labels: Labels,
}

/// Adds the meta; one of an earlier `sparseadv` in the pipeline stays beside it.
pub fn add(buffer: &mut gst::BufferRef, info: &FrameInfo) -> Result<(), glib::BoolError> {
    let mut meta = gst::meta::CustomMeta::add(buffer, NAME)?;
    let structure = meta.mut_structure();
    structure.set("window", info.window);
    structure.set("frame", info.frame);
    structure.set("keyframe", info.keyframe);
    structure.set("weight", info.weight);
    structure.set("success", info.success);
    structure.set("already-fooled", info.labels.already_fooled());
    let Labels { truth, target, clean, last } = info.labels;
    for (name, label) in [("label", truth), ("target-label", target), ("clean-label", clean), ("final-label", last)] {
        if let Some(label) = label {
            structure.set(name, label as u32);
        }
    }
    Ok(())
}

/// What a frame's meta says; the first one's where several sparseadv have added theirs.
pub fn read(buffer: &gst::BufferRef) -> Option<FrameInfo> {
    let meta = gst::meta::CustomMeta::from_buffer(buffer, NAME).ok()?;
    let structure = meta.structure();
    let label = |name: &str| structure.get::<u32>(name).ok().map(|label| label as usize);
    Some(FrameInfo {
        window: structure.get("window").ok()?,
        frame: structure.get("frame").ok()?,
        keyframe: structure.get("keyframe").ok()?,
        weight: structure.get("weight").ok()?,
        success: structure.get("success").ok()?,
        labels: Labels {
            truth: label("label"),
            target: label("target-label"),
            clean: label("clean-label"),
            last: label("final-label"),
        },
    })
}
