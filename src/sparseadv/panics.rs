// SPDX-License-Identifier: MPL-2.0

//! A panic on the worker's thread, at any pass of the model: it is told of once, and nothing hangs.

#[allow(clippy::print_stdout)]
#[path = "../../tests/common/mod.rs"]
mod common;

use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::element::lock;
use common::frames::{bytes, frame, rgb};
use common::models::{Good, ModelFile, good};
use common::oracle::header;
use common::rig::Rig;

const FRAMES: u64 = 22;

/// A mode by its properties, and the passes up to the last that its stream has for sure.
type Way<'a> = (Vec<(&'a str, &'a str)>, u32);

fn ways(learned: &str) -> [Way<'_>; 6] {
    [
        (vec![("batch-windows", "1")], 9),
        // The pass is of several windows, each on a thread of its own.
        (vec![("batch-windows", "5")], 4),
        // Windows that have left are judged.
        (vec![("stride", "2")], 12),
        (vec![("survive", "identity")], 9),
        (vec![("perturbation", learned)], 5),
        (vec![("mode", "causal")], 5),
    ]
}

/// The element, PLAYING, whose model panics at the `nth` pass.
fn panicking(model: &ModelFile, way: &[(&str, &str)], on_error: &str, nth: u32) -> Rig {
    let fixed = [("max-iterations", "3"), ("precision", "f32"), ("on-error", on_error)];
    let rig = Rig::idle(model, &[way, &fixed].concat());
    assert!(rig.element.set_state(gst::State::Ready).is_ok());
    let element = rig.element.downcast_ref::<super::SparseAdv>().unwrap();
    lock(&element.imp().loaded).as_ref().unwrap().model.panic_at(nth);
    rig.play();
    rig.begin(&rgb());
    rig
}

/// The same element attacks the next stream, with the model loaded anew.
fn works_again(rig: &Rig) {
    assert!(rig.element.set_state(gst::State::Ready).is_ok());
    rig.forget();
    rig.play();
    rig.begin(&rgb());
    rig.feed((0..8).map(|n| frame(&rgb(), n)));
    rig.finish();
    assert_eq!(rig.buffers().len(), 8);
    assert!(rig.stats().get::<u64>("windows").unwrap() >= 2);
    assert_eq!(rig.complaints(), [[""; 0]; 2]);
}

#[test]
fn frames_pass_and_it_is_counted_where_that_is_wanted() {
    common::guarded(120, || {
        let model = good(Good::default());
        let file = model.adding(7);
        for (way, passes) in ways(&file) {
            for nth in 1..=passes {
                let rig = panicking(&model, &way, "passthrough", nth);
                let given: Vec<_> = (0..FRAMES).map(|n| frame(&rgb(), n)).collect();
                rig.feed(given.iter().cloned());
                rig.finish();
                let headers = |frames: &[gst::Buffer]| frames.iter().map(|b| header(b)).collect::<Vec<_>>();
                assert_eq!(headers(&rig.buffers()), headers(&given), "{way:?} {nth}");
                let [errors, warnings] = rig.complaints();
                assert_eq!((errors.len(), warnings.len()), (0, 1), "{way:?} {nth}: {warnings:?}");
                assert!(warnings[0].contains("panicked") && warnings[0].contains("No window"), "{warnings:?}");
                assert_eq!(rig.stats().get::<u64>("failures"), Ok(1), "{way:?} {nth}");
                if nth == 1 && way[0].0 == "batch-windows" {
                    assert!(rig.buffers().iter().zip(&given).all(|(a, b)| bytes(a) == bytes(b)), "not clean");
                }
                if nth == passes {
                    works_again(&rig);
                }
            }
        }
    });
}

#[test]
fn by_default_the_stream_ends_with_one_error() {
    common::guarded(120, || {
        let model = good(Good::default());
        let file = model.adding(7);
        for (way, passes) in ways(&file) {
            for nth in 1..=passes {
                let rig = panicking(&model, &way, "stop", nth);
                let mut n = 0;
                common::wait_until("an answer", || {
                    n += 1;
                    match rig.push(frame(&rgb(), n)) {
                        Ok(_) => false,
                        Err(error) => {
                            assert_eq!(error, gst::FlowError::Error, "{way:?} {nth}");
                            true
                        }
                    }
                });
                let _ = rig.event(gst::event::Eos::new());
                let [errors, warnings] = rig.complaints();
                assert_eq!((errors.len(), warnings.len()), (1, 0), "{way:?} {nth}: {errors:?}");
                assert!(errors[0].contains("panicked") && errors[0].contains("report it"), "{errors:?}");
                if nth == passes {
                    works_again(&rig);
                } else {
                    rig.stop();
                }
            }
        }
    });
}
