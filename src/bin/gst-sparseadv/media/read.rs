// SPDX-License-Identifier: MPL-2.0

//! Reading a video file frame by frame.

use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, bail, ensure};
use gst::prelude::*;
use gstsparseadv::element::lock;

use super::location::Location;
use super::play;
use super::stall::{Progress, Watch};
use crate::interrupt;

/// Frames decoded ahead.
const AHEAD: u32 = 4;

/// The first video stream of a file, as its decoder gives it.
pub struct Reader {
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
    streams: Arc<Mutex<Streams>>,
    progress: Progress,
    watch: Watch,
    _location: Location,
}

/// What a file turns out to hold.
#[derive(Clone, Default)]
pub struct Streams {
    /// Streams of raw video; only the first is read.
    pub videos: usize,
    pub sounds: usize,
    /// Caps of what could not be decoded.
    pub missing: Vec<gst::Caps>,
    pub tags: Option<gst::TagList>,
    /// Memory that the frames lie in, where it is none that a program can read.
    pub memory: Option<String>,
}

impl Reader {
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        Self::through(path, "")
    }

    /// The same behind the elements of a description, if there are any.
    pub fn through(path: &Path, elements: &str) -> anyhow::Result<Self> {
        let location = Location::to_read(path)?;
        let pipeline = gst::Pipeline::new();
        let sink = gst_app::AppSink::builder().sync(false).max_buffers(AHEAD).build();
        pipeline.add(&sink)?;
        let pad = sink.static_pad("sink").context("a sink pad")?;
        let streams = if elements.trim().is_empty() {
            decode(&pipeline, &location, &pad)?
        } else {
            let bin = super::parse::bin("the conversion", elements)?;
            pipeline.add(&bin)?;
            bin.link(&sink)?;
            let first = bin.static_pad("sink").context("a sink pad")?;
            decode(&pipeline, &location, &first)?
        };
        let progress = Progress::default();
        let (seen, steps) = (streams.clone(), progress.clone());
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
        pad.add_probe(kinds, move |_, info| {
            steps.step();
            if let Some(gst::EventView::Tag(tag)) = info.event().map(|e| e.view()) {
                let mode = gst::TagMergeMode::Replace;
                let mut seen = lock(&seen);
                seen.tags = Some(match &seen.tags {
                    Some(tags) => tags.merge(tag.tag(), mode),
                    None => tag.tag_owned(),
                });
            }
            gst::PadProbeReturn::Ok
        });
        // Where it fails, the bus has the reason.
        let _ = pipeline.set_state(gst::State::Playing);
        Ok(Self { pipeline, sink, streams, progress, watch: Watch::new(), _location: location })
    }

    /// The next frame; nothing at the end.
    pub fn next(&mut self) -> anyhow::Result<Option<gst::Sample>> {
        loop {
            interrupt::check()?;
            if let Some(sample) = self.sink.try_pull_sample(play::POLL) {
                self.progress.step();
                return Ok(Some(sample));
            }
            play::error(&self.pipeline)?;
            if self.sink.is_eos() {
                return Ok(None);
            }
            if let Some(why) = self.watch.stalled(&self.progress, &self.pipeline) {
                bail!("no more frames could be decoded: {why}");
            }
        }
    }

    pub fn streams(&self) -> Streams {
        lock(&self.streams).clone()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        play::stop(&self.pipeline);
    }
}

/// Decodes the first video stream of a file into a pad. Nothing else is decoded.
pub fn decode(pipeline: &gst::Pipeline, location: &Location, pad: &gst::Pad) -> anyhow::Result<Arc<Mutex<Streams>>> {
    let source = gst::ElementFactory::make("filesrc").property("location", location.as_str()).build()?;
    let decoder = gst::ElementFactory::make("decodebin").build()?;
    pipeline.add_many([&source, &decoder])?;
    source.link(&decoder)?;
    let streams = Arc::new(Mutex::new(Streams::default()));
    decoder.connect("autoplug-continue", false, |values| {
        let caps = values.get(2).and_then(|v| v.get::<gst::Caps>().ok());
        Some(caps.is_none_or(|caps| !is_of(&caps, &NOT_DECODED)).to_value())
    });
    let missing = streams.clone();
    decoder.connect("unknown-type", false, move |values| {
        if let Some(caps) = values.get(2).and_then(|v| v.get::<gst::Caps>().ok()) {
            lock(&missing).missing.push(caps);
        }
        None
    });
    let (seen, target) = (streams.clone(), pad.downgrade());
    decoder.connect_pad_added(move |_, from| {
        let caps = from.current_caps().unwrap_or_else(|| from.query_caps(None));
        let mut seen = lock(&seen);
        if is_of(&caps, &["audio/"]) {
            seen.sounds += 1;
        }
        if !is_of(&caps, &["video/x-raw"]) {
            return;
        }
        seen.videos += 1;
        let memory = caps.features(0).map(ToString::to_string);
        let system = "memory:SystemMemory";
        seen.memory = memory.filter(|m| m.starts_with("memory:") && m != system);
        if seen.videos == 1 {
            drop(seen);
            if let Some(pad) = target.upgrade() {
                // A failure shows as a stream that is not linked.
                let _ = from.link(&pad);
            }
        }
    });
    let (seen, target) = (streams.clone(), pad.downgrade());
    decoder.connect_no_more_pads(move |decoder| {
        let linked = target.upgrade().is_some_and(|pad| pad.is_linked());
        if !linked {
            let words = no_video(&lock(&seen));
            gst::element_error!(decoder, gst::StreamError::WrongType, ("{words}"));
        }
    });
    Ok(streams)
}

/// Streams that are passed on as they are.
const NOT_DECODED: [&str; 5] = ["audio/", "text/x-raw", "application/x-subtitle", "subpicture/", "closedcaption/"];

fn is_of(caps: &gst::Caps, kinds: &[&str]) -> bool {
    caps.structure(0).is_some_and(|s| kinds.iter().any(|kind| s.name().starts_with(kind)))
}

/// Why there is no video to be read.
pub fn no_video(streams: &Streams) -> String {
    if let Some(memory) = &streams.memory {
        return format!(
            "Expected frames in the system's memory, found {memory} from a hardware decoder. Set GST_PLUGIN_FEATURE_RANK=DECODER:NONE in the \
             environment, with that decoder's name, for GStreamer to take one that works in software."
        );
    }
    if streams.videos > 0 {
        return "the video stream could not be linked".into();
    }
    let missing = streams.missing.iter().find(|caps| !is_of(caps, &["audio/", "text/", "subpicture/"]));
    if let Some(caps) = missing {
        return no_decoder(caps);
    }
    match streams.sounds {
        0 => "Expected a video stream, found no video in it.".into(),
        _ => "Expected a video stream, found no video stream, only sound.".into(),
    }
}

fn no_decoder(caps: &gst::Caps) -> String {
    let name = caps.structure(0).map_or("unknown", |s| s.name().as_str()).to_string();
    if ["application/x-cenc", "application/x-webm-enc", "application/x-cbcs"].contains(&name.as_str()) {
        return "Expected a video that can be decoded, found an encrypted one. Use a copy without copy protection."
            .into();
    }
    format!(
        "Expected a video that can be decoded, found the codec {} and no plugin for it. Install gstreamer1.0-libav, or gstreamer1.0-plugins-bad or \
         gstreamer1.0-plugins-ugly; gst-inspect-1.0 shows which decoders there are.",
        described(caps)
    )
}

/// Caps without what is of no use to people.
fn described(caps: &gst::Caps) -> String {
    let Some(structure) = caps.structure(0) else {
        return "unknown".into();
    };
    let mut text = structure.name().to_string();
    for field in ["format", "fourcc", "mpegversion", "profile", "codec-id"] {
        if let Ok(value) = structure.value(field)
            && let Ok(value) = value.serialize()
        {
            text += &format!(" {field} {value}");
        }
    }
    text
}

/// Sizes of a stream's frames, each with how many there are in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes(Vec<((i32, i32), u64)>);

impl Sizes {
    pub fn add(&mut self, caps: Option<&gst::CapsRef>) {
        let field = |name| caps?.structure(0)?.get::<i32>(name).ok();
        let size = (field("width").unwrap_or(0), field("height").unwrap_or(0));
        match self.0.last_mut() {
            Some((last, count)) if *last == size => *count += 1,
            _ => self.0.push((size, 1)),
        }
    }

    /// Of the frames after a quarter of a turn.
    pub fn turned(&self) -> Self {
        Self(self.0.iter().map(|((w, h), n)| ((*h, *w), *n)).collect())
    }

    pub fn frames(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// Whether sizes change where these do. An encoder may begin with a converter that makes them one.
    fn change_as(&self, other: &Self) -> bool {
        let counts = |sizes: &Self| sizes.0.iter().map(|(_, n)| *n).collect::<Vec<_>>();
        self.0.len() <= 1 || counts(self) == counts(other)
    }
}

/// Reads a file that was written, and says so where it does not hold the frames it was given.
pub fn verify(path: &Path, pushed: &Sizes) -> anyhow::Result<()> {
    let mut found = Sizes::default();
    let read = Reader::open(path).and_then(|mut reader| {
        while let Some(sample) = reader.next()? {
            found.add(sample.caps());
        }
        Ok(())
    });
    judge(read, &found, pushed)
}

/// The same for a file that has been read.
pub fn judge(read: anyhow::Result<()>, found: &Sizes, pushed: &Sizes) -> anyhow::Result<()> {
    let (there, frames) = (found.frames(), pushed.frames());
    if let Err(error) = read {
        if error.is::<interrupt::Interrupted>() {
            return Err(error);
        }
        bail!(
            "the encoder or the muxer lost frames: {frames} pushed, {there} could be read from the file ({error:#}); {REMEDY}"
        );
    }
    ensure!(there == frames, "the encoder or the muxer lost frames: {frames} pushed, {there} in the file; {REMEDY}");
    ensure!(
        found.change_as(pushed),
        "the frames' size changes at another frame in the file than it did when they were pushed; {REMEDY}"
    );
    Ok(())
}

const REMEDY: &str = "use another pair of them, x264enc and matroskamux for instance, or fewer elements between them";
