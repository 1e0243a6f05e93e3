// SPDX-License-Identifier: MPL-2.0

//! `warm-start`: a window first tries what the window before it got.

mod common;

use common::frames::{bytes, rgb, stamped, texture};
use common::guarded;
use common::models::{Good, ModelFile, SIDE, good};
use common::oracle::{number, reports};
use common::rig::Rig;
use serde_json::Value;

const WINDOW: usize = 4;

/// Three windows of one picture, with a little noise, and two and a half of another.
fn scenes() -> Vec<gst::Buffer> {
    let picture = |n: u64| {
        let scene = texture(3 * SIDE * SIDE, if n < 12 { 1 } else { 2 });
        let noisy = scene.into_iter().zip(texture(3 * SIDE * SIDE, 50 + n));
        stamped(gst::Buffer::from_mut_slice(noisy.map(|(v, noise)| v ^ (noise & 1)).collect::<Vec<u8>>()), n)
    };
    (0..22).map(picture).collect()
}

fn attacked(model: &ModelFile, more: &[(&str, &str)]) -> (Vec<Value>, Vec<Vec<u8>>) {
    attacked_on(model, more, scenes())
}

fn attacked_on(model: &ModelFile, more: &[(&str, &str)], frames: Vec<gst::Buffer>) -> (Vec<Value>, Vec<Vec<u8>>) {
    let rig = Rig::new(model, more);
    rig.begin(&rgb());
    rig.feed(frames);
    rig.finish();
    (reports(&rig), rig.buffers().iter().map(|buffer| bytes(buffer)).collect())
}

#[test]
fn a_steady_scene_costs_a_fraction_and_a_cut_begins_anew() {
    guarded(60, || {
        let model = good(Good::default());
        let (cold, _) = attacked(&model, &[("batch-windows", "1")]);
        let (warm, frames) = attacked(&model, &[("warm-start", "true")]);
        assert_eq!((cold.len(), warm.len()), (6, 6));
        let verdicts = |reports: &[Value]| reports.iter().map(|r| r["success"].clone()).collect::<Vec<_>>();
        assert_eq!(verdicts(&warm), verdicts(&cold));
        assert_eq!(verdicts(&warm), vec![Value::Bool(true); 6]);
        // The first of a scene has nothing to try.
        for window in [0, 3] {
            for field in ["queries", "keyframes", "map"] {
                assert_eq!(warm[window][field], cold[window][field], "window {window}, {field}");
            }
        }
        let queries = |reports: &[Value], window: usize| number(&reports[window], "queries");
        for window in [1, 2, 4] {
            let (warm, cold) = (queries(&warm, window), queries(&cold, window));
            assert!(warm * 2 <= cold, "window {window}: {warm} queries, {cold} from nothing");
        }
        // What is said is what left.
        for (window, report) in warm.iter().enumerate() {
            let left = &frames[window * WINDOW..];
            let label = model.label(&left[..left.len().min(WINDOW)]);
            assert_eq!(number(report, "final_label"), label as u64, "window {window}");
            assert_eq!(report["weights"].as_array().map(Vec::len), Some(left.len().min(WINDOW)));
        }
    });
}

/// A picture that turns into another one: what a window got is too little for the next.
fn drift() -> Vec<gst::Buffer> {
    let picture = |n: u64| {
        let both = texture(3 * SIDE * SIDE, 1).into_iter().zip(texture(3 * SIDE * SIDE, 2));
        let mixed = both.map(|(from, to)| ((u64::from(from) * (23 - n) + u64::from(to) * n) / 23) as u8);
        stamped(gst::Buffer::from_mut_slice(mixed.collect::<Vec<u8>>()), n)
    };
    (0..24).map(picture).collect()
}

#[test]
fn where_nothing_can_be_taken_over_the_attack_is_that_of_a_cold_start() {
    guarded(60, || {
        let model = good(Good::default());
        let properties = [("search", "two-stage"), ("batch-windows", "1"), ("max-iterations", "30")];
        let (cold, _) = attacked_on(&model, &properties, drift());
        let (warm, _) = attacked_on(&model, &[&properties[..], &[("warm-start", "true")]].concat(), drift());
        let mut anew = 0;
        for (window, (warm, cold)) in warm.iter().zip(&cold).enumerate() {
            if number(warm, "iterations") > 0 {
                anew += usize::from(number(warm, "queries") > number(cold, "queries"));
                for field in ["weights", "keyframes", "iterations", "map"] {
                    assert_eq!(warm[field], cold[field], "window {window}, {field}");
                }
            }
        }
        assert!(anew > 0, "every window took over what the last one got");
    });
}
