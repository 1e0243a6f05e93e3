// SPDX-License-Identifier: MPL-2.0

//! The `keyframes` property: which frames may change, and which do.

use std::collections::BTreeSet;

use crate::common::frames::{bytes, frame, rgb};
use crate::common::guarded;
use crate::common::models::{Good, good};
use crate::common::oracle::{list, number, reports};
use crate::common::rig::Rig;

const WINDOW: usize = 8;
const WINDOWS: usize = 3;

/// The places in each window that changed, and the queries of all.
fn changed(keyframes: &str, more: &[(&str, &str)]) -> (Vec<BTreeSet<usize>>, u64) {
    let model = good(Good { window: WINDOW, ..Good::default() });
    // No frames join later, and any that is chosen is used.
    let mut properties = vec![("keyframes", keyframes), ("grow-after", "0")];
    properties.extend_from_slice(more);
    let rig = Rig::new(&model, &properties);
    let info = rgb();
    rig.begin(&info);
    rig.feed((0..(WINDOW * WINDOWS) as u64).map(|i| frame(&info, i)));
    rig.finish();
    let mut changed = vec![BTreeSet::new(); WINDOWS];
    for (i, buffer) in rig.buffers().iter().enumerate() {
        if bytes(buffer) != bytes(&frame(&info, i as u64)) {
            changed[i / WINDOW].insert(i % WINDOW);
        }
    }
    let reports = reports(&rig);
    for (changed, report) in changed.iter().zip(&reports) {
        let told: BTreeSet<usize> = list(report, "keyframes").into_iter().collect();
        assert_eq!(&told, changed, "{report}");
        assert_eq!(report["success"], true, "keyframes={keyframes}: {report}");
    }
    let queries = reports.iter().map(|r| number(r, "queries")).sum();
    (changed, queries)
}

fn set(frames: &[usize]) -> BTreeSet<usize> {
    frames.iter().copied().collect()
}

#[test]
fn fixed_are_the_first() {
    guarded(60, || {
        assert_eq!(changed("fixed:2", &[]).0, vec![set(&[0, 1]); WINDOWS]);
        // A quarter, as in the paper's 4 of 16.
        assert_eq!(changed("fixed", &[]).0, vec![set(&[0, 1]); WINDOWS]);
    });
}

#[test]
fn listed_are_those_listed() {
    guarded(60, || {
        assert_eq!(changed("0,3", &[]).0, vec![set(&[0, 3]); WINDOWS]);
        assert_eq!(changed("7,2,2", &[]).0, vec![set(&[2, 7]); WINDOWS]);
        assert_eq!(changed("5", &[]).0, vec![set(&[5]); WINDOWS]);
    });
}

#[test]
fn all_are_all() {
    guarded(60, || {
        // The sign's steps reach every frame; others may leave one at less than half a gray level.
        let (all, _) = changed("all", &[("optimizer", "sign"), ("patience", "1")]);
        assert_eq!(all, vec![(0..WINDOW).collect(); WINDOWS]);
    });
}

#[test]
fn a_seed_is_a_choice() {
    guarded(60, || {
        let one = changed("random:2", &[("seed", "1")]).0;
        assert!(one.iter().all(|w| w.len() == 2), "{one:?}");
        assert_eq!(changed("random:2", &[("seed", "1")]).0, one);
        let others = (2..6).map(|seed| changed("random:2", &[("seed", &seed.to_string())]).0);
        assert!(others.into_iter().any(|other| other != one), "{one:?} for every seed");
    });
}

#[test]
fn counts_are_kept() {
    guarded(60, || {
        for keyframes in ["ifd:3", "heuristic:3", "fixed:3"] {
            let (changed, _) = changed(keyframes, &[]);
            assert!(changed.iter().all(|w| w.len() == 3), "{keyframes}: {changed:?}");
        }
    });
}

/// The difference is measured between neighbors in the model's view.
#[test]
fn differing_frames_are_found() {
    guarded(60, || {
        let info = rgb();
        let model = good(Good { window: WINDOW, ..Good::default() });
        let rig = Rig::new(&model, &[("keyframes", "ifd:2"), ("grow-after", "0")]);
        rig.begin(&info);
        // Still, but for a cut to another picture at 3 and back at 6.
        let picture = |i: usize| bytes(&frame(&info, if (3..6).contains(&i) { 40 } else { 7 }));
        for i in 0..WINDOW {
            let mut buffer = frame(&info, i as u64);
            let content = gst::Buffer::from_slice(picture(i));
            let b = buffer.make_mut();
            b.remove_all_memory();
            b.append_memory(content.peek_memory(0).to_owned());
            rig.feed([buffer]);
        }
        rig.finish();
        let keyframes = list(&reports(&rig)[0], "keyframes");
        assert_eq!(keyframes, [3, 6]);
    });
}

#[test]
fn the_heuristic_pays_for_its_choice() {
    guarded(60, || {
        let (_, free) = changed("fixed:2", &[("max-iterations", "30"), ("patience", "0")]);
        let (_, paid) = changed("heuristic:2", &[("max-iterations", "30"), ("patience", "0")]);
        // A pass for each frame of each window at the least.
        assert!(paid >= free / 2 + (WINDOW * WINDOWS) as u64, "{paid} queries, {free} without");
    });
}

/// With weights by features as by the input; more weight takes more frames.
#[test]
fn the_boundary_sets_the_number() {
    guarded(60, || {
        for keyframes in ["gradient", "gradient:features", "gradient:input"] {
            let count = |boundary: &str| -> usize {
                let (changed, _) = changed(keyframes, &[("boundary", boundary)]);
                changed.iter().map(BTreeSet::len).sum()
            };
            let (one, few, most) = (count("0.01"), count("0.3"), count("0.8"));
            assert_eq!(one, WINDOWS, "{keyframes}");
            assert!(one < few && few < most, "{keyframes}: {one}, {few}, {most}");
        }
    });
}
