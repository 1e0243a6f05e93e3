// SPDX-License-Identifier: MPL-2.0

//! Writes frames to an H.264 file through GStreamer.

use std::path::Path;

use anyhow::{Context, Result, bail};
use gst::prelude::*;

const FRAMES_A_SECOND: u64 = 25;

pub struct Encoder {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
}

impl Encoder {
    /// For RGBA frames of `width` x `height`; the extension of `path` chooses the container.
    pub fn new(path: &Path, width: u32, height: u32) -> Result<Self> {
        let muxer = match path.extension().and_then(|e| e.to_str()) {
            Some("mp4") => "mp4mux",
            _ => "avimux",
        };
        // One thread: x264's output depends on their number, and the set should follow from the seed alone. No
        // B-frames: AVI has no place for their time stamps.
        let description = format!(
            "appsrc name=src format=time ! videoconvert ! video/x-raw,format=I420 \
             ! x264enc qp-max=24 quantizer=18 pass=qual speed-preset=fast key-int-max=16 bframes=0 threads=1 \
             ! video/x-h264,profile=main ! h264parse ! {muxer} ! filesink name=sink"
        );
        let pipeline = gst::parse::launch(&description)
            .context("the encoding pipeline could not be built; it needs GStreamer's x264enc (plugins-ugly), h264parse (bad) and avimux or mp4mux (good)")?
            .downcast::<gst::Pipeline>()
            .expect("a description of several elements makes a pipeline");
        let by_name = |name| pipeline.by_name(name).expect("the description names the element");
        by_name("sink").set_property("location", path.to_str().context("a path in UTF-8")?);
        let source = by_name("src").downcast::<gst_app::AppSrc>().expect("src is an appsrc");
        source.set_caps(Some(
            &gst::Caps::builder("video/x-raw")
                .field("format", "RGBA")
                .field("width", width as i32)
                .field("height", height as i32)
                .field("framerate", gst::Fraction::new(FRAMES_A_SECOND as i32, 1))
                .build(),
        ));
        pipeline
            .set_state(gst::State::Playing)
            .with_context(|| format!("{} could not be opened for writing", path.display()))?;
        Ok(Self { pipeline, source })
    }

    pub fn push(&self, index: u64, rgba: &[u8]) -> Result<()> {
        let mut buffer = gst::Buffer::from_slice(rgba.to_vec());
        {
            let buffer = buffer.make_mut();
            let at = |i: u64| gst::ClockTime::from_nseconds(i * 1_000_000_000 / FRAMES_A_SECOND);
            buffer.set_pts(at(index));
            buffer.set_duration(at(index + 1) - at(index));
        }
        self.source.push_buffer(buffer).context("the encoder took no more frames")?;
        Ok(())
    }

    /// Waits for the file to be complete.
    pub fn finish(self) -> Result<()> {
        self.source.end_of_stream()?;
        let bus = self.pipeline.bus().expect("a pipeline has a bus");
        let message = bus
            .timed_pop_filtered(gst::ClockTime::from_seconds(120), &[gst::MessageType::Eos, gst::MessageType::Error]);
        match message.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Eos(_)) => Ok(()),
            Some(gst::MessageView::Error(e)) => bail!("encoding failed: {}", e.error()),
            _ => bail!("the encoder did not finish within two minutes"),
        }
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // Shutting down cannot be retried, and an error on the way here has been reported already.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
