// SPDX-License-Identifier: MPL-2.0

//! Running pipelines to their end, and reading files.

use anyhow::{Context, bail};
use gst::prelude::*;
use gst_video::{VideoConverter, VideoFrameRef, VideoInfo};
use gstsparseadv::element::planes;

use super::media::Reader;
use crate::out::errln;

/// Frames of a stream of one format.
pub struct Clip {
    pub info: gst_video::VideoInfo,
    pub frames: Vec<gst::Buffer>,
}

impl Clip {
    /// The same frames in RGB, for people to look at.
    pub fn to_rgb(&self) -> anyhow::Result<Self> {
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::Rgb, self.info.width(), self.info.height())
            .fps(self.info.fps())
            .build()?;
        let converter = gst_video::VideoConverter::new(&self.info, &info, None)?;
        let frames = self
            .frames
            .iter()
            .map(|buffer| converted(buffer, &self.info, &converter, &info))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { info, frames })
    }
}

/// A frame as a converter between these makes it.
pub fn converted(
    buffer: &gst::Buffer,
    from: &VideoInfo,
    converter: &VideoConverter,
    to: &VideoInfo,
) -> anyhow::Result<gst::Buffer> {
    planes::check(buffer, from).map_err(anyhow::Error::msg)?;
    let mut made = gst::Buffer::with_size(to.size())?;
    let frame = VideoFrameRef::from_buffer_ref_readable(buffer, from)?;
    let mut into = VideoFrameRef::from_buffer_ref_writable(made.get_mut().context("a buffer of our own")?, to)?;
    converter.frame_ref(&frame, &mut into);
    drop(into);
    Ok(made)
}

/// Puts frames into a source before its pipeline runs: its queue takes them all.
pub fn fill(source: &gst_app::AppSrc, frames: impl IntoIterator<Item = gst::Buffer>) -> anyhow::Result<()> {
    source.set_state(gst::State::Ready)?;
    for frame in frames {
        source.push_buffer(frame)?;
    }
    source.end_of_stream()?;
    Ok(())
}

/// Runs a pipeline to the end of its streams, and leaves it as it is then. `message` sees every element message.
pub fn play(pipeline: &gst::Pipeline, mut message: impl FnMut(&gst::StructureRef)) -> anyhow::Result<()> {
    let bus = pipeline.bus().context("a pipeline has a bus")?;
    // Where a state change fails, the bus has the reason.
    let started = pipeline.set_state(gst::State::Playing);
    for msg in bus.iter_timed(gst::ClockTime::NONE) {
        match msg.view() {
            gst::MessageView::Eos(_) => return Ok(()),
            gst::MessageView::Error(error) => bail!("{}", error.error()),
            gst::MessageView::Warning(warning) => errln!("warning: {}", warning.error()),
            gst::MessageView::Element(element) => element.structure().into_iter().for_each(&mut message),
            _ => {}
        }
    }
    started.map(drop).context("the pipeline did not start")
}

/// Keeps every frame that reaches an appsink.
pub fn collect(sink: &gst_app::AppSink) -> std::sync::Arc<std::sync::Mutex<Option<Clip>>> {
    let clip = std::sync::Arc::new(std::sync::Mutex::new(None::<Clip>));
    let into = clip.clone();
    let new_sample = move |sink: &gst_app::AppSink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let (Some(buffer), Some(caps)) = (sample.buffer_owned(), sample.caps()) else {
            return Err(gst::FlowError::Error);
        };
        let info = gst_video::VideoInfo::from_caps(caps).map_err(|_| gst::FlowError::NotNegotiated)?;
        if let Ok(mut clip) = into.lock() {
            let frames = Vec::new();
            clip.get_or_insert(Clip { info, frames }).frames.push(buffer);
        }
        Ok(gst::FlowSuccess::Ok)
    };
    sink.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(new_sample).build());
    clip
}

/// Reads a video file, its frames as the decoder gives them or in the format of `caps`, which are elements and caps,
/// each with a `!` behind.
pub fn read(path: &std::path::Path, caps: &str) -> anyhow::Result<Clip> {
    let mut reader = Reader::through(path, caps.trim().trim_end_matches('!'))?;
    let mut clip = None::<Clip>;
    while let Some(sample) = reader.next()? {
        let frame = sample.buffer_owned().zip(sample.caps());
        let (buffer, caps) = frame.context("a frame")?;
        let clip = match &mut clip {
            Some(clip) => clip,
            None => clip.insert(Clip { info: gst_video::VideoInfo::from_caps(caps)?, frames: Vec::new() }),
        };
        clip.frames.push(buffer);
    }
    clip.context("Expected a video, found no frames in it.")
}
