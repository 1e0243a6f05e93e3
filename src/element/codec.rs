// SPDX-License-Identifier: MPL-2.0

//! A real codec, or any other bin that takes and gives raw video, as a function from frames to frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use gst::prelude::*;

/// Time after which a bin that gives nothing more is taken to be stuck. Slow encoders need some seconds for a window of
/// large frames.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time that a bin is given to stop before it is left to itself.
const STOPS_WITHIN: Duration = Duration::from_millis(100);
/// How often it is looked whether anybody still waits for a run.
const GLANCE: Duration = Duration::from_millis(20);

pub struct Codec {
    chain: Arc<Chain>,
}

/// What a run needs. A run has a thread of its own: a bin may block in a change of state, and nobody shall have to wait
/// for it then.
struct Chain {
    description: String,
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    sink: gst_app::AppSink,
    frame_duration: gst::ClockTime,
    /// Nobody waits for the run any more.
    abandoned: AtomicBool,
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
    let whole = format!("{description} ! identity name=sparseadv-last");
    let made = gst::parse::bin_from_description_full(&whole, false, Some(&mut context), flags);
    let why = match made {
        Ok(bin) => match bin.downcast::<gst::Bin>().map_err(|_| "it is no bin".into()).and_then(ghost) {
            Ok(bin) => return Ok(bin.upcast()),
            Err(why) => why,
        },
        Err(error) => match context.missing_elements() {
            missing if missing.is_empty() => error.to_string(),
            missing => format!("no element {}; install its plugin", missing.join(", ")),
        },
    };
    Err(format!(
        "The survive property: expected a bin from raw video to raw video such as x264enc ! avdec_h264, found \"{description}\": {why}."
    ))
}

/// Gives a bin its two pads: the only ones in it that are not linked, of the first and the last element of one chain.
/// Any other pad would be a hole, and the frames would not go through all of the bin.
fn ghost(bin: gst::Bin) -> Result<gst::Bin, String> {
    let free = |pads: Vec<gst::Pad>| pads.into_iter().filter(|pad| !pad.is_linked());
    let (mut sinks, mut sources) = (Vec::new(), Vec::new());
    for element in bin.children() {
        sinks.extend(free(element.sink_pads()));
        sources.extend(free(element.src_pads()));
    }
    let names = |pads: &[gst::Pad]| {
        let names = pads.iter().map(|pad| {
            let element = pad.parent_element();
            let factory = element.and_then(|e| e.factory()).map(|f| f.name().to_string());
            format!("{}'s {}", factory.unwrap_or_default(), pad.name())
        });
        names.collect::<Vec<_>>().join(" and ")
    };
    let ([sink], [source]) = (sinks.as_slice(), sources.as_slice()) else {
        let sources = sources.iter().filter(|pad| {
            let element = pad.parent_element();
            element.is_none_or(|element| element.name() != "sparseadv-last")
        });
        let holes: Vec<_> = sinks.iter().chain(sources).cloned().collect();
        return Err(match sinks.is_empty() {
            true => "it takes no frames: none of its elements has an unlinked sink pad".into(),
            false => format!(
                "it must be one chain whose pads are all linked inside; here {} are not (elements that make their pads while they run, as demuxers and decodebin do, cannot be used)",
                names(&holes)
            ),
        });
    };
    if !leads_to(sink, source) {
        return Err(format!("nothing leads from {} to its end", names(std::slice::from_ref(sink))));
    }
    for (name, pad) in [("sink", sink), ("src", source)] {
        let ghost = gst::GhostPad::builder_with_target(pad).map_err(|e| e.to_string())?.name(name).build();
        bin.add_pad(&ghost).map_err(|e| e.to_string())?;
    }
    Ok(bin)
}

/// Whether frames that go in at one pad may come out at another.
fn leads_to(sink: &gst::Pad, source: &gst::Pad) -> bool {
    let first = sink.parent_element();
    let mut open: Vec<_> = source.parent_element().into_iter().collect();
    let mut seen = Vec::new();
    while let Some(element) = open.pop() {
        if Some(&element) == first.as_ref() {
            return true;
        }
        if seen.contains(&element) {
            continue;
        }
        let before = element.sink_pads().into_iter();
        open.extend(before.filter_map(|pad| pad.peer()?.parent_element()));
        seen.push(element);
    }
    false
}

impl Codec {
    /// For frames of `info`, each lasting `frame_duration`.
    pub fn new(description: &str, info: &gst_video::VideoInfo, frame_duration: gst::ClockTime) -> Result<Self, String> {
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
        let source = gst_app::AppSrc::builder().caps(&caps).format(gst::Format::Time).max_bytes(0).build();
        let sink = gst_app::AppSink::builder().caps(&back).sync(false).build();
        let convert = || gst::ElementFactory::make("videoconvert").build();
        let (first, last) = (convert().map_err(|e| wrong(&e))?, convert().map_err(|e| wrong(&e))?);
        let bin = bin(description)?;
        let pipeline = gst::Pipeline::new();
        let chain = [source.upcast_ref(), &first, &bin, &last, sink.upcast_ref()];
        pipeline.add_many(chain).map_err(|e| wrong(&e))?;
        gst::Element::link_many(chain).map_err(|_| wrong(&"it does not link"))?;
        Ok(Self {
            chain: Arc::new(Chain {
                description: description.to_string(),
                pipeline,
                source,
                sink,
                frame_duration,
                abandoned: AtomicBool::new(false),
            }),
        })
    }

    /// Sends frames through, from a fresh start of all elements to their end of stream.
    pub fn run(&self, frames: impl ExactSizeIterator<Item = gst::Buffer>) -> Result<Vec<gst::Buffer>, String> {
        self.run_unless(frames, &|| false).map(Option::unwrap_or_default)
    }

    /// The same, and nothing if `canceled` says so before it is done, whatever the bin is doing. It is of no use then.
    pub fn run_unless(
        &self,
        frames: impl ExactSizeIterator<Item = gst::Buffer>,
        canceled: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<gst::Buffer>>, String> {
        let frames: Vec<gst::Buffer> = frames.collect();
        let chain = self.chain.clone();
        let result = beside(move || chain.run(frames))?;
        loop {
            match result.recv_timeout(GLANCE) {
                Ok(result) => return result.map(Some),
                Err(RecvTimeoutError::Timeout) if !canceled() => {}
                Err(RecvTimeoutError::Timeout) => {
                    self.chain.abandoned.store(true, Ordering::SeqCst);
                    return Ok(None);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(wrong(&self.chain.description, "its thread panicked"));
                }
            }
        }
    }

    /// Whether runs may still come of it.
    pub fn is_usable(&self) -> bool {
        !self.chain.abandoned.load(Ordering::SeqCst)
    }
}

/// Does something in a thread that may take for ever.
fn beside<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<Receiver<R>, String> {
    let (send, receive) = channel();
    std::thread::Builder::new()
        .name("sparseadv-bin".into())
        .spawn(move || {
            // If nobody waits any more, nobody needs it.
            let _ = send.send(work());
        })
        .map_err(|e| format!("A thread for the survive property cannot be started: {e}"))?;
    Ok(receive)
}

impl Chain {
    fn run(&self, frames: Vec<gst::Buffer>) -> Result<Vec<gst::Buffer>, String> {
        let result = self.send(frames.into_iter());
        // READY forgets all that was encoded, and keeps what is slow to make. The ends forget that they are at an end
        // in NULL only.
        let stopped = self
            .pipeline
            .set_state(gst::State::Ready)
            .and_then(|_| self.source.set_state(gst::State::Null))
            .and_then(|_| self.sink.set_state(gst::State::Null));
        if let Some(bus) = self.pipeline.bus() {
            // Nobody reads the other messages, and they hold threads and buffers.
            bus.set_flushing(true);
            bus.set_flushing(false);
        }
        let frames = result?;
        stopped.map_err(|_| wrong(&self.description, "it could not be stopped"))?;
        Ok(frames)
    }

    fn send(&self, frames: impl ExactSizeIterator<Item = gst::Buffer>) -> Result<Vec<gst::Buffer>, String> {
        let expected = frames.len();
        self.pipeline.set_state(gst::State::Playing).map_err(|_| self.why("it did not start"))?;
        let mut pts = gst::ClockTime::ZERO;
        for mut frame in frames {
            let times = frame.make_mut();
            times.set_pts(pts);
            times.set_dts(gst::ClockTime::NONE);
            times.set_duration(self.frame_duration);
            pts += self.frame_duration;
            self.source.push_buffer(frame).map_err(|_| self.why("it takes no frames"))?;
        }
        self.source.end_of_stream().map_err(|_| self.why("it takes no end of stream"))?;
        let mut received = Vec::with_capacity(expected);
        let deadline = Instant::now() + PATIENCE;
        while !self.sink.is_eos() {
            if self.abandoned.load(Ordering::SeqCst) {
                return Err(self.why("nobody waits for it"));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let left = gst::ClockTime::try_from(left).unwrap_or_default();
            // Often enough to hear of an error.
            let sample = self.sink.try_pull_sample(left.min(200 * gst::ClockTime::MSECOND));
            match sample {
                Some(sample) => received.extend(sample.buffer_owned()),
                None if self.sink.is_eos() => break,
                None if left.is_zero() => {
                    let text =
                        format!("{} of {expected} frames came back within {} s", received.len(), PATIENCE.as_secs());
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
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        let gst::MessageView::Error(error) = message.view() else { return None };
        let debug = error.debug().unwrap_or_default();
        // Where formats or sizes do not fit, only the details say so.
        Some(format!("{} {}", error.error(), debug.lines().last().unwrap_or_default()))
    }
}

fn wrong(description: &str, why: &str) -> String {
    format!(
        "The survive property: expected a bin that gives back every frame in the size it got it, found \"{description}\": {why}."
    )
}

impl Drop for Codec {
    fn drop(&mut self) {
        let chain = self.chain.clone();
        // A run that is under way ends by itself, and a bin that does not stop is left behind.
        let stopped = beside(move || {
            let _ = chain.pipeline.set_state(gst::State::Null);
        });
        if let Ok(stopped) = stopped {
            let _ = stopped.recv_timeout(STOPS_WITHIN);
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // A run that nobody waited for may have ended in READY, after the codec was dropped.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages hold threads and buffers, and nobody reads them: after thousands of runs they would fill the memory.
    #[test]
    fn a_run_leaves_no_messages_on_the_bus() {
        gst::init().expect("GStreamer");
        let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::Gray8, 16, 16);
        let info = info.build().expect("info");
        let codec = Codec::new("identity", &info, gst::ClockTime::from_mseconds(40));
        let codec = codec.expect("a codec");
        for _ in 0..3 {
            let frames = vec![gst::Buffer::from_slice([0u8; 256]); 2];
            assert_eq!(codec.run(frames.into_iter()).expect("frames").len(), 2);
            let bus = codec.chain.pipeline.bus().expect("a bus");
            assert!(!bus.have_pending());
        }
    }
}
