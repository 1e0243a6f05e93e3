// SPDX-License-Identifier: MPL-2.0

//! From GStreamer's description of raw video to [`FrameLayout`].

use gst_video::prelude::*;
use gst_video::{VideoColorMatrix, VideoColorRange, VideoFormat};

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
    known
        .then(|| gst::ClockTime::SECOND.mul_div_round(fps.denom() as u64, fps.numer() as u64))
        .flatten()
        .unwrap_or(40 * gst::ClockTime::MSECOND)
}

/// A sink and a source pad for these formats.
pub fn pad_templates() -> Vec<gst::PadTemplate> {
    let caps = gst_video::VideoCapsBuilder::new()
        .format_list(FORMATS)
        .width_range(MIN_SIZE..=i32::MAX)
        .height_range(MIN_SIZE..=i32::MAX)
        .build();
    let template =
        |name, direction| gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps);
    [
        ("sink", gst::PadDirection::Sink),
        ("src", gst::PadDirection::Src),
    ]
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

/// The planes of a mapped frame.
pub fn planes<'a>(
    frame: &'a gst_video::VideoFrameRef<&gst::BufferRef>,
) -> Result<Vec<(&'a [u8], usize)>, glib::BoolError> {
    (0..frame.n_planes())
        .map(|p| {
            let stride = frame.plane_stride()[p as usize].unsigned_abs() as usize;
            Ok((frame.plane_data(p)?, stride))
        })
        .collect()
}

/// The planes of a mapped frame, to write to.
pub fn planes_mut<'a>(
    frame: &'a mut gst_video::VideoFrameRef<&mut gst::BufferRef>,
) -> Vec<(&'a mut [u8], usize)> {
    let strides: Vec<usize> = frame
        .plane_stride()
        .iter()
        .map(|s| s.unsigned_abs() as usize)
        .collect();
    let planes = frame.planes_data_mut();
    planes.into_iter().zip(strides).collect()
}
