// SPDX-License-Identifier: MPL-2.0

//! The codecs that the page compares, beside the file's own.

use anyhow::{Context, anyhow};
use gst::prelude::*;
use gstsparseadv::element::codec::Codec;
use gstsparseadv::element::format;

use super::shown::Shown;
use crate::media::{self, Plan};

/// Frames between the threads.
const QUEUED: u32 = 8;

/// Sends blank frames through a codec of the page's.
pub fn tried(codec: &str, plan: &Plan) -> anyhow::Result<()> {
    media::bin("--codec", codec)?;
    for info in plan.infos()? {
        let frame = || gst::Buffer::with_size(info.size());
        let frames = [frame()?, frame()?];
        Codec::new(codec, &info, format::frame_duration(&info))
            .and_then(|codec| codec.run(frames.into_iter()))
            .map_err(|e| anyhow!("{}", e.replace("The survive property:", "--codec:")))?;
    }
    Ok(())
}

/// The file, and beside it every codec of the page's, each in a thread of its own.
pub fn branches(file: &gst::Element, codecs: &[String], shown: &Shown) -> anyhow::Result<gst::Element> {
    let whole = gst::Bin::new();
    let tee = gst::ElementFactory::make("tee").build()?;
    whole.add_many([&tee, file])?;
    let queue = |ahead: &gst::Element| -> anyhow::Result<()> {
        let queue = gst::ElementFactory::make("queue")
            .property("max-size-buffers", QUEUED)
            .property("max-size-bytes", 0u32)
            .property("max-size-time", 0u64)
            .build()?;
        whole.add(&queue)?;
        Ok(gst::Element::link_many([&tee, &queue, ahead])?)
    };
    queue(file)?;
    for (n, codec) in codecs.iter().enumerate() {
        let make = |name: &str| gst::ElementFactory::make(name).build();
        let (first, last) = (make("videoconvert")?, make("videoconvert")?);
        let bin = media::bin("--codec", codec)?;
        let caps = gst_video::VideoCapsBuilder::new().format_list(format::FORMATS).build();
        let sink = gst::ElementFactory::make("fakesink").property("sync", false).property("async", false).build()?;
        let filter = gst::ElementFactory::make("capsfilter").property("caps", caps).build()?;
        let chain = [&first, bin.upcast_ref(), &last, &filter, &sink];
        whole.add_many(chain)?;
        gst::Element::link_many(chain)?;
        queue(&first)?;
        shown.watch(2 + n, &sink.static_pad("sink").context("a sink pad")?);
    }
    let pad = tee.static_pad("sink").context("a sink pad")?;
    whole.add_pad(&gst::GhostPad::with_target(&pad)?)?;
    Ok(whole.upcast())
}
