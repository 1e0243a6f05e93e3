// SPDX-License-Identifier: MPL-2.0

//! Universal perturbations on their way into frames: `perturbation=FILE`.

mod common;

use std::path::PathBuf;
use std::time::Duration;

use common::frames::{bytes, color_bytes, frame, info, padded_frame, rgb};
use common::guarded;
use common::live::{self, slow_model};
use common::models::{Good, Noise, SIDE, good};
use common::oracle::{header, number, real, reports, reports_in};
use common::rig::Rig;
use gst::prelude::*;
use gst_video::VideoFormat;
use gstsparseadv::model::Metadata;
use gstsparseadv::universal::{FORMAT, Header, Kind, Universal, Values};

/// A perturbation by chance for models of `SIDE` pixels and windows of four frames, and the file it is in.
struct Learned {
    universal: Universal,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

fn header_of(kind: Kind, frame_step: usize) -> Header {
    let metadata =
        format!(r#"{{"window": 4, "resize": [{SIDE}, {SIDE}], "crop": [{SIDE}, {SIDE}], "frame_step": {frame_step}}}"#);
    let view = Metadata::from_json(metadata.as_bytes(), "the test").expect("metadata");
    Header { format: FORMAT, kind, view, model_sha256: "none".into(), learned: serde_json::Map::new() }
}

fn universal(kind: Kind, frame_step: usize) -> Universal {
    let mut noise = Noise::new(5);
    let period = if kind.is_still() { 1 } else { 4 };
    let side = if kind == Kind::Flicker { 1 } else { SIDE };
    let count = period * 3 * side * side;
    let values = match kind.replaces() {
        true => Values::Shown((0..count).map(|_| (noise.unit() * 127.0 + 128.0) as u8).collect()),
        false => Values::Added((0..count).map(|_| (noise.unit() * 30.0) as i8).collect()),
    };
    Universal { header: header_of(kind, frame_step), values, shape: [period, 3, side, side] }
}

fn learned(kind: Kind, frame_step: usize) -> Learned {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("noise.safetensors");
    let universal = universal(kind, frame_step);
    universal.save(&path).expect("a file");
    Learned { universal, path, _folder: folder }
}

const KINDS: [Kind; 5] = [
    Kind::Circular,
    Kind::Frame,
    Kind::Border(2),
    Kind::Flicker,
    Kind::Region { top: 3, left: 5, height: 4, width: 7 },
];

impl Learned {
    fn rig(&self, live: Option<gst::ClockTime>) -> Rig {
        let path = self.path.to_str().expect("a path in UTF-8");
        let rig = Rig::build(None, &[("perturbation", path)], live);
        rig.play();
        rig
    }

    /// A pixel of a frame of the size of the view, by the definition of its kind.
    fn pixel(&self, number: usize, [y, x]: [usize; 2], channel: usize, clean: u8) -> u8 {
        let Universal { header: Header { kind, view, .. }, values, shape } = &self.universal;
        let phase = number / view.frame_step % shape[0];
        let at = match kind {
            Kind::Flicker => phase * 3 + channel,
            _ => ((phase * 3 + channel) * SIDE + y) * SIDE + x,
        };
        let inside = match kind {
            Kind::Border(width) => y.min(x).min(SIDE - 1 - y).min(SIDE - 1 - x) < *width,
            Kind::Region { top, left, height, width } => {
                (*top..top + height).contains(&y) && (*left..left + width).contains(&x)
            }
            _ => true,
        };
        match values {
            Values::Added(values) => (i16::from(clean) + i16::from(values[at])).clamp(0, 255) as u8,
            Values::Shown(values) if inside => values[at],
            Values::Shown(_) => clean,
        }
    }
}

#[test]
fn every_kind_does_to_a_frame_what_it_says() {
    guarded(60, || {
        for kind in KINDS {
            for step in [1, 2] {
                let learned = learned(kind, step);
                let rig = learned.rig(None);
                let frames: Vec<_> = (0..11).map(|i| frame(&rgb(), i)).collect();
                rig.begin(&rgb());
                rig.feed(frames.iter().cloned());
                rig.finish();
                assert_eq!(rig.buffers().len(), frames.len());
                for (n, (given, came)) in frames.iter().zip(rig.buffers()).enumerate() {
                    assert_eq!(header(given), header(&came), "{kind:?}");
                    let (given, came) = (bytes(given), bytes(&came));
                    for (i, (given, came)) in given.iter().zip(&came).enumerate() {
                        let [y, x] = [i / 3 / SIDE, i / 3 % SIDE];
                        let expected = learned.pixel(n, [y, x], i % 3, *given);
                        assert_eq!(*came, expected, "{kind:?}, step {step}, frame {n}, at {y} {x}");
                    }
                }
            }
        }
    });
}

/// Without a window to gather, and without a latency.
#[test]
fn a_frame_leaves_before_the_next_one_comes() {
    guarded(60, || {
        let learned = learned(Kind::Circular, 1);
        let rig = learned.rig(Some(gst::ClockTime::from_mseconds(5)));
        rig.begin(&rgb());
        for n in 0..9 {
            rig.feed([frame(&rgb(), n)]);
            rig.wait_for_buffers(n as usize + 1);
        }
        let mut query = gst::query::Latency::new();
        assert!(rig.element.query(&mut query));
        assert!(query.result().0);
        assert_eq!(query.result().1, gst::ClockTime::from_mseconds(5));
        // A frame that is on its way, and one behind it.
        let caps = rgb().to_caps().expect("caps");
        let mut query = gst::query::Allocation::new(Some(&caps), true);
        assert!(rig.src.peer_query(query.query_mut()));
        assert!(query.allocation_pools().next().is_some_and(|pool| pool.2 <= 2 + 3));
        rig.finish();
        let late = rig.messages().into_iter().any(|m| m.type_() == gst::MessageType::Error);
        assert!(!late);
    });
}

/// Any format and size, rows that are padded: the same as an attack's perturbation of these values does to the frame.
#[test]
fn it_is_rendered_as_an_attack_renders() {
    guarded(120, || {
        let learned = learned(Kind::Frame, 1);
        for (format, width, height) in [
            (VideoFormat::I420, 64, 48),
            (VideoFormat::Nv12, 17, 33),
            (VideoFormat::Y42b, 40, 30),
            (VideoFormat::Bgrx, 33, 21),
            (VideoFormat::Gray8, 50, 50),
        ] {
            let info = info(format, width, height);
            for pad in [0, 5] {
                let given = if pad > 0 { padded_frame(&info, 3, pad) } else { frame(&info, 3) };
                let rig = learned.rig(None);
                rig.begin(&info);
                assert_eq!(rig.push(given.clone()), Ok(gst::FlowSuccess::Ok), "{format:?}: {:?}", rig.errors());
                rig.finish();
                let came = &rig.buffers()[0];
                let color = color_bytes(&info, &given);
                let mut attacked = given.copy_deep().expect("a copy");
                let stream = gstsparseadv::element::stream::Stream::new(info.clone(), &learned.universal.header.view);
                let delta: Vec<f32> = learned.universal.expanded(0);
                stream.render(attacked.make_mut(), &delta).expect("a rendered frame");
                let (given, came, attacked) = (bytes(&given), bytes(came), bytes(&attacked));
                let mut changed = 0;
                for i in 0..given.len() {
                    if !color[i] {
                        assert_eq!(came[i], given[i], "{format:?}: no color");
                    }
                    // Half a gray level is rounded with the sample there, and without it here.
                    assert!(came[i].abs_diff(attacked[i]) <= 1, "{format:?}, {i}: {} and {}", came[i], attacked[i]);
                    changed += usize::from(came[i] != given[i]);
                }
                assert!(changed * 2 > color.iter().filter(|c| **c).count(), "{format:?}: {changed}");
            }
        }
    });
}

/// Of a file every window, at every offset where that is asked for, by the model as the independent judge has it.
#[test]
fn a_model_says_what_became_of_the_windows() {
    guarded(60, || {
        let (learned, model) = (learned(Kind::Circular, 1), good(Good::default()));
        for (stride, expected) in [("0", vec![0, 4, 8]), ("1", (0..9).collect()), ("3", vec![0, 3, 6])] {
            let path = learned.path.to_str().expect("a path in UTF-8");
            let rig = Rig::new(&model, &[("perturbation", path), ("stride", stride)]);
            let frames: Vec<_> = (0..12).map(|i| frame(&rgb(), i)).collect();
            rig.begin(&rgb());
            rig.feed(frames.iter().cloned());
            rig.finish();
            let came = rig.buffers();
            let reports = reports(&rig);
            let firsts: Vec<u64> = reports.iter().map(|report| number(report, "first_frame")).collect();
            assert_eq!(firsts, expected);
            for (report, first) in reports.iter().zip(expected) {
                let of = |frames: &[gst::Buffer]| {
                    let window: Vec<_> = frames[first as usize..][..4].iter().map(|b| bytes(b)).collect();
                    (model.label(&window) as u64, window.concat())
                };
                let ((clean, before), (changed, after)) = (of(&frames), of(&came));
                assert_eq!(number(report, "clean_label"), clean);
                assert_eq!(number(report, "final_label"), changed);
                assert_eq!(report["success"].as_bool(), Some(clean != changed));
                let apart: u64 = before.iter().zip(&after).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
                let map = apart as f64 / before.len() as f64;
                assert!((real(report, "map") - map).abs() < 1e-4, "{} and {map}", real(report, "map"));
            }
            let stats = rig.stats();
            assert_eq!(stats.get::<u64>("windows"), Ok(reports.len() as u64));
            assert_eq!(stats.get::<u64>("forwards"), Ok(2 * reports.len() as u64));
        }
    });
}

/// A window that nobody can judge in time is not waited for.
#[test]
fn a_live_stream_waits_for_no_model() {
    guarded(120, || {
        let learned = learned(Kind::Frame, 1);
        let model = slow_model(Duration::from_millis(300));
        let element = format!("sparseadv model={} perturbation={}", model.location(), learned.path.display());
        let figures = live::run(90, 30, None, &element, Box::new(|_, _, _, _| true));
        assert_eq!(figures.came, figures.sent);
        assert_eq!(figures.promised, Duration::ZERO);
        let windows = reports_in(&figures.messages).len();
        // Of twenty-two windows in three seconds not all can have two passes. How many do depends on what else runs.
        assert!((1..22).contains(&windows), "{windows}");
        let total = figures.messages.iter().find_map(|m| m.structure().filter(|s| s.name() == "sparseadv-stats"));
        let total = total.expect("totals");
        assert_eq!(total.get::<u64>("windows"), Ok(22));
        assert_eq!(total.get::<u64>("unclassified"), Ok(22 - windows as u64));
    });
}

#[test]
fn a_disabled_element_changes_nothing() {
    guarded(60, || {
        let rig = learned(Kind::Frame, 1).rig(None);
        rig.begin(&rgb());
        rig.feed([frame(&rgb(), 0)]);
        rig.wait_for_buffers(1);
        rig.element.set_property("enabled", false);
        rig.feed([frame(&rgb(), 1)]);
        rig.wait_for_buffers(2);
        rig.element.set_property("enabled", true);
        rig.feed([frame(&rgb(), 2)]);
        rig.wait_for_buffers(3);
        let same = |n: u64| bytes(&rig.buffers()[n as usize]) == bytes(&frame(&rgb(), n));
        assert_eq!([0, 1, 2].map(same), [false, true, false]);
    });
}

#[test]
fn a_file_holds_what_was_saved() {
    for kind in KINDS {
        let learned = learned(kind, 3);
        assert_eq!(Universal::load(&learned.path).expect("a perturbation"), learned.universal);
    }
}

#[test]
fn the_embedded_ones_are_of_the_embedded_models() {
    let readme = std::fs::read_to_string("examples/README.md").expect("a document");
    for (name, title) in [("c3d", "C3D"), ("lrcn", "LRCN")] {
        let file = |extension: &str| PathBuf::from(format!("examples/data/figures-{name}.{extension}"));
        let universal = Universal::load(&file("safetensors")).expect("a perturbation");
        let model = gstsparseadv::provenance::sha256(&file("pt")).expect("a model");
        assert_eq!(universal.header.model_sha256, model);
        let held_out = &universal.header.learned["held_out"];
        let share = held_out["reached"][0].as_f64().expect("a share");
        let said = format!("{:.0} % ({title})", 100.0 * share);
        assert!(share > 0.5 && readme.contains(&said), "{said}");
        assert_eq!(held_out["windows"].as_u64(), Some(100));
    }
}

/// Whatever the bytes are: an answer, and no panic.
#[test]
fn a_damaged_file_is_refused_or_read() {
    let learned = learned(Kind::Flicker, 2);
    let whole = std::fs::read(&learned.path).expect("the file");
    let mut chance = Noise::new(11);
    let (mut refused, mut below) = (0, |n: usize| chance.next() as usize % n);
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..1 + below(3) {
            let at = below(bytes.len());
            match below(4) {
                0 => bytes[at] ^= 1 << below(8),
                1 => bytes[at] = below(256) as u8,
                2 => bytes.truncate(at.max(1)),
                // Digits of sizes and places.
                _ => {
                    let digits: Vec<usize> = (0..bytes.len()).filter(|i| bytes[*i].is_ascii_digit()).collect();
                    if !digits.is_empty() {
                        bytes[digits[below(digits.len())]] = b'0' + below(10) as u8;
                    }
                }
            }
        }
        match Universal::from_bytes(&bytes) {
            Ok(universal) => assert!(universal.shape.iter().product::<usize>() <= bytes.len()),
            Err(text) => {
                assert!(!text.is_empty());
                refused += 1;
            }
        }
    }
    assert!(refused > 1000, "{refused}");
}

/// Each names the file, and says what is wrong with it.
#[test]
fn a_file_that_is_none_is_refused() {
    guarded(60, || {
        let learned = learned(Kind::Border(2), 1);
        let whole = std::fs::read(&learned.path).expect("the file");
        let mut other = universal(Kind::Border(2), 1);
        other.header.format = 9;
        let mut wide = universal(Kind::Border(2), 1);
        wide.header.kind = Kind::Region { top: 0, left: 0, height: SIDE + 1, width: 1 };
        let mut still = universal(Kind::Circular, 1);
        still.header.kind = Kind::Frame;
        let mut added = universal(Kind::Frame, 1);
        added.header.kind = Kind::Border(2);
        let bytes_of = |universal: &Universal| {
            let path = learned.path.with_file_name("other");
            universal.save(&path).expect("a file");
            std::fs::read(&path).expect("the file")
        };
        let cases = [
            (whole[..whole.len() / 2].to_vec(), "safetensors"),
            (b"no perturbation at all, but some text".to_vec(), "safetensors"),
            (Vec::new(), "safetensors"),
            (bytes_of(&other), "format 9"),
            (bytes_of(&wide), "view of 16 rows"),
            (bytes_of(&still), "shape"),
            (bytes_of(&added), "type I8"),
        ];
        let path = learned.path.with_file_name("case");
        for (content, expected) in cases {
            std::fs::write(&path, content).expect("a file");
            let rig = Rig::build(None, &[("perturbation", path.to_str().expect("UTF-8"))], None);
            assert!(rig.element.set_state(gst::State::Playing).is_err(), "{expected}");
            let errors = rig.errors();
            assert!(errors[0].contains("case") && errors[0].contains(expected), "{expected}: {errors:?}");
        }
        let rig = Rig::build(None, &[("perturbation", "/nowhere/noise")], None);
        assert!(rig.element.set_state(gst::State::Playing).is_err());
        assert!(rig.errors()[0].contains("/nowhere/noise"));
    });
}
