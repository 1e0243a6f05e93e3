// SPDX-License-Identifier: MPL-2.0

//! Where the planes of a frame lie in its buffer, and slices of just those bytes.
//!
//! Neither `gst_video_frame_map` nor `VideoFrameRef` is used here: the first trusts the offsets and strides of a
//! GstVideoMeta, and the second makes slices of `stride * height` bytes of whatever pointer comes back (`plane_data`
//! casts a negative stride to `u32`). So every plane is placed by checked arithmetic first, and read through the maps
//! of the memory itself.
//!
//! The `unsafe` code in dependencies that this relies on, and why it is sound:
//!
//! * `MemoryRef::map_readable`, `BufferRef::map_writable` and the slices of their maps (gstreamer): a map is as long as
//!   `gst_memory_map` says, and lives no longer than the buffer. Another element must not write while a buffer is
//!   shared; GStreamer's own rule.
//! * `BufferRef::copy_to_slice` (gstreamer): `gst_buffer_extract`, which stops at the buffer's end. Used where a plane
//!   lies in several memories.
//! * `VideoMeta::offset` and `VideoMeta::stride` (gstreamer-video): arrays of four, cut at `n_planes`, which is looked
//!   at before.
//! * tch's `Tensor::from_slice` and `copy_data`: they check lengths, and get whole vectors of ours.
//!
//! A GstVideoCropMeta is ignored: the frame is what the caps say. `sparseadv` takes it out of ALLOCATION answers, so
//! that no decoder relies on it.

use std::ops::Range;

use gst::memory::{MemoryMap, Readable};
use gst_video::VideoInfo;

use crate::video::{Rows, RowsMut};

/// Planes that GStreamer's structures have room for.
const MAX_PLANES: u32 = gst_video::VIDEO_MAX_PLANES as u32;

/// Where the rows of a plane lie in some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// Where the topmost row begins.
    first: usize,
    /// From one row to the next below; negative where they are stored bottom-up.
    stride: isize,
    /// Bytes of a row that mean something.
    row: usize,
    rows: usize,
}

impl Place {
    /// All checks of a plane against the size of what it lies in.
    fn new(plane: usize, (row, rows): (usize, usize), offset: usize, stride: i32, size: usize) -> Result<Self, String> {
        let step = stride.unsigned_abs() as usize;
        if step < row {
            return Err(format!(
                "Expected rows of plane {plane} at least {row} bytes apart, found a stride of {stride} in the frame's GstVideoMeta. Replace the element that makes such frames."
            ));
        }
        let reach = step.checked_mul(rows.saturating_sub(1));
        let span = reach.and_then(|reach| {
            let begin = if stride < 0 { offset.checked_sub(reach)? } else { offset };
            let end = begin.checked_add(reach)?.checked_add(row)?;
            (end <= size).then_some(())
        });
        if span.is_none() {
            return Err(format!(
                "Expected plane {plane} within the frame's {size} bytes, found {rows} rows of {row} bytes from byte {offset} on with a stride of {stride}. Replace the element that makes such frames."
            ));
        }
        Ok(Self { first: offset, stride: stride as isize, row, rows })
    }

    /// The bytes from the plane's lowest to its highest.
    fn span(&self) -> Range<usize> {
        let reach = self.stride.unsigned_abs() * self.rows.saturating_sub(1);
        let begin = if self.stride < 0 { self.first - reach } else { self.first };
        begin..begin + reach + self.row
    }

    /// Where a row begins. Rows outside the plane are the last one: nobody asks for them.
    fn row(&self, y: usize) -> usize {
        let y = y.min(self.rows.saturating_sub(1));
        let down = self.stride.unsigned_abs() * y;
        if self.stride < 0 { self.first - down } else { self.first + down }
    }

    /// The same plane, counted from its lowest byte.
    fn counted_from_its_begin(self) -> Self {
        let begin = self.span().start;
        Self { first: self.first - begin, ..self }
    }

    /// Whether a byte may belong to both planes. Rows side by side, as in formats with U and V in one row, do not
    /// overlap.
    fn overlaps(&self, other: &Self) -> bool {
        let (a, b) = (self.span(), other.span());
        if a.end <= b.start || b.end <= a.start {
            return false;
        }
        let step = self.stride.unsigned_abs();
        if step != other.stride.unsigned_abs() {
            return true;
        }
        let ahead = (b.start % step + step - a.start % step) % step;
        ahead < self.row || step - ahead < other.row
    }
}

/// Bytes of a row and rows of each plane of a format.
fn extents(info: &VideoInfo) -> Vec<(usize, usize)> {
    let format = info.format_info();
    let mut extents = vec![(0, 0); info.n_planes() as usize];
    for c in 0..format.n_components() as usize {
        let Some(extent) = extents.get_mut(format.plane()[c] as usize) else {
            continue;
        };
        let width = format.scale_width(c as u8, info.width()) as usize;
        let height = format.scale_height(c as u8, info.height()) as usize;
        let last = width.saturating_sub(1) * format.pixel_stride()[c].unsigned_abs() as usize;
        let row = format.poffset()[c] as usize + last + 1;
        *extent = (extent.0.max(row), extent.1.max(height));
    }
    extents
}

/// Where the planes of a buffer lie, by its video meta or by the caps; an error says what does not fit.
fn places(buffer: &gst::BufferRef, info: &VideoInfo) -> Result<Vec<Place>, String> {
    let extents = extents(info);
    let size = buffer.size();
    // As gst_buffer_get_video_meta does it where there are several.
    let meta = buffer.iter_meta::<gst_video::VideoMeta>().min_by_key(|meta| meta.id());
    let (offsets, strides) = match &meta {
        None if size < info.size() => {
            return Err(format!(
                "Expected a frame of {} bytes as the caps say, found {size} bytes. Replace the element that makes such frames.",
                info.size()
            ));
        }
        None => (info.offset(), info.stride()),
        Some(meta) => {
            let planes = meta.n_planes();
            let fits = meta.format() == info.format()
                && meta.width() >= info.width()
                && meta.height() >= info.height()
                && (extents.len()..=MAX_PLANES as usize).contains(&(planes as usize));
            if !fits {
                return Err(format!(
                    "Expected a frame of {}x{} in {} with {} planes as the caps say, found a GstVideoMeta of {}x{} in {} with {planes}. Replace the element that makes such frames.",
                    info.width(),
                    info.height(),
                    info.format(),
                    extents.len(),
                    meta.width(),
                    meta.height(),
                    meta.format()
                ));
            }
            (meta.offset(), meta.stride())
        }
    };
    let planes = extents.into_iter().enumerate();
    planes
        .map(|(p, extent)| match (offsets.get(p), strides.get(p)) {
            (Some(offset), Some(stride)) => Place::new(p, extent, *offset, *stride, size),
            _ => Err(format!("Expected an offset and a stride of plane {p}, found none.")),
        })
        .collect()
}

/// Whether a frame can be read and written as the caps and its metas say.
pub fn check(buffer: &gst::BufferRef, info: &VideoInfo) -> Result<(), String> {
    writable(&places(buffer, info)?)?;
    Frame::read(buffer, info).map(drop)
}

/// Planes that share bytes cannot each have their own change.
fn writable(places: &[Place]) -> Result<(), String> {
    for (p, place) in places.iter().enumerate() {
        if let Some(q) = (0..p).find(|q| places[*q].overlaps(place)) {
            return Err(format!(
                "Expected planes that share no bytes, found planes {q} and {p} one over the other in the frame's GstVideoMeta. Put a videoconvert in front."
            ));
        }
    }
    Ok(())
}

enum Bytes<'a> {
    Mapped(MemoryMap<'a, Readable>, Range<usize>),
    /// Of a plane that lies in several memories.
    Copied(Vec<u8>),
}

/// A frame to read. The buffer's memories stay as they are.
pub struct Frame<'a>(Vec<(Bytes<'a>, Place)>);

impl<'a> Frame<'a> {
    pub fn read(buffer: &'a gst::BufferRef, info: &VideoInfo) -> Result<Self, String> {
        let planes = places(buffer, info)?.into_iter();
        let planes: Result<Vec<_>, String> =
            planes.map(|place| Ok((bytes(buffer, place.span())?, place.counted_from_its_begin()))).collect();
        planes.map(Self)
    }
}

fn bytes(buffer: &gst::BufferRef, span: Range<usize>) -> Result<Bytes<'_>, String> {
    let failed =
        |found: &str| format!("Expected a frame that can be read, found that {found}. Put a videoconvert in front.");
    let (memories, skip) =
        buffer.find_memory(span.clone()).ok_or_else(|| failed("its memory is shorter than it says"))?;
    if memories.len() == 1 {
        let map = buffer.peek_memory(memories.start).map_readable();
        let map = map.map_err(|e| failed(&e.to_string()))?;
        let within = skip..skip + span.len();
        if within.end > map.size() {
            return Err(failed("its memory is shorter than it says"));
        }
        return Ok(Bytes::Mapped(map, within));
    }
    let mut copy = vec![0; span.len()];
    buffer.copy_to_slice(span.start, &mut copy).map_err(|_| failed("its memories cannot be mapped"))?;
    Ok(Bytes::Copied(copy))
}

impl Rows for Frame<'_> {
    fn row(&self, plane: usize, y: usize) -> &[u8] {
        let (bytes, place) = &self.0[plane];
        let all = match bytes {
            Bytes::Mapped(map, within) => &map.as_slice()[within.clone()],
            Bytes::Copied(copy) => copy,
        };
        let begin = place.row(y);
        &all[begin..begin + place.row]
    }
}

/// A frame to write to. Several memories become one.
pub struct FrameMut<'a>(gst::BufferMap<'a, gst::buffer::Writable>, Vec<Place>);

impl<'a> FrameMut<'a> {
    pub fn write(buffer: &'a mut gst::BufferRef, info: &VideoInfo) -> Result<Self, String> {
        let places = places(buffer, info)?;
        writable(&places)?;
        let map = buffer.map_writable().map_err(|e| e.to_string())?;
        if places.iter().any(|place| place.span().end > map.size()) {
            return Err("its memory is shorter than it says".into());
        }
        Ok(Self(map, places))
    }
}

impl RowsMut for FrameMut<'_> {
    fn row_mut(&mut self, plane: usize, y: usize) -> &mut [u8] {
        let place = self.1[plane];
        let begin = place.row(y);
        &mut self.0.as_mut_slice()[begin..begin + place.row]
    }
}

/// A buffer that may be kept for as long as `held` others are. One of a pool that has no more than those is copied, or
/// upstream would wait for ever for a free one.
pub fn own(buffer: gst::Buffer, held: usize) -> gst::Buffer {
    use glib::translate::from_glib_none;
    use gst::prelude::BufferPoolExtManual as _;
    // SAFETY: `as_ptr` is the buffer's own structure, alive as long as `buffer`; its pool is NULL or alive as long as
    // the buffer is.
    let pool: Option<gst::BufferPool> = unsafe { from_glib_none((*buffer.as_ptr()).pool) };
    let bound = pool.and_then(|pool| Some(pool.config().params()?.3));
    // Some more are on their way in and out.
    let scarce = bound.is_some_and(|bound| bound > 0 && (bound as usize) < held + 4);
    if scarce && let Ok(copy) = buffer.copy_deep() {
        return copy;
    }
    buffer
}
