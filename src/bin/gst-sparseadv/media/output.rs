// SPDX-License-Identifier: MPL-2.0

//! The end of a pipeline that writes a file.

use std::path::Path;

use anyhow::Context;
use gst::prelude::*;

use super::location::Location;
use super::{last, parse};

/// Encoder, muxer and file. No converter: it would take bits of the attack along, and nobody would know. The location
/// has to live as long as the pipeline.
pub fn output(encoder: &str, muxer: &str, irregular: bool, file: &Path) -> anyhow::Result<(gst::Element, Location)> {
    let location = Location::to_write(file)?;
    let bin = parse::bin("the encoder and muxer", &format!("{encoder} ! {muxer}"))?;
    last::mend(&bin, irregular);
    let sink = gst::ElementFactory::make("filesink")
        .property("location", location.as_str())
        .property("sync", false)
        // With a second branch, each would wait for the other's first frame, and an encoder looks far ahead for it.
        .property("async", false)
        .build()?;
    let whole = gst::Bin::new();
    whole.add_many([bin.upcast_ref::<gst::Element>(), &sink])?;
    bin.link(&sink)?;
    let pad = bin.static_pad("sink").context("a sink pad")?;
    whole.add_pad(&gst::GhostPad::with_target(&pad)?)?;
    Ok((whole.upcast(), location))
}
