// SPDX-License-Identifier: MPL-2.0

//! `reproduce`: the experiments of Section 4, on any data sets and models, through the element.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{bail, ensure, Context};
use gst::prelude::*;
use gstsparseadv::dataset;
use gstsparseadv::model::archive;
use indicatif::{ProgressBar, ProgressStyle};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::SeedableRng;
use sha2::{Digest, Sha256};

pub mod metrics;
pub mod paper;
pub mod results;
pub mod systems;

use crate::decode::{self, Clip};
use crate::element::Attacker;
use results::{Accuracy, Attack, Line, Log, Results, Run};
use systems::{Goal, System};

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
    /// Which of a set's three splits
    #[arg(long, default_value_t = 1)]
    split: u32,
    /// Groups (actors, source films) that are the test clips of plain folders, with commas between
    #[arg(long, value_delimiter = ',')]
    test_groups: Vec<String>,
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

/// A test clip's middle window.
struct Window {
    /// Path below the data set's folder.
    clip: String,
    class: String,
    frames: Clip,
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
        let options = dataset::Options {
            layout: None,
            split: arguments.split,
            splits: None,
            test_groups: arguments.test_groups.clone(),
        };
        let set = dataset::open(folder.as_ref(), &options)?;
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
        plugin: concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")).into(),
        libtorch: env!("LIBTORCH_VERSION").into(),
        gstreamer: gst::version_string().into(),
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

struct Model {
    dataset: String,
    name: String,
    sha256: String,
    labels: Vec<String>,
    window: usize,
    step: usize,
    attacker: Attacker,
    judge: Attacker,
}

impl Model {
    fn load(path: &std::path::Path, dataset: &str) -> anyhow::Result<Self> {
        let (metadata, _) = archive::read_metadata(path)?;
        ensure!(
            !metadata.labels.is_empty(),
            "expected label names in the metadata of {}, found none: without them its answers cannot be compared with class folders",
            path.display()
        );
        let name = path.file_stem().context("a file has a name")?;
        Ok(Self {
            dataset: dataset.to_string(),
            name: name.to_string_lossy().into_owned(),
            sha256: format!("{:x}", Sha256::digest(std::fs::read(path)?)),
            labels: metadata.labels,
            window: metadata.window,
            step: metadata.frame_step,
            attacker: Attacker::new(path, "")?,
            judge: Attacker::new(path, "max-iterations=0")?,
        })
    }

    /// An error where earlier results by this name are another model's.
    fn is_the_known_one(&self, known: &Results) -> anyhow::Result<()> {
        let mut same_name = known.accuracy.iter().filter(|a| a.model == self.name);
        if same_name.any(|a| a.model_sha256 != self.sha256) {
            bail!(
                "expected the model {} that earlier results in {} are of, found another one of that name. Rename it, or use another --out",
                self.name,
                results::FILE
            );
        }
        Ok(())
    }

    /// The label of a window's frames.
    fn label(&self, frames: &Clip) -> anyhow::Result<String> {
        let (_, reports) = self.judge.attack(frames)?;
        let label = reports.first().and_then(|r| r["clean_label_name"].as_str());
        Ok(label.context("expected a label, found none")?.to_string())
    }

    /// The middle of a clip, one window long.
    fn middle(&self, path: &std::path::Path, format: &str) -> anyhow::Result<Clip> {
        let caps = match format {
            "" => String::new(),
            format => format!("videoconvert ! video/x-raw,format={format} !"),
        };
        let mut clip = decode::read(path, &caps)?;
        let span = (self.window - 1) * self.step + 1;
        let start = clip.frames.len().saturating_sub(span) / 2;
        let end = clip.frames.len().min(start + span);
        clip.frames = clip.frames[start..end].to_vec();
        Ok(clip)
    }

    /// Table 1, and the clips that are classified rightly, by class.
    fn classify(
        &self,
        arguments: &Arguments,
        folder: &str,
        set: &dataset::DataSet,
        known: &Results,
        log: &mut Log,
    ) -> anyhow::Result<BTreeMap<String, Vec<(String, PathBuf)>>> {
        let test: Vec<&dataset::Clip> = set
            .clips
            .iter()
            .filter(|c| c.held_out && self.takes_part(arguments, c, set))
            .collect();
        ensure!(
            !test.is_empty(),
            "expected test clips in {folder}, found none"
        );
        let bar = progress(
            test.len(),
            &format!("{} {}: accuracy", self.dataset, self.name),
        )?;
        let mut right: BTreeMap<String, Vec<(String, PathBuf)>> = BTreeMap::new();
        for clip in test {
            let class = &set.labels[clip.label];
            ensure!(
                self.labels.contains(class),
                "expected the class {class} of {} among the labels of {}: {}",
                self.dataset,
                self.name,
                self.labels.join(", ")
            );
            let below = clip
                .path
                .strip_prefix(folder)?
                .to_string_lossy()
                .into_owned();
            let earlier = known
                .accuracy
                .iter()
                .find(|a| a.dataset == self.dataset && a.model == self.name && a.clip == below);
            let label = match earlier {
                Some(earlier) => earlier.label.clone(),
                None => match self.middle(&clip.path, &arguments.format) {
                    Ok(frames) => {
                        let label = self.label(&frames)?;
                        log.add(&Line::Accuracy(Accuracy {
                            dataset: self.dataset.clone(),
                            model: self.name.clone(),
                            model_sha256: self.sha256.clone(),
                            clip: below.clone(),
                            class: class.clone(),
                            label: label.clone(),
                        }))?;
                        label
                    }
                    Err(error) => {
                        bar.suspend(|| eprintln!("skipped {below}: {error:#}"));
                        continue;
                    }
                },
            };
            if label == *class {
                right
                    .entry(class.clone())
                    .or_default()
                    .push((below, clip.path.clone()));
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        // One or more of each class, by chance.
        for clips in right.values_mut() {
            clips.shuffle(&mut StdRng::seed_from_u64(arguments.seed));
            clips.truncate(arguments.clips);
        }
        Ok(right)
    }

    fn takes_part(
        &self,
        arguments: &Arguments,
        clip: &dataset::Clip,
        set: &dataset::DataSet,
    ) -> bool {
        let name = clip.path.file_name().unwrap_or_default().to_string_lossy();
        let group = dataset::group_of(&name, &set.labels[clip.label]);
        arguments.only_groups.is_empty() || arguments.only_groups.contains(&group)
    }

    fn attack(
        &self,
        arguments: &Arguments,
        clips: &BTreeMap<String, Vec<(String, PathBuf)>>,
        known: &Results,
        log: &mut Log,
    ) -> anyhow::Result<()> {
        let mut systems = System::all();
        if arguments.only_variants {
            systems.retain(|s| {
                s.optimisation == systems::Optimisation::Paper
                    && [systems::Selection::Ours, systems::Selection::Sa].contains(&s.selection)
            });
        }
        systems.extend(arguments.variant.iter().map(|v| System::variant(v)));
        let done: HashSet<_> = known.attacks.iter().map(Attack::key).collect();
        let windows: usize = clips.values().map(Vec::len).sum();
        let total = windows * systems.len() * arguments.goals.len();
        let bar = progress(total, &format!("{} {}: attacks", self.dataset, self.name))?;
        for (class, clips) in clips {
            for (clip, path) in clips {
                let window = Window {
                    clip: clip.clone(),
                    class: class.clone(),
                    frames: self.middle(path, &arguments.format)?,
                };
                for goal in &arguments.goals {
                    let target = self.target(arguments, &window, *goal);
                    for system in &systems {
                        let key = (
                            self.dataset.as_str(),
                            self.name.as_str(),
                            *goal,
                            system,
                            clip.as_str(),
                        );
                        if !done.contains(&key) {
                            let line =
                                self.measure(arguments, &window, *goal, target.clone(), system)?;
                            log.add(&Line::Attack(Box::new(line)))?;
                        }
                        bar.inc(1);
                    }
                }
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Another label by chance, the same one for every system.
    fn target(&self, arguments: &Arguments, window: &Window, goal: Goal) -> Option<String> {
        if goal == Goal::Untargeted {
            return None;
        }
        let place = self.labels.iter().position(|l| *l == window.class)?;
        let mut rng = StdRng::seed_from_u64(arguments.seed ^ ((place as u64 + 1) << 32));
        let others: Vec<&String> = self.labels.iter().filter(|l| **l != window.class).collect();
        others.choose(&mut rng).map(|l| l.to_string())
    }

    fn measure(
        &self,
        arguments: &Arguments,
        window: &Window,
        goal: Goal,
        target: Option<String>,
        system: &System,
    ) -> anyhow::Result<Attack> {
        let iterations = arguments.iterations[usize::from(goal == Goal::Targeted)];
        self.attacker.configure(&format!(
            "{} {} max-iterations={iterations} seed={}",
            system.properties(),
            arguments.properties,
            arguments.seed
        ))?;
        // Labels may have spaces in their names.
        let (property, label) = match &target {
            None => ("label", &window.class),
            Some(target) => ("target-label", target),
        };
        self.attacker
            .element()
            .set_property_from_str(property, label);
        let began = Instant::now();
        let (pushed, reports) = self.attacker.attack(&window.frames)?;
        let seconds = began.elapsed().as_secs_f64();
        let report = reports.first().context("expected a report, found none")?;
        let label = self.label(&pushed)?;
        let number = |key: &str| report[key].as_u64().unwrap_or_default() as u32;
        let optional = |key: &str| report[key].as_u64().map(|n| n as u32);
        let real = |key: &str| report[key].as_f64().unwrap_or_default();
        Ok(Attack {
            dataset: self.dataset.clone(),
            model: self.name.clone(),
            goal,
            system: system.clone(),
            clip: window.clip.clone(),
            class: window.class.clone(),
            success: report["success"] == true,
            verified: match &target {
                Some(target) => label == *target,
                None => label != window.class,
            },
            target,
            queries: number("queries"),
            forwards: number("forwards"),
            backwards: number("backwards"),
            queries_first_success: optional("queries_first_success"),
            iterations_first_success: optional("iterations_first_success"),
            iterations: number("iterations"),
            perturbed_frames: number("perturbed_frames") as usize,
            sparse_rate: real("sparse_rate"),
            map: real("map"),
            map_keyframes: real("map_keyframes"),
            seconds,
        })
    }
}

fn progress(total: usize, what: &str) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}, {eta} left")?;
    Ok(ProgressBar::new(total as u64)
        .with_style(style)
        .with_message(what.to_string()))
}
