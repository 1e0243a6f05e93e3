// SPDX-License-Identifier: MPL-2.0

//! Handles the elements as badly as applications do, for hours: state changes, seeks of all kinds, flushes in mid-attack,
//! properties and caps that change, over formats, sizes, rates and modes by chance, several elements in one process.
//!
//!     cargo run --release --example soak -- --rounds 1000
//!
//! What must hold: where nothing was flushed as many frames leave as came, no buffer leaves twice, every stream ends, no
//! message is an error, GLib has nothing to warn of, and nothing leaks: elements and buffers (the tracer
//! `leaks`), threads, file descriptors, and memory. A round that goes wrong is named by its seed: --seed N --rounds 1.

mod actions;
mod count;
mod stream;
mod vitals;
mod watchdog;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use gst::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use stream::{Models, Stream};
use vitals::Vitals;
use watchdog::Watchdog;

#[derive(Parser)]
struct Arguments {
    /// Rounds: each builds a pipeline, mistreats it, and lets it end
    #[arg(long, default_value_t = 100)]
    rounds: u64,
    /// Minutes after which no round begins any more
    #[arg(long)]
    minutes: Option<f64>,
    /// Seed of the first round; the next has the number after it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds that a round may take
    #[arg(long, default_value_t = 120)]
    patience: u64,
    /// Says what each round does
    #[arg(long)]
    verbose: bool,
}

/// Rounds after which memory, threads and descriptors are as they stay.
const WARM_UP: u64 = 30;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("GST_TRACERS", "leaks") };
    // As G_DEBUG=fatal-warnings, which GLib reads before main begins.
    glib::log_set_always_fatal(glib::LogLevels::LEVEL_CRITICAL | glib::LogLevels::LEVEL_WARNING);
    gst::init()?;
    gstsparseadv::plugin_register_static()?;
    tch::set_num_threads(1);
    let models = Models::make()?;
    let watchdog = Watchdog::start(Duration::from_secs(arguments.patience));
    let began = Instant::now();
    let mut warm = None;
    let (mut done, mut streams, mut frames, mut acts, mut video) = (0, 0, 0, 0, Duration::ZERO);
    for seed in arguments.seed..arguments.seed + arguments.rounds {
        if arguments.minutes.is_some_and(|most| began.elapsed().as_secs_f64() > 60.0 * most) {
            break;
        }
        watchdog.begin(seed);
        let round = round(seed, &models, arguments.verbose).with_context(|| format!("round --seed {seed}"))?;
        watchdog.end();
        done += 1;
        streams += round.streams;
        frames += round.frames;
        acts += round.acts;
        video += round.video;
        if done == WARM_UP {
            warm = Some(Vitals::now()?);
        }
    }
    let now = Vitals::now()?;
    println!(
        "{done} rounds in {:.0} s: {streams} streams, {frames} frames ({:.1} minutes of video), {acts} actions. {now}",
        began.elapsed().as_secs_f64(),
        video.as_secs_f64() / 60.0
    );
    if let Some(warm) = warm {
        println!("after {WARM_UP} rounds: {warm}");
        now.check(&warm, done)?;
    }
    Ok(())
}

/// What a round came to.
struct Round {
    streams: usize,
    frames: u64,
    acts: usize,
    video: Duration,
}

fn round(seed: u64, models: &Models, verbose: bool) -> anyhow::Result<Round> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let streams: Vec<Stream> = (0..rng.random_range(1..=3)).map(|n| Stream::random(&mut rng, n, models)).collect();
    let text = streams.iter().map(|stream| stream.text.as_str()).collect::<Vec<_>>().join("  ");
    if verbose {
        println!("seed {seed}: {text}");
    }
    let pipeline =
        gst::parse::launch(&text)?.downcast::<gst::Pipeline>().map_err(|_| anyhow::anyhow!("no pipeline"))?;
    let counts: Vec<count::Count> =
        (0..streams.len()).map(|n| count::Count::of(&pipeline, n)).collect::<Result<_, _>>()?;
    let bus = pipeline.bus().context("a bus")?;
    let acts = actions::mistreat(&pipeline, &mut rng, &streams, &counts, &bus, verbose)?;
    actions::finish(&pipeline, &bus)?;
    let stopped = pipeline.set_state(gst::State::Null);
    ensure!(stopped.is_ok(), "it does not stop");
    let mut frames = 0;
    let mut video = Duration::ZERO;
    for (stream, count) in streams.iter().zip(&counts) {
        count.check(stream)?;
        frames += count.came();
        video += stream.lasting(count.came());
    }
    Ok(Round { streams: streams.len(), frames, acts, video })
}
