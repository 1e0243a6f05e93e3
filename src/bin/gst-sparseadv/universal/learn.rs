// SPDX-License-Identifier: MPL-2.0

//! `learn`: a universal perturbation from the clips of a data set, or an agent that picks keyframes.

mod agent;

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use gstsparseadv::dataset;
use gstsparseadv::element::model::find_label;
use gstsparseadv::files;
use gstsparseadv::model::{Metadata, Model, Options, Precision};
use gstsparseadv::provenance::Versions;
use gstsparseadv::universal::learn::{Aim, Config, Learner};
use gstsparseadv::universal::{FORMAT, Header, Kind, Universal};
use serde_json::json;

use super::clips::Clips;
use super::descent::{self, Plan};
use super::verdict::{judge, judge_behind};
use super::{codecs, spread};
use crate::interrupt;
use crate::out::{errln, outln};

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  gst-sparseadv learn /data/weizmann noise.safetensors --model c3d.pt --kind circular --bound 10\n\n\
    The element applies it to every frame, without a model and without latency: sparseadv perturbation=noise.safetensors"
)]
pub struct Arguments {
    /// Data set to learn from, in the layouts that convert takes
    data: PathBuf,
    /// File to write
    output: PathBuf,
    /// TorchScript classifier. It is a program and is run: use only files you trust
    #[arg(long)]
    model: PathBuf,
    /// What is learned: circular (as many frames as a window has), frame (one for all), border (a ring at the edge of what
    /// the model sees), flicker (a color a frame), region (a rectangle), or agent (no perturbation, but what picks keyframes
    /// for keyframes=agent:FILE: a TorchScript file, by labels alone)
    #[arg(long, default_value = "circular")]
    kind: Shape,
    /// Bound on what is added in gray levels; what a border or region shows has none
    #[arg(long, default_value_t = 10.0)]
    bound: f32,
    /// Weight of how strong it is in the loss; 0.5 for a flicker, otherwise 0
    #[arg(long)]
    thickness: Option<f64>,
    /// Weight of how much it changes from frame to frame in the loss; 0.5 for a flicker, otherwise 0
    #[arg(long)]
    roughness: Option<f64>,
    /// Width of a border in pixels of what the model sees
    #[arg(long, default_value_t = 3)]
    width: usize,
    /// Place of a region in pixels of what the model sees
    #[arg(long, value_name = "TOP,LEFT,HEIGHT,WIDTH", value_delimiter = ',')]
    region: Vec<usize>,
    /// Label by name or index that every window is to get
    #[arg(long, conflicts_with = "only_label")]
    target_label: Option<String>,
    /// Only windows of this label are to lose it; the others keep theirs
    #[arg(long)]
    only_label: Option<String>,
    /// Bins from raw video to raw video, with | between, that it is to outlive: half of the windows go through one of them
    #[arg(long, default_value = "")]
    survive: String,
    /// How far beyond the border between two labels a window is to go, in logits
    #[arg(long, default_value_t = 0.0)]
    margin: f32,
    /// How much more the windows of a step count that hold: 0 all the same, 1 by their odds
    #[arg(long, default_value_t = 0.0)]
    focus: f64,
    /// Steps of the descent
    #[arg(long, default_value_t = 120)]
    steps: u32,
    /// Windows a step
    #[arg(long, default_value_t = 6)]
    batch: usize,
    /// Held out clips that the result is judged on at the most, spread evenly over them all
    #[arg(long, default_value_t = 100)]
    held_out: usize,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Device to run the model on: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Precision of the passes that gradients come from: auto (bf16 where it is faster), f32 or bf16
    #[arg(long, default_value = "auto")]
    precision: Passes,
    #[command(flatten)]
    dataset: crate::dataset::Arguments,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Shape {
    Circular,
    Frame,
    Border,
    Flicker,
    Region,
    Agent,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Passes {
    Auto,
    F32,
    Bf16,
}

impl From<Passes> for Precision {
    fn from(passes: Passes) -> Self {
        match passes {
            Passes::Auto => Self::Auto,
            Passes::F32 => Self::F32,
            Passes::Bf16 => Self::Bf16,
        }
    }
}

impl Arguments {
    /// The kind of perturbation, if it is one that is learned.
    fn kind(&self) -> anyhow::Result<Option<Kind>> {
        Ok(Some(match (self.kind, &self.region[..]) {
            (Shape::Agent, _) => return Ok(None),
            (Shape::Region, &[top, left, height, width]) => Kind::Region { top, left, height, width },
            (Shape::Region, _) => {
                bail!(
                    "Expected --region TOP,LEFT,HEIGHT,WIDTH beside --kind region, found {} numbers.",
                    self.region.len()
                )
            }
            (Shape::Circular, _) => Kind::Circular,
            (Shape::Frame, _) => Kind::Frame,
            (Shape::Border, _) => Kind::Border(self.width),
            (Shape::Flicker, _) => Kind::Flicker,
        }))
    }

    /// Refuses numbers that mean nothing.
    fn check(&self) -> anyhow::Result<()> {
        ensure!((1.0..=127.0).contains(&self.bound), "Expected a bound of 1 to 127 gray levels, found {}.", self.bound);
        ensure!(self.steps > 0 && self.batch > 0, "Expected steps and a batch of at least one.");
        ensure!(self.margin.is_finite(), "Expected a finite margin, found {}.", self.margin);
        let finite = |number: Option<f64>| number.is_none_or(|number| number.is_finite() && number >= 0.0);
        ensure!(
            finite(self.thickness) && finite(self.roughness),
            "Expected a --thickness and a --roughness of at least 0, found {:?} and {:?}.",
            self.thickness.unwrap_or_default(),
            self.roughness.unwrap_or_default()
        );
        ensure!((0.0..=100.0).contains(&self.focus), "Expected a focus of 0 to 100, found {}.", self.focus);
        Ok(())
    }

    /// Refuses to write in the place of anything but what an earlier run has learned.
    fn check_output(&self, is_one: impl Fn(&Path) -> bool) -> anyhow::Result<()> {
        let path = self.output.as_path();
        files::check_outputs(&[("the output", path)], &[("the model", &self.model)]).map_err(anyhow::Error::msg)?;
        files::check_regular("the output", path).map_err(anyhow::Error::msg)?;
        ensure!(
            !path.exists() || is_one(path),
            "Expected no file there yet, or one that gst-sparseadv learn wrote, as the output, found another one: {}. Move it away, or name \
             another file.",
            path.display()
        );
        // What killed runs left.
        files::remove_parts(path);
        files::remove_parts(&self.state());
        Ok(())
    }

    fn config(&self, kind: Kind, aim: Aim) -> Config {
        let usual = Config::new(kind, aim, self.bound);
        Config {
            seed: self.seed,
            thickness: self.thickness.unwrap_or(usual.thickness),
            roughness: self.roughness.unwrap_or(usual.roughness),
            margin: self.margin,
            ..usual
        }
    }

    /// The file that says where learning stands.
    fn state(&self) -> PathBuf {
        let mut name = self.output.clone().into_os_string();
        name.push(".learning");
        name.into()
    }

    /// What the values depend on.
    fn settings(&self, header: &Header, clips: &Clips) -> String {
        let Self { region, bound, thickness, roughness, width, target_label, only_label, .. } = self;
        let Self { survive, margin, focus, steps, batch, seed, precision, .. } = self;
        json!({
            "model_sha256": header.model_sha256, "view": header.view, "clips": clips.digest(), "kind": format!("{:?}", self.kind), "region": region,
            "bound": bound, "thickness": thickness, "roughness": roughness, "width": width, "target_label": target_label, "only_label": only_label,
            "survive": survive, "margin": margin, "focus": focus, "steps": steps, "batch": batch, "seed": seed,
            "precision": format!("{precision:?}"),
        })
        .to_string()
    }

    fn aim(&self, metadata: &Metadata, classes: usize) -> anyhow::Result<Aim> {
        let find = |name: &str, text: &str| find_label(name, text, metadata, classes).map_err(anyhow::Error::msg);
        Ok(match (&self.target_label, &self.only_label) {
            (Some(text), _) => Aim::Target(find("target-label", text)?),
            (None, Some(text)) => Aim::Only(find("only-label", text)?),
            (None, None) => Aim::Untargeted,
        })
    }
}

/// Learns, and judges what was learned on the clips held out. Returns how many clips could not be read.
pub fn run(arguments: &Arguments) -> anyhow::Result<usize> {
    gst::init()?;
    gstsparseadv::plugin_register_static()?;
    interrupt::watch()?;
    arguments.check()?;
    let set = dataset::open(&arguments.data, &arguments.dataset.options())?;
    errln!("note: {}", set.sides);
    let model = Model::load(&Options {
        path: arguments.model.clone(),
        device: arguments.device.parse()?,
        precision: arguments.precision.into(),
        ..Options::default()
    })?;
    let metadata = model.metadata().clone();
    let Some(kind) = arguments.kind()? else { return agent::run(arguments, &set, &model) };
    let aim = arguments.aim(&metadata, model.classes())?;
    let mut header = Header {
        format: FORMAT,
        kind,
        view: metadata.clone(),
        model_sha256: model.sha256().to_string(),
        learned: serde_json::Map::new(),
    };
    header
        .check()
        .map_err(|found| anyhow::anyhow!("Expected a perturbation that fits the model, found that it {found}."))?;
    arguments.check_output(|path| Universal::load(path).is_ok())?;
    let side = |held_out: bool| set.clips.iter().filter(|clip| clip.held_out == held_out).collect::<Vec<_>>();
    let mut train = Clips::new(side(false), &metadata);
    let mut test = Clips::new(spread(&side(true), arguments.held_out), &metadata);
    ensure!(train.len() > 0, "Expected training clips, found none: {}.", set.sides);
    let config = arguments.config(kind, aim);
    let mut learner = Learner::new(config, metadata.window, metadata.crop)?;
    let state = arguments.state();
    let settings = arguments.settings(&header, &train);
    let taken = learner.resume(&state, &settings)?;
    if taken > 0 {
        errln!("note: goes on after step {taken}, where {} stands", state.display());
    }
    // A place that cannot be written is told of before the work.
    learner.suspend(&state, &settings, taken)?;
    let together = arguments.batch.min(model.windows_a_pass()).max(1);
    let mut models: Vec<Model> = (0..together).map(|_| model.share()).collect();
    let bins: Vec<&str> = codecs(&arguments.survive).collect();
    let Arguments { focus, steps, batch, seed, .. } = *arguments;
    let changed = match aim {
        Aim::Only(of) => train.of_class(&metadata.label_name(of), &set.labels),
        Aim::Untargeted | Aim::Target(_) => Vec::new(),
    };
    let plan = Plan { changed, focus, steps, batch, seed, bins, header: &header, state, settings };
    descent::learn(&plan, &mut learner, &mut models, &mut train, taken)?;
    let state = plan.state;
    let universal = learner.finish(header.clone())?;
    let verdict = judge(&mut models, &universal, &mut test, aim, None)?;
    let behind = judge_behind(&mut models, &universal, &mut test, aim, codecs(&arguments.survive))?;
    header.learned.insert("bound".into(), json!(if kind.replaces() { 255.0 } else { arguments.bound }));
    header.learned.insert("aim".into(), json!(aim));
    header.learned.insert("data".into(), json!(arguments.data.file_name().map(|name| name.to_string_lossy())));
    header.learned.insert("sides".into(), json!(set.sides));
    header.learned.insert("training_clips".into(), json!(train.len()));
    header.learned.insert("held_out".into(), serde_json::to_value(&verdict)?);
    header.learned.insert("survive".into(), json!(arguments.survive));
    header.learned.insert("held_out_behind".into(), serde_json::to_value(&behind)?);
    header.learned.insert("margin".into(), json!(arguments.margin));
    header.learned.insert("focus".into(), json!(focus));
    header.learned.insert("steps".into(), json!(arguments.steps));
    header.learned.insert("batch".into(), json!(arguments.batch));
    header.learned.insert("seed".into(), json!(arguments.seed));
    header.learned.insert("bf16".into(), json!(model.reduces()));
    header.learned.insert("versions".into(), serde_json::to_value(Versions::here())?);
    Universal { header, ..universal }.save(&arguments.output)?;
    let _ = std::fs::remove_file(&state);
    outln!("{verdict}");
    behind.iter().for_each(|(bin, verdict)| outln!("behind {bin}:\n{verdict}"));
    Ok(train.skipped() + test.skipped())
}
