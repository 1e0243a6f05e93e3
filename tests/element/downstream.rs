// SPDX-License-Identifier: MPL-2.0

//! What downstream answers reaches upstream, and never hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gst::FlowError;

use crate::common::frames::{frame, rgb};
use crate::common::guarded;
use crate::common::models::{Good, good};
use crate::common::rig::{Out, Rig};

/// Pushes until upstream hears of it.
fn heard(rig: &Rig) -> Option<FlowError> {
    let info = rgb();
    (0..60).find_map(|i| {
        std::thread::sleep(Duration::from_millis(2));
        rig.push(frame(&info, i)).err()
    })
}

fn refusing(error: FlowError, after: usize) -> Rig {
    let model = good(Good::default());
    let rig = Rig::new(&model, &[("max-iterations", "5")]);
    rig.answer(move |n| match n < after {
        true => Ok(gst::FlowSuccess::Ok),
        false => Err(error),
    });
    rig.begin(&rgb());
    rig
}

#[test]
fn errors_are_handed_upstream() {
    guarded(60, || {
        for error in
            [FlowError::Error, FlowError::NotNegotiated, FlowError::NotLinked, FlowError::Eos, FlowError::CustomError]
        {
            for after in [0, 3, 4, 9] {
                let rig = refusing(error, after);
                assert_eq!(heard(&rig), Some(error), "after {after} buffers");
                assert_eq!(rig.buffers().len(), after);
            }
        }
    });
}

/// A source that gets EOS as an answer sends an EOS event, and the sink needs it to end the pipeline.
#[test]
fn eos_passes_though_downstream_wants_no_more_buffers() {
    guarded(60, || {
        let rig = refusing(FlowError::Eos, 2);
        assert_eq!(heard(&rig), Some(FlowError::Eos));
        rig.finish();
    });
}

/// The same where EOS waits in the queue already when downstream answers.
#[test]
fn eos_behind_refused_buffers_passes() {
    guarded(60, || {
        let (rig, gate) = gated(FlowError::Eos);
        rig.feed((0..6).map(|i| frame(&rgb(), i)));
        assert!(rig.event(gst::event::Eos::new()));
        gate.store(true, Ordering::SeqCst);
        rig.wait_for("EOS", |out| matches!(out.last(), Some(Out::Event(e)) if e.type_() == gst::EventType::Eos));
    });
}

/// A new segment is a new start after EOS.
#[test]
fn a_segment_after_eos_is_a_new_start() {
    guarded(60, || {
        let rig = refusing(FlowError::Eos, 2);
        assert_eq!(heard(&rig), Some(FlowError::Eos));
        rig.answer(|_| Ok(gst::FlowSuccess::Ok));
        rig.forget();
        rig.segment();
        rig.feed((0..4).map(|i| frame(&rgb(), i)));
        rig.wait_for_buffers(4);
    });
}

/// A sink that answers only when told to, and then with an error.
fn gated(error: FlowError) -> (Rig, Arc<AtomicBool>) {
    let model = good(Good::default());
    let rig = Rig::new(&model, &[("max-iterations", "5")]);
    let gate = Arc::new(AtomicBool::new(false));
    let closed = gate.clone();
    rig.answer(move |_| {
        while !closed.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(error)
    });
    rig.begin(&rgb());
    (rig, gate)
}

/// Upstream has sent all it had, so no answer to a buffer can tell it: an error message must.
#[test]
fn an_error_after_the_last_buffer_is_posted() {
    guarded(60, || {
        for error in [FlowError::Error, FlowError::NotNegotiated] {
            let (rig, gate) = gated(error);
            rig.feed((0..6).map(|i| frame(&rgb(), i)));
            assert!(rig.event(gst::event::Eos::new()));
            gate.store(true, Ordering::SeqCst);
            let message = rig.bus.timed_pop_filtered(gst::ClockTime::from_seconds(5), &[gst::MessageType::Error]);
            assert!(message.is_some(), "{error:?}: the pipeline would hang");
        }
    });
}

#[test]
fn an_error_before_eos_is_posted_once() {
    guarded(60, || {
        let rig = refusing(FlowError::NotNegotiated, 1);
        rig.feed((0..4).map(|i| frame(&rgb(), i)));
        // Whether it comes before downstream's answer or behind it.
        let _ = rig.event(gst::event::Eos::new());
        let message = rig.bus.timed_pop_filtered(gst::ClockTime::from_seconds(5), &[gst::MessageType::Error]);
        assert!(message.is_some(), "the pipeline would hang");
        rig.stop();
        assert_eq!(rig.errors(), [""; 0]);
        // Upstream has posted one where it was answered itself.
        let rig = refusing(FlowError::NotNegotiated, 1);
        assert_eq!(heard(&rig), Some(FlowError::NotNegotiated));
        assert!(rig.event(gst::event::Eos::new()));
        assert_eq!(rig.errors(), [""; 0]);
    });
}

/// A flush makes good what went wrong downstream.
#[test]
fn a_flush_is_a_new_start() {
    guarded(60, || {
        for error in [FlowError::Error, FlowError::Eos] {
            let rig = refusing(error, 2);
            assert_eq!(heard(&rig), Some(error));
            rig.answer(|_| Ok(gst::FlowSuccess::Ok));
            assert!(rig.event(gst::event::FlushStart::new()));
            assert!(rig.event(gst::event::FlushStop::new(true)));
            rig.forget();
            rig.segment();
            rig.feed((0..5).map(|i| frame(&rgb(), i)));
            rig.finish();
            assert_eq!(rig.buffers().len(), 5);
        }
    });
}

/// Frames do not pile up before a sink that takes its time.
#[test]
fn a_slow_sink_slows_upstream() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[("enabled", "false")]);
        rig.answer(|_| {
            std::thread::sleep(Duration::from_millis(5));
            Ok(gst::FlowSuccess::Ok)
        });
        let info = rgb();
        rig.begin(&info);
        let mut most = 0;
        for i in 0..60 {
            rig.feed([frame(&info, i)]);
            let stats = rig.stats();
            let inside =
                stats.get::<u64>("frames-in").expect("frames-in") - stats.get::<u64>("frames-out").expect("frames-out");
            most = most.max(inside);
        }
        // Two windows that wait, and as much again on its way out.
        assert!(most <= 20, "{most} frames inside");
        rig.finish();
        assert_eq!(rig.buffers().len(), 60);
    });
}

/// Stopping must not wait for a sink that blocks in its own flush.
#[test]
fn stops_while_upstream_waits_for_room() {
    guarded(60, || {
        let (rig, gate) = gated(FlowError::Flushing);
        let rig = Arc::new(rig);
        let pushing = rig.clone();
        let upstream = std::thread::spawn(move || {
            let info = rgb();
            (0..200).find_map(|i| pushing.push(frame(&info, i)).err())
        });
        std::thread::sleep(Duration::from_millis(100));
        assert!(!upstream.is_finished(), "two hundred frames went into two windows");
        gate.store(true, Ordering::SeqCst);
        rig.stop();
        assert_eq!(upstream.join().expect("no panic"), Some(FlowError::Flushing));
    });
}
