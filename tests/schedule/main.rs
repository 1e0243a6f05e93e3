// SPDX-License-Identifier: MPL-2.0

//! The schedule alone, on plain numbers in a time of its own, against the oracle.

#[path = "../common/mod.rs"]
mod common;
mod drive;

use gstsparseadv::window::schedule::Schedule;
use gstsparseadv::window::{Tail, Windowing};
use proptest::prelude::*;

use crate::common::chance;
use crate::common::oracle::{Cut, windows_of_sections};
use crate::drive::{Case, FRAME, Step, Told, run};

fn cut() -> impl Strategy<Value = Cut> {
    (1..6usize, 1..4usize, 1..12usize, any::<bool>()).prop_map(|(window, step, stride, pad)| Cut {
        window,
        step,
        stride,
        pad,
    })
}

fn case(step: impl Strategy<Value = Step>, live: impl Strategy<Value = Option<u64>>) -> impl Strategy<Value = Case> {
    let times = |most: u64, n: usize| prop::collection::vec(prop_oneof![Just(0), 0..most], 1..n);
    let after = prop_oneof![4 => Just(FRAME), 2 => 0..3 * FRAME, 1 => Just(0), 1 => 0..80 * FRAME];
    let steps = prop::collection::vec((after, step), 0..90);
    (cut(), steps, times(600, 8), times(200, 4), times(30, 3), live, 1..5usize).prop_map(
        |(cut, mut steps, attacks, judgments, pushes, live, together)| {
            steps.push((0, Step::End));
            // Sinks of live streams take a frame at once, or it is they who are late.
            let pushes = if live.is_some() { vec![0] } else { pushes };
            Case { cut, steps, attacks, judgments, pushes, live, together }
        },
    )
}

/// What no switch and no flush disturbs.
fn undisturbed() -> impl Strategy<Value = Step> {
    prop_oneof![20 => Just(Step::Frame), 2 => Just(Step::Event), 1 => Just(Step::Barrier), 1 => Just(Step::Drain)]
}

fn anything() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => undisturbed(),
        1 => any::<bool>().prop_map(Step::Enabled),
        1 => Just(Step::Flush),
        1 => Just(Step::DropFrames),
    ]
}

/// The frames of windows that the oracle gives, as they are told.
fn oracle(case: &Case) -> Vec<(Vec<u64>, bool)> {
    let windows = windows_of_sections(&case.sections(), case.cut).into_iter();
    windows.map(|window| (window.into_iter().map(|frame| frame as u64).collect(), true)).collect()
}

proptest! {
    #![proptest_config(chance::cases(2000))]

    #[test]
    fn a_stream_that_is_not_live_is_cut_as_the_oracle_cuts_it(case in case(undisturbed(), Just(None))) {
        let told = run(&case);
        prop_assert_eq!(&told.windows, &oracle(&case));
        let Windowing { span, stride, .. } = case.windowing();
        let ahead = if (span..2 * span).contains(&stride) { (case.together - 1) * stride } else { 0 };
        prop_assert!(told.most_held <= ahead + span + stride.min(span), "{} frames inside", told.most_held);
    }

    #[test]
    fn nothing_live_leaves_later_than_promised(case in case(undisturbed(), (1..800u64).prop_map(Some))) {
        let told = run(&case);
        let promised = case.pace().expect("a live stream").latency().as_millis() as u64;
        for (frame, (arrived, left)) in told.arrived.iter().zip(&told.left).enumerate() {
            let took = left.expect("a frame that left") - arrived;
            prop_assert!(took <= promised, "frame {} took {} ms of {}", frame, took, promised);
        }
        prop_assert!(!told.blocked, "a live source had to wait");
    }

    #[test]
    fn live_frames_in_time_are_cut_as_the_oracle_cuts_them(case in case(undisturbed(), (1..800u64).prop_map(Some))) {
        let steps = case.steps.iter().map(|(_, step)| match step {
            Step::Frame => (FRAME, Step::Frame),
            // Whatever is not a frame takes no time.
            other => (0, *other),
        });
        let case = Case { steps: steps.collect(), attacks: vec![0], judgments: vec![0], ..case };
        prop_assert_eq!(run(&case).windows, oracle(&case));
    }

    #[test]
    fn nothing_is_lost_whatever_happens(
        case in case(anything(), prop_oneof![Just(None), (1..800u64).prop_map(Some)]),
    ) {
        run(&case);
    }
}

fn windowing(frames: usize, stride: usize) -> Windowing {
    Windowing { frames, step: 1, span: frames, stride }
}

fn frames(n: usize) -> Vec<(u64, Step)> {
    vec![(FRAME, Step::Frame); n]
}

/// A case whose attacks outlast it.
fn too_slow(window: usize, stride: usize, budget: u64, steps: Vec<(u64, Step)>) -> Case {
    let cut = Cut { window, step: 1, stride, pad: true };
    Case { cut, steps, attacks: vec![1_000_000], judgments: vec![0], pushes: vec![0], live: Some(budget), together: 1 }
}

fn waits(told: &Told) -> Vec<u64> {
    told.left.iter().zip(&told.arrived).map(|(left, arrived)| left.expect("left") - arrived).collect()
}

#[test]
fn frames_between_windows_wait_for_no_attack() {
    let told = run(&too_slow(4, 8, 40, frames(24)));
    let waits = waits(&told);
    for between in [4..8, 12..16, 20..24] {
        for frame in between {
            // They stand behind a window that leaves at its deadline.
            assert!(waits[frame] <= 40, "frame {frame} waited {} ms", waits[frame]);
        }
    }
}

#[test]
fn a_barrier_waits_for_no_attack() {
    let mut steps = frames(8);
    steps.push((0, Step::Barrier));
    steps.extend(frames(8));
    let told = run(&too_slow(4, 4, 40, steps));
    assert!(waits(&told).iter().all(|wait| *wait <= 70), "{:?}", waits(&told));
}

#[test]
fn what_passes_waits_for_no_attack() {
    let mut steps = frames(4);
    steps.push((5, Step::Enabled(false)));
    steps.extend(frames(8));
    let told = run(&Case { live: None, ..too_slow(4, 4, 0, steps) });
    assert!(waits(&told)[4..].iter().all(|wait| *wait == 0), "{:?}", waits(&told));
}

#[test]
fn a_stalled_window_is_attacked_short() {
    let mut steps = frames(6);
    steps.push((5_000, Step::Frame));
    let case = Case { attacks: vec![3], ..too_slow(4, 4, 40, steps) };
    let windows: Vec<_> = run(&case).windows;
    assert_eq!(windows, [(vec![0, 1, 2, 3], true), (vec![4, 5], true), (vec![6], true)]);
}

#[test]
fn windows_side_by_side_are_attacked_together_and_leave_in_order() {
    let cut = Cut { window: 4, step: 1, stride: 4, pad: true };
    let steps = frames(14).into_iter().chain([(0, Step::End)]).collect();
    // The last one first.
    let case = Case {
        cut,
        steps,
        attacks: vec![900, 600, 300, 5],
        judgments: vec![0],
        pushes: vec![0],
        live: None,
        together: 3,
    };
    let told = run(&case);
    let left = |frame: usize| told.left[frame].expect("left");
    // Three gather before the fourth, which is short, has come.
    let begun = told.arrived[11];
    assert_eq!([left(0), left(4), left(8)], [begun + 900; 3]);
    assert_eq!(left(12), begun + 905);
}

#[test]
fn a_window_waits_for_others_for_a_moment_alone() {
    let steps = frames(5).into_iter().chain([(5_000, Step::Frame), (0, Step::End)]).collect();
    let cut = Cut { window: 4, step: 1, stride: 4, pad: true };
    let case = Case { cut, steps, attacks: vec![7], judgments: vec![0], pushes: vec![0], live: None, together: 3 };
    let told = run(&case);
    assert_eq!(told.left[0], Some(told.arrived[3] + 100 + 7));
}

/// A stride of thousands of frames holds no more than one of a window.
#[test]
fn the_stride_is_not_held() {
    let schedule = |stride| Schedule::<u64, u64, u64, u64>::new(windowing(16, stride), Tail::Pad, 0);
    assert_eq!(schedule(2000).capacity(), 32);
    assert_eq!(schedule(16).capacity(), 32);
    assert_eq!(schedule(4).capacity(), 20);
    let together = |stride| {
        let mut schedule = schedule(stride);
        schedule.set_together(4);
        schedule.capacity()
    };
    assert_eq!((together(2000), together(16), together(4)), (32, 80, 20));
}

/// What a budget longer than a stride leaves to the next window.
#[test]
fn the_next_window_gets_what_a_long_attack_leaves() {
    // A budget of 20 frames, and a window every four; every attack ends in time only if it gets what is left.
    let case = Case { attacks: vec![150, 0, 0, 0], ..too_slow(4, 4, 200, frames(64)) };
    let told = run(&case);
    assert!(told.windows.iter().all(|window| window.1), "{:?}", told.windows);
}
