// SPDX-License-Identifier: MPL-2.0

//! Pipelines by their text.

use gst::prelude::*;

/// Runs a pipeline to its end; returns the messages on the way.
pub fn run(text: &str) -> Vec<gst::Message> {
    println!("{text}");
    let pipeline = gst::parse::launch(text).expect("a pipeline");
    let bus = pipeline.bus().expect("a bus");
    assert!(pipeline.set_state(gst::State::Playing).is_ok(), "{text}");
    let messages = until_eos(&bus);
    assert!(pipeline.set_state(gst::State::Null).is_ok());
    messages
}

pub fn until_eos(bus: &gst::Bus) -> Vec<gst::Message> {
    let mut messages = Vec::new();
    loop {
        let message = bus.timed_pop(gst::ClockTime::from_seconds(40));
        let message = message.expect("an end of the stream");
        match message.view() {
            gst::MessageView::Eos(_) => return messages,
            gst::MessageView::Error(e) => panic!("{} {:?}", e.error(), e.debug()),
            _ => messages.push(message),
        }
    }
}

/// The contents of the buffers that arrive at the pipeline's appsink.
pub fn pulled(text: &str) -> Vec<Vec<u8>> {
    let pipeline = gst::parse::launch(text).expect("a pipeline");
    let pipeline = pipeline.downcast::<gst::Pipeline>();
    let pipeline = pipeline.expect("a pipeline");
    let end = pipeline.by_name("end").expect("a sink");
    let end = end.downcast::<gst_app::AppSink>().expect("an appsink");
    assert!(pipeline.set_state(gst::State::Playing).is_ok());
    let mut buffers = Vec::new();
    while let Some(sample) = end.try_pull_sample(gst::ClockTime::from_seconds(30)) {
        buffers.push(super::frames::bytes(sample.buffer().expect("a buffer")));
    }
    assert!(end.is_eos(), "it does not end: {text}");
    assert!(pipeline.set_state(gst::State::Null).is_ok());
    buffers
}
