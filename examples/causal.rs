// SPDX-License-Identifier: MPL-2.0

//! What fools a model how long after a scene has begun: attacks window by window with the model's
//! gradient and without it, causal mode, and a learned file, live.
//!
//!     cargo run --release --example causal -- MODEL.pt CLIP.. [--surrogate FILE] [--learned FILE] [--json FILE]
//!
//! Each clip is a scene of some seconds, played forwards and backwards. Afterwards windows at every offset are classified
//! as they came and as they left. Three frame rates stand for three speeds of the model: what counts is how many passes it
//! makes while a window is shown.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use gst::prelude::*;
use gstsparseadv::attack::criterion::argmax;
use gstsparseadv::element::stream::Stream;
use gstsparseadv::model::{Model, Options};
use gstsparseadv::provenance::Versions;
use gstsparseadv::video::view::Samples;

#[derive(Parser)]
struct Arguments {
    model: PathBuf,
    #[arg(required = true)]
    clips: Vec<PathBuf>,
    /// File of a universal perturbation, as gst-sparseadv learn writes it
    #[arg(long)]
    learned: Option<PathBuf>,
    /// TorchScript classifier that a black box looks at
    #[arg(long)]
    surrogate: Option<PathBuf>,
    /// Seconds of each scene
    #[arg(long, default_value_t = 6)]
    seconds: u32,
    /// Frames a second
    #[arg(long, value_delimiter = ',', default_values_t = [25, 15, 6])]
    rates: Vec<u32>,
    /// Adds a line for each mode and rate to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Frames of one format.
struct Clip {
    caps: gst::Caps,
    frames: Vec<gst::Buffer>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    gst::init()?;
    gstsparseadv::plugin_register_static()?;
    let clips = arguments.clips.iter().map(|path| read(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut model = Model::load(&Options { path: arguments.model.clone(), ..Options::default() })?;
    let own = format!("model=\"{}\"", arguments.model.display());
    let mut modes = vec![
        ("window".to_string(), own.clone()),
        ("window, warm start".into(), format!("{own} warm-start=true")),
        ("black box".into(), format!("{own} access=scores search=squares")),
        ("black box, warm start".into(), format!("{own} access=scores search=squares warm-start=true")),
        ("black box, 60 queries".into(), format!("{own} access=scores search=squares warm-start=true max-queries=60")),
        ("causal".into(), format!("{own} mode=causal")),
    ];
    if let Some(surrogate) = &arguments.surrogate {
        let with = format!("access=label search=squares surrogate=\"{}\"", surrogate.display());
        let black_box = format!("{own} {with} warm-start=true max-queries=60");
        modes.insert(modes.len() - 1, ("black box, surrogate, 60 queries".into(), black_box));
    }
    if let Some(learned) = &arguments.learned {
        let file = format!("perturbation=\"{}\"", learned.display());
        modes.push(("causal, from a file".into(), format!("{own} mode=causal {file}")));
        modes.push(("a file".into(), file));
    }
    let columns: Vec<String> = (0..arguments.seconds).map(|s| format!("{s} s")).collect();
    println!("| frames a second | mode | latency, ms | {} |", columns.join(" | "));
    println!("|---|---|---|{}", "---|".repeat(columns.len()));
    for rate in &arguments.rates {
        for (mode, properties) in &modes {
            let given = scenes(&clips, arguments.seconds * rate);
            let (came, latency) = play(&given, *rate, properties)?;
            let shares = fooled(&mut model, &given, &came, arguments.seconds * rate, *rate)?;
            let shares: Vec<String> = shares.iter().map(|share| format!("{:.0} %", 100.0 * share)).collect();
            let cells = [vec![rate.to_string(), mode.clone(), latency.as_millis().to_string()], shares].concat();
            println!("| {} |", cells.join(" | "));
            if let Some(json) = &arguments.json {
                let Versions { plugin, libtorch, gstreamer } = Versions::here();
                let line = serde_json::json!({
                    "model": arguments.model, "model_sha256": model.sha256(), "plugin": plugin, "libtorch": libtorch,
                    "gstreamer": gstreamer, "cells": cells,
                });
                writeln!(std::fs::File::options().create(true).append(true).open(json)?, "{line}")?;
            }
        }
    }
    Ok(())
}

/// A clip's frames in the size that all have.
fn read(path: &Path) -> anyhow::Result<Clip> {
    let text = format!(
        "filesrc location=\"{}\" ! decodebin ! videoconvert ! videoscale ! \
         video/x-raw,format=I420,width=320,height=240,pixel-aspect-ratio=1/1 ! appsink name=end sync=false",
        path.display()
    );
    let pipeline =
        gst::parse::launch(&text)?.downcast::<gst::Pipeline>().map_err(|_| anyhow::anyhow!("no pipeline"))?;
    let sink = pipeline.by_name("end").and_downcast::<gst_app::AppSink>().context("an appsink")?;
    pipeline.set_state(gst::State::Playing)?;
    let mut clip = None::<Clip>;
    while let Ok(sample) = sink.pull_sample() {
        let (buffer, caps) = (sample.buffer_owned().context("a frame")?, sample.caps_owned().context("caps")?);
        clip.get_or_insert_with(|| Clip { caps, frames: Vec::new() }).frames.push(buffer);
    }
    pipeline.set_state(gst::State::Null)?;
    let clip = clip.with_context(|| format!("Expected a video, found no frames in {}.", path.display()))?;
    ensure!(clip.frames.len() > 1, "Expected a video of several frames, found one in {}.", path.display());
    Ok(clip)
}

/// One scene after another, each of so many frames, and the caps without a rate.
fn scenes(clips: &[Clip], frames: u32) -> (gst::Caps, Vec<gst::Buffer>) {
    let of = |clip: &Clip| {
        // Forwards and backwards: no frame but the last ones twice.
        let turn = 2 * (clip.frames.len() - 1);
        let place = move |n: usize| (n % turn).min(turn - n % turn);
        (0..frames as usize).map(|n| clip.frames[place(n)].clone()).collect::<Vec<_>>()
    };
    (clips[0].caps.clone(), clips.iter().flat_map(of).collect())
}

/// What leaves when frames come at this rate, and the element's latency.
fn play(
    (caps, frames): &(gst::Caps, Vec<gst::Buffer>),
    rate: u32,
    properties: &str,
) -> anyhow::Result<(Vec<gst::Buffer>, Duration)> {
    let text = format!(
        "appsrc name=begin is-live=true format=time ! sparseadv name=attack {properties} ! appsink name=end sync=false"
    );
    let pipeline =
        gst::parse::launch(&text)?.downcast::<gst::Pipeline>().map_err(|_| anyhow::anyhow!("no pipeline"))?;
    let source = pipeline.by_name("begin").and_downcast::<gst_app::AppSrc>().context("an appsrc")?;
    let sink = pipeline.by_name("end").and_downcast::<gst_app::AppSink>().context("an appsink")?;
    let attack = pipeline.by_name("attack").context("an element")?;
    let mut caps = caps.clone();
    caps.make_mut().set("framerate", gst::Fraction::new(rate as i32, 1));
    source.set_caps(Some(&caps));
    pipeline.set_state(gst::State::Playing)?;
    let came = std::thread::scope(|scope| -> anyhow::Result<Vec<gst::Buffer>> {
        let receiver = scope.spawn(|| std::iter::from_fn(|| sink.pull_sample().ok()?.buffer_owned()).collect());
        let began = Instant::now();
        let frame = Duration::from_secs(1) / rate;
        let mut pushed = Ok(());
        for (n, given) in frames.iter().enumerate() {
            let due = frame * n as u32;
            std::thread::sleep(due.saturating_sub(began.elapsed()));
            let mut buffer = given.copy();
            let now = pipeline.current_running_time();
            let buffer_mut = buffer.make_mut();
            buffer_mut.set_pts(now);
            buffer_mut.set_duration(gst::ClockTime::try_from(frame).ok());
            buffer_mut.unset_flags(gst::BufferFlags::DISCONT);
            pushed = source.push_buffer(buffer).map(drop);
            if pushed.is_err() {
                break;
            }
        }
        if pushed.and_then(|()| source.end_of_stream()).is_err() {
            // Whoever waits for frames waits no longer.
            let error = pipeline.bus().and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
            pipeline.set_state(gst::State::Null)?;
            anyhow::bail!("the stream ended early: {error:?}");
        }
        receiver.join().map_err(|_| anyhow::anyhow!("a thread panicked"))
    })?;
    let told = |name: &str| -> anyhow::Result<Duration> {
        let mut query = gst::query::Latency::new();
        let pad = attack.static_pad(name).context("a pad")?;
        let answered = if name == "src" { pad.query(query.query_mut()) } else { pad.peer_query(query.query_mut()) };
        ensure!(answered, "the latency is not told");
        Ok(query.result().1.into())
    };
    let latency = told("src")?.saturating_sub(told("sink")?);
    pipeline.set_state(gst::State::Null)?;
    ensure!(came.len() == frames.len(), "{} frames came and {} left", frames.len(), came.len());
    Ok((came, latency))
}

/// The share of fooled windows in each second since its scene began, over all offsets within one scene.
fn fooled(
    model: &mut Model,
    (caps, given): &(gst::Caps, Vec<gst::Buffer>),
    came: &[gst::Buffer],
    scene: u32,
    rate: u32,
) -> anyhow::Result<Vec<f64>> {
    let mut caps = caps.clone();
    caps.make_mut().set("framerate", gst::Fraction::new(rate as i32, 1));
    let stream = Stream::new(gst_video::VideoInfo::from_caps(&caps)?, model.metadata());
    let (window, step) = (model.metadata().window, model.metadata().frame_step);
    let span = (window - 1) * step + 1;
    let sampled = |frames: &[gst::Buffer]| -> anyhow::Result<Vec<Samples>> {
        frames.iter().map(|buffer| stream.sample(buffer).map_err(anyhow::Error::msg)).collect()
    };
    let (given, came) = (sampled(given)?, sampled(came)?);
    let mut label = |samples: &[Samples], first: usize| -> anyhow::Result<usize> {
        let window_of: Vec<Samples> = (0..window).map(|k| samples[first + k * step].clone()).collect();
        Ok(argmax(&model.classify(&stream.view.observe_window(&window_of, window))?))
    };
    let scene = scene as usize;
    let mut counts = vec![(0u32, 0u32); scene.div_ceil(rate as usize)];
    for first in 0..given.len().saturating_sub(span - 1) {
        // A window is of the second that its last frame is shown in.
        let last = first + span - 1;
        if first / scene != last / scene {
            continue;
        }
        let (all, changed) = &mut counts[last % scene / rate as usize];
        *all += 1;
        *changed += u32::from(label(&given, first)? != label(&came, first)?);
    }
    Ok(counts.into_iter().map(|(all, changed)| f64::from(changed) / f64::from(all.max(1))).collect())
}
