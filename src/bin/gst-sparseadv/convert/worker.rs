// SPDX-License-Identifier: MPL-2.0

//! A process that converts clips, one after the other: requests come as JSON lines, answers go as JSON lines. What crashes it, a hostile
//! file in a decoder say, takes one clip along and not the conversion.

use std::io::{BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{mpsc, Arc, Mutex};

use anyhow::{bail, Context};
use gst::prelude::*;
use gstsparseadv::sparseadv::report::WindowReport;
use serde::{Deserialize, Serialize};

use crate::element::{self, Attacker};

/// How to convert; the same for all clips.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    pub model: PathBuf,
    pub properties: String,
    pub encoder: String,
    pub muxer: String,
    pub min_frames: usize,
    pub threads: usize,
    /// Seconds that a clip may take; kept by whoever asks.
    pub time_limit: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    pub source: PathBuf,
    /// File to write. It gets its real name from whoever asked.
    pub part: PathBuf,
    /// The clip's true label, where it is known.
    pub label: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The model is loaded.
    Ready,
    /// The model or the settings are wrong: no clip can be converted.
    Unfit(String),
    Converted {
        frames: u64,
        windows: Vec<WindowReport>,
        seconds: f64,
    },
    Skipped(String),
}

#[derive(clap::Args)]
pub struct Arguments {
    /// The specification as JSON
    spec: String,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let spec: Spec = serde_json::from_str(&arguments.spec)?;
    gst::init()?;
    gstsparseadv::plugin_register_static()?;
    let mut out = std::io::stdout();
    let mut answer = |answer: &Answer| -> anyhow::Result<()> {
        writeln!(out, "{}", serde_json::to_string(answer)?)?;
        Ok(out.flush()?)
    };
    let attacker = match Attacker::new(&spec.model, &spec.properties) {
        Ok(attacker) => attacker,
        Err(error) => return answer(&Answer::Unfit(format!("{error:#}"))),
    };
    answer(&Answer::Ready)?;
    for request in requests() {
        let request: Request = serde_json::from_str(&request)?;
        let began = std::time::Instant::now();
        let result = convert(&attacker, &spec, &request);
        answer(&match result {
            Ok((frames, windows)) => Answer::Converted {
                frames,
                windows,
                seconds: began.elapsed().as_secs_f64(),
            },
            Err(error) => Answer::Skipped(format!("{error:#}")),
        })?;
    }
    Ok(())
}

/// Requests as they come. When whoever asks is gone, so is this process, in the middle of a clip too.
fn requests() -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
        // At once: a thread inside libtorch while its static data are destroyed would crash.
        // SAFETY: ends the process; nothing runs after it.
        unsafe { libc::_exit(0) }
    });
    receive
}

/// Finds misspelt elements and properties, before anything is written. What the model has to say to them shows when it is loaded.
pub fn check(spec: &Spec) -> anyhow::Result<()> {
    sink(spec, Path::new("/dev/null"))?;
    gst::parse::launch(&format!("sparseadv {}", spec.properties))
        .with_context(|| format!("the properties \"{}\"", spec.properties))?;
    Ok(())
}

/// Encoder and muxer. No converter: it would take bits of the attack along, and nobody would know.
fn sink(spec: &Spec, file: &Path) -> anyhow::Result<gst::Element> {
    let description = format!("{} ! {} ! filesink name=file", spec.encoder, spec.muxer);
    let bin = gst::parse::bin_from_description(&description, true)
        .with_context(|| format!("the pipeline {description}"))?;
    let sink = bin.by_name("file").context("the file's element")?;
    sink.set_property("location", file.to_str().context("a path in UTF-8")?);
    Ok(bin.upcast())
}

/// Converts a clip. Returns its frames and the windows' reports.
fn convert(
    attacker: &Attacker,
    spec: &Spec,
    request: &Request,
) -> anyhow::Result<(u64, Vec<WindowReport>)> {
    whole(&request.source)?;
    let element = attacker.element();
    let counted_in = count(&element.static_pad("sink").context("a sink pad")?);
    let counted_out = count(&element.static_pad("src").context("a source pad")?);
    // Also where there is none: the last clip's must not stay.
    element.set_property("label", &request.label);
    let windows = attacker.run(
        |pipeline, pad| element::decode_into(pipeline, &request.source, pad),
        &sink(spec, &request.part)?,
    );
    let (seen, pushed) = (counted_in.end(), counted_out.end().frames);
    let frames = seen.frames;
    let windows = windows?;
    if let Some(stated) = seen.stated.filter(|stated| seen.ends * 5 < *stated * 4) {
        bail!(
            "the file is damaged: of {stated} it states only {} could be decoded",
            seen.ends
        );
    }
    if frames != pushed {
        bail!("{frames} frames were decoded, {pushed} written");
    }
    if frames < spec.min_frames as u64 {
        bail!(
            "expected at least {} frames, found {frames} (--min-frames)",
            spec.min_frames
        );
    }
    Ok((frames, windows))
}

/// An error for a file that is empty, or an AVI file that has been cut off: the demuxer reads one to where it ends and says nothing.
fn whole(file: &Path) -> anyhow::Result<()> {
    let found = std::fs::metadata(file)?.len();
    if found == 0 {
        bail!("the file is empty");
    }
    let mut head = [0; 8];
    if std::fs::File::open(file)?.read_exact(&mut head).is_ok() && head.starts_with(b"RIFF") {
        let [_, _, _, _, size @ ..] = head;
        let stated = 8 + u64::from(u32::from_le_bytes(size));
        if found < stated {
            bail!("the file is cut off: expected {stated} bytes, found {found}");
        }
    }
    Ok(())
}

/// What went through a pad.
#[derive(Clone, Copy, Default)]
struct Seen {
    frames: u64,
    /// End of the last frame.
    ends: gst::ClockTime,
    /// Length of the stream as its container says.
    stated: Option<gst::ClockTime>,
}

struct Counter {
    pad: gst::Pad,
    probe: Option<gst::PadProbeId>,
    seen: Arc<Mutex<Seen>>,
}

fn count(pad: &gst::Pad) -> Counter {
    let shared = Arc::new(Mutex::new(Seen::default()));
    let seen = shared.clone();
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    let probe = pad.add_probe(kinds, move |pad, info| {
        let Ok(mut seen) = seen.lock() else {
            return gst::PadProbeReturn::Ok;
        };
        if let Some(buffer) = info.buffer() {
            seen.frames += 1;
            let duration = buffer.duration().unwrap_or_default();
            let end = buffer.pts().map(|pts| pts + duration);
            seen.ends = seen.ends.max(end.unwrap_or_default());
        } else if info.event().map(|e| e.type_()) == Some(gst::EventType::Eos) {
            // Only a sink pad has the container upstream.
            if pad.direction() == gst::PadDirection::Sink {
                seen.stated = pad.peer_query_duration();
            }
        }
        gst::PadProbeReturn::Ok
    });
    Counter {
        pad: pad.clone(),
        probe,
        seen: shared,
    }
}

impl Counter {
    fn end(self) -> Seen {
        if let Some(probe) = self.probe {
            self.pad.remove_probe(probe);
        }
        self.seen.lock().map(|seen| *seen).unwrap_or_default()
    }
}
