// SPDX-License-Identifier: MPL-2.0

//! What downstream answers a frame with, whichever it is: upstream hears it, or the element says it where it cannot.

use gst::FlowError;
use gst::prelude::*;

use crate::common::models::{Good, ModelFile, good};
use crate::common::rig::{Out, Rig};
use crate::common::wait_until;
use crate::{MODES, Mode, dark, guarded, playing};

const ERRORS: [FlowError; 5] =
    [FlowError::Error, FlowError::NotLinked, FlowError::NotNegotiated, FlowError::Flushing, FlowError::CustomError];
const FRAMES: usize = 12;

/// An element whose `nth` frame and those behind it are refused.
fn refused(mode: Mode, model: &ModelFile, error: FlowError, nth: usize) -> Rig {
    let rig = playing(mode, model, &[]);
    rig.answer(move |before| if before < nth { Ok(gst::FlowSuccess::Ok) } else { Err(error) });
    rig.begin(&crate::rgb());
    rig
}

#[test]
fn upstream_hears_it_and_nothing_else_is_said() {
    guarded(|| {
        let model = good(Good::default());
        for mode in MODES {
            for error in ERRORS.into_iter().chain([FlowError::Eos]) {
                for nth in [0, 5, FRAMES - 1] {
                    let rig = refused(mode, &model, error, nth);
                    let mut n = 0;
                    wait_until("an answer", || {
                        n += 1;
                        match rig.push(dark(n)) {
                            Ok(_) => false,
                            Err(found) => {
                                assert_eq!(found, error, "{mode:?}, frame {nth}");
                                true
                            }
                        }
                    });
                    assert_eq!(rig.buffers().len(), nth);
                    // As a source does that has heard of it. It has posted an error of its own.
                    let taken = rig.event(gst::event::Eos::new());
                    if error == FlowError::Eos {
                        assert!(taken);
                        rig.wait_for(
                            "EOS",
                            |out| matches!(out.last(), Some(Out::Event(e)) if e.type_() == gst::EventType::Eos),
                        );
                    }
                    rig.stop();
                    assert_eq!(rig.complaints(), [[""; 0]; 2], "{mode:?} {error:?} {nth}");
                }
            }
        }
    });
}

/// Behind the last frame there is none that could be answered.
#[test]
fn an_answer_to_the_last_frame_is_posted() {
    guarded(|| {
        let model = good(Good::default());
        for mode in MODES {
            for error in ERRORS {
                let rig = refused(mode, &model, error, FRAMES - 1);
                rig.feed((0..FRAMES as u64).map(dark));
                let _ = rig.event(gst::event::Eos::new());
                if error == FlowError::Flushing {
                    // Somebody stops the pipeline, and that is no error.
                    wait_until("all frames", || rig.buffers().len() == FRAMES - 1);
                    rig.stop();
                    assert_eq!(rig.complaints(), [[""; 0]; 2], "{mode:?}");
                    continue;
                }
                let message = rig.bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &[gst::MessageType::Error]);
                assert!(message.is_some(), "{mode:?} {error:?}: the pipeline would hang");
                rig.stop();
                assert_eq!(rig.complaints()[0], [""; 0], "{mode:?} {error:?}: more than one");
            }
        }
    });
}

/// An element that dies behind this one, in a pipeline: what it says is the first word, and this one adds none.
#[test]
fn an_element_that_dies_speaks_for_itself() {
    guarded(|| {
        let model = good(Good::default());
        for mode in MODES {
            let set = crate::properties(mode, &model);
            let set: Vec<String> = set.iter().map(|(name, value)| format!("{name}={value}")).collect();
            for after in [1, 6] {
                let text = format!(
                    "videotestsrc num-buffers=40 ! video/x-raw,format=RGB,width=16,height=16 ! sparseadv name=attack model={} \
                     {} ! identity name=dies error-after={after} ! fakesink",
                    model.location(),
                    set.join(" ")
                );
                let pipeline =
                    gst::parse::launch(&text).expect("a pipeline").downcast::<gst::Pipeline>().expect("a pipeline");
                pipeline.set_auto_flush_bus(false);
                let bus = pipeline.bus().expect("a bus");
                assert!(pipeline.set_state(gst::State::Playing).is_ok());
                let first = bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &[gst::MessageType::Error]);
                let by = |message: &gst::Message| message.src().map(|src| src.name().to_string());
                assert_eq!(first.as_ref().and_then(by).as_deref(), Some("dies"));
                // The source has ended the stream by then.
                let second = bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &[gst::MessageType::Error]);
                assert!(
                    second.as_ref().and_then(by).is_some_and(|name| name.starts_with("videotestsrc")),
                    "{second:?}"
                );
                assert!(pipeline.set_state(gst::State::Null).is_ok());
                let third = bus.pop_filtered(&[gst::MessageType::Error]);
                assert!(third.is_none(), "{third:?}");
            }
        }
    });
}
