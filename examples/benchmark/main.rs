// SPDX-License-Identifier: MPL-2.0

//! What the attack costs beside the model itself, as ratios within one run:
//!
//! - an attack iteration (render, observe, forward, backward, update) over a bare forward and backward of the same
//!   module in libtorch, at two stream sizes, with every frame's real 8-bit samples in the loop;
//! - a whole pipeline's wall time over the time spent attacking, and over the same pipeline without the element:
//!   decode, attack and encode overlap if the first is near one.
//! - a pass of several windows over as many passes of one, and a pipeline whose windows are attacked together over one
//!   by one.
//! - a data set's conversion: wall time over what the calls of its attacks take the bare module, one thread each.
//!
//! It takes a model, or draws what the cost grows with on models of random weights: window length, resolution, keyframes,
//! width of the model, windows a pass, streams and threads, each beside the slope that is expected.
//!
//!     cargo run --release --example benchmark -- MODEL.pt [CLIP or DATASET] [--device cuda] [--precision bf16]
//!     cargo run --release --example benchmark -- --tran [--device cuda] [--precision bf16]
//!     cargo run --release --example benchmark -- --scale SCALE.svg
//!     cargo run --release --example benchmark -- --passing FILE.safetensors..

mod frames;
mod passing;
mod random;
mod scale;
mod timed;
mod together;

#[path = "../train/archive.rs"]
mod archive;
#[path = "../train/c3d.rs"]
mod c3d;
#[path = "../train/export.rs"]
mod export;
#[path = "../train/halve.rs"]
mod halve;
#[path = "../train/layers.rs"]
mod layers;
#[path = "../train/lrcn.rs"]
mod lrcn;
#[path = "../train/network.rs"]
mod network;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::Context;
use clap::Parser;
use gstsparseadv::model::metadata::Layout;
use gstsparseadv::model::{Metadata, Model, Options, Precision};
use gstsparseadv::provenance::{Versions, sha256};
use gstsparseadv::video::{Chroma, View};
use tch::{CModule, IValue, Kind, Tensor};

use frames::{i420, samples};
use random::Random;

/// Fewer than those after which a walk without a success gives up.
const ITERATIONS: u32 = 12;
const ROUNDS: usize = 10;
const KEYFRAMES: usize = 4;

#[derive(clap::Parser)]
struct Arguments {
    #[arg(required_unless_present_any = ["scale", "tran", "passing"], default_value = "")]
    model: String,
    /// A clip to attack, or a data set to convert
    source: Option<String>,
    /// A file that a line for each ratio is added to, for examples/python/results.py
    #[arg(long, value_name = "FILE.jsonl")]
    json: Option<String>,
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Of the attack's gradients: auto, f32 or bf16. What they are compared with is always the module as it is
    #[arg(long, default_value = "f32")]
    precision: String,
    /// A C3D as published, 64 channels wide, with random weights, as the model
    #[arg(long, conflicts_with = "model")]
    tran: bool,
    /// Draw what the cost grows with, instead
    #[arg(long, value_name = "FILE.svg")]
    scale: Option<PathBuf>,
    /// What universal perturbations cost, instead
    #[arg(long, value_name = "FILE.safetensors", num_args = 1.., conflicts_with = "model")]
    passing: Vec<PathBuf>,
}

impl Arguments {
    fn options(&self) -> anyhow::Result<Options> {
        let precision = match &*self.precision {
            "auto" => Precision::Auto,
            "f32" => Precision::F32,
            "bf16" => Precision::Bf16,
            other => anyhow::bail!("expected a precision of auto, f32 or bf16, found {other}"),
        };
        Ok(Options { path: self.model.clone().into(), device: self.device.parse()?, precision, ..Options::default() })
    }
}

fn main() -> anyhow::Result<()> {
    let mut arguments = Arguments::parse();
    gst::init()?;
    gstsparseadv::plugin_register_static()?;
    tch::jit::f_set_graph_executor_optimize(false)?;
    if let Some(file) = &arguments.scale {
        return scale::measure(file, arguments.json.as_deref().map(Path::new));
    }
    if !arguments.passing.is_empty() {
        return passing::measure(&arguments.passing, arguments.json.as_deref().map(Path::new));
    }
    let folder = tempfile::tempdir()?;
    if arguments.tran {
        let path = folder.path().join("c3d-tran.pt");
        random::write(&path, &Random::TRAN)?;
        arguments.model = path.to_string_lossy().into_owned();
    }
    let mut ratios = Ratios::new(&arguments)?;
    for (width, height) in [(180, 144), (1920, 1080)] {
        iteration(&arguments, width, height, &mut ratios)?;
    }
    several(&arguments, &mut ratios)?;
    match &arguments.source {
        Some(folder) if Path::new(&folder).is_dir() => conversion(&arguments, folder, &mut ratios),
        Some(clip) => overlap(&arguments, clip, &mut ratios),
        None => Ok(()),
    }
}

/// Prints what was measured, and keeps it where a file was asked for.
struct Ratios {
    file: Option<File>,
    model: String,
    model_sha256: String,
    /// What the model runs on, and the precision of the attack's gradients.
    device: String,
    precision: String,
}

impl Ratios {
    fn new(arguments: &Arguments) -> anyhow::Result<Self> {
        let Arguments { model, json, device, precision, .. } = arguments;
        let file = json.as_ref().map(|path| File::options().create(true).append(true).open(path)).transpose()?;
        let device = if device != "cpu" && tch::Cuda::is_available() { card()? } else { "cpu".into() };
        Ok(Self {
            file,
            model: model.clone(),
            model_sha256: sha256(Path::new(model))?,
            device,
            precision: precision.clone(),
        })
    }

    /// Seconds of ours with those it is compared with.
    fn say(&mut self, measured: &str, ours: f64, beside: &str, theirs: f64) -> anyhow::Result<()> {
        let ratio = ours / theirs;
        println!("{measured}: {ours:.4} s, {beside}: {theirs:.4} s, ratio {ratio:.3}");
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let Versions { plugin, libtorch, gstreamer } = Versions::here();
        let line = serde_json::json!({
            "model": self.model, "model_sha256": self.model_sha256,
            "plugin": plugin, "libtorch": libtorch, "gstreamer": gstreamer,
            "cells": [self.device, self.precision, measured, format!("{ours:.4}"), beside, format!("{theirs:.4}"), format!("{ratio:.3}")],
        });
        Ok(writeln!(file, "{line}")?)
    }
}

/// The name of the first card.
fn card() -> anyhow::Result<String> {
    let output = Command::new("nvidia-smi").args(["--query-gpu=name", "--format=csv,noheader"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().next().context("expected nvidia-smi to name a card, found none")?.trim().into())
}

/// The least disturbed of interleaved rounds on either side: a busy machine only ever adds time.
fn iteration(arguments: &Arguments, width: usize, height: usize, ratios: &mut Ratios) -> anyhow::Result<()> {
    let mut model = Model::load(&arguments.options()?)?;
    println!(
        "gradients in {}, on {:?}",
        if model.reduces() { "bfloat16" } else { "the model's precision" },
        model.device()
    );
    let bare = Bare::new(&arguments.model, &model)?;
    let metadata = model.metadata().clone();
    let layout = i420(width, height);
    let geometry = metadata.geometry(height, width);
    let view = View::new(&layout, geometry, Chroma::default());
    let samples = samples(&view, &layout, metadata.window);
    let bare = bare.over(&view.observe_window(&samples, metadata.window), &metadata)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..=ROUNDS {
        let zero = timed::attack(&mut model, &view, &samples, 0, KEYFRAMES)?;
        let some = timed::attack(&mut model, &view, &samples, ITERATIONS, KEYFRAMES)?;
        // What is no iteration: the clean pass.
        let bare = bare.time(ITERATIONS)?;
        ours.push((some - zero) / f64::from(ITERATIONS));
        theirs.push(bare / f64::from(ITERATIONS));
    }
    // The first round warms up.
    let least = |values: &[f64]| values.iter().copied().fold(f64::INFINITY, f64::min);
    let (ours, theirs) = (least(&ours[1..]), least(&theirs[1..]));
    ratios.say(&format!("iteration at {width}x{height}"), ours, "forward and backward of the module", theirs)
}

/// Seconds a window of passes that several share.
fn several(arguments: &Arguments, ratios: &mut Ratios) -> anyhow::Result<()> {
    let model = Model::load(&arguments.options()?)?;
    let one = together::pass(&model, 1)?;
    let most = model.windows_a_pass();
    for windows in [2, 4, 8, 16].into_iter().filter(|windows| *windows <= most) {
        let seconds = together::pass(&model, windows)? / windows as f64;
        ratios.say(&format!("a window of a pass of {windows}"), seconds, "of a pass of one", one)?;
    }
    Ok(())
}

/// The module alone.
struct Bare {
    module: CModule,
    input: Tensor,
}

impl Bare {
    fn new(path: &str, model: &Model) -> anyhow::Result<Self> {
        let mut module = CModule::load_on_device(path, model.device())?;
        module.f_set_eval()?;
        for (_, parameter) in module.named_parameters()? {
            let _ = parameter.f_set_requires_grad(false)?;
        }
        let input = Tensor::f_rand(model.input_shape(), (Kind::Float, model.device()))?;
        Ok(Self { module, input: input.f_set_requires_grad(true)? })
    }

    /// The same over a window `[T, 3, height, width]` in gray levels.
    fn over(self, window: &[f32], metadata: &Metadata) -> anyhow::Result<Self> {
        let [h, w] = metadata.crop.map(|n| n as i64);
        let (scale, bias) = metadata.scale_and_bias();
        let window = Tensor::f_from_slice(window)?.f_view([1, metadata.window as i64, 3, h, w])?;
        let window = if metadata.channels == "BGR" { window.f_flip([2i64])? } else { window };
        let [scale, bias] = [scale, bias].map(|of| Tensor::f_from_slice(&of)?.f_view([3, 1, 1]));
        let window = window.f_mul(&scale?)?.f_add(&bias?)?;
        let window = match metadata.layout {
            Layout::Bcthw => window.f_permute([0, 2, 1, 3, 4])?.f_contiguous()?,
            Layout::Btchw | Layout::Bchw => window,
        };
        let input = window.f_to_device(self.input.device())?.f_set_requires_grad(true)?;
        Ok(Self { input, ..self })
    }

    /// Seconds of as many forwards and backwards.
    fn time(&self, times: u32) -> anyhow::Result<f64> {
        self.time_of(times, times)
    }

    /// Seconds of forwards, the first of them each with a backward.
    fn time_of(&self, forwards: u32, backwards: u32) -> anyhow::Result<f64> {
        // cuDNN has no backward of recurrent layers in evaluation mode: the plugin runs such models without it, too.
        let cudnn = tch::Cuda::user_enabled_cudnn();
        let done = self.passes(forwards, backwards);
        let Err(error) = done else { return done };
        anyhow::ensure!(cudnn && error.to_string().contains("cudnn RNN"), error);
        tch::Cuda::set_user_enabled_cudnn(false);
        let done = self.passes(forwards, backwards);
        tch::Cuda::set_user_enabled_cudnn(true);
        done
    }

    fn passes(&self, forwards: u32, backwards: u32) -> anyhow::Result<f64> {
        let began = Instant::now();
        let mut last = None;
        for n in 0..forwards {
            let output = self.module.forward_is(&[IValue::Tensor(self.input.shallow_clone())])?;
            let logits = match output {
                IValue::Tensor(logits) => logits,
                IValue::Tuple(items) => match items.into_iter().next() {
                    Some(IValue::Tensor(logits)) => logits,
                    _ => anyhow::bail!("expected logits in front"),
                },
                _ => anyhow::bail!("expected a tensor or a tuple"),
            };
            let loss = logits.f_select(1, 0)?.f_sum(Kind::Float)?;
            if n < backwards {
                last = Tensor::f_run_backward(&[&loss], &[&self.input], false, false)?.pop();
            }
            last = last.or(Some(loss));
        }
        // Waits for the device.
        let _ = last.context("expected a pass")?.f_sum(Kind::Float)?.f_double_value(&[])?;
        Ok(began.elapsed().as_secs_f64())
    }
}

fn conversion(arguments: &Arguments, folder: &str, ratios: &mut Ratios) -> anyhow::Result<()> {
    let path = &arguments.model;
    let bare = Bare::new(path, &Model::load(&arguments.options()?)?)?;
    let tree = std::env::temp_dir().join(format!("sparseadv-benchmark-{}", std::process::id()));
    let tool = std::env::current_exe()?;
    let tool = tool.parent().and_then(|p| p.parent()).context("target/release")?;
    let began = Instant::now();
    let status = Command::new(tool.join("gst-sparseadv"))
        .args(["convert", folder, "--workers", "1"])
        .arg(&tree)
        .args(["--model", path])
        .args(["--properties", &format!("device={} precision={}", arguments.device, arguments.precision)])
        .status()?;
    let wall = began.elapsed().as_secs_f64();
    anyhow::ensure!(status.success(), "the conversion failed: {status}");
    let mut rows = csv::Reader::from_path(tree.join("manifest-windows.csv"))?;
    let header = rows.headers()?.clone();
    let column = |name| header.iter().position(|h| h == name).context("a column");
    let (forwards, backwards) = (column("forwards")?, column("backwards")?);
    let mut calls = (0, 0);
    for row in rows.records() {
        let row = row?;
        calls.0 += row[forwards].parse::<u32>()?;
        calls.1 += row[backwards].parse::<u32>()?;
    }
    std::fs::remove_dir_all(&tree)?;
    // As the workers have it.
    tch::set_num_threads(1);
    bare.time(2)?;
    let seconds = bare.time_of(calls.0, calls.1)?;
    ratios.say("conversion of a data set", wall, "the module's forwards and backwards in it", seconds)
}

fn overlap(arguments: &Arguments, clip: &str, ratios: &mut Ratios) -> anyhow::Result<()> {
    let run = |element: &str| {
        timed::pipeline(&format!(
            "filesrc location={clip} ! decodebin ! {element} ! x264enc ! mp4mux ! fakesink sync=false"
        ))
    };
    let (plain, _) = run("identity")?;
    let Arguments { model, device, precision, .. } = arguments;
    let attacked = |together: u32| {
        run(&format!("sparseadv model={model} device={device} precision={precision} batch-windows={together}"))
    };
    // One by one, or each attack would count the time of all.
    let (wall, attacking) = attacked(1)?;
    println!("pipeline with identity: {plain:.2} s");
    ratios.say("decode, attack and encode", wall, "the attacks in it", attacking)?;
    ratios.say("the same, windows together", attacked(0)?.0, "one by one", wall)
}
