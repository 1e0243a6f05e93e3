// SPDX-License-Identifier: MPL-2.0

//! `mode=causal`: what is learned of frames that have passed goes into those that come, and none of them waits.

mod common;

use std::time::Duration;

use common::frames::{bytes, frame, rgb, texture};
use common::guarded;
use common::live::{self, Disturb, Figures, slow_model};
use common::models::{Good, ModelFile, SIDE, good};
use common::oracle::{number, real, reports_in};
use common::rig::Rig;
use gst::prelude::*;
use gstsparseadv::model::Metadata;
use gstsparseadv::universal::Universal;

const RATE: u32 = 30;

/// Frames that show one picture, and from frame `cut` on another.
fn scenes(cut: u64) -> Disturb {
    Box::new(move |n, _, buffer, _| {
        let picture = texture(3 * SIDE * SIDE, if n < cut { 1 } else { 2 });
        let times = (buffer.pts(), buffer.duration());
        let mut shown = gst::Buffer::from_mut_slice(picture);
        let shown_mut = shown.make_mut();
        shown_mut.set_pts(times.0);
        shown_mut.set_duration(times.1);
        *buffer = shown;
        true
    })
}

fn causal(model: &ModelFile, frames: u32, cut: u64, more: &str) -> Figures {
    let element = format!("sparseadv model={} mode=causal {more}", model.location());
    live::run(frames, RATE, None, &element, scenes(cut))
}

/// Bounded, at once, and again after the scene has changed.
#[test]
fn what_is_learned_of_a_scene_fools_the_rest_of_it() {
    guarded(120, || {
        let model = good(Good::default());
        let figures = causal(&model, 180, 90, "epsilon=40");
        assert_eq!((figures.came, figures.dropped), (figures.sent, 0));
        assert_eq!(figures.promised, Duration::ZERO);
        let reports = reports_in(&figures.messages);
        let whole = |report: &&serde_json::Value| {
            let first = number(report, "first_frame");
            !(87..90).contains(&first)
        };
        let scene = |from: u64, to: u64| {
            let within = reports.iter().filter(whole).filter(move |r| (from..to).contains(&number(r, "first_frame")));
            within.map(|r| r["clean_label"] != r["final_label"]).collect::<Vec<_>>()
        };
        let (first, second) = (scene(0, 90), scene(90, 180));
        assert!(first.len() > 10 && second.len() > 10, "{first:?} {second:?}");
        for windows in [first, second] {
            let rest = &windows[windows.len() / 2..];
            let fooled = rest.iter().filter(|fooled| **fooled).count();
            assert!(fooled * 4 >= rest.len() * 3, "{windows:?}");
        }
        for report in &reports {
            assert!(real(report, "max_abs") <= 40.0, "{report}");
        }
    });
}

#[test]
fn a_slow_model_holds_no_frame_up() {
    guarded(120, || {
        let figures = causal(&slow_model(Duration::from_millis(200)), 120, 1000, "");
        assert_eq!((figures.came, figures.dropped), (figures.sent, 0));
        assert_eq!(figures.promised, Duration::ZERO);
        assert!(!reports_in(&figures.messages).is_empty());
    });
}

fn universal(side: usize) -> Universal {
    let metadata = format!(r#"{{"window": 4, "resize": [{side}, {side}], "crop": [{side}, {side}]}}"#);
    let view = Metadata::from_json(metadata.as_bytes(), "the test").expect("metadata");
    let mut universal = Universal::nothing(view, "none");
    universal.values = gstsparseadv::universal::Values::Added(vec![7; 3 * side * side]);
    universal
}

#[test]
fn it_begins_with_what_was_learned_before() {
    guarded(60, || {
        let model = good(Good::default());
        let path = model.beside("seven.safetensors");
        universal(SIDE).save(path.as_ref()).expect("a file");
        let rig = Rig::live(&model, &[("mode", "causal"), ("perturbation", &path)], gst::ClockTime::ZERO);
        rig.begin(&rgb());
        rig.feed([frame(&rgb(), 0)]);
        rig.wait_for_buffers(1);
        let expected: Vec<u8> = bytes(&frame(&rgb(), 0)).into_iter().map(|v| v.saturating_add(7)).collect();
        assert!(bytes(&rig.buffers()[0]) == expected);
        rig.finish();
    });
}

#[test]
fn a_perturbation_of_other_views_is_refused() {
    guarded(60, || {
        let model = good(Good::default());
        let path = model.beside("other.safetensors");
        universal(SIDE + 1).save(path.as_ref()).expect("a file");
        let rig = Rig::idle(&model, &[("mode", "causal"), ("perturbation", &path)]);
        assert!(rig.element.set_state(gst::State::Playing).is_err());
        assert!(rig.errors()[0].contains("mode=window"), "{:?}", rig.errors());
        let rig = Rig::build(None, &[("mode", "causal"), ("perturbation", &path)], None);
        assert!(rig.element.set_state(gst::State::Playing).is_err());
        assert!(rig.errors()[0].contains("model=FILE.pt"), "{:?}", rig.errors());
    });
}
