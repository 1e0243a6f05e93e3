// SPDX-License-Identifier: MPL-2.0

//! Running pipelines to their end, and reading files.

use anyhow::{anyhow, bail, Context};
use gst::prelude::*;

/// Frames of a stream of one format.
pub struct Clip {
    pub info: gst_video::VideoInfo,
    pub frames: Vec<gst::Buffer>,
}

impl Clip {
    /// The same frames in RGB, for people to look at.
    pub fn to_rgb(&self) -> anyhow::Result<Self> {
        let info = gst_video::VideoInfo::builder(
            gst_video::VideoFormat::Rgb,
            self.info.width(),
            self.info.height(),
        )
        .fps(self.info.fps())
        .build()?;
        let converter = gst_video::VideoConverter::new(&self.info, &info, None)?;
        let convert = |buffer: &gst::Buffer| -> anyhow::Result<gst::Buffer> {
            gstsparseadv::sparseadv::planes::check(buffer, &self.info).map_err(|e| anyhow!(e))?;
            let mut rgb = gst::Buffer::with_size(info.size())?;
            let from = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &self.info)?;
            let mut to = gst_video::VideoFrameRef::from_buffer_ref_writable(
                rgb.get_mut().context("a buffer of our own")?,
                &info,
            )?;
            converter.frame_ref(&from, &mut to);
            drop(to);
            Ok(rgb)
        };
        let frames = self
            .frames
            .iter()
            .map(convert)
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { info, frames })
    }
}

/// Makes a pipeline, or says which plugin is missing.
pub fn parse(description: &str) -> anyhow::Result<gst::Pipeline> {
    let mut context = gst::ParseContext::new();
    let flags = gst::ParseFlags::FATAL_ERRORS;
    match gst::parse::launch_full(description, Some(&mut context), flags) {
        Ok(element) => element
            .downcast()
            .map_err(|_| anyhow!("expected a pipeline: {description}")),
        Err(error) => {
            let missing = context.missing_elements();
            if missing.is_empty() {
                bail!("the pipeline cannot be made: {error}: {description}");
            }
            bail!(
                "expected the GStreamer elements {}, found none of that name. Install their plugins (the set-up command of README.md \
                 does); if they are installed, delete GStreamer's stale registry: rm -r ~/.cache/gstreamer-1.0",
                missing.join(", ")
            )
        }
    }
}

/// Runs a pipeline to the end of its streams, and stops it. `message` sees every element message.
pub fn run(
    pipeline: &gst::Pipeline,
    message: impl FnMut(&gst::StructureRef),
) -> anyhow::Result<()> {
    let result = play(pipeline, message);
    pipeline.set_state(gst::State::Null)?;
    result
}

/// The same, and leaves the pipeline as it is at the end.
pub fn play(
    pipeline: &gst::Pipeline,
    mut message: impl FnMut(&gst::StructureRef),
) -> anyhow::Result<()> {
    let bus = pipeline.bus().context("a pipeline has a bus")?;
    // Where a state change fails, the bus has the reason.
    let started = pipeline.set_state(gst::State::Playing);
    for msg in bus.iter_timed(gst::ClockTime::NONE) {
        match msg.view() {
            gst::MessageView::Eos(_) => return Ok(()),
            gst::MessageView::Error(error) => bail!("{}", error.error()),
            gst::MessageView::Warning(warning) => eprintln!("warning: {}", warning.error()),
            gst::MessageView::Element(element) => {
                if let Some(structure) = element.structure() {
                    message(structure);
                }
            }
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
        let info =
            gst_video::VideoInfo::from_caps(caps).map_err(|_| gst::FlowError::NotNegotiated)?;
        if let Ok(mut clip) = into.lock() {
            let frames = Vec::new();
            clip.get_or_insert(Clip { info, frames })
                .frames
                .push(buffer);
        }
        Ok(gst::FlowSuccess::Ok)
    };
    sink.set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(new_sample)
            .build(),
    );
    clip
}

/// Reads a video file, its frames as the decoder gives them or in the format of `caps`.
pub fn read(path: &std::path::Path, caps: &str) -> anyhow::Result<Clip> {
    let pipeline = parse(&format!(
        "filesrc name=source ! decodebin ! {caps} appsink name=sink sync=false"
    ))?;
    let source = pipeline.by_name("source").context("the source")?;
    source.set_property("location", path.to_str().context("a path in UTF-8")?);
    let clip = collect(&sink(&pipeline, "sink")?);
    run(&pipeline, |_| {}).with_context(|| format!("reading {}", path.display()))?;
    let clip = clip
        .lock()
        .map_err(|_| anyhow!("the reader failed"))?
        .take();
    clip.with_context(|| format!("expected a video in {}, found none", path.display()))
}

pub fn sink(pipeline: &gst::Pipeline, name: &str) -> anyhow::Result<gst_app::AppSink> {
    let element = pipeline
        .by_name(name)
        .with_context(|| format!("no {name}"))?;
    element
        .downcast()
        .map_err(|_| anyhow!("{name} is no appsink"))
}
