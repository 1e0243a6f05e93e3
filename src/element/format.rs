// SPDX-License-Identifier: MPL-2.0

//! From GStreamer's description of raw video to [`FrameLayout`].

use std::sync::Mutex;

use gst_video::prelude::*;
use gst_video::{VideoColorMatrix, VideoColorRange, VideoFormat};

use super::lock;
use crate::video::layout::{BT601, BT709};
use crate::video::{Color, Component, FrameLayout};

/// The formats taken and given.
pub const FORMATS: [VideoFormat; 17] = [
    VideoFormat::I420,
    VideoFormat::Yv12,
    VideoFormat::Nv12,
    VideoFormat::Nv21,
    VideoFormat::Y42b,
    VideoFormat::Y444,
    VideoFormat::Rgb,
    VideoFormat::Bgr,
    VideoFormat::Rgbx,
    VideoFormat::Bgrx,
    VideoFormat::Xrgb,
    VideoFormat::Xbgr,
    VideoFormat::Rgba,
    VideoFormat::Bgra,
    VideoFormat::Argb,
    VideoFormat::Abgr,
    VideoFormat::Gray8,
];

/// The smallest width and height taken.
pub const MIN_SIZE: i32 = 16;

/// From the caps, or one 25th of a second where the rate is variable.
pub fn frame_duration(info: &gst_video::VideoInfo) -> gst::ClockTime {
    let fps = info.fps();
    let known = fps.numer() > 0;
    let lasts = known.then(|| gst::ClockTime::SECOND.mul_div_round(fps.denom() as u64, fps.numer() as u64));
    lasts.flatten().unwrap_or(40 * gst::ClockTime::MSECOND)
}

/// A sink and a source pad for these formats.
pub fn pad_templates() -> Vec<gst::PadTemplate> {
    let caps = gst_video::VideoCapsBuilder::new()
        .format_list(FORMATS)
        .width_range(MIN_SIZE..=i32::MAX)
        .height_range(MIN_SIZE..=i32::MAX)
        .build();
    let template = |name, direction| gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps);
    [("sink", gst::PadDirection::Sink), ("src", gst::PadDirection::Src)]
        .into_iter()
        .map(|(name, direction)| template(name, direction).unwrap_or_else(|e| unreachable!("{e}")))
        .collect()
}

/// The layout of frames of these caps.
pub fn layout(info: &gst_video::VideoInfo) -> FrameLayout {
    let format = info.format_info();
    let color = if format.is_rgb() {
        Color::Rgb
    } else {
        let colorimetry = info.colorimetry();
        let full_range = colorimetry.range() == VideoColorRange::Range0_255;
        if format.is_gray() {
            Color::Gray { full_range }
        } else {
            let (kr, kb) = luma_coefficients(colorimetry.matrix(), info.height());
            Color::Yuv { kr, kb, full_range }
        }
    };
    // Any alpha is a fourth component, and left alone.
    let components = (0..format.n_components().min(3) as usize).map(|c| Component {
        plane: format.plane()[c] as usize,
        offset: format.poffset()[c] as usize,
        pixel_stride: format.pixel_stride()[c] as usize,
        shift_x: format.w_sub()[c],
        shift_y: format.h_sub()[c],
    });
    FrameLayout {
        width: info.width() as usize,
        height: info.height() as usize,
        components: components.collect(),
        color,
    }
}

/// Kr and Kb; where the caps do not say, those that GStreamer assumes for the size.
fn luma_coefficients(matrix: VideoColorMatrix, height: u32) -> (f32, f32) {
    match matrix {
        VideoColorMatrix::Bt709 => BT709,
        VideoColorMatrix::Bt601 => BT601,
        VideoColorMatrix::Fcc => (0.30, 0.11),
        VideoColorMatrix::Smpte240m => (0.212, 0.087),
        VideoColorMatrix::Bt2020 => (0.2627, 0.0593),
        _ if height > 576 => BT709,
        _ => BT601,
    }
}

/// Elements that bring frames out of a memory that only some hardware or library can read.
const DOWNLOADS: [(&str, &str); 9] = [
    ("memory:VAMemory", "vapostproc"),
    ("memory:VASurface", "vaapipostproc"),
    ("memory:DMABuf", "vapostproc or glupload ! gldownload"),
    ("memory:GLMemory", "gldownload"),
    ("memory:CUDAMemory", "cudadownload"),
    ("memory:NVMM", "nvvideoconvert"),
    ("memory:D3D11Memory", "d3d11download"),
    ("memory:D3D12Memory", "d3d12download"),
    ("memory:VulkanImage", "vulkandownload"),
];

/// Why frames of these caps are not taken, and what helps; nothing if they are.
fn refusal(caps: &gst::CapsRef, element: &str) -> Option<String> {
    let structure = caps.structure(0)?;
    let features = caps.features(0);
    let name = structure.name().as_str();
    if name != "video/x-raw" {
        return Some(format!("Expected raw video, found {name}. Put a decoder (decodebin) in front of {element}."));
    }
    let format = structure.get::<&str>("format").unwrap_or("no format");
    let foreign =
        features.filter(|f| !f.is_equal(gst::CapsFeatures::new([gst::CAPS_FEATURE_MEMORY_SYSTEM_MEMORY]).as_ref()));
    if let Some(features) = foreign {
        let download = DOWNLOADS.iter().find(|(memory, _)| features.contains(*memory));
        let remedy = match download {
            Some((_, download)) => format!(
                "Put {download} ! videoconvert in front of {element}, or lower the rank of the decoder that gives such memory (GST_PLUGIN_FEATURE_RANK=NAME:NONE)"
            ),
            None if features.contains("format:Interlaced") => format!("Put a deinterlace in front of {element}"),
            None if features.contains("meta:GstVideoOverlayComposition") => {
                format!("Put an overlaycomposition or a videoconvert in front of {element}")
            }
            None => format!(
                "Put the element in front of {element} that brings such frames into system memory, or use a software decoder"
            ),
        };
        return Some(format!("Expected frames in system memory, found {features} (format {format}). {remedy}."));
    }
    if FORMATS.iter().all(|f| f.to_str() != format) {
        return Some(format!(
            "Expected 8-bit raw video in one of the formats {}, found {format}. Put a videoconvert in front of {element}.",
            FORMATS.map(|f| f.to_str().to_string()).join(", ")
        ));
    }
    let size = |name| structure.get::<i32>(name).unwrap_or(0);
    let (width, height) = (size("width"), size("height"));
    if width < MIN_SIZE || height < MIN_SIZE {
        return Some(format!(
            "Expected frames of at least {MIN_SIZE}x{MIN_SIZE}, found {width}x{height}. Put a videoscale and a capsfilter in front of {element}."
        ));
    }
    if structure.get::<&str>("interlace-mode") == Ok("alternate") {
        return Some(format!(
            "Expected whole frames, found interlace-mode=alternate: a field a buffer. Put a deinterlace in front of {element}."
        ));
    }
    let info = gst_video::VideoInfo::from_caps(caps);
    info.err().map(|error| {
        format!("Expected caps of raw video, found {caps}: {error}. Put a videoconvert in front of {element}.")
    })
}

/// Elements, and the caps that they have told of.
static TOLD: Mutex<Vec<(glib::WeakRef<gst::Element>, gst::Caps)>> = Mutex::new(Vec::new());

/// To be called when an element begins anew: it tells of the same caps again.
pub fn forget_refused_caps(element: &gst::Element) {
    let others = |of: &glib::WeakRef<gst::Element>| of.upgrade().is_some_and(|of| of != *element);
    lock(&TOLD).retain(|(of, _)| others(of));
}

/// Posts an error where caps come that cannot be used; called where somebody asks whether they can. The core asks this
/// before it hands on a CAPS event, refuses the event itself, and upstream then speaks of an internal error. Others ask
/// before they choose: then no pad upstream has these caps yet.
pub fn tell_refused_caps(element: &gst::Element, pad: &gst::Pad, caps: &gst::CapsRef) {
    if !caps.is_fixed() || !pad.peer().is_some_and(|peer| comes(&peer, caps, 100)) {
        return;
    }
    {
        // The core asks again for every event that it cannot hand on for them.
        let mut told = lock(&TOLD);
        let same =
            |(e, c): &(glib::WeakRef<gst::Element>, gst::Caps)| e.upgrade().as_ref() == Some(element) && **c == *caps;
        if told.iter().any(same) {
            return;
        }
        told.push((element.downgrade(), caps.to_owned()));
    }
    let factory = element.factory();
    let name = factory.map_or_else(|| "the element".into(), |factory| factory.name());
    if let Some(text) = refusal(caps, &name) {
        gst::element_error!(element, gst::StreamError::Format, ("{text}"));
    }
}

/// Whether a source pad is sending these caps, or one whose questions and events it only hands on.
fn comes(pad: &gst::Pad, caps: &gst::CapsRef, steps: u32) -> bool {
    if pad.current_caps().is_some_and(|current| *current == *caps) {
        return true;
    }
    let further = |pad: Option<gst::Pad>| steps > 0 && pad.is_some_and(|pad| comes(&pad, caps, steps - 1));
    if let Some(ghost) = pad.downcast_ref::<gst::GhostPad>() {
        return further(ghost.target());
    }
    if let Some(ghost) = pad.parent().and_downcast::<gst::GhostPad>() {
        return further(ghost.peer());
    }
    let links = pad.pad_flags().contains(gst::PadFlags::PROXY_CAPS);
    let links = links.then(|| pad.iterate_internal_links().into_iter());
    let mut links = links.into_iter().flatten().flatten();
    links.any(|sink| further(sink.peer()))
}
