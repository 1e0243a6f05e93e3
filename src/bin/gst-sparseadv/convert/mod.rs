// SPDX-License-Identifier: MPL-2.0

//! `convert`: a data set becomes a tree of attacked videos with a manifest.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use gstsparseadv::model::archive;
use gstsparseadv::tally::Tally;
use indicatif::{ProgressBar, ProgressStyle};

mod begun;
mod disk;
mod manifest;
mod places;
mod plan;
mod pool;
mod record;
pub mod shard;
mod truth;
pub mod worker;

use crate::interrupt;
use crate::out::{errln, outln};
use crate::provenance::{Versions, sha256};
use begun::Settings;
pub use plan::{Side, jobs};
use pool::Pool;
use record::{Outcome, Record, Records};
use truth::Truth;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gst-sparseadv convert UCF-101 UCF-101-attacked --model c3d.pt --side test --workers 2\n  \
    gst-sparseadv convert UCF-101 UCF-101-attacked --model c3d.pt --shard 3/20   # one of twenty jobs\n  \
    gst-sparseadv merge UCF-101-attacked                                        # their manifests as one\n\n\
    Killed, it goes on where it was when it is called again. Exit status 2: some clips were skipped; the manifest says which and why."
)]
pub struct Arguments {
    /// Data set: class folders of videos, with or without UCF-101's or HMDB-51's lists
    source: PathBuf,
    /// Folder for the attacked videos, in the same class folders, and the manifest
    destination: PathBuf,
    /// TorchScript classifier. It is a program and is run: use only files you trust
    #[arg(long)]
    model: PathBuf,
    /// Further properties of the element, as in gst-launch-1.0
    #[arg(long, default_value = "", value_name = "PROPERTIES")]
    properties: String,
    /// Encoder, with its properties; may begin with converters. The default loses nothing, and stands in AVI as the
    /// usual sets do
    #[arg(long, default_value = LOSSLESS)]
    encoder: String,
    /// Muxer, with its properties
    #[arg(long, default_value = "avimux")]
    muxer: String,
    /// Extension of the files
    #[arg(long, default_value = "avi")]
    extension: String,
    /// Which clips, by the set's lists
    #[arg(long, default_value = "all")]
    side: Side,
    #[command(flatten)]
    dataset: crate::dataset::Arguments,
    /// Clips with fewer frames are skipped; by default the model's window
    #[arg(long)]
    min_frames: Option<usize>,
    /// Seed of whatever is random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Processes that convert side by side; by default as many as there are processors for their threads, four at the most,
    /// and one on a GPU. Each has a model of its own in memory
    #[arg(long)]
    workers: Option<usize>,
    /// Threads of each process. Sums depend on their number in the last bits, and so does the tree; one a process is
    /// also the fastest as soon as there are as many processes as cores
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Seconds after which a clip is given up and skipped; by default it takes what it takes
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    time_limit: Option<u64>,
    /// Convert only the i-th of n parts, for job arrays
    #[arg(long, value_name = "i/n", value_parser = shard::parse)]
    shard: Option<(usize, usize)>,
    /// Try again what was skipped earlier
    #[arg(long)]
    retry: bool,
}

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  gst-sparseadv merge UCF-101-attacked\n  gst-sparseadv merge result --fail-if \"robust_accuracy<0.5\""
)]
pub struct MergeArguments {
    /// Tree made by convert, or results of evaluate, in one go or in parts
    pub tree: PathBuf,
    #[command(flatten)]
    pub evaluation: crate::evaluate::MergeArguments,
}

/// H.264 without loss. No B-frames, for AVI has no times to put them in order by; one thread, for their number shows in
/// the bytes.
const LOSSLESS: &str = "x264enc pass=quant quantizer=0 bframes=0 speed-preset=superfast threads=1";

/// Processes that each hold a model, unless another number is asked for.
const MOST_WORKERS: usize = 4;

fn workers(arguments: &Arguments) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let fitting = (processors / arguments.threads).clamp(1, MOST_WORKERS);
    arguments.workers.unwrap_or(if tch::Cuda::is_available() { 1 } else { fitting })
}

/// Returns how many clips were skipped.
pub fn run(arguments: &Arguments) -> anyhow::Result<usize> {
    interrupt::watch()?;
    ensure!(arguments.workers != Some(0), "expected at least one worker");
    ensure!(arguments.threads > 0, "expected at least one thread");
    gst::init()?;
    gstsparseadv::plugin_register_static()?;
    let (source, destination) = (&arguments.source, &arguments.destination);
    let plan = plan::jobs(source, arguments.side, &arguments.dataset.options(), &arguments.extension)?;
    places::check_places(source, destination, &arguments.model, &plan)?;
    plan.notes.iter().for_each(|note| errln!("note: {note}"));
    let all = &plan.jobs;
    let (metadata, _) = archive::read_metadata(&arguments.model)?;
    let min_frames = arguments.min_frames.unwrap_or(metadata.window);
    let spec = worker::Spec {
        model: arguments.model.clone(),
        properties: format!("{} seed={}", arguments.properties, arguments.seed),
        encoder: arguments.encoder.clone(),
        muxer: arguments.muxer.clone(),
        min_frames,
        threads: arguments.threads,
        time_limit: arguments.time_limit,
    };
    worker::check(&spec)?;
    let classes = all.iter().map(|job| job.class.as_str());
    let (truth, notes) = Truth::of(&spec.properties, &metadata.labels, classes)?;
    notes.iter().for_each(|note| errln!("note: {note}"));
    let settings = settings(arguments, min_frames)?;
    let records = Records::open(destination, &settings, arguments.shard)?;
    records.set_missing(arguments.side, &plan.missing)?;
    for clip in &plan.missing {
        errln!("missing {}: {}", clip.clip, clip.reason);
    }
    places::copy_lists(&plan, source, destination, &arguments.extension)?;
    let mine = shard::take(all.clone(), arguments.shard);
    let is_done = |record: Option<Record>| {
        record.is_some_and(|r| !arguments.retry || matches!(r.outcome, Outcome::Converted { .. }))
    };
    let open: Vec<plan::Job> = mine.iter().filter(|job| !is_done(records.get(&job.clip))).cloned().collect();
    let pool = Pool { spec: &spec, truth: &truth, root: destination, records: &records };
    convert(&pool, &open, mine.len(), workers(arguments))?;
    if open.is_empty() {
        errln!("note: every clip was done before; what follows is the sum of their records");
    }

    let made = records.all()?;
    let of = |jobs: &[plan::Job]| -> Vec<Record> {
        // What is missing belongs to every part.
        let missing = plan.missing.iter().map(|m| m.clip.as_str());
        let clips = jobs.iter().map(|job| job.clip.as_str());
        let wanted: HashSet<&str> = clips.chain(missing).collect();
        let mine = made.iter().filter(|r| wanted.contains(r.clip.as_str()));
        mine.cloned().collect()
    };
    let part = of(&mine);
    if arguments.shard.is_some() {
        manifest::write(destination, arguments.shard, &settings, &part)?;
    }
    if of(all).len() == all.len() + plan.missing.len() {
        manifest::write(destination, None, &settings, &made)?;
    }
    Ok(summary(destination, &part))
}

/// Converts the clips that are `open` of `all`, and says how it goes on.
fn convert(pool: &Pool, open: &[plan::Job], all: usize, workers: usize) -> anyhow::Result<()> {
    let bar = ProgressBar::new(all as u64)
        .with_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} clips, {per_sec}, {eta} left, {msg}")?);
    bar.set_position((all - open.len()) as u64);
    bar.reset_eta();
    let mut tally = Tally::default();
    let mut said = BTreeSet::new();
    pool.convert(open, workers, |record| {
        bar.inc(1);
        tally.merge(&manifest::tally(record));
        match &record.outcome {
            Outcome::Skipped { reason } => bar.suspend(|| errln!("skipped {}: {reason}", record.clip)),
            Outcome::Converted { notes, .. } => {
                // Once each; the manifest has every clip's.
                for note in notes.iter().filter(|note| said.insert((*note).clone())) {
                    bar.suspend(|| errln!("note: {}: {note}", record.clip));
                }
            }
            Outcome::Missing { .. } => {}
        }
        bar.set_message(format!("{} of {} windows fooled", tally.fooled, tally.attacked));
    })?;
    bar.finish_and_clear();
    Ok(())
}

/// Returns how many clips were skipped.
pub fn merge(arguments: &MergeArguments) -> anyhow::Result<usize> {
    ensure!(
        !arguments.evaluation.are_any(),
        "Expected results of evaluate for these options, found none in {}. Leave them out for a tree of convert.",
        arguments.tree.display()
    );
    let (records, settings) = Records::reopen(&arguments.tree)?;
    let records = records.of_one_tree()?;
    manifest::write(&arguments.tree, None, &settings, &records)?;
    let lost = parts_lost(&arguments.tree);
    for part in &lost {
        errln!(
            "missing part {part}: its clips are not in the manifest; convert it, or bring its folder, and merge again"
        );
    }
    Ok(summary(&arguments.tree, &records) + lost.len())
}

/// Parts of which the tree has sisters, as `i/n`, and not themselves.
fn parts_lost(tree: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(tree).into_iter().flatten().flatten();
    let names: BTreeSet<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let count = |name: &String| -> Option<usize> {
        let part = name.strip_prefix("manifest.")?.strip_suffix(".jsonl")?;
        part.split_once("-of-")?.1.parse().ok()
    };
    let counts: BTreeSet<usize> = names.iter().filter_map(count).collect();
    let is_there = |i: usize, n: usize| names.contains(&format!("manifest.{i}-of-{n}.jsonl"));
    // Where one count is whole, those of an earlier try do not matter.
    if counts.iter().any(|n| (1..=*n).all(|i| is_there(i, *n))) {
        return Vec::new();
    }
    let lost = counts.iter().flat_map(|n| {
        let lost = (1..=*n).filter(|i| !is_there(*i, *n));
        lost.map(move |i| format!("{i}/{n}"))
    });
    lost.collect()
}

/// Says what the records come to, by class where there are several. Returns how many clips were not converted.
fn summary(root: &Path, records: &[Record]) -> usize {
    let count = |of: fn(&Outcome) -> bool| records.iter().filter(|r| of(&r.outcome)).count();
    let skipped = count(|o| matches!(o, Outcome::Skipped { .. }));
    let missing = count(|o| matches!(o, Outcome::Missing { .. }));
    outln!(
        "{}: {} clips converted, {skipped} clips skipped, {missing} clips missing",
        root.display(),
        records.len() - skipped - missing
    );
    let classes = manifest::classes(records);
    let width = classes.iter().map(|(class, _)| class.chars().count()).max();
    for (class, tally) in &classes {
        // One class says what all of them say.
        if classes.len() > 2 || class == manifest::ALL {
            outln!("{class:<width$}  {}", tally.sentence(), width = width.unwrap_or(0));
        }
    }
    skipped + missing
}

fn settings(arguments: &Arguments, min_frames: usize) -> anyhow::Result<Settings> {
    let name = arguments.model.file_name().context("a file has a name")?;
    Ok(Settings {
        model: name.to_string_lossy().into_owned(),
        model_sha256: sha256(&arguments.model)?,
        properties: arguments.properties.clone(),
        encoder: arguments.encoder.clone(),
        muxer: arguments.muxer.clone(),
        extension: arguments.extension.clone(),
        min_frames,
        threads: arguments.threads,
        seed: arguments.seed,
        versions: Versions::here(),
    })
}
