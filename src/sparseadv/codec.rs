// SPDX-License-Identifier: MPL-2.0

//! A real codec, or any other bin that takes and gives raw video, as a function from frames to frames.

use std::time::{Duration, Instant};

use gst::prelude::*;

/// Time after which a bin that gives nothing more is taken to be stuck. Slow encoders need some seconds for a window of large frames.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Codec {
    description: String,
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    sink: gst_app::AppSink,
    frame_duration: gst::ClockTime,
}

/// The bins in the value of the `survive` property.
pub fn split(survive: &str) -> impl Iterator<Item = &str> {
    survive.split('|').map(str::trim)
}

/// Which element is missing, or what else is wrong with the value of the property, as far as can be told without caps.
pub fn check(survive: &str) -> Result<(), String> {
    split(survive).try_for_each(|description| bin(description).map(drop))
}

fn bin(description: &str) -> Result<gst::Element, String> {
    let mut context = gst::ParseContext::new();
    let flags = gst::ParseFlags::FATAL_ERRORS;
    // A description of one element would give that element, and one cannot end in caps.
    let whole = format!("{description} ! identity");
    let made = gst::parse::bin_from_description_full(&whole, true, Some(&mut context), flags);
    made.map_err(
        |error| {
            let missing = context.missing_elements();
            let why = if missing.is_empty() {
                error.to_string()
            } else {
                format!("no element {}; install its plugin", missing.join(", "))
            };
            format!(
                "The survive property: expected a bin from raw video to raw video such as x264enc ! avdec_h264, found \"{description}\": {why}."
            )
        },
    )
}

impl Codec {
    /// For frames of `info`, each lasting `frame_duration`.
    pub fn new(
        description: &str,
        info: &gst_video::VideoInfo,
        frame_duration: gst::ClockTime,
    ) -> Result<Self, String> {
        let wrong = |e: &dyn std::fmt::Display| wrong(description, &e.to_string());
        let mut caps = info.to_caps().map_err(|e| wrong(&e))?;
        if info.fps().numer() == 0 {
            // Encoders want to know.
            let nanoseconds = frame_duration.nseconds().max(1);
            let rate = gst::Fraction::new(1_000_000_000 / nanoseconds as i32, 1);
            caps.make_mut().set("framerate", rate);
        }
        let back = gst::Caps::builder("video/x-raw")
            .field("format", info.format().to_str())
            .field("width", info.width() as i32)
            .field("height", info.height() as i32)
            .build();
        let source = gst_app::AppSrc::builder()
            .caps(&caps)
            .format(gst::Format::Time)
            .max_bytes(0)
            .build();
        let sink = gst_app::AppSink::builder().caps(&back).sync(false).build();
        let convert = || gst::ElementFactory::make("videoconvert").build();
        let (first, last) = (
            convert().map_err(|e| wrong(&e))?,
            convert().map_err(|e| wrong(&e))?,
        );
        let bin = bin(description)?;
        let pipeline = gst::Pipeline::new();
        let chain = [source.upcast_ref(), &first, &bin, &last, sink.upcast_ref()];
        pipeline.add_many(chain).map_err(|e| wrong(&e))?;
        gst::Element::link_many(chain).map_err(|_| wrong(&"it does not link"))?;
        Ok(Self {
            description: description.to_string(),
            pipeline,
            source,
            sink,
            frame_duration,
        })
    }

    /// Sends frames through, from a fresh start of all elements to their end of stream.
    pub fn run(
        &self,
        frames: impl ExactSizeIterator<Item = gst::Buffer>,
    ) -> Result<Vec<gst::Buffer>, String> {
        let result = self.send(frames);
        // READY forgets all that was encoded, and keeps what is slow to make. The ends forget that they are at an end in NULL only.
        let stopped = self
            .pipeline
            .set_state(gst::State::Ready)
            .and_then(|_| self.source.set_state(gst::State::Null))
            .and_then(|_| self.sink.set_state(gst::State::Null));
        let frames = result?;
        stopped.map_err(|_| wrong(&self.description, "it could not be stopped"))?;
        Ok(frames)
    }

    fn send(
        &self,
        frames: impl ExactSizeIterator<Item = gst::Buffer>,
    ) -> Result<Vec<gst::Buffer>, String> {
        let expected = frames.len();
        self.pipeline
            .set_state(gst::State::Playing)
            .map_err(|_| self.why("it did not start"))?;
        let mut pts = gst::ClockTime::ZERO;
        for mut frame in frames {
            let times = frame.make_mut();
            times.set_pts(pts);
            times.set_dts(gst::ClockTime::NONE);
            times.set_duration(self.frame_duration);
            pts += self.frame_duration;
            self.source
                .push_buffer(frame)
                .map_err(|_| self.why("it takes no frames"))?;
        }
        self.source
            .end_of_stream()
            .map_err(|_| self.why("it takes no end of stream"))?;
        let mut received = Vec::with_capacity(expected);
        let deadline = Instant::now() + PATIENCE;
        while !self.sink.is_eos() {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = gst::ClockTime::try_from(left).unwrap_or_default();
            // Often enough to hear of an error.
            let sample = self
                .sink
                .try_pull_sample(left.min(200 * gst::ClockTime::MSECOND));
            match sample {
                Some(sample) => received.extend(sample.buffer_owned()),
                None if self.sink.is_eos() => break,
                None if left.is_zero() => {
                    let text = format!(
                        "{} of {expected} frames came back within {} s",
                        received.len(),
                        PATIENCE.as_secs()
                    );
                    return Err(self.why(&text));
                }
                None => {
                    if let Some(error) = self.error() {
                        return Err(wrong(&self.description, &error));
                    }
                }
            }
        }
        if received.len() != expected {
            let text = format!("expected {expected} frames back, found {}", received.len());
            return Err(self.why(&text));
        }
        Ok(received)
    }

    /// What the bus says, if anything, or `otherwise`.
    fn why(&self, otherwise: &str) -> String {
        let why = self.error().unwrap_or_else(|| otherwise.to_string());
        wrong(&self.description, &why)
    }

    fn error(&self) -> Option<String> {
        let message = self
            .pipeline
            .bus()?
            .pop_filtered(&[gst::MessageType::Error])?;
        match message.view() {
            gst::MessageView::Error(error) => {
                let debug = error.debug().unwrap_or_default();
                // Where formats or sizes do not fit, only the details say so.
                let detail = debug.lines().last().unwrap_or_default().to_string();
                Some(format!("{} {detail}", error.error()))
            }
            _ => None,
        }
    }
}

fn wrong(description: &str, why: &str) -> String {
    format!(
        "The survive property: expected a bin that gives back every frame in the size it got it, found \"{description}\": {why}."
    )
}

impl Drop for Codec {
    fn drop(&mut self) {
        // Nothing can be done about one that does not stop.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
