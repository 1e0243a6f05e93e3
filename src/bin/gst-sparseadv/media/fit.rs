// SPDX-License-Identifier: MPL-2.0

//! What an encoder and a muxer take, found by giving it to them.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};
use gstsparseadv::files::Part;

use super::read::{self, Sizes};
use super::{output, play};
use crate::interrupt;

/// Blank frames tried of each kind.
const FRAMES: u64 = 3;
/// Time after which an encoder of a few frames is taken to be stuck.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a trial ends with that does not end.
#[derive(Debug, thiserror::Error)]
#[error("the encoder or muxer did not come to an end with a few frames")]
pub struct Stuck;

/// Formats to try for a source's, the nearest first. All are among those the element takes.
pub fn candidates(format: VideoFormat) -> Vec<VideoFormat> {
    use VideoFormat::*;
    let info = gst_video::VideoFormatInfo::from_format(format);
    let shift = |shifts: &[u32]| shifts.get(1).copied().unwrap_or(0);
    let near: &[VideoFormat] = if info.is_gray() {
        &[Gray8, I420, Nv12, Y444, Y42b, Rgb, Bgr, Rgbx, Bgrx]
    } else if info.is_rgb() {
        &[Rgb, Bgr, Rgbx, Bgrx, Xrgb, Xbgr, Rgba, Bgra, Argb, Abgr, Y444, Y42b, I420, Nv12]
    } else {
        match (shift(info.w_sub()), shift(info.h_sub())) {
            (0, 0) => &[Y444, Y42b, I420, Nv12, Rgb, Bgr],
            (1, 1) => &[I420, Nv12, Yv12, Nv21, Y444, Y42b, Rgb, Bgr],
            _ => &[Y42b, I420, Nv12, Y444, Rgb, Bgr],
        }
    };
    let own = gstsparseadv::element::format::FORMATS;
    let mut all: Vec<VideoFormat> = own.into_iter().filter(|f| *f == format).collect();
    for other in near.iter().chain(&own) {
        if !all.contains(other) {
            all.push(*other);
        }
    }
    all
}

/// Writes blank frames of each of these kinds, one after the other, with an encoder and a muxer, and reads them again.
pub fn trial(encoder: &str, muxer: &str, kinds: &[VideoInfo]) -> anyhow::Result<()> {
    let file = Part::beside(&std::env::temp_dir().join("gst-sparseadv-trial"))?;
    let (sink, _written) = output::output(encoder, muxer, false, file.part())?;
    let pipeline = gst::Pipeline::new();
    let source = gst_app::AppSrc::builder().format(gst::Format::Time).max_bytes(0).build();
    pipeline.add_many([source.upcast_ref(), &sink])?;
    source.link(&sink)?;
    // Its queue takes them all before it runs.
    source.set_state(gst::State::Ready)?;
    let mut time = gst::ClockTime::ZERO;
    let mut pushed = Sizes::default();
    for info in kinds {
        let duration = gstsparseadv::element::format::frame_duration(info);
        let caps = info.to_caps()?;
        for _ in 0..FRAMES {
            let mut frame = gst::Buffer::with_size(info.size())?;
            let buffer = frame.get_mut().context("a buffer of our own")?;
            buffer.set_pts(time);
            buffer.set_duration(duration);
            time += duration;
            pushed.add(Some(&caps));
            source.push_sample(&gst::Sample::builder().buffer(&frame).caps(&caps).build())?;
        }
    }
    source.end_of_stream()?;
    let result = run(&pipeline);
    play::stop(&pipeline);
    result?;
    read::verify(file.part(), &pushed)
}

fn run(pipeline: &gst::Pipeline) -> anyhow::Result<()> {
    let bus = pipeline.bus().context("a pipeline has a bus")?;
    let started = pipeline.set_state(gst::State::Playing);
    let began = Instant::now();
    loop {
        interrupt::check()?;
        let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
        let Some(msg) = bus.timed_pop_filtered(play::POLL, &wanted) else {
            started.context("the encoder or muxer did not start")?;
            if began.elapsed() > PATIENCE {
                bail!(Stuck);
            }
            continue;
        };
        match msg.view() {
            gst::MessageView::Error(error) => bail!(play::blame(pipeline, error)),
            _ => return Ok(()),
        }
    }
}
