// SPDX-License-Identifier: MPL-2.0

//! Decodes a video file through GStreamer into frames resized as the model wants them.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use gst::prelude::*;
use gst_video::prelude::*;
use tch::{Kind, Tensor};

/// Waits for a frame of `TICK` each; a decoder that gives nothing for so many has stalled.
const PATIENCE: u32 = 200;
const TICK: gst::ClockTime = gst::ClockTime::from_mseconds(100);

/// All frames of the file: bytes, `[frames, 3, height, width]`.
pub fn decode(path: &Path, size: [i64; 2]) -> Result<Tensor> {
    let pipeline = gst::parse::launch(
        "filesrc name=source ! decodebin ! videoconvert ! video/x-raw,format=RGB \
         ! appsink name=sink sync=false max-buffers=8",
    )
    .context("the decoding pipeline could not be built; it needs GStreamer's base plugins")?
    .downcast::<gst::Pipeline>()
    .expect("a description of several elements makes a pipeline");
    let result = play(&pipeline, path, size);
    // Whatever the result, the file is done with; an error on the way down adds nothing.
    let _ = pipeline.set_state(gst::State::Null);
    result
}

fn play(pipeline: &gst::Pipeline, path: &Path, size: [i64; 2]) -> Result<Tensor> {
    let by_name = |name| pipeline.by_name(name).expect("the description names the element");
    by_name("source").set_property("location", path.to_str().context("a path in UTF-8")?);
    let sink = by_name("sink").downcast::<gst_app::AppSink>().expect("sink is an appsink");
    if pipeline.set_state(gst::State::Playing).is_err() {
        bail!(error(pipeline).unwrap_or_else(|| "the file could not be opened".into()));
    }
    let (mut frames, mut waits) = (Vec::new(), 0);
    loop {
        if let Some(sample) = sink.try_pull_sample(TICK) {
            frames.push(resized(&sample, size)?);
            waits = 0;
            continue;
        }
        waits += 1;
        // An error need not be followed by an end of stream. Half a clip is not the clip the lists mean, so what came
        // before is dropped.
        if let Some(error) = error(pipeline) {
            bail!("{error} (after {} frames)", frames.len());
        }
        if sink.is_eos() {
            break;
        }
        ensure!(waits < PATIENCE, "the decoder stalled after {} frames", frames.len());
    }
    ensure!(!frames.is_empty(), "no video frames");
    Ok(Tensor::f_stack(&frames, 0)?)
}

fn error(pipeline: &gst::Pipeline) -> Option<String> {
    let message = pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
    match message.view() {
        gst::MessageView::Error(error) => Some(error.error().to_string()),
        _ => None,
    }
}

/// Bilinear without antialiasing, as the metadata promises.
fn resized(sample: &gst::Sample, [height, width]: [i64; 2]) -> Result<Tensor> {
    let caps = sample.caps().context("a sample with caps")?;
    let info = gst_video::VideoInfo::from_caps(caps)?;
    let buffer = sample.buffer().context("a sample with a buffer")?;
    let frame =
        gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).context("a video frame that can be read")?;
    let stride = frame.plane_stride()[0] as usize;
    let row = 3 * info.width() as usize;
    let pixels: Vec<u8> = frame
        .plane_data(0)?
        .chunks(stride)
        .take(info.height() as usize)
        .flat_map(|line| &line[..row])
        .copied()
        .collect();
    let full = [i64::from(info.height()), i64::from(info.width()), 3];
    let small = Tensor::f_from_data_size(&pixels, &full, Kind::Uint8)?
        .f_permute([2, 0, 1])?
        .f_unsqueeze(0)?
        .f_to_kind(Kind::Float)?
        .f_upsample_bilinear2d([height, width], false, None, None)?;
    Ok(small.f_squeeze_dim(0)?.f_round()?.f_to_kind(Kind::Uint8)?)
}
