// SPDX-License-Identifier: MPL-2.0

//! Buffers of every layout that a GstVideoMeta can tell of, right and wrong: each is read and written within its bytes,
//! or refused.
//!
//! A normal test run takes few cases of a fixed seed. Under valgrind, with many and other ones (libtorch's own loading
//! is slow there; `planes` goes through the layer below the elements, `elements` through both elements' chain
//! functions):
//!
//! ```sh
//! cargo test --release --no-run --test fuzz_layout
//! FUZZ_CASES=20000 FUZZ_SEED=$RANDOM valgrind --error-exitcode=1 --leak-check=no --suppressions=tests/fuzz_layout.supp \
//!     $(ls -t target/release/deps/fuzz_layout-* | grep -v '\.d$' | head -1) planes
//! FUZZ_CASES=20000 FUZZ_SEED=$RANDOM cargo test --release --test fuzz_layout
//! ```

mod common;

use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};
use gstsparseadv::element::format;
use gstsparseadv::element::planes::{Frame, FrameMut, check};
use gstsparseadv::video::{Chroma, Geometry, Rows, RowsMut, View};

use common::frames::info;
use common::guarded;
use common::models::{Good, good};

const FORMATS: [VideoFormat; 8] = [
    VideoFormat::I420,
    VideoFormat::Nv12,
    VideoFormat::Rgb,
    VideoFormat::Bgrx,
    VideoFormat::Gray8,
    VideoFormat::Y42b,
    VideoFormat::Argb,
    VideoFormat::Y444,
];

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

fn setting(name: &str, otherwise: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(otherwise, |v| v.parse().expect("a number"))
}

/// A buffer, and what an independent look says of it.
struct Case {
    info: VideoInfo,
    buffer: gst::Buffer,
    meta: Option<(VideoFormat, u32, u32, u32)>,
    offset: [usize; 4],
    stride: [i32; 4],
}

impl Case {
    fn new(random: &mut Random) -> Self {
        let format = FORMATS[random.below(FORMATS.len())];
        let size = |random: &mut Random| 16 + random.below(24) as u32;
        let info = info(format, size(random), size(random));
        let (mut offset, mut stride) = ([0; 4], [0; 4]);
        let mut end = 0;
        for p in 0..info.n_planes() as usize {
            let (row, rows) = extent(&info, p);
            let step = row + random.below(9);
            end += random.below(5);
            (offset[p], stride[p]) = match random.one_in(3) {
                true => (end + step * (rows - 1), -(step as i32)),
                false => (end, step as i32),
            };
            end += step * (rows - 1) + row;
        }
        let mut bytes = end + random.below(3);
        if random.one_in(2) {
            let p = random.below(info.n_planes() as usize);
            let wild = [0, 1, -1, i32::MIN, i32::MAX, 1 << 30, stride[p] / 2, -stride[p]];
            match random.below(3) {
                0 => stride[p] = wild[random.below(wild.len())],
                1 => offset[p] = [usize::MAX, usize::MAX / 2, bytes, bytes + 9, 0][random.below(5)],
                _ => bytes = random.below(bytes + 1),
            }
        }
        let mut meta = (format, info.width(), info.height(), info.n_planes());
        if random.one_in(6) {
            match random.below(4) {
                0 => meta.0 = FORMATS[random.below(FORMATS.len())],
                1 => meta.1 = random.below(99) as u32,
                2 => meta.2 = random.below(99) as u32,
                _ => meta.3 = random.below(5) as u32,
            }
        }
        let meta = (!random.one_in(9)).then_some(meta);
        let mut buffer = in_memories(bytes, random);
        if let Some((format, width, height, planes)) = meta {
            use glib::translate::IntoGlib;
            // SAFETY: the arrays are of four, as the function reads `planes` of them, which is at most that.
            unsafe {
                gst_video::ffi::gst_buffer_add_video_meta_full(
                    buffer.make_mut().as_mut_ptr(),
                    gst_video::ffi::GST_VIDEO_FRAME_FLAG_NONE,
                    format.into_glib(),
                    width,
                    height,
                    planes,
                    &offset,
                    &stride,
                );
            }
        }
        buffer.make_mut().set_pts(gst::ClockTime::ZERO);
        if meta.is_none() {
            offset[..info.n_planes() as usize].copy_from_slice(info.offset());
            stride[..info.n_planes() as usize].copy_from_slice(info.stride());
        }
        Self { info, buffer, meta, offset, stride }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.buffer.size()];
        self.buffer.copy_to_slice(0, &mut bytes).expect("the bytes");
        bytes
    }

    /// Where a byte of a plane lies.
    fn at(&self, plane: usize, y: usize, x: usize) -> i128 {
        let down = i128::from(self.stride[plane]) * y as i128;
        self.offset[plane] as i128 + down + x as i128
    }

    fn readable(&self) -> bool {
        if let Some((format, width, height, planes)) = self.meta {
            let info = &self.info;
            if format != info.format() || planes < info.n_planes() {
                return false;
            }
            if width < info.width() || height < info.height() {
                return false;
            }
        } else if self.buffer.size() < self.info.size() {
            return false;
        }
        let within = |at: i128| (0..self.buffer.size() as i128).contains(&at);
        (0..self.info.n_planes() as usize).all(|p| {
            let (row, rows) = extent(&self.info, p);
            self.stride[p].unsigned_abs() as usize >= row
                && (0..rows).all(|y| within(self.at(p, y, 0)) && within(self.at(p, y, row - 1)))
        })
    }

    /// How many planes each byte belongs to.
    fn owners(&self) -> Vec<usize> {
        let mut owners = vec![0; self.buffer.size()];
        for p in 0..self.info.n_planes() as usize {
            let (row, rows) = extent(&self.info, p);
            for y in 0..rows {
                for x in 0..row {
                    owners[self.at(p, y, x) as usize] += 1;
                }
            }
        }
        owners
    }
}

fn extent(info: &VideoInfo, plane: usize) -> (usize, usize) {
    let format = info.format_info();
    let of_plane = |c: &usize| format.plane()[*c] as usize == plane;
    let components = (0..format.n_components() as usize).filter(of_plane);
    let extents = components.map(|c| {
        let width = format.scale_width(c as u8, info.width()) as usize;
        let row = (width - 1) * format.pixel_stride()[c] as usize + format.poffset()[c] as usize + 1;
        (row, format.scale_height(c as u8, info.height()) as usize)
    });
    extents.max().expect("a component")
}

/// Bytes in up to four memories, none of them a byte longer than it says.
fn in_memories(bytes: usize, random: &mut Random) -> gst::Buffer {
    let mut buffer = gst::Buffer::new();
    let mut left = bytes;
    while left > 0 {
        let last = random.one_in(2) || buffer.n_memory() == 3;
        let len = if last { left } else { 1 + random.below(left) };
        let data: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        let memory = gst::Memory::from_mut_slice(data.into_boxed_slice());
        buffer.make_mut().append_memory(memory);
        left -= len;
    }
    buffer
}

/// Reads and writes frames by the layer that both elements use.
#[test]
fn planes_are_read_and_written_within_their_bytes() {
    common::init();
    let mut random = Random(setting("FUZZ_SEED", 10) | 1);
    let mut accepted = 0;
    let cases = setting("FUZZ_CASES", 3000);
    for n in 0..cases {
        let mut case = Case::new(&mut random);
        let about = format!("case {n}: {:?} {:?} {:?}", case.meta, case.offset, case.stride);
        let (readable, before) = (case.readable(), case.bytes());
        match Frame::read(&case.buffer, &case.info) {
            Ok(frame) => {
                assert!(readable, "{about}");
                for p in 0..case.info.n_planes() as usize {
                    let (row, rows) = extent(&case.info, p);
                    for y in 0..rows {
                        let begin = case.at(p, y, 0) as usize;
                        assert_eq!(frame.row(p, y), &before[begin..begin + row], "{about}");
                    }
                }
            }
            Err(text) => {
                assert!(!readable, "{about}: {text}");
                assert!(text.contains("Expected") && text.contains("found"), "{text}");
                assert!(check(&case.buffer, &case.info).is_err());
                continue;
            }
        }
        let owners = case.owners();
        let shared = owners.iter().any(|n| *n > 1);
        if check(&case.buffer, &case.info).is_err() {
            assert!(shared || overlapping_strides(&case), "{about}");
            continue;
        }
        assert!(!shared, "{about}: two planes share bytes");
        accepted += 1;
        let info = case.info.clone();
        let buffer = case.buffer.make_mut();
        let layout = format::layout(&info);
        let geometry = Geometry { resized: [8, 8], crop: [8, 8], antialias: false };
        let view = View::new(&layout, geometry, Chroma::Repeated);
        let mut frame = FrameMut::write(buffer, &info).expect("a frame to write to");
        view.render(&mut frame, &vec![9.0; view.len()]);
        frame.row_mut(0, 0)[0] = 0;
        drop(frame);
        let _ = view.sample(&Frame::read(&case.buffer, &info).expect("a frame"));
        for (at, (a, b)) in before.iter().zip(case.bytes()).enumerate() {
            assert!(*a == b || owners[at] == 1, "{about}: byte {at} is of no plane");
        }
    }
    assert!(accepted > cases / 6, "only {accepted} of {cases} are right");
}

/// Planes of other strides within each other's reach are refused, though no byte may be shared.
fn overlapping_strides(case: &Case) -> bool {
    let mut strides = case.stride[..case.info.n_planes() as usize].to_vec();
    strides.iter_mut().for_each(|s| *s = s.abs());
    strides.dedup();
    strides.len() > 1
}

/// The same through the chain functions of both elements.
#[test]
fn elements_take_or_refuse_whole_frames() {
    guarded(300, || {
        let model = good(Good::default());
        let mut random = Random(setting("FUZZ_SEED", 11) | 1);
        let mut taken = 0;
        for n in 0..setting("FUZZ_CASES", 3000) / 50 {
            let case = Case::new(&mut random);
            for name in ["sparseadv", "clipclassifier"] {
                let element = gst::ElementFactory::make(name).build().expect("the element");
                element.set_property("model", model.location());
                if name == "sparseadv" {
                    element.set_property_from_str("max-iterations", "1");
                }
                let mut harness = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
                harness.set_src_caps(case.info.to_caps().expect("caps"));
                let pushed = harness.push(case.buffer.copy_deep().expect("a copy"));
                let right = case.readable();
                let shared = right && case.owners().iter().any(|n| *n > 1);
                let about = format!("{name}, case {n}: {:?} {:?} {:?}", case.meta, case.offset, case.stride);
                if !right || (shared && name == "sparseadv") {
                    assert!(pushed.is_err(), "{about}");
                    continue;
                }
                if pushed.is_err() {
                    assert!(overlapping_strides(&case), "{about}");
                    continue;
                }
                assert!(harness.push_event(gst::event::Eos::new()));
                let came = harness.pull().expect("the frame");
                assert_eq!(came.size(), case.buffer.size(), "{about}");
                taken += 1;
            }
        }
        assert!(taken > 5, "only {taken} were taken");
    });
}
