// SPDX-License-Identifier: MPL-2.0

//! `reproduce`: the experiments of Section 4, on any data sets and models, through the element.

use std::path::PathBuf;

use anyhow::{bail, Context};
use gstsparseadv::dataset;

mod measure;
pub mod metrics;
pub mod paper;
pub mod results;
pub mod systems;

use crate::provenance::Versions;
use measure::Model;
use results::{Line, Log, Results, Run};
use systems::Goal;

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  gst-sparseadv reproduce --data UCF-101=/data/UCF-101 --model c3d.pt --model lrcn.pt --out results\n\n\
    Killed, it goes on where it was when it is called again. Afterwards results/report.html has Table 1, Table 2, Figure 2 and the \
    ablation, beside the paper's own numbers."
)]
pub struct Arguments {
    /// Data set by a name and its folder; may be repeated
    #[arg(long, value_name = "NAME=FOLDER", required = true)]
    data: Vec<String>,
    /// TorchScript classifier; may be repeated. It is a program and is run: use only files you trust
    #[arg(long, required = true)]
    model: Vec<PathBuf>,
    /// Folder for results and pages
    #[arg(long)]
    out: PathBuf,
    /// Clips of each class that the model classifies rightly
    #[arg(long, default_value_t = 1)]
    clips: usize,
    /// Seed of the choice of clips, targets and random keyframes
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[arg(long, value_delimiter = ',', default_value = "untargeted,targeted")]
    goals: Vec<Goal>,
    /// Most iterations of an untargeted and of a targeted attack
    #[arg(long, value_name = "N,N", default_value = "500,1000", value_parser = two_numbers)]
    iterations: [u32; 2],
    /// Further properties of the element for every attack. The paper uses all iterations (patience=0)
    #[arg(long, default_value = "patience=60", value_name = "PROPERTIES")]
    properties: String,
    /// Raw format that is attacked; empty: the decoder's own. The paper's frames are RGB
    #[arg(long, default_value = "RGB")]
    format: String,
    /// The paper's method with these properties too, for a table of variants; may be repeated
    #[arg(long, value_name = "PROPERTIES")]
    variant: Vec<String>,
    /// Only the variants, and ours and SA as the paper has them
    #[arg(long)]
    only_variants: bool,
    #[command(flatten)]
    dataset: dataset::Options,
    /// Only clips of these groups take part, of the test clips
    #[arg(long, value_delimiter = ',')]
    only_groups: Vec<String>,
}

fn two_numbers(text: &str) -> Result<[u32; 2], String> {
    let parsed = text
        .split_once(',')
        .and_then(|(a, b)| Some([a.parse().ok()?, b.parse().ok()?]));
    parsed.ok_or_else(|| format!("expected two numbers with a comma between, found {text}"))
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    gst::init()?;
    gstsparseadv::plugin_register_static()?;
    let mut log = Log::open(&arguments.out)?;
    let known = Results::read(&arguments.out)?;
    let this = description(arguments);
    same_conditions(&known, &this)?;
    log.add(&Line::Run(this))?;
    for data in &arguments.data {
        let (name, folder) = data
            .split_once('=')
            .with_context(|| format!("expected --data NAME=FOLDER, found {data}"))?;
        let set = dataset::open(folder.as_ref(), &arguments.dataset)?;
        for path in &arguments.model {
            let model = Model::load(path, name)?;
            model.is_the_known_one(&known)?;
            let clips = model.classify(arguments, folder, &set, &known, &mut log)?;
            model.attack(arguments, &clips, &known, &mut log)?;
        }
    }
    drop(log);
    crate::report::pages(&arguments.out)
}

fn description(arguments: &Arguments) -> Run {
    let command: Vec<String> = std::env::args().skip(1).collect();
    Run {
        command: command.join(" "),
        seed: arguments.seed,
        format: arguments.format.clone(),
        properties: arguments.properties.clone(),
        iterations: arguments.iterations,
        versions: Versions::here(),
    }
}

/// Results of different settings do not belong into one table.
fn same_conditions(known: &Results, this: &Run) -> anyhow::Result<()> {
    let conditions = |run: &Run| Run {
        command: String::new(),
        ..run.clone()
    };
    if let Some(other) = known
        .runs
        .iter()
        .find(|run| conditions(run) != conditions(this))
    {
        bail!(
            "expected the settings and versions that the results in {} were begun with, {other:?}, found {this:?}. Use another --out",
            results::FILE
        );
    }
    Ok(())
}
