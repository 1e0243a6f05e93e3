// SPDX-License-Identifier: MPL-2.0

//! The end of the stream after any number of frames.

use crate::common::models::{Good, good};
use crate::common::rig::Out;
use crate::{MODES, Mode, all_came, count, dark, guarded, playing};

/// Two windows and a frame.
const MOST: u64 = 9;

fn ends(mode: Mode, more: &[(&str, &str)], windows: impl Fn(u64) -> u64) {
    let model = good(Good::default());
    for frames in 0..=MOST {
        let rig = playing(mode, &model, more);
        let given: Vec<_> = (0..frames).map(dark).collect();
        rig.begin(&crate::rgb());
        rig.feed(given.iter().cloned());
        rig.finish();
        all_came(&rig, &given);
        let ends =
            rig.out().iter().filter(|out| matches!(out, Out::Event(e) if e.type_() == gst::EventType::Eos)).count();
        assert_eq!(ends, 1);
        assert_eq!(rig.complaints(), [[""; 0]; 2], "{mode:?} {more:?}");
        assert_eq!((count(&rig, "frames-in"), count(&rig, "frames-out")), (frames, frames));
        assert_eq!(count(&rig, "windows"), windows(frames), "{mode:?} {more:?}, {frames} frames");
    }
}

#[test]
fn every_frame_leaves_before_it() {
    guarded(|| {
        for mode in MODES {
            // Only whole windows are judged of frames that have passed.
            ends(mode, &[], |frames| if mode == Mode::Window { frames.div_ceil(4) } else { frames / 4 });
        }
    });
}

#[test]
fn whatever_windows_are_like() {
    guarded(|| {
        ends(Mode::Window, &[("tail", "passthrough")], |frames| frames / 4);
        // One begins every second frame, as long as a frame is left that none before has.
        ends(Mode::Window, &[("stride", "2")], |frames| frames.div_ceil(2).saturating_sub(1).max(frames.min(1)));
        ends(Mode::Window, &[("survive", "identity")], |frames| frames.div_ceil(4));
        ends(Mode::Learned, &[("stride", "1")], |frames| (frames + 1).saturating_sub(4));
        ends(Mode::Window, &[("enabled", "false")], |_| 0);
    });
}
