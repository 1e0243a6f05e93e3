// SPDX-License-Identifier: MPL-2.0

//! Raw frames whose every byte, padding and alpha included, is known.

use gst_video::{VideoFormat, VideoInfo};

use super::models::Noise;

/// Nanoseconds of a frame at 25 a second.
pub const FRAME: u64 = 40_000_000;

pub fn info(format: VideoFormat, width: u32, height: u32) -> VideoInfo {
    let info = VideoInfo::builder(format, width, height).fps(gst::Fraction::new(25, 1));
    info.build().expect("video info")
}

pub fn rgb() -> VideoInfo {
    let side = super::models::SIDE as u32;
    info(VideoFormat::Rgb, side, side)
}

/// Frame `index` of a stream: a moving texture in mid tones over noise, with time stamps.
pub fn frame(info: &VideoInfo, index: u64) -> gst::Buffer {
    stamped(gst::Buffer::from_mut_slice(texture(info.size(), index)), index)
}

/// The same with every row `pad` bytes longer than it has to be, and some bytes before each plane, as a video meta
/// says.
pub fn padded_frame(info: &VideoInfo, index: u64, pad: usize) -> gst::Buffer {
    let planes = info.n_planes() as usize;
    let mut offset = Vec::new();
    let mut stride = Vec::new();
    let mut size = 0;
    for p in 0..planes {
        let rows = plane_rows(info, p);
        let row = info.stride()[p] as usize + pad;
        offset.push(size + 7);
        stride.push(row as i32);
        size += 7 + row * rows;
    }
    let mut buffer = gst::Buffer::from_mut_slice(texture(size, index));
    let meta = gst_video::VideoMeta::add_full(
        buffer.make_mut(),
        gst_video::VideoFrameFlags::empty(),
        info.format(),
        info.width(),
        info.height(),
        &offset,
        &stride,
    );
    meta.expect("a video meta");
    stamped(buffer, index)
}

pub fn texture(size: usize, index: u64) -> Vec<u8> {
    let mut noise = Noise::new(1000 + index);
    let tone = |i: usize| 96.0 + 40.0 * ((i as f32 / 9.0 + index as f32 * 0.7).sin());
    let grain = |noise: &mut Noise| noise.unit() * 40.0;
    (0..size).map(|i| (tone(i) + grain(&mut noise)) as u8).collect()
}

/// Time stamps, offsets and flags that differ from frame to frame.
pub fn stamped(mut buffer: gst::Buffer, index: u64) -> gst::Buffer {
    let b = buffer.make_mut();
    b.set_pts(gst::ClockTime::from_nseconds(index * FRAME));
    b.set_dts(gst::ClockTime::from_nseconds(index * FRAME + 3));
    b.set_duration(gst::ClockTime::from_nseconds(FRAME - index % 5));
    b.set_offset(index);
    b.set_offset_end(index + 1);
    if index % 3 == 1 {
        b.set_flags(gst::BufferFlags::DELTA_UNIT);
    }
    if index % 4 == 2 {
        b.set_flags(gst::BufferFlags::MARKER | gst::BufferFlags::DROPPABLE);
    }
    buffer
}

pub fn bytes(buffer: &gst::BufferRef) -> Vec<u8> {
    buffer.map_readable().expect("a mapped buffer").to_vec()
}

fn plane_rows(info: &VideoInfo, plane: usize) -> usize {
    let format = info.format_info();
    let component = (0..format.n_components() as usize)
        .find(|c| format.plane()[*c] as usize == plane)
        .expect("a component in every plane");
    format.scale_height(component as u8, info.height()) as usize
}

/// Which bytes of a buffer hold color: all that an attack may change. Alpha, filling bytes and the padding of rows are
/// not among them.
pub fn color_bytes(info: &VideoInfo, buffer: &gst::BufferRef) -> Vec<bool> {
    let format = info.format_info();
    let mut color = vec![false; buffer.size()];
    let meta = buffer.meta::<gst_video::VideoMeta>();
    let (offset, stride) = match &meta {
        Some(meta) => (meta.offset().to_vec(), meta.stride().to_vec()),
        None => (info.offset().to_vec(), info.stride().to_vec()),
    };
    for c in 0..(format.n_components() as usize).min(3) {
        let plane = format.plane()[c] as usize;
        let width = format.scale_width(c as u8, info.width()) as usize;
        let height = format.scale_height(c as u8, info.height()) as usize;
        for y in 0..height {
            for x in 0..width {
                let at = offset[plane] + y * stride[plane] as usize;
                let at = at + format.poffset()[c] as usize;
                color[at + x * format.pixel_stride()[c] as usize] = true;
            }
        }
    }
    color
}
