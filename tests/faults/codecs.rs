// SPDX-License-Identifier: MPL-2.0

//! Bins of `survive` that do not do what a codec does.

use crate::common::models::{Good, good};
use crate::common::rig::Rig;
use crate::{Mode, all_came, count, dark, guarded, playing, tells, untouched};

/// What a bin does wrong, and what is said of it.
const BINS: [(&str, &[&str]); 8] = [
    ("identity error-after=1", &["failed after iterations"]),
    ("jpegenc ! identity error-after=3 ! jpegdec", &["failed after iterations"]),
    // Before the window has gone through, and before it has begun.
    ("identity eos-after=3", &["expected 4 frames back, found 2"]),
    ("identity eos-after=1", &["expected 4 frames back, found 0"]),
    ("identity drop-buffer-flags=delta-unit", &["expected 4 frames back"]),
    ("videorate ! video/x-raw,framerate=75/1", &["expected 4 frames back"]),
    ("videoscale ! video/x-raw,width=32,height=32", &["link"]),
    ("capssetter join=false caps=video/x-raw,height=8", &["link"]),
];

fn fed(bin: &str, more: &[(&str, &str)]) -> (Rig, Vec<gst::Buffer>) {
    let more = [&[("survive", bin)], more].concat();
    let rig = playing(Mode::Window, &good(Good::default()), &more);
    rig.begin(&crate::rgb());
    let given: Vec<_> = (0..11).map(dark).take_while(|frame| rig.push(frame.clone()).is_ok()).collect();
    rig.finish();
    all_came(&rig, &given);
    (rig, given)
}

#[test]
fn the_stream_ends_with_one_error_that_names_the_bin() {
    guarded(|| {
        for (bin, says) in BINS {
            println!("{bin}");
            let (rig, given) = fed(bin, &[]);
            untouched(&rig, Mode::Window, &given, 0..given.len());
            let [errors, warnings] = rig.complaints();
            assert_eq!((errors.len(), warnings.len()), (1, 0), "{bin}");
            tells(&errors[0], &[&["survive property", "expected", bin], says].concat());
        }
    });
}

#[test]
fn windows_leave_clean_where_that_is_wanted() {
    guarded(|| {
        for (bin, says) in BINS {
            println!("{bin}");
            let (rig, given) = fed(bin, &[("on-error", "passthrough")]);
            untouched(&rig, Mode::Window, &given, 0..11);
            let [errors, warnings] = rig.complaints();
            assert_eq!((errors.len(), warnings.len()), (0, 1), "{bin}");
            tells(&warnings[0], &[&["survive property", "expected", bin], says].concat());
            assert_eq!((count(&rig, "failures"), count(&rig, "windows")), (3, 3), "{bin}");
        }
    });
}

/// It takes the element's patience with a bin, half a minute.
#[test]
fn a_bin_that_stalls_is_given_up() {
    guarded(|| {
        let (rig, given) = {
            let more = [("survive", "valve drop=true"), ("on-error", "passthrough")];
            let rig = playing(Mode::Window, &good(Good::default()), &more);
            rig.begin(&crate::rgb());
            let given: Vec<_> = (0..3).map(dark).collect();
            rig.feed(given.iter().cloned());
            // As `finish` does, with more patience.
            assert!(rig.event(gst::event::Eos::new()));
            (rig, given)
        };
        let ended = |out: &[crate::common::rig::Out]| out.len() > 3 + given.len();
        let began = std::time::Instant::now();
        while !ended(&rig.out()) && began.elapsed().as_secs() < 50 {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        all_came(&rig, &given);
        untouched(&rig, Mode::Window, &given, 0..3);
        let [errors, warnings] = rig.complaints();
        assert_eq!((errors.len(), warnings.len()), (0, 1));
        tells(&warnings[0], &["survive property", "valve drop=true", "0 of 3 frames came back within"]);
        assert_eq!((count(&rig, "failures"), count(&rig, "windows")), (1, 1));
    });
}

/// A live stream waits for no bin: its windows leave at their deadlines.
#[test]
fn a_bin_that_stalls_delays_no_live_stream() {
    guarded(|| {
        let model = good(Good::default());
        for bin in ["valve drop=true", "identity sleep-time=3600000000"] {
            let rig = Rig::live(&model, &[("survive", bin), ("time-budget", "40000000")], gst::ClockTime::ZERO);
            rig.begin(&crate::rgb());
            let given: Vec<_> = (0..12).map(dark).collect();
            for frame in &given {
                rig.feed([frame.clone()]);
                std::thread::sleep(std::time::Duration::from_nanos(crate::common::frames::FRAME));
            }
            rig.finish();
            all_came(&rig, &given);
            untouched(&rig, Mode::Window, &given, 0..12);
            assert_eq!(rig.complaints(), [[""; 0]; 2], "{bin}");
            assert_eq!((count(&rig, "overruns"), count(&rig, "failures")), (3, 0), "{bin}");
        }
    });
}
