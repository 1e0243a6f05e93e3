// SPDX-License-Identifier: MPL-2.0

//! `keyframes=agent:FILE`: what the file says is what is perturbed.

use std::collections::BTreeSet;

use crate::common::frames::{bytes, frame, rgb};
use crate::common::guarded;
use crate::common::models::{Good, ModelFile, SIDE, bright_agent, good, traced_with, weights};
use crate::common::oracle::{list, number, reports};
use crate::common::rig::Rig;
use gst::prelude::*;

const WINDOW: usize = 4;
/// Two windows, and one that is cut short.
const FRAMES: usize = 2 * WINDOW + 3;

/// The frames of each window that are brighter than it is on average.
fn bright() -> Vec<BTreeSet<usize>> {
    let mean = |n: usize| {
        let buffer = frame(&rgb(), n as u64);
        let bytes = bytes(&buffer);
        bytes.iter().map(|b| f64::from(*b)).sum::<f64>() / bytes.len() as f64
    };
    let of = |frames: &[usize]| {
        let means: Vec<f64> = frames.iter().map(|n| mean(*n)).collect();
        let average = means.iter().sum::<f64>() / means.len() as f64;
        (0..frames.len()).filter(|k| means[*k] > average).collect()
    };
    (0..FRAMES).collect::<Vec<_>>().chunks(WINDOW).map(of).collect()
}

/// The reports of a stream, and which frames of each window changed.
fn run(agent: &ModelFile, more: &[(&str, &str)]) -> (Vec<serde_json::Value>, Vec<BTreeSet<usize>>) {
    let model = good(Good { window: WINDOW, ..Good::default() });
    let keyframes = format!("agent:{}", agent.location());
    let mut properties = vec![("keyframes", keyframes.as_str()), ("grow-after", "0")];
    properties.extend_from_slice(more);
    let rig = Rig::new(&model, &properties);
    let info = rgb();
    rig.begin(&info);
    rig.feed((0..FRAMES as u64).map(|i| frame(&info, i)));
    rig.finish();
    let mut changed = vec![BTreeSet::new(); FRAMES.div_ceil(WINDOW)];
    for (i, buffer) in rig.buffers().iter().enumerate() {
        if bytes(buffer) != bytes(&frame(&info, i as u64)) {
            changed[i / WINDOW].insert(i % WINDOW);
        }
    }
    (reports(&rig), changed)
}

#[test]
fn frames_are_those_that_the_file_says() {
    guarded(60, || {
        let agent = bright_agent();
        let (reports, changed) = run(&agent, &[]);
        assert_eq!(changed, bright());
        assert!(changed.iter().all(|some| !some.is_empty() && some.len() < WINDOW), "{changed:?}");
        for report in &reports {
            assert!(report["success"] == true && number(report, "queries_selection") == 0, "{report}");
            let sha256 = gstsparseadv::provenance::sha256(&agent.path).expect("a file");
            assert_eq!(report["agent_sha256"], sha256.as_str());
        }
    });
}

/// By labels alone, in the search of Wang et al. Nothing is asked for the choice.
#[test]
fn labels_suffice() {
    guarded(60, || {
        let agent = bright_agent();
        let set = [
            ("access", "label"),
            ("search", "sign-opt"),
            ("region", "salient"),
            ("max-queries", "300"),
            ("probes", "20"),
        ];
        let (reports, changed) = run(&agent, &set);
        let mut fooled = 0;
        for ((report, changed), bright) in reports.iter().zip(&changed).zip(bright()) {
            // What rounds to nothing leaves its frame clean.
            assert!(changed.is_subset(&bright), "{changed:?} {report}");
            assert!(list(report, "keyframes").into_iter().all(|k| bright.contains(&k)), "{report}");
            assert!(number(report, "queries_selection") == 0 && number(report, "backwards") == 0, "{report}");
            assert!(number(report, "queries_start") > 0, "{report}");
            fooled += usize::from(report["success"] == true);
        }
        assert!(fooled > 0, "none of {} windows", reports.len());
    });
}

/// A file that was changed is read anew when the element starts again, and one that was not is not.
#[test]
fn a_file_that_has_changed_is_read_anew() {
    guarded(60, || {
        let model = good(Good { window: WINDOW, ..Good::default() });
        let agent = bright_agent();
        let rig = Rig::new(&model, &[("keyframes", &format!("agent:{}", agent.location())), ("grow-after", "0")]);
        let info = rgb();
        let once = |rig: &Rig| {
            rig.begin(&info);
            rig.feed((0..WINDOW as u64).map(|i| frame(&info, i)));
            rig.finish();
            list(&reports(rig)[0], "keyframes").into_iter().collect::<BTreeSet<usize>>()
        };
        let bright = bright().remove(0);
        assert_eq!(once(&rig), bright);
        let dark = crate::common::models::agent(WINDOW, |shown| {
            let brightness = shown.narrow(1, 0, 3).mean_dim(&[0i64, 1, 3, 4][..], false, tch::Kind::Float);
            vec![((brightness.mean(tch::Kind::Float) - &brightness) * 1000.0).sigmoid()]
        });
        assert!(rig.element.set_state(gst::State::Ready).is_ok());
        std::fs::copy(&dark.path, &agent.path).expect("a file");
        rig.forget();
        rig.play();
        assert_eq!(once(&rig), (0..WINDOW).filter(|k| !bright.contains(k)).collect());
    });
}

/// One that takes four frames and no others is told of when a window has fewer.
#[test]
fn an_agent_of_whole_windows_alone_fails_in_a_sentence_at_the_end() {
    guarded(60, || {
        let side = SIDE as i64;
        let place = weights(5, &[WINDOW as i64], 1.0);
        let agent = traced_with(&[weights(9, &[1, 6, WINDOW as i64, side, side], 0.5)], |inputs| {
            let all = inputs[0].mean_dim(&[0i64, 1, 3, 4][..], false, tch::Kind::Float);
            vec![(all * &place).sigmoid()]
        });
        let model = good(Good { window: WINDOW, ..Good::default() });
        let rig = Rig::new(&model, &[("keyframes", &format!("agent:{}", agent.location()))]);
        rig.begin(&rgb());
        rig.feed((0..WINDOW as u64 + 2).map(|i| frame(&rgb(), i)));
        let _ = rig.event(gst::event::Eos::new());
        let mut errors = Vec::new();
        crate::common::wait_until("an error", || {
            errors.extend(rig.errors());
            !errors.is_empty()
        });
        for word in ["for each of 2 frames", agent.location(), "it fails", "any length"] {
            assert!(errors[0].contains(word), "{word}: {}", errors[0]);
        }
    });
}
