// SPDX-License-Identifier: MPL-2.0

//! How a file gets through the element into an encoder and a muxer.
//!
//! Whatever has to be converted is converted in front of the element: behind it, a converter would take bits of the
//! attack along. The bytes that the element pushes are those that are encoded.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo, VideoOrientationMethod as Turn};
use gstsparseadv::element::format::MIN_SIZE;

use super::location::Location;
use super::{Source, fit, output, parse, read, times};
use crate::interrupt;

/// Makes plans for one encoder and muxer, and remembers what they take.
pub struct Planner {
    encoder: String,
    muxer: String,
    known: HashMap<String, Result<Fit, String>>,
}

/// What the encoder and muxer take of some caps.
#[derive(Clone, Debug)]
struct Fit {
    encoder: String,
    format: VideoFormat,
    /// The frame rate has to be a constant one.
    constant: bool,
}

/// From file to file.
#[derive(Clone, Debug)]
pub struct Plan {
    pub source: Source,
    encoder: String,
    muxer: String,
    /// To convert to.
    format: Option<VideoFormat>,
    /// To give the frames times by.
    rate: Option<gst::Fraction>,
    /// What people should know: what is converted, left out or damaged.
    pub notes: Vec<String>,
}

impl Planner {
    /// An error where an element or a property is misspelt.
    pub fn new(encoder: &str, muxer: &str) -> anyhow::Result<Self> {
        parse::bin("the encoder", encoder)?;
        parse::bin("the muxer", muxer)?;
        parse::bin("the encoder and muxer", &format!("{encoder} ! {muxer}"))?;
        Ok(Self { encoder: encoder.into(), muxer: muxer.into(), known: HashMap::new() })
    }

    /// How a file gets through. Nothing is written.
    pub fn plan(&mut self, source: Source) -> anyhow::Result<Plan> {
        let kinds = kinds(&source)?;
        let first = kinds.first().context("no frames could be decoded")?;
        let mean = mean_rate(&source);
        let turn = source.turned.as_ref().map(|(turn, _)| *turn);
        let key = format!("{turn:?} {mean} {:?}", source.caps);
        let fit = match self.known.get(&key) {
            Some(fit) => fit.clone(),
            None => {
                let fit = find(&self.encoder, &self.muxer, &kinds, turn, mean);
                if fit.as_ref().is_err_and(|e| e.is::<interrupt::Interrupted>()) {
                    return Err(interrupt::Interrupted.into());
                }
                let fit = fit.map_err(|e| format!("{e:#}"));
                self.known.insert(key, fit.clone());
                fit
            }
        };
        let fit = fit.map_err(|e| anyhow!(e))?;
        let format = kinds.iter().any(|k| k.format() != fit.format).then_some(fit.format);
        let rate = fit.constant.then_some(mean);
        let notes = notes(&source, first, &fit, &self.muxer, rate);
        Ok(Plan { source, encoder: fit.encoder, muxer: self.muxer.clone(), format, rate, notes })
    }
}

/// The frames as they are decoded, by each of the caps in the file.
fn kinds(source: &Source) -> anyhow::Result<Vec<VideoInfo>> {
    let kinds = source
        .caps
        .iter()
        .map(|caps| VideoInfo::from_caps(caps).with_context(|| format!("Expected raw video, found {caps}")))
        .collect::<Result<Vec<_>, _>>()?;
    for info in &kinds {
        if info.width().min(info.height()) < MIN_SIZE as u32 {
            bail!("Expected frames of at least {MIN_SIZE}x{MIN_SIZE}, found {}x{}.", info.width(), info.height());
        }
    }
    Ok(kinds)
}

fn find(
    encoder: &str,
    muxer: &str,
    kinds: &[VideoInfo],
    turn: Option<Turn>,
    mean: gst::Fraction,
) -> anyhow::Result<Fit> {
    let mut encoders = vec![encoder.to_string()];
    if kinds.len() > 1 {
        // mp4mux counts a frame too many to the new size, unless sizes lie with the frames.
        encoders
            .push(format!("{encoder} ! h264parse config-interval=-1 ! video/x-h264,stream-format=avc3,alignment=au"));
    }
    let variable = kinds.iter().any(|k| k.fps().numer() == 0);
    let mut why = None;
    for format in fit::candidates(kinds[0].format()) {
        if turn.is_some() && !can_be_turned(format)? {
            continue;
        }
        for constant in [false, true] {
            if constant && !variable {
                continue;
            }
            let rate = constant.then_some(mean);
            let kinds = kinds.iter().map(|k| as_encoded(k, format, turn, rate));
            let kinds = kinds.collect::<anyhow::Result<Vec<_>>>()?;
            for encoder in &encoders {
                let error = match fit::trial(encoder, muxer, &kinds) {
                    Ok(()) => return Ok(Fit { encoder: encoder.clone(), format, constant }),
                    Err(error) => error,
                };
                if error.is::<interrupt::Interrupted>() || error.is::<fit::Stuck>() {
                    return Err(error);
                }
                why = why.or(Some(error));
            }
        }
    }
    let why = why.map_or(String::new(), |error| format!(": {error:#}"));
    // One of the sizes alone may do.
    if kinds.len() > 1 && find(encoder, muxer, &kinds[..1], turn, mean).is_ok() {
        let sizes: Vec<String> = kinds.iter().map(|k| format!("{}x{}", k.width(), k.height())).collect();
        bail!(
            "Expected frames of one size and format for {muxer}, found changes in mid-stream: {}. Use mp4mux, which takes them{why}",
            sizes.join(", ")
        );
    }
    let info = &kinds[0];
    let rate = match info.fps().numer() {
        0 => "a variable frame rate".into(),
        _ => format!("frame rate {}", info.fps()),
    };
    bail!(
        "Expected an encoder and a muxer that take {} frames of {}x{} and {rate}, found {encoder} and {muxer}, which take no format that is near. Use \
         x264enc and matroskamux{why}",
        info.format(),
        info.width(),
        info.height()
    )
}

/// The frames as they reach the encoder.
fn as_encoded(
    info: &VideoInfo,
    format: VideoFormat,
    turn: Option<Turn>,
    rate: Option<gst::Fraction>,
) -> anyhow::Result<VideoInfo> {
    let (mut size, mut par) = ((info.width(), info.height()), info.par());
    if turn.is_some_and(is_quarter) {
        size = (size.1, size.0);
        par = gst::Fraction::new(par.denom(), par.numer());
    }
    Ok(VideoInfo::builder(format, size.0, size.1)
        .fps(rate.unwrap_or(info.fps()))
        .par(par)
        .interlace_mode(info.interlace_mode())
        .build()?)
}

fn is_quarter(turn: Turn) -> bool {
    matches!(turn, Turn::_90r | Turn::_90l | Turn::UlLr | Turn::UrLl)
}

fn can_be_turned(format: VideoFormat) -> anyhow::Result<bool> {
    let factory = gst::ElementFactory::find("videoflip").context(
        "Expected the GStreamer element videoflip for a file that is to be turned, found none. Install gstreamer1.0-plugins-good.",
    )?;
    let caps = gst_video::VideoCapsBuilder::new().format(format).build();
    Ok(factory.can_sink_any_caps(&caps))
}

/// Frames by time, in the nearest usual rate.
fn mean_rate(source: &Source) -> gst::Fraction {
    let known = source.frames > 1 && source.span > gst::ClockTime::ZERO;
    let interval = if known { source.span / (source.frames - 1) } else { gst::ClockTime::from_mseconds(40) };
    let guessed = gst_video::guess_framerate(interval);
    guessed.unwrap_or_else(|| {
        let rate = 1e9 / interval.nseconds().max(1) as f64;
        gst::Fraction::new(((rate * 1000.0).round() as i32).max(1), 1000)
    })
}

fn notes(source: &Source, first: &VideoInfo, fit: &Fit, muxer: &str, rate: Option<gst::Fraction>) -> Vec<String> {
    let mut notes: Vec<String> = source.note.iter().cloned().collect();
    if fit.format != first.format() {
        notes.push(format!(
            "the frames are converted from {} to {} before the attack: the element and the encoder both take that",
            first.format(),
            fit.format
        ));
    }
    if let Some((turn, tag)) = &source.turned {
        let size = match is_quarter(*turn) {
            true => format!(": {}x{} became {}x{}", first.width(), first.height(), first.height(), first.width()),
            false => String::new(),
        };
        notes.push(turned(tag) + &size);
    }
    if let Some(rate) = rate {
        notes.push(format!(
            "the frame rate varies, which {muxer} does not take: the frames get constant times, {:.3} a second",
            f64::from(rate.numer()) / f64::from(rate.denom())
        ));
    }
    if source.caps.len() > 1 {
        notes.push("the frames change in size or format in mid-stream, and so do those written".into());
    }
    let several = |n: usize| if n == 1 { "" } else { "s" };
    if source.sounds > 0 {
        notes.push(format!("the sound is left out ({} stream{})", source.sounds, several(source.sounds)));
    }
    if source.further_videos > 0 {
        let n = source.further_videos;
        notes.push(format!(
            "{n} further video stream{} left out; the first one is attacked",
            if n == 1 { " is" } else { "s are" }
        ));
    }
    notes
}

fn turned(tag: &str) -> String {
    format!("the frames are turned as the file's orientation tag says ({tag})")
}

impl Plan {
    /// Into a pipeline that writes no file, in this format. By default that is the decoder's own, or the nearest one that the
    /// element takes.
    pub fn unencoded(source: Source, format: Option<VideoFormat>) -> anyhow::Result<Self> {
        let kinds = kinds(&source)?;
        let first = kinds.first().context("no frames could be decoded")?;
        let mut nearest = None;
        for format in format.into_iter().chain(fit::candidates(first.format())) {
            if source.turned.is_none() || can_be_turned(format)? {
                nearest = Some(format);
                break;
            }
        }
        let nearest = nearest.context("Expected a format that can be turned, found none.")?;
        let format = kinds.iter().any(|kind| kind.format() != nearest).then_some(nearest);
        let mut notes: Vec<String> = source.note.iter().cloned().collect();
        notes.extend(source.turned.as_ref().map(|(_, tag)| turned(tag)));
        Ok(Self { source, encoder: String::new(), muxer: String::new(), format, rate: None, notes })
    }

    /// The frames' description where they reach the element, for each of the caps in the file.
    pub fn infos(&self) -> anyhow::Result<Vec<VideoInfo>> {
        let turn = self.source.turned.as_ref().map(|(turn, _)| *turn);
        let infos = self.source.caps.iter().map(|caps| {
            let info = VideoInfo::from_caps(caps)?;
            as_encoded(&info, self.format.unwrap_or(info.format()), turn, self.rate)
        });
        infos.collect()
    }

    /// The sizes of the frames that reach the element.
    pub fn sizes(&self) -> read::Sizes {
        let turned = self.source.turned.as_ref().is_some_and(|(turn, _)| is_quarter(*turn));
        if turned { self.source.sizes.turned() } else { self.source.sizes.clone() }
    }

    /// Decodes and converts the file into a pad. The location has to live as long as the pipeline.
    #[must_use = "the file's name is valid as long as this lives"]
    pub fn feed(&self, pipeline: &gst::Pipeline, pad: &gst::Pad) -> anyhow::Result<Location> {
        let location = Location::to_read(&self.source.path)?;
        let make = |name: &str| gst::ElementFactory::make(name).build();
        let mut chain = Vec::new();
        if let Some(format) = self.format {
            chain.push(make("videoconvert")?);
            let caps = gst_video::VideoCapsBuilder::new().format(format).build();
            chain.push(gst::ElementFactory::make("capsfilter").property("caps", caps).build()?);
        }
        if let Some((turn, _)) = &self.source.turned {
            let flip = make("videoflip")?;
            flip.set_property("video-direction", turn);
            chain.push(flip);
        }
        let last = make("identity")?;
        chain.push(last.clone());
        pipeline.add_many(&chain)?;
        gst::Element::link_many(&chain)?;
        last.static_pad("src").context("a source pad")?.link(pad)?;
        let sink = last.static_pad("sink").context("a sink pad")?;
        times::keep(&sink, self.rate, mean_rate(&self.source));
        let first = chain[0].static_pad("sink").context("a sink pad")?;
        read::decode(pipeline, &location, &first)?;
        Ok(location)
    }

    /// Encoder, muxer and file.
    pub fn sink(&self, file: &Path) -> anyhow::Result<(gst::Element, Location)> {
        output::output(&self.encoder, &self.muxer, self.source.irregular, file)
    }
}
