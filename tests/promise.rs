// SPDX-License-Identifier: MPL-2.0

//! The promised latency is kept whatever happens to a live stream, and no more is held than it needs.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use gst::ClockTime;
use gst::prelude::*;

use common::frames::{FRAME, frame, rgb};
use common::live::{disturbances, run, slow_model};
use common::models::{Good, ModelFile, good};
use common::oracle::{number, reports};
use common::rig::Rig;
use common::{guarded, wait_until};

/// Other jobs may share the processor; the faults that are looked for here are of a second and more.
const SLACK: Duration = Duration::from_millis(400);

/// The latency that the element adds.
fn promised(rig: &Rig) -> Duration {
    let mut query = gst::query::Latency::new();
    assert!(rig.element.static_pad("src").expect("a pad").query(query.query_mut()));
    query.result().1.into()
}

/// Feeds a live stream at its pace; returns the longest time that a frame took, and what was promised.
fn longest(model: &ModelFile, properties: &[(&str, &str)], n: u64, before: impl Fn(&Rig, u64)) -> (Duration, Duration) {
    let rig = Rig::live(model, properties, ClockTime::ZERO);
    rig.begin(&rgb());
    let own = promised(&rig);
    let sent: Vec<Instant> = (0..n)
        .map(|i| {
            before(&rig, i);
            let now = Instant::now();
            rig.feed([frame(&rgb(), i)]);
            std::thread::sleep(Duration::from_nanos(FRAME));
            now
        })
        .collect();
    rig.finish();
    let times = rig.times();
    assert_eq!(times.len(), n as usize);
    let took = sent.iter().zip(&times).map(|(sent, came)| came.duration_since(*sent)).max().expect("frames");
    println!("{took:?} of {own:?}");
    (took, own)
}

/// The pass of a model of these tests takes far longer than a window lasts.
const PASS: Duration = Duration::from_millis(1500);

#[test]
fn a_window_that_the_source_leaves_unfinished_leaves_in_time() {
    guarded(60, || {
        let rig = Rig::live(&good(Good::default()), &[], ClockTime::ZERO);
        rig.begin(&rgb());
        let own = promised(&rig);
        let began = Instant::now();
        rig.feed((0..6).map(|i| frame(&rgb(), i)));
        // Nothing more comes.
        rig.wait_for_buffers(6);
        assert!(began.elapsed() < own + SLACK, "{:?} of {own:?}", began.elapsed());
        rig.finish();
        let reports = reports(&rig);
        let frames: Vec<u64> = reports.iter().map(|r| number(r, "frames")).collect();
        assert_eq!(frames, [4, 2]);
        assert!(!reports[1]["clean_label"].is_null(), "it could have been attacked");
    });
}

#[test]
fn frames_between_windows_wait_for_no_pass() {
    guarded(60, || {
        let (took, own) = longest(&slow_model(PASS), &[("stride", "8")], 40, |_, _| {});
        assert!(took < own + SLACK, "{took:?} of {own:?}");
    });
}

#[test]
fn what_stands_behind_a_barrier_waits_for_no_pass() {
    guarded(60, || {
        let (took, own) = longest(&slow_model(PASS), &[], 40, |rig, i| {
            if i % 6 == 5 {
                rig.segment();
            }
        });
        assert!(took < own + SLACK, "{took:?} of {own:?}");
    });
}

#[test]
fn a_budget_longer_than_a_stride_is_kept() {
    guarded(60, || {
        let (took, own) = longest(&slow_model(PASS), &[("time-budget", "600000000")], 60, |_, _| {});
        assert!(took < own + SLACK, "{took:?} of {own:?}");
        let rig = Rig::live(&good(Good::default()), &[("time-budget", "600000000")], ClockTime::ZERO);
        rig.begin(&rgb());
        let mut query = gst::query::Latency::new();
        assert!(rig.element.static_pad("src").expect("a pad").query(query.query_mut()));
        assert!(query.result().2.is_none(), "the source has no end of room, so there is none together");
    });
}

#[test]
fn a_disabled_element_passes_frames_in_the_middle_of_a_pass() {
    guarded(60, || {
        for (model, properties) in [
            (slow_model(Duration::from_secs(3)), vec![]),
            // No frame ever comes back out of this codec.
            (good(Good::default()), vec![("survive", "valve drop=true")]),
        ] {
            let rig = Rig::new(&model, &properties);
            rig.begin(&rgb());
            rig.feed((0..4).map(|i| frame(&rgb(), i)));
            std::thread::sleep(Duration::from_millis(200));
            assert_eq!(rig.buffers().len(), 0, "no window is done yet");
            let began = Instant::now();
            rig.element.set_property("enabled", false);
            rig.feed((4..8).map(|i| frame(&rgb(), i)));
            rig.wait_for_buffers(8);
            assert!(began.elapsed() < SLACK, "{:?} {properties:?}", began.elapsed());
        }
    });
}

/// While a window is attacked, whatever the stride.
#[test]
fn no_more_is_held_than_a_window_and_the_next() {
    guarded(60, || {
        let model = slow_model(PASS);
        let rig = Arc::new(Rig::new(&model, &[("stride", "2000")]));
        rig.begin(&rgb());
        let feeding = rig.clone();
        let upstream = std::thread::spawn(move || {
            (0..100).find_map(|i| feeding.push(frame(&rgb(), i)).err());
        });
        wait_until("a window", || rig.stats().get::<u64>("frames-in").is_ok_and(|n| n >= 8));
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(rig.stats().get::<u64>("frames-in"), Ok(8));
        let mut query = gst::query::Allocation::new(Some(&rgb().to_caps().expect("caps")), true);
        rig.element.set_property("enabled", false);
        upstream.join().expect("no panic");
        assert!(rig.src.peer_query(query.query_mut()));
        // The rig's sink has two of its own.
        assert_eq!(query.allocation_pools().next().map(|pool| pool.2), Some(2 + 8 + 1));
        rig.wait_for_buffers(100);
    });
}

/// A sink that drops what is late drops nothing, whatever happens to the stream.
#[test]
fn nothing_is_dropped_whatever_happens() {
    guarded(110, || {
        let model = slow_model(PASS);
        let runs: Vec<_> = disturbances()
            .into_iter()
            .map(|(name, disturb)| {
                let element = format!("sparseadv model={}", model.location());
                (name, std::thread::spawn(move || run(100, 30, None, &element, disturb)))
            })
            .collect();
        for (name, figures) in runs {
            let figures = figures.join().expect("a run");
            println!("{name}: {} of {}, {:.1} ms late at most", figures.came, figures.sent, figures.latest);
            assert_eq!(figures.came, figures.sent, "{name}");
            assert!(figures.latest < SLACK.as_secs_f64() * 1e3, "{name}: {:.1} ms late", figures.latest);
        }
    });
}

/// Caps that lie in either direction.
#[test]
fn a_rate_that_is_not_the_caps_delays_nothing() {
    guarded(60, || {
        let model = good(Good::default());
        for (rate, caps) in [(5, "0/1"), (10, "30/1"), (30, "5/1")] {
            let element = format!("sparseadv model={}", model.location());
            let figures = run(rate * 3, rate, Some(caps), &element, Box::new(|_, _, _, _| true));
            assert_eq!(figures.came, figures.sent, "{caps}");
            assert!(figures.latest < SLACK.as_secs_f64() * 1e3, "{rate} for {caps}: {:.1} ms late", figures.latest);
        }
    });
}
