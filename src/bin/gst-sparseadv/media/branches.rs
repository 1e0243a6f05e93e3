// SPDX-License-Identifier: MPL-2.0

//! Codecs and resizers that a stream goes through beside its file, each in a thread of its own.

use anyhow::{Context, anyhow};
use gst::prelude::*;
use gst_video::VideoInfo;
use gstsparseadv::element::codec::Codec;
use gstsparseadv::element::format;

use super::parse;

/// Frames between the threads.
const QUEUED: u32 = 8;

/// Sends blank frames of these kinds through a bin. `what` is the name its user knows it by.
pub fn try_bin(what: &str, bin: &str, kinds: &[VideoInfo]) -> anyhow::Result<()> {
    parse::bin(what, bin)?;
    for info in kinds {
        let frame = || gst::Buffer::with_size(info.size());
        let frames = [frame()?, frame()?];
        Codec::new(bin, info, format::frame_duration(info))
            .and_then(|codec| codec.run(frames.into_iter()))
            .map_err(|e| anyhow!("{}", e.replace("The survive property:", &format!("{what}:"))))?;
    }
    Ok(())
}

/// Sinks for one stream: the file, if there is one, and each of these bins. `watch` gets the pad behind each bin, by its
/// place.
pub fn branches(
    what: &str,
    file: Option<&gst::Element>,
    bins: &[&str],
    mut watch: impl FnMut(usize, &gst::Pad),
) -> anyhow::Result<gst::Element> {
    let whole = gst::Bin::new();
    let tee = gst::ElementFactory::make("tee").build()?;
    whole.add(&tee)?;
    let queue = |ahead: &gst::Element| -> anyhow::Result<()> {
        let queue = gst::ElementFactory::make("queue")
            .property("max-size-buffers", QUEUED)
            .property("max-size-bytes", 0u32)
            .property("max-size-time", 0u64)
            .build()?;
        whole.add(&queue)?;
        Ok(gst::Element::link_many([&tee, &queue, ahead])?)
    };
    if let Some(file) = file {
        whole.add(file)?;
        queue(file)?;
    }
    for (n, bin) in bins.iter().enumerate() {
        let make = |name: &str| gst::ElementFactory::make(name).build();
        let (first, last) = (make("videoconvert")?, make("videoconvert")?);
        let bin = parse::bin(what, bin)?;
        let caps = gst_video::VideoCapsBuilder::new().format_list(format::FORMATS).build();
        let sink = gst::ElementFactory::make("fakesink").property("sync", false).property("async", false).build()?;
        let filter = gst::ElementFactory::make("capsfilter").property("caps", caps).build()?;
        let chain = [&first, bin.upcast_ref(), &last, &filter, &sink];
        whole.add_many(chain)?;
        gst::Element::link_many(chain)?;
        queue(&first)?;
        watch(n, &sink.static_pad("sink").context("a sink pad")?);
    }
    let pad = tee.static_pad("sink").context("a sink pad")?;
    whole.add_pad(&gst::GhostPad::with_target(&pad)?)?;
    Ok(whole.upcast())
}
