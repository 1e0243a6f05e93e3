// SPDX-License-Identifier: MPL-2.0

//! An element that nobody holds any more. A program of its own, since it counts the threads of the process.

mod common;

use std::fs;

use common::models::{Good, good};
use common::{guarded, wait_until};
use gst::prelude::*;

/// Threads of this process by the name of the element's worker.
fn workers() -> usize {
    let threads = fs::read_dir("/proc/self/task").expect("threads").flatten();
    let names = threads.filter_map(|t| fs::read_to_string(t.path().join("comm")).ok());
    names.filter(|name| name.trim() == "sparseadv").count()
}

/// It is wrong to let go of a pipeline that plays, and GStreamer says so; all the same nothing of it may stay behind
/// for ever.
#[test]
fn a_pipeline_that_is_dropped_while_it_plays_leaves_no_worker_behind() {
    guarded(60, || {
        let model = good(Good::default());
        for state in [gst::State::Paused, gst::State::Playing] {
            let element =
                gst::ElementFactory::make("sparseadv").property("model", model.location()).build().expect("an element");
            assert!(element.set_state(state).is_ok());
            wait_until("a worker", || workers() == 1);
            drop(element);
            wait_until("no worker", || workers() == 0);
        }
    });
}
