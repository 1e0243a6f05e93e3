// SPDX-License-Identifier: MPL-2.0

//! All formats, at odd sizes and with padded rows: only bytes that hold color change.

use gst_video::{VideoFormat, VideoInfo};
use gstsparseadv::element::format::FORMATS;

use crate::common::frames::{bytes, color_bytes, frame, info, padded_frame};
use crate::common::guarded;
use crate::common::models::{Good, ModelFile, good};
use crate::common::oracle::{Cut, check_frames, real, reports, windows};
use crate::common::rig::Rig;

const CUT: Cut = Cut { window: 4, step: 1, stride: 0, pad: true };

/// Sends six frames through and checks them; returns how many bytes changed.
fn run(model: &ModelFile, info: &VideoInfo, make: impl Fn(u64) -> gst::Buffer) -> usize {
    println!("{:?} {}x{}", info.format(), info.width(), info.height());
    let rig = Rig::new(model, &[("max-iterations", "60")]);
    let given: Vec<_> = (0..6).map(make).collect();
    rig.begin(info);
    rig.feed(given.iter().cloned());
    rig.finish();
    let came = rig.buffers();
    check_frames(&given, &came, &windows(6, CUT), &reports(&rig));
    let mut changed = 0;
    for (a, b) in given.iter().zip(&came) {
        let color = color_bytes(info, a);
        for (at, (x, y)) in bytes(a).iter().zip(bytes(b)).enumerate() {
            assert!(*x == y || color[at], "byte {at} holds no color and has changed");
            changed += usize::from(*x != y);
        }
    }
    changed
}

fn all(width: u32, height: u32, padding: Option<usize>) {
    guarded(120, move || {
        let model = good(Good::default());
        for format in FORMATS {
            let info = info(format, width, height);
            let changed = match padding {
                None => run(&model, &info, |i| frame(&info, i)),
                Some(pad) => run(&model, &info, |i| padded_frame(&info, i, pad)),
            };
            assert!(changed > 0, "{format:?} was not attacked");
        }
    });
}

#[test]
fn the_smallest_size() {
    all(16, 16, None);
}

#[test]
fn odd_sizes() {
    all(33, 17, None);
}

#[test]
fn padded_rows_and_planes_elsewhere() {
    all(33, 17, Some(13));
}

#[test]
fn tall_and_padded() {
    all(17, 51, Some(1));
}

/// The caps' colorimetry decides what a model sees of the same bytes.
#[test]
fn range_and_matrix_of_the_caps_are_used() {
    guarded(60, || {
        let model = good(Good::default());
        let probability = |format: VideoFormat, colorimetry: &str| {
            let caps = info(format, 16, 16).to_caps().expect("caps");
            let mut caps = caps.to_owned();
            caps.make_mut().set("colorimetry", colorimetry);
            let rig = Rig::new(&model, &[]);
            let info = VideoInfo::from_caps(&caps).expect("info");
            rig.begin(&info);
            // Dark, so that no label is certain.
            rig.feed((0..4).map(|i| {
                let mut buffer = frame(&info, i);
                let b = buffer.make_mut();
                let mut map = b.map_writable().expect("a map");
                map.iter_mut().for_each(|v| *v = *v / 4 + 16);
                drop(map);
                buffer
            }));
            rig.finish();
            real(&reports(&rig)[0], "clean_probability")
        };
        let mut seen = Vec::new();
        for (format, colorimetry) in [
            (VideoFormat::I420, "bt601"),
            (VideoFormat::I420, "bt709"),
            (VideoFormat::I420, "1:4:0:1"),
            (VideoFormat::Gray8, "bt601"),
            (VideoFormat::Gray8, "1:4:0:1"),
        ] {
            let p = probability(format, colorimetry);
            assert!(!seen.contains(&p), "{format:?} {colorimetry} as another before");
            seen.push(p);
        }
    });
}
