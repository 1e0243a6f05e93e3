// SPDX-License-Identifier: MPL-2.0

//! Reports of both elements.

#[path = "../common/mod.rs"]
mod common;

mod compared;
mod files;
mod message;
mod windows;

use gst::prelude::*;

const RGB: &str = "video/x-raw,format=RGB,width=16,height=16,framerate=25/1";
const FRAMES: usize = 18;

fn source() -> String {
    format!("videotestsrc pattern=ball num-buffers={FRAMES} ! {RGB}")
}

/// The first error of a pipeline, and the warnings.
fn play(text: &str, stop_after: Option<usize>) -> (Option<String>, Vec<String>) {
    common::init();
    let pipeline = gst::parse::launch(text).expect("a pipeline");
    let bus = pipeline.bus().expect("a bus");
    let started = pipeline.set_state(gst::State::Playing);
    let (mut error, mut warnings, mut windows) = (None, Vec::new(), 0);
    let mut hear = |message: &gst::Message| match message.view() {
        gst::MessageView::Error(e) => {
            error.get_or_insert(e.error().to_string());
        }
        gst::MessageView::Warning(w) => warnings.push(w.error().to_string()),
        _ => {}
    };
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    while started.is_ok() {
        let message = bus.timed_pop(gst::ClockTime::from_seconds(40)).expect("an end");
        hear(&message);
        let is_window = |s: &gst::StructureRef| s.name().ends_with("-window");
        windows += usize::from(message.structure().is_some_and(is_window));
        if ends.contains(&message.type_()) || stop_after.is_some_and(|n| windows == n) {
            break;
        }
    }
    // Not NULL, which would empty the bus before what is said while stopping is heard.
    let _ = pipeline.set_state(gst::State::Ready);
    while let Some(message) = bus.pop() {
        hear(&message);
    }
    assert!(pipeline.set_state(gst::State::Null).is_ok());
    (error, warnings)
}
