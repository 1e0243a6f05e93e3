// SPDX-License-Identifier: MPL-2.0

//! What an encoder and a muxer take, found by giving it to them.

use anyhow::{bail, Context};
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};

use super::{parse, play};
use crate::interrupt;

/// Blank frames tried of each kind.
const FRAMES: u64 = 2;
/// Polls without an end after which a trial has failed.
const PATIENCE: u64 = 20_000_000_000;

/// Formats to try for a source's, the nearest first. All are among those the element takes.
pub fn candidates(format: VideoFormat) -> Vec<VideoFormat> {
    use VideoFormat::*;
    let info = gst_video::VideoFormatInfo::from_format(format);
    let shift = |shifts: &[u32]| shifts.get(1).copied().unwrap_or(0);
    let near: &[VideoFormat] = if info.is_gray() {
        &[Gray8, I420, Nv12, Y444, Y42b, Rgb, Bgr, Rgbx, Bgrx]
    } else if info.is_rgb() {
        &[
            Rgb, Bgr, Rgbx, Bgrx, Xrgb, Xbgr, Rgba, Bgra, Argb, Abgr, Y444, Y42b, I420, Nv12,
        ]
    } else {
        match (shift(info.w_sub()), shift(info.h_sub())) {
            (0, 0) => &[Y444, Y42b, I420, Nv12, Rgb, Bgr],
            (1, 1) => &[I420, Nv12, Yv12, Nv21, Y444, Y42b, Rgb, Bgr],
            _ => &[Y42b, I420, Nv12, Y444, Rgb, Bgr],
        }
    };
    let own = gstsparseadv::sparseadv::format::FORMATS;
    let mut all: Vec<VideoFormat> = own.into_iter().filter(|f| *f == format).collect();
    for other in near.iter().chain(&own) {
        if !all.contains(other) {
            all.push(*other);
        }
    }
    all
}

/// Sends blank frames of each of these kinds, one after the other, through encoder and muxer.
pub fn trial(encoder: &str, muxer: &str, kinds: &[VideoInfo]) -> anyhow::Result<()> {
    let bin = parse::bin("the encoder and muxer", &format!("{encoder} ! {muxer}"))?;
    let pipeline = gst::Pipeline::new();
    let source = gst_app::AppSrc::builder()
        .format(gst::Format::Time)
        .max_bytes(0)
        .build();
    let sink = gst::ElementFactory::make("fakesink")
        .property("sync", false)
        .property("async", false)
        .build()?;
    pipeline.add_many([source.upcast_ref(), bin.upcast_ref(), &sink])?;
    gst::Element::link_many([source.upcast_ref(), bin.upcast_ref(), &sink])?;
    // Its queue takes them all before it runs.
    source.set_state(gst::State::Ready)?;
    let mut time = gst::ClockTime::ZERO;
    for info in kinds {
        let duration = gstsparseadv::sparseadv::format::frame_duration(info);
        let caps = info.to_caps()?;
        for _ in 0..FRAMES {
            let mut frame = gst::Buffer::with_size(info.size())?;
            let buffer = frame.get_mut().context("a buffer of our own")?;
            buffer.set_pts(time);
            buffer.set_duration(duration);
            time += duration;
            source.push_sample(&gst::Sample::builder().buffer(&frame).caps(&caps).build())?;
        }
    }
    source.end_of_stream()?;
    let result = run(&pipeline);
    play::stop(&pipeline);
    result
}

fn run(pipeline: &gst::Pipeline) -> anyhow::Result<()> {
    let bus = pipeline.bus().context("a pipeline has a bus")?;
    let started = pipeline.set_state(gst::State::Playing);
    let began = std::time::Instant::now();
    loop {
        interrupt::check()?;
        let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
        let Some(msg) = bus.timed_pop_filtered(play::POLL, &wanted) else {
            started.context("the encoder or muxer did not start")?;
            if began.elapsed().as_nanos() > u128::from(PATIENCE) {
                bail!("the encoder or muxer did not come to an end");
            }
            continue;
        };
        match msg.view() {
            gst::MessageView::Error(error) => bail!(play::blame(pipeline, error)),
            _ => return Ok(()),
        }
    }
}
