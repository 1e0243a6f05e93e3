// SPDX-License-Identifier: MPL-2.0

//! Running a pipeline to its end, and the errors of pipelines in words that help.

use std::collections::HashSet;

use anyhow::{Context, anyhow, bail};
use gst::prelude::*;

use super::stall::{Progress, Watch};
use crate::interrupt;

/// How often a pipeline that says nothing is looked at.
pub const POLL: gst::ClockTime = gst::ClockTime::from_mseconds(50);

/// Runs a pipeline to the end of its streams and leaves it as it is then. `message` sees every element message, and
/// `None` between them, several times a second. Where nothing has reached `first` yet, the stream is watched for a
/// decoder that died.
pub fn play(
    pipeline: &gst::Pipeline,
    first: &gst::Pad,
    mut message: impl FnMut(Option<&gst::StructureRef>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let bus = pipeline.bus().context("a pipeline has a bus")?;
    let progress = Progress::default();
    let probe = first.add_probe(gst::PadProbeType::BUFFER, {
        let progress = progress.clone();
        move |_, _| {
            progress.step();
            gst::PadProbeReturn::Remove
        }
    });
    let mut watch = Watch::new();
    let mut said = HashSet::new();
    // Where a state change fails, the bus has the reason.
    let started = pipeline.set_state(gst::State::Playing);
    let result = loop {
        if let Err(interrupted) = interrupt::check() {
            break Err(interrupted.into());
        }
        let Some(msg) = bus.timed_pop(POLL) else {
            if let Err(error) = &started {
                break Err(anyhow!("the pipeline did not start: {error}"));
            }
            if let Err(error) = message(None) {
                break Err(error);
            }
            if progress.steps() == 0
                && let Some(why) = watch.stalled(&progress, pipeline)
            {
                break Err(anyhow!("no frames could be decoded: {why}"));
            }
            continue;
        };
        match msg.view() {
            gst::MessageView::Eos(_) => break Ok(()),
            gst::MessageView::Error(error) => break Err(blame(pipeline, error)),
            gst::MessageView::Warning(warning) => say(warning, &mut said),
            gst::MessageView::Element(element) => {
                if let Some(structure) = element.structure()
                    && let Err(error) = message(Some(structure))
                {
                    break Err(error);
                }
            }
            _ => {}
        }
    };
    if let Some(probe) = probe.filter(|_| progress.steps() == 0) {
        first.remove_probe(probe);
    }
    result
}

/// Says each warning once.
fn say(warning: &gst::message::Warning, said: &mut HashSet<String>) {
    let text = warning.error().to_string();
    // A stream that nothing is done with, sound for instance, is none of the user's worries.
    if text != "Delayed linking failed." && said.insert(text.clone()) {
        crate::out::errln!("warning: {text}");
    }
}

/// What an error message says, and what it leaves out: where, and the debug text's reason.
pub fn blame(pipeline: &gst::Pipeline, message: &gst::message::Error) -> anyhow::Error {
    let error = message.error();
    let source = message.src().and_then(|s| s.clone().downcast::<gst::Element>().ok());
    let kind = source.as_ref().and_then(|e| e.factory()).map(|f| f.name().to_string());
    let text = error.to_string();
    if kind.as_deref().is_some_and(|k| k == "sparseadv" || k == "clipclassifier") {
        return anyhow!("{text}");
    }
    let place = kind.or(message.src().map(|s| s.name().to_string()));
    let place = place.map_or(String::new(), |place| format!("{place}: "));
    let generic = ["Internal data stream error.", "GStreamer encountered a general stream error."];
    if !generic.contains(&text.as_str()) {
        return anyhow!("{place}{text}");
    }
    let debug = message.debug().map(|d| d.to_string()).unwrap_or_default();
    if debug.contains("not-negotiated")
        && let Some(caps) = refused(pipeline)
    {
        return anyhow!("{caps}");
    }
    let reason = debug.lines().skip(1).find(|line| !line.trim().is_empty());
    anyhow!("{place}{}", reason.map_or(text.as_str(), str::trim))
}

/// The caps of a pad whose peer has none.
fn refused(pipeline: &gst::Pipeline) -> Option<String> {
    for element in pipeline.iterate_recurse().into_iter().flatten() {
        for pad in element.src_pads() {
            let (Some(caps), Some(peer)) = (pad.current_caps(), pad.peer()) else {
                continue;
            };
            let by = peer.parent_element().filter(|_| peer.current_caps().is_none())?;
            let name = by.factory().map_or(by.name().to_string(), |f| f.name().to_string());
            return Some(format!("Expected a format that {name} takes, found {caps}."));
        }
    }
    None
}

/// Stops a pipeline, whatever has become of it.
pub fn stop(pipeline: &gst::Pipeline) {
    // There is nothing to be done if it cannot.
    let _ = pipeline.set_state(gst::State::Null);
}

/// The error that waits on a bus, if one does.
pub fn error(pipeline: &gst::Pipeline) -> anyhow::Result<()> {
    let bus = pipeline.bus().context("a pipeline has a bus")?;
    if let Some(msg) = bus.pop_filtered(&[gst::MessageType::Error])
        && let gst::MessageView::Error(error) = msg.view()
    {
        bail!(blame(pipeline, error));
    }
    Ok(())
}
