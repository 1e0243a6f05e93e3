// SPDX-License-Identifier: MPL-2.0

//! `mode=causal`: what is learned of frames that have passed goes into those that come, and none of them waits.

mod common;

use std::time::Duration;

use common::frames::{bytes, frame, rgb, texture};
use common::guarded;
use common::live::slow_model;
use common::models::{Good, ModelFile, SIDE, good};
use common::oracle::{number, real, reports_in};
use common::rig::Rig;
use gst::prelude::*;

/// Frames that arrive one by one until so many windows of the last scene are fooled one after the other. Returns the
/// reports of the scene.
fn shown_until_fooled(rig: &Rig, seed: u64, first: u64) -> Vec<serde_json::Value> {
    let mut messages = Vec::new();
    for n in first..first + 6000 {
        let mut shown = gst::Buffer::from_mut_slice(texture(3 * SIDE * SIDE, seed));
        shown.make_mut().set_pts(frame(&rgb(), n).pts());
        rig.feed([shown]);
        // It leaves before the next one comes.
        rig.wait_for_buffers(n as usize + 1);
        std::thread::sleep(Duration::from_millis(10));
        messages.extend(rig.messages());
        let scene = reports_in(&messages).into_iter().filter(|report| number(report, "first_frame") >= first);
        let scene: Vec<_> = scene.collect();
        let fooled = |report: &serde_json::Value| report["clean_label"] != report["final_label"];
        if scene.len() >= 5 && scene[scene.len() - 5..].iter().all(fooled) {
            return scene;
        }
    }
    panic!("nothing was learned of scene {seed}");
}

/// Bounded, at once, and again after the scene has changed.
#[test]
fn what_is_learned_of_a_scene_fools_the_rest_of_it() {
    guarded(120, || {
        let model = good(Good::default());
        let rig = Rig::live(&model, &[("mode", "causal"), ("epsilon", "40")], gst::ClockTime::ZERO);
        rig.begin(&rgb());
        let first = shown_until_fooled(&rig, 1, 0);
        let came = rig.buffers().len() as u64;
        let second = shown_until_fooled(&rig, 2, came);
        for scene in [first, second] {
            assert_eq!(scene[0]["clean_label"], scene[0]["final_label"], "fooled before anything was learned");
            assert!(scene.iter().all(|report| real(report, "max_abs") <= 40.0));
        }
        rig.finish();
    });
}

/// The latency that the element adds.
fn latency(rig: &Rig) -> Duration {
    let mut query = gst::query::Latency::new();
    assert!(rig.element.static_pad("src").expect("a pad").query(query.query_mut()));
    query.result().1.into()
}

/// A pass takes fifty times as long as a frame is shown.
#[test]
fn a_slow_model_holds_no_frame_up() {
    guarded(120, || {
        let model = slow_model(Duration::from_millis(500));
        let rig = Rig::live(&model, &[("mode", "causal")], gst::ClockTime::ZERO);
        rig.begin(&rgb());
        let mut messages = Vec::new();
        let mut n = 0;
        // Some pass ends, and many frames have come and left by then.
        while reports_in(&messages).is_empty() {
            rig.feed([frame(&rgb(), n)]);
            n += 1;
            rig.wait_for_buffers(n as usize);
            std::thread::sleep(Duration::from_millis(10));
            messages.extend(rig.messages());
        }
        assert!(n > 16, "{n} frames while a window was judged");
        assert_eq!(latency(&rig), Duration::ZERO);
        rig.finish();
    });
}

/// What `mode=auto` chose, and the latency that it tells.
fn chosen(model: &ModelFile, live: bool, more: &[(&str, &str)]) -> (String, Duration) {
    let properties = [&[("mode", "auto")], more].concat();
    let rig = Rig::build(Some(model), &properties, live.then_some(gst::ClockTime::ZERO));
    rig.play();
    rig.begin(&rgb());
    rig.feed((0..8).map(|i| frame(&rgb(), i)));
    let latency = latency(&rig);
    let messages = rig.messages();
    let of_mode =
        |message: &gst::Message| message.structure().filter(|s| s.name() == "sparseadv-mode").map(|s| s.to_owned());
    let said: Vec<gst::Structure> = messages.iter().filter_map(of_mode).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].get::<bool>("live"), Ok(live));
    let mode = said[0].get::<String>("mode").expect("a mode");
    // What is chosen is no property's to change.
    rig.element.set_property("patience", 3i32);
    rig.feed((8..16).map(|i| frame(&rgb(), i)));
    rig.finish();
    assert_eq!(rig.buffers().len(), 16);
    let reports = reports_in(&[messages, rig.messages()].concat());
    assert!(!reports.is_empty());
    assert!(reports.iter().all(|report| report["settings"]["mode"] == mode.as_str()), "{reports:?}");
    (mode, latency)
}

#[test]
fn the_mode_is_by_what_the_model_keeps_up_with() {
    guarded(120, || {
        let (fast, slow) = (good(Good::default()), slow_model(Duration::from_millis(100)));
        assert_eq!(chosen(&slow, true, &[]), ("causal".into(), Duration::ZERO));
        // It has time, or it has to go through a codec.
        assert_eq!(chosen(&slow, false, &[("max-iterations", "1")]).0, "window");
        assert_eq!(chosen(&slow, true, &[("survive", "identity"), ("max-iterations", "1")]).0, "window");
        let (mode, latency) = chosen(&fast, true, &[]);
        assert_eq!(mode, "window");
        assert!(!latency.is_zero());
    });
}

#[test]
fn it_begins_with_what_was_learned_before() {
    guarded(60, || {
        let model = good(Good::default());
        let path = model.adding(7);
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
        let path = model.adding_to_views(7, SIDE + 1);
        let rig = Rig::idle(&model, &[("mode", "causal"), ("perturbation", &path)]);
        assert!(rig.element.set_state(gst::State::Playing).is_err());
        assert!(rig.errors()[0].contains("mode=window"), "{:?}", rig.errors());
        let rig = Rig::build(None, &[("mode", "causal"), ("perturbation", &path)], None);
        assert!(rig.element.set_state(gst::State::Playing).is_err());
        assert!(rig.errors()[0].contains("model=FILE.pt"), "{:?}", rig.errors());
    });
}

#[test]
fn a_perturbation_leaves_nothing_to_choose() {
    guarded(60, || {
        let model = good(Good::default());
        let path = model.adding(7);
        let rig = Rig::idle(&model, &[("mode", "auto"), ("perturbation", &path)]);
        assert!(rig.element.set_state(gst::State::Playing).is_err());
        assert!(rig.errors()[0].contains("mode=causal"), "{:?}", rig.errors());
    });
}
