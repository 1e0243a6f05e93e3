// SPDX-License-Identifier: MPL-2.0

//! A model that fails in the middle of a stream, at the first pass over a window and at a later one.

use gst::prelude::*;

use crate::broken::{FAULTS, Fault, failing};
use crate::common::rig::Rig;
use crate::{MODES, Mode, all_came, bright, count, dark, guarded, playing, tells, untouched};

const WINDOWS: usize = 6;
const BAD: std::ops::Range<usize> = 2..4;

/// Six windows, of which the third and the fourth are bright.
fn stream() -> Vec<gst::Buffer> {
    let is_bad = |n: u64| BAD.contains(&(n as usize / 4));
    (0..4 * WINDOWS as u64).map(|n| if is_bad(n) { bright(n) } else { dark(n) }).collect()
}

/// Whether a mode is sure to meet the fault: where nothing is learned nobody asks for a gradient, and where it is learned
/// beside the stream another window may be the last one by then.
fn meets(mode: Mode, fault: Fault) -> bool {
    fault.is_of_the_logits() || mode == Mode::Window
}

fn cases() -> impl Iterator<Item = (Mode, Fault, usize)> {
    let faults = || FAULTS.into_iter().flat_map(|fault| [1, 3].map(|nth| (fault, nth)));
    let all = MODES.into_iter().flat_map(move |mode| faults().map(move |(fault, nth)| (mode, fault, nth)));
    all.filter(|(mode, fault, _)| meets(*mode, *fault))
}

/// Feeds the stream as far as it is taken. Returns what was.
fn feed(rig: &Rig) -> Vec<gst::Buffer> {
    rig.begin(&crate::rgb());
    stream().into_iter().take_while(|frame| rig.push(frame.clone()).is_ok()).collect()
}

#[test]
fn the_stream_ends_with_one_error_that_says_why() {
    guarded(|| {
        for (mode, fault, nth) in cases() {
            println!("{mode:?} {fault:?} {nth}");
            let model = failing(fault, nth);
            let rig = playing(mode, &model, &[]);
            let given = feed(&rig);
            // Where upstream was faster, it hears of it by the next frame.
            rig.finish();
            all_came(&rig, &given);
            untouched(&rig, mode, &given, 8..given.len());
            let [errors, warnings] = rig.complaints();
            assert_eq!((errors.len(), warnings.len()), (1, 0), "{mode:?} {fault:?}");
            tells(&errors[0], fault.words());
            assert_eq!(rig.push(dark(99)), Err(gst::FlowError::Eos));
            rig.stop();
        }
    });
}

#[test]
fn the_stream_goes_on_where_that_is_wanted() {
    guarded(|| {
        for (mode, fault, nth) in cases() {
            println!("{mode:?} {fault:?} {nth}");
            let model = failing(fault, nth);
            let rig = playing(mode, &model, &[("on-error", "passthrough")]);
            let given = feed(&rig);
            assert_eq!(given.len(), stream().len());
            rig.finish();
            all_came(&rig, &given);
            untouched(&rig, mode, &given, 8..16);
            let [errors, warnings] = rig.complaints();
            assert_eq!((errors.len(), warnings.len()), (0, 1), "{mode:?} {fault:?}");
            tells(&warnings[0], fault.words());
            let failures = count(&rig, "failures");
            match mode {
                Mode::Window => assert_eq!(failures, 2, "{fault:?}"),
                // A window has two passes. That nothing more is learned is counted too.
                Mode::Learned => assert_eq!(failures, if nth == 1 { 2 } else { 1 }, "{fault:?}"),
                Mode::Causal => assert!((1..=3).contains(&failures), "{fault:?} {nth}: {failures}"),
            }
            assert_eq!(count(&rig, "windows"), WINDOWS as u64, "{mode:?} {fault:?}");
        }
    });
}

/// What is to be no reason to stop may be one later on, and is told of as such.
#[test]
fn a_stream_that_went_on_is_stopped_where_the_property_is_changed() {
    guarded(|| {
        for mode in MODES {
            let rig = playing(mode, &failing(Fault::Raises, 1), &[("on-error", "passthrough")]);
            rig.begin(&crate::rgb());
            let given = stream();
            rig.feed(given[..12].iter().cloned());
            crate::common::wait_until("a failure", || count(&rig, "failures") > 0);
            rig.element.set_property_from_str("on-error", "stop");
            let taken = given[12..].iter().take_while(|frame| rig.push((*frame).clone()).is_ok()).count();
            rig.finish();
            all_came(&rig, &given[..12 + taken]);
            let [errors, warnings] = rig.complaints();
            assert_eq!((errors.len(), warnings.len()), (1, 1), "{mode:?}");
        }
    });
}

/// A gradient that is no number, where the stream is one scene of which the model has to be asked for one.
#[test]
fn what_cannot_be_learned_is_told_of_once() {
    guarded(|| {
        for (on_error, expected) in [("stop", [1, 0]), ("passthrough", [0, 1])] {
            let rig = playing(Mode::Causal, &failing(Fault::Slope, 1), &[("on-error", on_error)]);
            rig.begin(&crate::rgb());
            let mut given = Vec::new();
            // Beside the stream: how soon depends on what else runs.
            crate::common::wait_until("a failure", || {
                let frame = bright(given.len() as u64);
                if rig.push(frame.clone()).is_ok() {
                    given.push(frame);
                }
                count(&rig, "failures") > 0
            });
            rig.finish();
            all_came(&rig, &given);
            let found = rig.complaints();
            assert_eq!([found[0].len(), found[1].len()], expected);
            tells(&found.concat()[0], Fault::Slope.words());
            assert_eq!(count(&rig, "failures"), 1);
        }
    });
}

/// One pass is of several windows, and fails for those that it is to fail for.
#[test]
fn of_windows_attacked_together_those_that_fail_leave_clean() {
    guarded(|| {
        let more = [("on-error", "passthrough"), ("batch-windows", "6"), ("max-iterations", "-1")];
        let rig = playing(Mode::Window, &failing(Fault::Raises, 1), &more);
        let given = feed(&rig);
        rig.finish();
        all_came(&rig, &given);
        untouched(&rig, Mode::Window, &given, 8..16);
        assert_eq!((count(&rig, "failures"), count(&rig, "windows")), (2, 6));
        assert_eq!(count(&rig, "fooled"), 4);
        let [errors, warnings] = rig.complaints();
        assert_eq!((errors.len(), warnings.len()), (0, 1));
    });
}

/// Windows that overlap are classified once more when they have left: whichever pass fails, it is told of once.
#[test]
fn a_pass_over_what_has_left_may_fail_too() {
    guarded(|| {
        for (on_error, expected) in [("stop", [1, 0]), ("passthrough", [0, 1])] {
            for nth in 1..=12 {
                let more = [("on-error", on_error), ("stride", "2"), ("max-iterations", "1")];
                let rig = playing(Mode::Window, &failing(Fault::Raises, nth), &more);
                rig.begin(&crate::rgb());
                let given: Vec<_> = (0..20).map(bright).take_while(|frame| rig.push(frame.clone()).is_ok()).collect();
                rig.finish();
                all_came(&rig, &given);
                let found = rig.complaints();
                assert_eq!([found[0].len(), found[1].len()], expected, "{nth}");
                tells(&found.concat()[0], Fault::Raises.words());
                assert!(count(&rig, "failures") >= 1);
            }
        }
    });
}
