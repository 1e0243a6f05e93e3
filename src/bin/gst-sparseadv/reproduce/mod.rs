// SPDX-License-Identifier: MPL-2.0

//! `reproduce`: the experiments of Section 4, on any data sets and models, through the element.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use gstsparseadv::dataset::{self, DataSet};
use gstsparseadv::model::archive;

mod limit;
mod measure;
pub mod metrics;
pub mod paper;
pub mod results;
pub mod rivals;
pub mod systems;

use crate::provenance::{Difference, Versions, differences, sha256};
use limit::Limit;
use measure::Model;
use results::{BlackBox, Line, Log, Results, Run};
use rivals::{Has, Rival};
use systems::{Goal, Systems};

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  gst-sparseadv reproduce --data UCF-101=/data/UCF-101 --model c3d.pt --model lrcn.pt --out results\n\n\
    Killed, it goes on where it was when it is called again. Afterwards results/report.html has Table 1, Table 2, Figure 2 and the \
    ablation, beside the paper's own numbers. With --systems all or black-box it has the systems that work without the \
    model's gradient too, and their fooling rate against queries."
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
    /// Which systems: the paper's, those without the model's gradient, or all
    #[arg(long, value_enum, default_value = "paper")]
    systems: Systems,
    /// Queries of an attack without the model's gradient at the most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    queries: u32,
    /// Time after which no further window is begun; called again, the run goes on. 0: none [default: 10 with
    /// --systems black-box or all, else none]
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<u32>,
    /// Clips that such an attack begins with, where it does: training clips of the target, or of any other class
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    donors: u16,
    /// TorchScript classifier of pictures or video for those that look at a surrogate: the first that is not the model
    /// itself. May be repeated. It is a program and is run
    #[arg(long, value_name = "FILE")]
    surrogate: Vec<PathBuf>,
    /// Agent that picks the keyframes of Wang et al., made by learn --kind agent. It is a program and is run
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// Let every model judge what was made on the others
    #[arg(long)]
    transfer: bool,
    /// Only the variants, and ours and SA as the paper has them
    #[arg(long)]
    only_variants: bool,
    #[command(flatten)]
    dataset: crate::dataset::Arguments,
    /// Only clips of these groups take part, of the test clips
    #[arg(long, value_delimiter = ',')]
    only_groups: Vec<String>,
}

impl Arguments {
    /// What the run may take, if that is bounded.
    fn time(&self) -> Option<Duration> {
        let default = if self.systems == Systems::Paper { 0 } else { 10 };
        let minutes = self.minutes.unwrap_or(default);
        (minutes > 0).then(|| Duration::from_secs(60 * u64::from(minutes)))
    }
}

fn two_numbers(text: &str) -> Result<[u32; 2], String> {
    let parsed = text.split_once(',').and_then(|(a, b)| Some([a.parse().ok()?, b.parse().ok()?]));
    parsed.ok_or_else(|| format!("expected two numbers with a comma between, found {text}"))
}

/// Whether a path, which need not be there yet, is in a folder.
pub fn is_inside(path: &Path, folder: &Path) -> anyhow::Result<bool> {
    let real = |path: &Path| {
        let there = path.ancestors().find_map(|p| p.canonicalize().ok().zip(Some(p)));
        there.map_or(path.to_path_buf(), |(real, p)| real.join(path.strip_prefix(p).unwrap_or(path)))
    };
    Ok(real(&std::path::absolute(path)?).starts_with(real(folder)))
}

/// Results inside a data set would become part of it.
fn apart(arguments: &Arguments) -> anyhow::Result<()> {
    for data in &arguments.data {
        let folder = data.split_once('=').map_or(data.as_str(), |(_, folder)| folder);
        if is_inside(&arguments.out, Path::new(folder))? {
            bail!(
                "Expected a folder outside the data set for --out, found {} inside {folder}. Name another.",
                arguments.out.display()
            );
        }
    }
    Ok(())
}

/// Returns how many clips could not be measured, and the folder of the results.
pub fn run(arguments: &Arguments) -> anyhow::Result<(usize, PathBuf)> {
    gst::init()?;
    gstsparseadv::plugin_register_static()?;
    // Whatever is wrong with these is found before anything is written.
    let sets = sets(arguments)?;
    for path in &arguments.model {
        archive::read_metadata(path)?;
    }
    apart(arguments)?;
    without_effect(arguments)?;
    let this = description(arguments)?;
    let (mut log, known) = Log::open(&arguments.out, |known| same_conditions(known, &this))?;
    log.add(&Line::Run(this))?;
    let mut skipped = 0;
    let mut limit = Limit::new(arguments.time(), sets.len() * arguments.model.len(), Instant::now());
    for (name, set) in &sets {
        crate::out::errln!("note: {name}: {}", set.sides);
        set.notes.iter().for_each(|note| crate::out::errln!("note: {name}: {note}"));
        for clip in set.missing.iter().filter(|m| m.held_out != Some(false)) {
            crate::out::errln!("missing {}: {}", clip.name, clip.reason);
            skipped += 1;
        }
        let judges = arguments.model.iter().filter(|_| arguments.transfer);
        let judges = judges.map(|path| Model::load(path, name)).collect::<anyhow::Result<Vec<_>>>()?;
        for path in &arguments.model {
            let model = Model::load(path, name)?;
            model.is_the_known_one(&known)?;
            let classified = model.classify(arguments, set, &known, &mut log)?;
            skipped += classified.skipped;
            model.attack(arguments, set, &judges, &classified.right, &mut limit, (&known, &mut log))?;
        }
    }
    if let Some((windows, rest)) = limit.left_out() {
        let rest = indicatif::HumanDuration(rest);
        crate::out::errln!(
            "note: {windows} attacked windows of one goal each are left out after --minutes; they would take about {rest}. Call it again to go \
             on, or with --minutes 0 for all of them."
        );
    }
    Ok((skipped, arguments.out.clone()))
}

/// Refuses options that would do nothing, and says what a run leaves out.
fn without_effect(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.systems == Systems::Paper && (!arguments.surrogate.is_empty() || arguments.agent.is_some()) {
        bail!(
            "Expected --systems black-box or all beside --surrogate and --agent, found paper. Leave them out, or set it."
        );
    }
    if arguments.transfer && arguments.model.len() < 2 {
        bail!("Expected several models beside --transfer, found one. Name another with --model, or leave it out.");
    }
    if arguments.systems != Systems::Paper {
        let has = Has { surrogate: !arguments.surrogate.is_empty(), agent: arguments.agent.is_some() };
        let left_out = Rival::ALL.into_iter().filter(|rival| !rival.runs(Goal::Untargeted, has)).map(Rival::name);
        let left_out: Vec<&str> = left_out.collect();
        if !left_out.is_empty() {
            crate::out::errln!("note: left out without --surrogate or --agent: {}", left_out.join("; "));
        }
    }
    Ok(())
}

/// The data sets by their names.
fn sets(arguments: &Arguments) -> anyhow::Result<Vec<(String, DataSet)>> {
    let set = |data: &String| {
        let (name, folder) =
            data.split_once('=').with_context(|| format!("Expected --data NAME=FOLDER, found {data}."))?;
        let set = dataset::open(folder.as_ref(), &arguments.dataset.options())?;
        Ok((name.to_owned(), set))
    };
    arguments.data.iter().map(set).collect()
}

fn description(arguments: &Arguments) -> anyhow::Result<Run> {
    let black_box = match arguments.systems {
        Systems::Paper => None,
        Systems::BlackBox | Systems::All => Some(BlackBox {
            queries: arguments.queries,
            donors: arguments.donors,
            surrogates: arguments.surrogate.iter().map(|file| sha256(file)).collect::<anyhow::Result<_>>()?,
            agent: arguments.agent.as_deref().map(sha256).transpose()?,
        }),
    };
    let command: Vec<String> = std::env::args().skip(1).collect();
    Ok(Run {
        command: command.join(" "),
        results_format: results::FORMAT,
        seed: arguments.seed,
        format: arguments.format.clone(),
        properties: arguments.properties.clone(),
        iterations: arguments.iterations,
        black_box,
        versions: Versions::here(),
    })
}

/// Results of different settings do not belong into one table.
fn same_conditions(known: &Results, this: &Run) -> anyhow::Result<()> {
    for run in &known.runs {
        // What was called is no condition.
        let mut now = Run { command: run.command.clone(), ..this.clone() };
        // One of them may have been of other systems alone.
        if run.black_box.is_none() || now.black_box.is_none() {
            now.black_box.clone_from(&run.black_box);
        }
        let others: Vec<String> = differences(run, &now)?
            .into_iter()
            .map(|Difference { field, before, now }| {
                format!("{} {before} there and {now} here", field.replace('_', " "))
            })
            .collect();
        if !others.is_empty() {
            bail!(
                "Expected the settings and versions that the results in {} were begun with, found others: {}. Use another --out.",
                results::FILE,
                others.join("; ")
            );
        }
    }
    Ok(())
}
