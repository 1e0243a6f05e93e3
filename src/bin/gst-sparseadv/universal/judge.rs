// SPDX-License-Identifier: MPL-2.0

//! `judge`: what universal perturbations do to the clips of a data set.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use gstsparseadv::dataset;
use gstsparseadv::files::{self, LONGEST_LINE};
use gstsparseadv::model::{Model, Options};
use gstsparseadv::provenance::Versions;
use gstsparseadv::universal::Universal;
use gstsparseadv::universal::learn::Aim;
use serde_json::json;

use super::clips::Clips;
use super::verdict::{judge, judge_behind};
use super::{codecs, spread};
use crate::interrupt;
use crate::out::{errln, outln};

/// Windows that share a pass at the most: more gain nothing.
const TOGETHER: usize = 16;

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  gst-sparseadv judge /data/weizmann noise.safetensors --model lrcn.pt --survive same\n\n\
    Windows of the held out clips are judged at every phase, in the bytes that the element would push"
)]
pub struct Arguments {
    /// Data set, in the layouts that convert takes
    data: PathBuf,
    /// Perturbations, as learn writes them
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// TorchScript classifier that judges. It is a program and is run: use only files you trust
    #[arg(long)]
    model: PathBuf,
    /// Bins from raw video to raw video, with | between, that windows go through as well
    #[arg(long, default_value = "")]
    survive: String,
    /// Held out clips that are judged at the most, spread evenly over them all
    #[arg(long, default_value_t = 100)]
    held_out: usize,
    /// Device to run the model on: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Adds a line for each perturbation to this file
    #[arg(long)]
    json: Option<PathBuf>,
    #[command(flatten)]
    dataset: crate::dataset::Arguments,
}

/// Judges each file. Returns how many clips could not be read.
pub fn run(arguments: &Arguments) -> anyhow::Result<usize> {
    gst::init()?;
    gstsparseadv::plugin_register_static()?;
    interrupt::watch()?;
    if let Some(json) = &arguments.json {
        check_lines(arguments, json)?;
    }
    let set = dataset::open(&arguments.data, &arguments.dataset.options())?;
    errln!("note: {}", set.sides);
    let model = Model::load(&Options {
        path: arguments.model.clone(),
        device: arguments.device.parse()?,
        ..Options::default()
    })?;
    let together = model.windows_a_pass().clamp(1, TOGETHER);
    let mut models: Vec<Model> = (0..together).map(|_| model.share()).collect();
    let held_out: Vec<&dataset::Clip> = set.clips.iter().filter(|clip| clip.held_out).collect();
    ensure!(!held_out.is_empty(), "Expected held out clips, found none: {}.", set.sides);
    let mut clips = Clips::new(spread(&held_out, arguments.held_out), model.metadata());
    for path in &arguments.files {
        let (universal, sha256) = Universal::load_hashed(path)?;
        let aim = match universal.header.learned.get("aim") {
            Some(aim) => serde_json::from_value(aim.clone())?,
            None => Aim::Untargeted,
        };
        let clean = judge(&mut models, &universal, &mut clips, aim, None)?;
        outln!("{}:\n{clean}", path.display());
        let behind = judge_behind(&mut models, &universal, &mut clips, aim, codecs(&arguments.survive))?;
        behind.iter().for_each(|(bin, verdict)| outln!("behind {bin}:\n{verdict}"));
        if let Some(json) = &arguments.json {
            let line = json!({
                "file": named(path), "perturbation_sha256": sha256, "learned": universal.header.learned,
                "kind": universal.header.kind, "model": named(&arguments.model), "model_sha256": model.sha256(), "held_out": clean,
                "held_out_behind": behind, "versions": Versions::here(),
            });
            let file = File::options().create(true).append(true).open(json);
            let written = file.and_then(|mut file| writeln!(file, "{line}"));
            written.with_context(|| format!("{} could not be written", json.display()))?;
        }
    }
    Ok(clips.skipped())
}

/// A path as text. One that is not UTF-8 has `%XX` for each odd byte.
fn named(path: &Path) -> String {
    path.to_str().map_or_else(|| dataset::display_path(path), String::from)
}

/// Refuses to add lines to anything but lines of an earlier call.
fn check_lines(arguments: &Arguments, json: &Path) -> anyhow::Result<()> {
    let inputs = arguments.files.iter().map(|file| ("a perturbation", file.as_path()));
    let inputs: Vec<(&str, &Path)> = inputs.chain([("the model", arguments.model.as_path())]).collect();
    files::check_outputs(&[("--json", json)], &inputs).map_err(anyhow::Error::msg)?;
    // A device or a pipe has no lines yet.
    if !json.is_file() {
        return Ok(());
    }
    let mut first = String::new();
    // What is not text is no line.
    let read = BufReader::new(File::open(json)?.take(LONGEST_LINE)).read_line(&mut first);
    let line: serde_json::Result<serde_json::Value> = serde_json::from_str(&first);
    let is_one = line.is_ok_and(|line| line.get("perturbation_sha256").is_some());
    ensure!(
        matches!(read, Ok(0)) || is_one,
        "Expected no file there yet, or lines of gst-sparseadv judge, as --json, found something else: {}. Move it away, or name another file.",
        json.display()
    );
    Ok(())
}
