// SPDX-License-Identifier: MPL-2.0

//! A process that converts clips, one after the other: requests come as JSON lines, answers go as JSON lines. What
//! crashes it, a hostile file in a decoder say, takes one clip along and not the conversion.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::mpsc;

use anyhow::bail;
use gst::prelude::*;
use gstsparseadv::window::report::WindowReport;
use serde::{Deserialize, Serialize};

use crate::element::{Attacker, report};
use crate::media::{self, Planner};

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
        /// What was converted on the way, left out, or found damaged.
        notes: Vec<String>,
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
    let mut planner = match Planner::new(&spec.encoder, &spec.muxer) {
        Ok(planner) => planner,
        Err(error) => return answer(&Answer::Unfit(format!("{error:#}"))),
    };
    answer(&Answer::Ready)?;
    for request in requests() {
        let request: Request = serde_json::from_str(&request)?;
        let result = convert(&attacker, &mut planner, &spec, &request);
        answer(&result.unwrap_or_else(|error| Answer::Skipped(format!("{error:#}"))))?;
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

/// Finds misspelt elements and properties, before anything is written. What the model has to say to them shows when it
/// is loaded.
pub fn check(spec: &Spec) -> anyhow::Result<()> {
    media::element("sparseadv", &spec.properties)?;
    Planner::new(&spec.encoder, &spec.muxer).map(drop)
}

fn convert(attacker: &Attacker, planner: &mut Planner, spec: &Spec, request: &Request) -> anyhow::Result<Answer> {
    let began = std::time::Instant::now();
    let source = media::look(&request.source)?;
    if source.frames < spec.min_frames as u64 {
        bail!("expected at least {} frames, found {} (--min-frames)", spec.min_frames, source.frames);
    }
    let plan = planner.plan(source)?;
    // Also where there is none: the last clip's must not stay.
    attacker.element.set_property("label", &request.label);
    let mut windows = Vec::new();
    let frames = attacker.convert(&plan, &request.part, |structure| {
        windows.extend(structure.and_then(report).transpose()?);
        Ok(())
    })?;
    Ok(Answer::Converted { frames, windows, notes: plan.notes, seconds: began.elapsed().as_secs_f64() })
}
