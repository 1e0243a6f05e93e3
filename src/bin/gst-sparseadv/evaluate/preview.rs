// SPDX-License-Identifier: MPL-2.0

//! Small videos of a clip for people to look at, taken while it goes through the element: clean, attacked, and their
//! amplified difference. They are of its beginning, so that they are small however long it is.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use gst::prelude::*;
use gst_video::prelude::*;
use gst_video::{VideoConverter, VideoFormat, VideoFrameRef, VideoInfo};
use gstsparseadv::files::Part;

use crate::decode;
use crate::picture::amplified;

/// Frames of a clip that are shown at the most.
pub const FRAMES: usize = 200;
/// The longer side of the videos, in pixels.
const SIDE: u32 = 320;
/// The videos, as they are named.
pub const VIDEOS: [&str; 3] = ["clean", "attacked", "difference"];
/// Bounds the size: 200 frames at 25 a second take 250 kB at the most.
const ENCODER: &str =
    "videoconvert ! vp8enc deadline=1 cpu-used=4 target-bitrate=250000 keyframe-max-dist=30 ! webmmux";

type Frame<'a> = VideoFrameRef<&'a gst::BufferRef>;

/// Takes frames on both sides of an element, until it is dropped.
pub struct Recorder {
    state: Arc<Mutex<State>>,
    probes: Vec<(gst::Pad, gst::PadProbeId)>,
}

#[derive(Default)]
struct State {
    scaler: Option<Scaler>,
    /// Frames whose attacked ones have not come yet.
    clean: VecDeque<gst::Buffer>,
    taken: usize,
    /// By [`VIDEOS`].
    videos: [Vec<gst::Buffer>; 3],
    failed: Option<anyhow::Error>,
}

struct Scaler {
    from: VideoInfo,
    /// In the size of the stream, for differences.
    rgb: VideoInfo,
    small: VideoInfo,
    to_rgb: VideoConverter,
    to_small: VideoConverter,
}

/// Takes a frame of a pad.
type Add = fn(&mut State, &gst::Buffer, &gst::Caps) -> anyhow::Result<()>;

impl Recorder {
    pub fn new(element: &gst::Element) -> anyhow::Result<Self> {
        let mut recorder = Self { state: Arc::default(), probes: Vec::new() };
        let watched: [(&str, Add); 2] = [("sink", State::clean), ("src", State::attacked)];
        for (name, add) in watched {
            let pad = element.static_pad(name).context("a pad")?;
            let state = recorder.state.clone();
            let probe = pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
                if let (Some(buffer), Some(caps)) = (info.buffer(), pad.current_caps()) {
                    let mut state = lock(&state);
                    if let Err(error) = add(&mut state, buffer, &caps) {
                        state.failed.get_or_insert(error);
                    }
                }
                gst::PadProbeReturn::Ok
            });
            recorder.probes.extend(probe.map(|probe| (pad.clone(), probe)));
        }
        Ok(recorder)
    }

    /// Writes the videos into these files.
    pub fn write(&self, paths: [&Path; 3]) -> anyhow::Result<()> {
        let mut state = lock(&self.state);
        if let Some(error) = state.failed.take() {
            return Err(error);
        }
        let small = &state.scaler.as_ref().context("Expected frames, found none.")?.small;
        paths.into_iter().zip(&state.videos).try_for_each(|(path, frames)| write(path, small, frames))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        for (pad, probe) in self.probes.drain(..) {
            pad.remove_probe(probe);
        }
    }
}

impl State {
    fn clean(&mut self, buffer: &gst::Buffer, _: &gst::Caps) -> anyhow::Result<()> {
        if self.taken < FRAMES {
            self.taken += 1;
            self.clean.push_back(buffer.clone());
        }
        Ok(())
    }

    fn attacked(&mut self, buffer: &gst::Buffer, caps: &gst::Caps) -> anyhow::Result<()> {
        let Some(clean) = self.clean.pop_front() else { return Ok(()) };
        let scaler = match &self.scaler {
            Some(scaler) => scaler,
            None => self.scaler.insert(Scaler::new(VideoInfo::from_caps(caps)?)?),
        };
        let frames = [scaler.small(&clean)?, scaler.small(buffer)?, scaler.difference(&clean, buffer)?];
        self.videos.iter_mut().zip(frames).for_each(|(video, frame)| video.push(frame));
        Ok(())
    }
}

impl Scaler {
    fn new(from: VideoInfo) -> anyhow::Result<Self> {
        let (width, height) = (from.width(), from.height());
        let fps = if from.fps().numer() > 0 { from.fps() } else { gst::Fraction::new(25, 1) };
        let longer = width.max(height);
        // Encoders take even sizes alone.
        let side = |n: u32| ((n * SIDE.min(longer) / longer) & !1).max(2);
        let info = |w, h| VideoInfo::builder(VideoFormat::Rgb, w, h).fps(fps).par(from.par()).build();
        let (rgb, small) = (info(width, height)?, info(side(width), side(height))?);
        let to_rgb = VideoConverter::new(&from, &rgb, None)?;
        let to_small = VideoConverter::new(&from, &small, None)?;
        Ok(Self { from, rgb, small, to_rgb, to_small })
    }

    fn small(&self, buffer: &gst::Buffer) -> anyhow::Result<gst::Buffer> {
        decode::converted(buffer, &self.from, &self.to_small, &self.small)
    }

    /// The largest difference in each block of pixels, for a mean would hide single ones.
    fn difference(&self, clean: &gst::Buffer, attacked: &gst::Buffer) -> anyhow::Result<gst::Buffer> {
        let full = [clean, attacked].map(|buffer| decode::converted(buffer, &self.from, &self.to_rgb, &self.rgb));
        let [clean, attacked] = full;
        let (clean, attacked) = (clean?, attacked?);
        let [a, b] = [&clean, &attacked].map(|buffer| Frame::from_buffer_ref_readable(buffer, &self.rgb));
        let (a, b) = (a?, b?);
        let mut made = gst::Buffer::with_size(self.small.size())?;
        let mut into =
            VideoFrameRef::from_buffer_ref_writable(made.get_mut().context("a buffer of our own")?, &self.small)?;
        let (width, height) = (self.small.width() as usize, self.small.height() as usize);
        let (columns, rows) = (self.rgb.width() as usize, self.rgb.height() as usize);
        let (stride, wide) = (into.plane_stride()[0] as usize, a.plane_stride()[0] as usize);
        let (a, b) = (a.plane_data(0)?, b.plane_data(0)?);
        let data = into.plane_data_mut(0)?;
        for y in 0..height {
            let ys = y * rows / height..((y + 1) * rows / height).max(y * rows / height + 1);
            for x in 0..width {
                let xs = x * columns / width..((x + 1) * columns / width).max(x * columns / width + 1);
                for channel in 0..3 {
                    let at = |(y, x): (usize, usize)| y * wide + 3 * x + channel;
                    let places = ys.clone().flat_map(|y| xs.clone().map(move |x| (y, x)));
                    let differences = places.map(|place| i32::from(b[at(place)]) - i32::from(a[at(place)]));
                    let largest = differences.max_by_key(|d| d.abs()).unwrap_or(0);
                    data[y * stride + 3 * x + channel] = amplified(largest);
                }
            }
        }
        drop(into);
        Ok(made)
    }
}

/// Writes a video that browsers play.
fn write(path: &Path, info: &VideoInfo, frames: &[gst::Buffer]) -> anyhow::Result<()> {
    let part = Part::beside(path)?;
    let location = part.part().to_str().context("Expected a result folder whose path is in UTF-8. Rename it.")?;
    let pipeline = gst::Pipeline::new();
    let source = gst_app::AppSrc::builder().caps(&info.to_caps()?).format(gst::Format::Time).max_bytes(0).build();
    let encoder = gst::parse::bin_from_description(ENCODER, true)?;
    let sink = gst::ElementFactory::make("filesink").property("location", location).build()?;
    pipeline.add_many([source.upcast_ref(), encoder.upcast_ref(), &sink])?;
    gst::Element::link_many([source.upcast_ref(), encoder.upcast_ref(), &sink])?;
    let seconds = |n: usize| {
        let fps = info.fps();
        gst::ClockTime::from_nseconds(n as u64 * 1_000_000_000 * fps.denom() as u64 / fps.numer().max(1) as u64)
    };
    let timed = frames.iter().enumerate().map(|(n, frame)| {
        let mut frame = frame.clone();
        let buffer = frame.make_mut();
        buffer.set_pts(seconds(n));
        buffer.set_duration(seconds(n + 1).saturating_sub(seconds(n)));
        frame
    });
    decode::fill(&source, timed)?;
    let played = decode::play(&pipeline, |_| {});
    pipeline.set_state(gst::State::Null)?;
    played?;
    Ok(part.publish()?)
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
