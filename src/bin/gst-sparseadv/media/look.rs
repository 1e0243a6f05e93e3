// SPDX-License-Identifier: MPL-2.0

//! What a video file holds, found by reading it whole before anything is written.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use gst::prelude::*;

use super::read::{self, Reader, Sizes, Streams};
use super::{boxes, chunks, kind};
use crate::interrupt;

/// Share of a file's frames that must be there for it to be worth attacking, in percent.
const ENOUGH: u64 = 80;
/// Share below which missing frames are told of where nothing else is a sign of damage, in percent.
const MOST: u64 = 95;

/// What the outer structure of a file says.
#[derive(Debug, Default)]
pub struct Structure {
    /// Bytes that the file should have, and those it has.
    pub cut: Option<(u64, u64)>,
    /// Frames that the video stream should have.
    pub frames: Option<u64>,
    /// The frames stated are those to be decoded: there are no lists of edits.
    pub counts: bool,
    /// What is wrong where nothing can be decoded.
    pub fault: Option<&'static str>,
}

/// A file that has been read.
#[derive(Clone, Debug, Default)]
pub struct Source {
    pub path: PathBuf,
    /// Frames of the first video stream.
    pub frames: u64,
    pub sizes: Sizes,
    /// Their caps; several where they change in mid-stream.
    pub caps: Vec<gst::Caps>,
    /// How the frames are to be turned for people to see them upright, and the tag that says so.
    pub turned: Option<(gst_video::VideoOrientationMethod, String)>,
    /// Streams beside the first of video.
    pub sounds: usize,
    pub further_videos: usize,
    /// Between the first frame and the last, in running time.
    pub span: gst::ClockTime,
    /// Frames come at other times than their rate says.
    pub irregular: bool,
    /// What people should know of the file's state.
    pub note: Option<String>,
}

/// Reads a file to its end. An error says what is wrong with it.
pub fn look(path: &Path) -> anyhow::Result<Source> {
    let (head, structure) = readable(path)?;
    if let Some(what) = kind::no_video(&head) {
        bail!("Expected a video, found {what}, not a video. Fetch or name the file again.");
    }
    let image = kind::image(&head);
    let (mut source, streams, failed) = scan(path);
    if let Some(error) = &failed
        && error.is::<interrupt::Interrupted>()
    {
        return Err(interrupt::Interrupted.into());
    }
    if let Some(what) = image.filter(|_| source.frames <= 1) {
        bail!("Expected a video, found {what}, not a video.");
    }
    if source.frames == 0 {
        return Err(nothing(&structure, &streams, failed));
    }
    if streams.memory.is_some() {
        bail!(read::no_video(&streams));
    }
    source.note = damage(&structure, source.frames, failed.as_ref())?.or_else(|| holes(&source));
    if let Some(error) = failed {
        // The run would meet it again.
        bail!("the file is damaged: after {} frames: {error:#}", source.frames);
    }
    Ok(source)
}

/// What is wrong with a file that gave no frame.
fn nothing(structure: &Structure, streams: &Streams, failed: Option<anyhow::Error>) -> anyhow::Error {
    if let Some(fault) = structure.fault {
        return anyhow!("no frames could be decoded: {fault}");
    }
    if let Some((expected, found)) = structure.cut.filter(|(expected, found)| expected > found) {
        return anyhow!("the file is cut off: expected {expected} bytes, found {found}; no frames could be decoded");
    }
    if streams.videos == 0 && streams.sounds > 0 && structure.frames.is_some() {
        return anyhow!(
            "no frames could be decoded: GStreamer takes a picture that lasts less than a fifth of the sound for a preview. Leave the sound out of \
             the file first."
        );
    }
    if streams.videos == 0 && (streams.sounds > 0 || !streams.missing.is_empty()) {
        return anyhow!(read::no_video(streams));
    }
    if let Some(frames) = structure.frames {
        return anyhow!("the file is damaged: of the {frames} frames it states none could be decoded");
    }
    match failed {
        Some(error) => error.context("no frames could be decoded"),
        None => anyhow!("no frames could be decoded: the video stream is empty"),
    }
}

/// A note where some frames are missing, an error where many are.
fn damage(structure: &Structure, frames: u64, failed: Option<&anyhow::Error>) -> anyhow::Result<Option<String>> {
    let stated = structure.frames.filter(|stated| *stated > frames);
    // Lists of edits leave frames out without any damage.
    let is_sign = structure.cut.is_some() || structure.counts || failed.is_some();
    let bytes = structure.cut.filter(|(expected, found)| expected > found);
    let cut = match bytes {
        Some((expected, found)) => format!("the file is cut off: expected {expected} bytes, found {found}"),
        None if structure.cut.is_some() => "the file is cut off".into(),
        None => "the file is damaged".into(),
    };
    match (stated, bytes) {
        (Some(stated), _) if is_sign => {
            let text = format!("{cut}; {frames} of {stated} frames could be decoded");
            if frames * 100 < stated * ENOUGH { bail!(text) } else { Ok(Some(text)) }
        }
        // Nobody knows how many frames there were.
        (None, Some((expected, found))) if structure.frames.is_none() => {
            let text = format!("{cut}; {frames} frames could be decoded");
            if found.saturating_mul(100) < expected.saturating_mul(ENOUGH) { bail!(text) } else { Ok(Some(text)) }
        }
        // Without another sign, it may be edits; people should know all the same.
        (Some(stated), _) if frames * 100 < stated * MOST => Ok(Some(format!(
            "only {frames} of the {stated} frames that the file states could be decoded: it is damaged, or edited"
        ))),
        _ => Ok(None),
    }
}

/// Frames that lack by their times: most containers do not say how many there should be.
fn holes(source: &Source) -> Option<String> {
    let interval = interval(source.caps.first()?)?;
    let fit = (source.span + interval / 2).nseconds() / interval.nseconds().max(1) + 1;
    (source.frames * 100 < fit * MOST).then(|| {
        format!(
            "{} frames lie where {fit} would by the file's frame rate: some are missing, or the rate varies",
            source.frames
        )
    })
}

/// The file's first bytes and its structure; an error where there is no file that could be read.
fn readable(path: &Path) -> anyhow::Result<(Vec<u8>, Structure)> {
    // Before it is opened: that of a pipe waits for somebody to write.
    let facts = std::fs::metadata(path).with_context(|| "the file could not be opened")?;
    if facts.is_dir() {
        bail!("Expected a video file, found a folder.");
    }
    if !facts.is_file() {
        bail!("Expected a video file, found a device or a pipe. Write the stream to a file first.");
    }
    if facts.len() == 0 {
        bail!("the file is empty");
    }
    let mut file = File::open(path).with_context(|| "the file could not be opened")?;
    let mut head = Vec::new();
    file.by_ref().take(kind::HEAD as u64).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    let length = facts.len();
    let is_box = head.get(4..8).is_some_and(|kind| {
        [b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp"].iter().any(|k| kind == &k[..])
    });
    let structure = match () {
        _ if head.starts_with(b"RIFF") && head.get(8..12) == Some(b"AVI ") => chunks::avi(&mut file, length),
        _ if head.starts_with(b"\x1a\x45\xdf\xa3") => boxes::ebml(&mut file, length),
        _ if is_box => boxes::iso(&mut file, length),
        _ => Ok(Structure::default()),
    };
    // A structure that leads out of the file is one of which nothing is known.
    Ok((head, structure.unwrap_or_default()))
}

/// Everything there is to know, and the error that ended it.
fn scan(path: &Path) -> (Source, Streams, Option<anyhow::Error>) {
    let mut source = Source { path: path.to_path_buf(), ..Source::default() };
    let mut streams = Streams::default();
    let result = Reader::open(path).and_then(|mut reader| {
        let result = count(&mut reader, &mut source);
        streams = reader.streams();
        result
    });
    source.sounds = streams.sounds;
    source.further_videos = streams.videos.saturating_sub(1);
    source.turned = streams.tags.as_ref().and_then(|tags| {
        let method = gst_video::VideoOrientationMethod::from_tag(tags)?;
        let tag = tags.get::<gst::tags::ImageOrientation>()?.get().to_string();
        (method != gst_video::VideoOrientationMethod::Identity).then_some((method, tag))
    });
    (source, streams, result.err())
}

fn count(reader: &mut Reader, source: &mut Source) -> anyhow::Result<()> {
    let (mut first, mut last) = (None, None);
    while let Some(sample) = reader.next()? {
        source.frames += 1;
        source.sizes.add(sample.caps());
        let caps = sample.caps_owned();
        if let Some(caps) = caps.filter(|caps| !source.caps.iter().any(|c| c == caps)) {
            source.caps.push(caps);
        }
        let segment = sample.segment().and_then(|s| s.downcast_ref::<gst::ClockTime>());
        let pts = sample.buffer().and_then(|b| b.pts());
        if let Some(time) = segment.and_then(|segment| segment.to_running_time(pts)) {
            let interval = last.map(|last| time.saturating_sub(last));
            source.irregular |= interval.is_some_and(|found| is_other(found, sample.caps()));
            first = Some(first.unwrap_or(time).min(time));
            last = last.max(Some(time));
        }
    }
    if let (Some(first), Some(last)) = (first, last) {
        source.span = last - first;
    }
    Ok(())
}

/// Whether an interval is not that of the caps' frame rate, by more than rounding may do.
fn is_other(found: gst::ClockTime, caps: Option<&gst::CapsRef>) -> bool {
    caps.and_then(interval).is_some_and(|expected| found.absdiff(expected) > expected / 4)
}

/// From one frame to the next by the caps' rate, where it is constant.
fn interval(caps: &gst::CapsRef) -> Option<gst::ClockTime> {
    let rate = caps.structure(0)?.get::<gst::Fraction>("framerate").ok()?;
    let known = rate.numer() > 0;
    known.then(|| gst::ClockTime::SECOND.mul_div_round(rate.denom() as u64, rate.numer() as u64)).flatten()
}
