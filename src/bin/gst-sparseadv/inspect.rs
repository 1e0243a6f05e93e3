// SPDX-License-Identifier: MPL-2.0

//! `inspect`: what is in a model.

use std::path::PathBuf;

use crate::out::outln;
use gstsparseadv::model::{Model, Options, Origin, Precision, archive};

#[derive(clap::Args)]
#[command(after_help = "Example:\n  gst-sparseadv inspect examples/data/figures-c3d.pt")]
pub struct Arguments {
    /// TorchScript archive. It is a program and is run: inspect only files you trust
    model: PathBuf,
    /// Device to load it on: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Frames a window, instead of the model's own
    #[arg(long)]
    window_size: Option<usize>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (metadata, origin) = archive::read_metadata(&arguments.model)?;
    let origin = match origin {
        Origin::Sidecar => "the sidecar file",
        Origin::Archive => "the archive",
        Origin::Defaults => "none found: C3D's usual values, guessed",
    };
    outln!("metadata   {origin}");
    outln!("{}", serde_json::to_string_pretty(&metadata)?);
    let model = Model::load(&Options {
        path: arguments.model.clone(),
        device: arguments.device.parse()?,
        window: arguments.window_size,
        precision: Precision::Auto,
        sha256: None,
    })?;
    outln!("sha256     {}", model.sha256());
    outln!("device     {:?}", model.device());
    outln!(
        "gradients  {}",
        if model.reduces() { "in bfloat16, which is faster here" } else { "in the model's precision" }
    );
    outln!("input      {:?}", model.input_shape());
    outln!("classes    {}", model.classes());
    match (model.feature_shape(), model.feature_coverage()) {
        (Some(shape), Some(coverage)) => {
            outln!("features   {shape:?}");
            outln!("           frames seen by each step: {:?}", spans(coverage.steps()));
            outln!("keyframes  weighed by the features (Eq. 3 and Eq. 4)");
        }
        _ => {
            let why = model.features_unused().unwrap_or("the model returns logits alone");
            outln!("features   not used: {why}");
            outln!("keyframes  weighed by the input gradient");
        }
    }
    if model.encodes_frames() {
        outln!("frames     encoded one by one: an iteration encodes the keyframes alone");
    }
    let warnings = model.warnings();
    for warning in &warnings {
        outln!("warning    {warning}");
    }
    if warnings.is_empty() {
        outln!("The model fits the contract.");
    } else {
        outln!(
            "The model can be attacked, but the warnings above say what to put right before its results are believed."
        );
    }
    Ok(())
}

/// First and last frame of each step.
fn spans(steps: &[Vec<usize>]) -> Vec<String> {
    let span = |frames: &Vec<usize>| match (frames.first(), frames.last()) {
        (Some(first), Some(last)) if first == last => first.to_string(),
        (Some(first), Some(last)) => format!("{first}..{last}"),
        _ => "none".into(),
    };
    steps.iter().map(span).collect()
}
