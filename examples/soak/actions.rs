// SPDX-License-Identifier: MPL-2.0

//! What is done to a pipeline while it runs.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use gst::prelude::*;
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::count::Count;
use crate::stream::Stream;

const ACTIONS: [&str; 10] =
    ["seek", "reverse", "segment", "step", "pause", "restart", "caps", "property", "flush", "nothing"];

/// Does a few things to a pipeline. Returns how many.
pub fn mistreat(
    pipeline: &gst::Pipeline,
    rng: &mut ChaCha8Rng,
    streams: &[Stream],
    counts: &[Count],
    bus: &gst::Bus,
    verbose: bool,
) -> anyhow::Result<usize> {
    set(pipeline, gst::State::Playing)?;
    let number = rng.random_range(0..8);
    for _ in 0..number {
        std::thread::sleep(Duration::from_millis(rng.random_range(0..120)));
        hear(bus)?;
        let action = ACTIONS.choose(rng).unwrap_or(&"nothing");
        let which = rng.random_range(0..streams.len());
        if verbose {
            println!("  {action} {which}");
        }
        let element = |name: &str| pipeline.by_name(&format!("{name}{which}")).context("an element");
        match *action {
            "seek" => seek(pipeline, rng, 1.0, gst::SeekFlags::FLUSH),
            "reverse" => seek(pipeline, rng, -1.0, gst::SeekFlags::FLUSH),
            "segment" => seek(pipeline, rng, 1.0, gst::SeekFlags::FLUSH | gst::SeekFlags::SEGMENT),
            "step" => {
                let amount = gst::format::Buffers::from_u64(rng.random_range(1..20));
                let sink = element("sink")?;
                let pad = sink.static_pad("sink").context("a pad")?;
                // A sink asserts that there is a segment, which is on its way after a seek.
                if pad.sticky_event::<gst::event::Segment>(0).is_some() {
                    let _ = sink.send_event(gst::event::Step::new(amount, 1.0, true, false));
                }
            }
            "pause" => {
                set(pipeline, gst::State::Paused)?;
                std::thread::sleep(Duration::from_millis(rng.random_range(0..40)));
                set(pipeline, gst::State::Playing)?;
            }
            "restart" => {
                counts.iter().for_each(Count::disturb);
                let to = *[gst::State::Null, gst::State::Ready].choose(rng).unwrap_or(&gst::State::Null);
                set(pipeline, to)?;
                set(pipeline, gst::State::Playing)?;
            }
            "caps" => {
                let (width, height) = (rng.random_range(16..=320), rng.random_range(16..=240));
                let format = streams[which].formats.choose(rng).unwrap_or(&"I420");
                let filter = element("caps")?;
                let rate = filter
                    .property::<gst::Caps>("caps")
                    .structure(0)
                    .and_then(|s| s.get::<gst::Fraction>("framerate").ok());
                let caps = gst::Caps::builder("video/x-raw")
                    .field("format", *format)
                    .field("width", width)
                    .field("height", height)
                    .field("framerate", rate.unwrap_or(gst::Fraction::new(25, 1)));
                filter.set_property("caps", caps.build());
            }
            "property" => property(&element("attack")?, rng),
            "flush" => {
                // As a source does it: the pad's stream stands still meanwhile.
                let source = element("source")?.static_pad("src").context("a pad")?;
                let _ = source.push_event(gst::event::FlushStart::new());
                std::thread::sleep(Duration::from_millis(rng.random_range(0..20)));
                // Its task pauses at the next frame. What it pushed after the flush would have no segment.
                let asked = Instant::now();
                while source.task_state() == gst::TaskState::Started && asked.elapsed() < Duration::from_secs(5) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                let _ = source.push_event(gst::event::FlushStop::new(true));
                // It goes on at a seek alone.
                seek(pipeline, rng, 1.0, gst::SeekFlags::FLUSH);
            }
            _ => {}
        }
    }
    Ok(number)
}

fn seek(pipeline: &gst::Pipeline, rng: &mut ChaCha8Rng, rate: f64, flags: gst::SeekFlags) {
    // videotestsrc asserts a time that it does not have where it goes back beyond its first frame.
    let from = gst::ClockTime::from_mseconds(rng.random_range(if rate < 0.0 { 500..1500 } else { 0..1000 }));
    let to = from + gst::ClockTime::from_mseconds(rng.random_range(1..2000));
    // A live source refuses, and one that has ended may.
    let _ = pipeline.seek(rate, flags, gst::SeekType::Set, from, gst::SeekType::Set, to);
}

fn property(attack: &gst::Element, rng: &mut ChaCha8Rng) {
    match rng.random_range(0..5) {
        0 => attack.set_property("enabled", rng.random_bool(0.5)),
        1 => attack.set_property("max-iterations", rng.random_range(0..6)),
        // A bound of less than a level is refused.
        2 => attack.set_property("epsilon", rng.random_range(0..20u8) as f32),
        3 => attack.set_property("warm-start", rng.random_bool(0.5)),
        _ => attack.set_property("confidence", rng.random_range(0.0f32..2.0)),
    }
}

fn set(pipeline: &gst::Pipeline, state: gst::State) -> anyhow::Result<()> {
    match pipeline.set_state(state) {
        Ok(_) => Ok(()),
        Err(_) => {
            let message = pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
            let text = message.as_ref().and_then(|message| match message.view() {
                gst::MessageView::Error(error) => Some(error.error().to_string()),
                _ => None,
            });
            bail!("it does not go to {state:?}: {text:?}")
        }
    }
}

/// Takes what is on the bus, as an application does, and fails at an error.
fn hear(bus: &gst::Bus) -> anyhow::Result<bool> {
    let mut ended = false;
    while let Some(message) = bus.pop() {
        match message.view() {
            gst::MessageView::Error(error) => bail!("{} ({:?})", error.error(), error.debug()),
            gst::MessageView::Eos(_) => ended = true,
            _ => {}
        }
    }
    Ok(ended)
}

/// Lets the streams end.
pub fn finish(pipeline: &gst::Pipeline, bus: &gst::Bus) -> anyhow::Result<()> {
    set(pipeline, gst::State::Playing)?;
    if hear(bus)? {
        return Ok(());
    }
    // A stream that plays a segment has no end, whatever is sent to it.
    let _ = pipeline.seek_simple(gst::SeekFlags::FLUSH, gst::ClockTime::ZERO);
    // An event that is sent while a state changes holds the state, which the stream waits for.
    let _ = pipeline.state(gst::ClockTime::from_seconds(20));
    // What is live goes on.
    let _ = pipeline.send_event(gst::event::Eos::new());
    loop {
        let message = bus.timed_pop(gst::ClockTime::NONE).context("a message")?;
        match message.view() {
            gst::MessageView::Error(error) => bail!("{} ({:?})", error.error(), error.debug()),
            gst::MessageView::Eos(_) => return Ok(()),
            _ => {}
        }
    }
}
