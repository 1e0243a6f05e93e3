// SPDX-License-Identifier: MPL-2.0

//! The source pad unlinked at any moment, and linked again.

use gst::FlowError;
use gst::prelude::*;

use crate::common::models::{Good, good};
use crate::common::rig::Rig;
use crate::common::wait_until;
use crate::{MODES, Mode, count, dark, guarded, playing};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    BeforeTheFirst,
    InMidStream,
    /// With a codec that takes its time, in the mode that has one.
    DuringAnAttack,
}

/// Feeds frames from the `n`th on until one is answered as it is where nothing is linked.
fn heard(rig: &Rig, n: &mut u64) {
    wait_until("NOT_LINKED", || {
        *n += 1;
        match rig.push(dark(*n)) {
            Ok(_) => false,
            Err(error) => {
                assert_eq!(error, FlowError::NotLinked);
                true
            }
        }
    });
}

#[test]
fn frames_flow_again_when_it_is_linked_again() {
    guarded(|| {
        let model = good(Good::default());
        for mode in MODES {
            for moment in [Moment::BeforeTheFirst, Moment::InMidStream, Moment::DuringAnAttack] {
                println!("{mode:?} {moment:?}");
                let slow = ("survive", "identity sleep-time=20000");
                let more = if (mode, moment) == (Mode::Window, Moment::DuringAnAttack) { vec![slow] } else { vec![] };
                let rig = playing(mode, &model, &more);
                let source = rig.element.static_pad("src").expect("a pad");
                let sink = source.peer().expect("a peer");
                let unlink = || source.unlink(&sink).expect("unlinked");
                let mut n = 0;
                if moment == Moment::BeforeTheFirst {
                    unlink();
                }
                rig.begin(&crate::rgb());
                match moment {
                    Moment::BeforeTheFirst => {}
                    Moment::InMidStream => {
                        rig.feed((1..=6).map(dark));
                        rig.wait_for_buffers(4);
                        n = 6;
                        unlink();
                    }
                    Moment::DuringAnAttack => {
                        rig.feed((1..=5).map(dark));
                        n = 5;
                        assert!(mode != Mode::Window || count(&rig, "frames-out") == 0);
                        unlink();
                    }
                }
                heard(&rig, &mut n);
                source.link(&sink).expect("a link");
                let again: Vec<_> = (100..109).map(dark).collect();
                rig.feed(again.iter().cloned());
                rig.finish();
                let came = rig.buffers();
                let pts = |frames: &[gst::Buffer]| frames.iter().map(|b| b.pts()).collect::<Vec<_>>();
                // Behind those that waited inside.
                let before = came.len() - again.len();
                assert_eq!(pts(&came[before..]), pts(&again), "{mode:?} {moment:?}");
                assert!(before <= n as usize && pts(&came).is_sorted());
                assert_eq!(rig.complaints(), [[""; 0]; 2], "{mode:?} {moment:?}");
            }
        }
    });
}

/// What is not linked again is no reason to wait.
#[test]
fn it_stops_while_nothing_is_linked() {
    guarded(|| {
        let model = good(Good::default());
        for mode in MODES {
            let rig = playing(mode, &model, &[]);
            let source = rig.element.static_pad("src").expect("a pad");
            source.unlink(&source.peer().expect("a peer")).expect("unlinked");
            rig.begin(&crate::rgb());
            heard(&rig, &mut 0);
            rig.stop();
            assert_eq!(rig.complaints(), [[""; 0]; 2], "{mode:?}");
        }
    });
}
