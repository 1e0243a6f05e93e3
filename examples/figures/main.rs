// SPDX-License-Identifier: MPL-2.0

//! Renders a small made-up action recognition set: articulated figures that walk, run, jump, wave ... laid out as
//! UCF-101 is.
//!
//! `cargo run --release --example figures -- OUT_DIR` writes `OUT_DIR/<action>/v_<Action>_gNN_cNN.avi` and UCF-101's
//! split lists. A group (`gNN`) is one actor in one kind of place and does every action, so that a split which keeps
//! groups apart tests on people and places the classifier has never seen. Everything follows from `--seed`; no asset is
//! read.

mod action;
mod body;
mod encode;
mod look;
mod render;
mod rng;
mod scene;
mod splits;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use action::Action;
use encode::Encoder;
use splits::ClipName;

/// UCF-101's number of groups a class.
const GROUPS: u32 = 25;

#[derive(Parser)]
#[command(about = "Renders a made-up action recognition set in UCF-101's layout")]
struct Args {
    /// The folder to write; made where it does not exist.
    out: PathBuf,
    /// Clips of each action by each of the 25 actors.
    #[arg(long, default_value_t = 4)]
    clips: u32,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Frames a clip, at 25 a second.
    #[arg(long, default_value_t = 64)]
    frames: u32,
    /// Width x height of the frames, both even.
    #[arg(long, default_value = "160x120", value_parser = parse_size)]
    size: (u32, u32),
    /// Extension of the files, which chooses the container: avi (as UCF-101 has) or mp4.
    #[arg(long, default_value = "avi", value_parser = ["avi", "mp4"])]
    container: String,
    /// Render this one clip only, straight into OUT_DIR and without lists: `Walk_g03_c01`. A clip looks the same
    /// whatever is rendered beside it.
    #[arg(long)]
    only: Option<String>,
}

fn parse_size(text: &str) -> Result<(u32, u32), String> {
    text.split_once('x')
        .and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)))
        .filter(|&(w, h): &(u32, u32)| (32..=4096).contains(&w) && (32..=4096).contains(&h) && w % 2 == 0 && h % 2 == 0)
        .ok_or_else(|| format!("expected even WIDTHxHEIGHT of 32 to 4096 pixels a side such as 160x120, found {text}"))
}

fn main() -> Result<()> {
    let args = Args::parse();
    if args.clips == 0 || args.clips > 99 || args.frames == 0 {
        bail!("expected 1 to 99 clips of at least 1 frame, found {} of {}", args.clips, args.frames);
    }
    gst::init().context("GStreamer could not be started")?;
    match &args.only {
        Some(wanted) => render_one(&args, wanted),
        None => render_all(&args),
    }
}

fn render_one(args: &Args, wanted: &str) -> Result<()> {
    let name = ClipName::parse(wanted).with_context(|| {
        format!(
            "expected --only <Action>_gNN_cNN with an action of {}, found {wanted}",
            Action::ALL.map(Action::title).join(", ")
        )
    })?;
    create_dir(&args.out)?;
    let path = args.out.join(name.file(&args.container));
    render_clip(args, name, &path)?;
    println!("{}", path.display());
    Ok(())
}

fn render_all(args: &Args) -> Result<()> {
    let clips: Vec<ClipName> = Action::ALL
        .into_iter()
        .flat_map(|action| {
            (1..=GROUPS).flat_map(move |group| (1..=args.clips).map(move |clip| ClipName { action, group, clip }))
        })
        .collect();
    for action in Action::ALL {
        create_dir(&args.out.join(action.folder()))?;
    }
    let bar = ProgressBar::new(clips.len() as u64)
        .with_style(ProgressStyle::with_template("{bar:40} {pos}/{len} clips, {eta} left {msg}")?);
    for &name in &clips {
        bar.set_message(name.action.folder());
        render_clip(args, name, &args.out.join(name.relative_path(&args.container)))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    splits::write(&args.out, &clips, &args.container)?;
    println!("{} clips of {} actions in {}", clips.len(), Action::ALL.len(), args.out.display());
    Ok(())
}

fn render_clip(args: &Args, name: ClipName, path: &Path) -> Result<()> {
    let (width, height) = args.size;
    let mut renderer = render::Renderer::new(args.seed, name, args.size, args.frames)?;
    let encoder = Encoder::new(path, width, height)?;
    for frame in 0..args.frames {
        encoder.push(u64::from(frame), renderer.frame(frame))?;
    }
    encoder.finish()
}

fn create_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("the folder {} could not be made", path.display()))
}
