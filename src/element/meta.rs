// SPDX-License-Identifier: MPL-2.0

//! What each frame that leaves carries about its window: a custom meta, so that C, Python and Rust applications read it
//! by name with `gst_buffer_get_custom_meta` and encoders copy it along.

use serde::Serialize;

use super::message;
use crate::tally::Labels;

/// Name of the meta. Its structure has the fields of [`Record`].
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

/// What the meta holds, with dashes in its names.
#[derive(Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Record {
    /// Number of the window in the stream, from 0.
    window: u64,
    /// Place of the frame in the window, from 0.
    frame: u32,
    /// Whether this frame is perturbed.
    keyframe: bool,
    /// The weight of this frame, by which keyframes are selected.
    weight: f64,
    /// Whether the attack of the window has reached its goal.
    success: bool,
    /// Whether the window was fooled before any attack.
    already_fooled: bool,
    /// The true label.
    label: Option<usize>,
    /// The label that a targeted attack is to reach.
    target_label: Option<usize>,
    /// What the model says of the window as it came.
    clean_label: Option<usize>,
    /// What the model says of the window as it left.
    final_label: Option<usize>,
}

/// Adds the meta; one of an earlier `sparseadv` in the pipeline stays beside it.
pub fn add(buffer: &mut gst::BufferRef, info: &FrameInfo) -> Result<(), glib::BoolError> {
    let mut meta = gst::meta::CustomMeta::add(buffer, NAME)?;
    let FrameInfo { window, frame, keyframe, weight, success, labels } = *info;
    let already_fooled = labels.already_fooled();
    let Labels { truth: label, target: target_label, clean: clean_label, last: final_label } = labels;
    let record = Record {
        window,
        frame,
        keyframe,
        weight,
        success,
        already_fooled,
        label,
        target_label,
        clean_label,
        final_label,
    };
    message::set(meta.mut_structure(), &record);
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
