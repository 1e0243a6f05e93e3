// SPDX-License-Identifier: MPL-2.0

//! `learn`: a universal perturbation from the clips of a data set.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use gstsparseadv::attack::Query;
use gstsparseadv::attack::criterion::argmax;
use gstsparseadv::dataset;
use gstsparseadv::element::codec;
use gstsparseadv::element::model::find_label;
use gstsparseadv::element::survive::{Codecs, Survival};
use gstsparseadv::files;
use gstsparseadv::model::{Metadata, Model, Options};
use gstsparseadv::provenance::Versions;
use gstsparseadv::target::{Transport, WindowTarget};
use gstsparseadv::torch;
use gstsparseadv::universal::learn::{Aim, Config, Learner};
use gstsparseadv::universal::{FORMAT, Header, Kind, Universal};
use indicatif::{ProgressBar, ProgressStyle};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tch::Tensor;

mod clips;
mod judge;

use crate::interrupt;
use crate::out::{errln, outln};
use clips::Clips;

/// How often it is kept where learning stands.
const KEEP: Duration = Duration::from_secs(10);

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
    /// the model sees), flicker (a color a frame), or region (a rectangle)
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
}

impl Arguments {
    fn kind(&self) -> anyhow::Result<Kind> {
        Ok(match (self.kind, &self.region[..]) {
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
        })
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
        let Self { survive, steps, batch, seed, .. } = self;
        json!({
            "model_sha256": header.model_sha256, "view": header.view, "clips": clips.digest(), "kind": format!("{:?}", self.kind), "region": region,
            "bound": bound, "thickness": thickness, "roughness": roughness, "width": width, "target_label": target_label, "only_label": only_label,
            "survive": survive, "steps": steps, "batch": batch, "seed": seed,
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
    ensure!(
        (1.0..=127.0).contains(&arguments.bound),
        "Expected a bound of 1 to 127 gray levels, found {}.",
        arguments.bound
    );
    ensure!(arguments.steps > 0 && arguments.batch > 0, "Expected steps and a batch of at least one.");
    let set = dataset::open(&arguments.data, &arguments.dataset.options())?;
    errln!("note: {}", set.sides);
    let mut model = Model::load(&Options {
        path: arguments.model.clone(),
        device: arguments.device.parse()?,
        ..Options::default()
    })?;
    let metadata = model.metadata().clone();
    let kind = arguments.kind()?;
    let aim = arguments.aim(&metadata, model.classes())?;
    let mut header = Header {
        format: FORMAT,
        kind,
        view: metadata.clone(),
        model_sha256: model.sha256().to_string(),
        learned: serde_json::Map::new(),
    };
    header.check().map_err(anyhow::Error::msg)?;
    files::check_outputs(&[("the output", &arguments.output)], &[("the model", &arguments.model)])
        .map_err(anyhow::Error::msg)?;
    let side = |held_out: bool| set.clips.iter().filter(|clip| clip.held_out == held_out).collect::<Vec<_>>();
    let mut train = Clips::new(side(false), &metadata);
    let mut test = Clips::new(spread(&side(true), arguments.held_out), &metadata);
    ensure!(train.len() > 0, "Expected training clips, found none: {}.", set.sides);
    let usual = Config::new(kind, aim, arguments.bound);
    let config = Config {
        seed: arguments.seed,
        thickness: arguments.thickness.unwrap_or(usual.thickness),
        roughness: arguments.roughness.unwrap_or(usual.roughness),
        ..usual
    };
    let mut learner = Learner::new(config, metadata.window, metadata.crop)?;
    let state = arguments.state();
    let settings = arguments.settings(&header, &train);
    let taken = learner.resume(&state, &settings)?;
    if taken > 0 {
        errln!("note: goes on after step {taken}, where {} stands", state.display());
    }
    // A place that cannot be written is told of before the work.
    learner.suspend(&state, &settings, taken)?;
    learn(arguments, &mut learner, &mut model, &mut train, &header, taken)?;
    let universal = learner.finish(header.clone())?;
    let verdict = judge::judge(&mut model, &universal, &mut test, aim, None)?;
    let behind = codecs(&arguments.survive);
    let behind: Vec<(&str, judge::Verdict)> = behind
        .map(|bin| Ok((bin, judge::judge(&mut model, &universal, &mut test, aim, Some(bin))?)))
        .collect::<anyhow::Result<_>>()?;
    header.learned.insert("bound".into(), json!(if kind.replaces() { 255.0 } else { arguments.bound }));
    header.learned.insert("aim".into(), json!(format!("{aim:?}")));
    header.learned.insert("data".into(), json!(arguments.data.file_name().map(|name| name.to_string_lossy())));
    header.learned.insert("sides".into(), json!(set.sides));
    header.learned.insert("training_clips".into(), json!(train.len()));
    header.learned.insert("held_out".into(), serde_json::to_value(&verdict)?);
    header.learned.insert("survive".into(), json!(arguments.survive));
    header.learned.insert("held_out_behind".into(), serde_json::to_value(&behind)?);
    header.learned.insert("steps".into(), json!(arguments.steps));
    header.learned.insert("batch".into(), json!(arguments.batch));
    header.learned.insert("seed".into(), json!(arguments.seed));
    header.learned.insert("versions".into(), serde_json::to_value(Versions::here())?);
    Universal { header, ..universal }.save(&arguments.output)?;
    let _ = std::fs::remove_file(&state);
    outln!("{verdict}");
    behind.iter().for_each(|(bin, verdict)| outln!("behind {bin}:\n{verdict}"));
    Ok(train.skipped() + test.skipped())
}

fn learn(
    arguments: &Arguments,
    learner: &mut Learner,
    model: &mut Model,
    clips: &mut Clips,
    header: &Header,
    taken: u32,
) -> anyhow::Result<()> {
    let state = arguments.state();
    let settings = arguments.settings(header, clips);
    let mut kept = Instant::now();
    let mut made = Codecs::default();
    let bar = progress(u64::from(arguments.steps))?;
    bar.set_position(u64::from(taken));
    for step in taken..arguments.steps {
        if kept.elapsed() > KEEP {
            learner.suspend(&state, &settings, step)?;
            kept = Instant::now();
        }
        let batch = batch(arguments, learner, model, clips, header, step, &mut made);
        if batch.is_err() {
            // Whatever ended it, and wherever in the step.
            learner.suspend(&state, &settings, step)?;
        }
        let (sum, losses) = batch?;
        if let Some(sum) = sum {
            // Small steps at the end, where large ones only go round.
            let left = 1.0 - step as f32 / arguments.steps as f32;
            learner.step(&(sum / arguments.batch as f64), (3.0 * left).clamp(0.1, 1.0))?;
        }
        bar.set_message(format!("loss {:.3}", losses / arguments.batch as f64));
        bar.inc(1);
    }
    bar.finish_and_clear();
    // Judging takes a while, too.
    learner.suspend(&state, &settings, arguments.steps)?;
    Ok(())
}

/// The sum of the gradients of a step's windows, where any asks for something, and of their losses.
fn batch(
    arguments: &Arguments,
    learner: &Learner,
    model: &mut Model,
    clips: &mut Clips,
    header: &Header,
    step: u32,
    made: &mut Codecs,
) -> anyhow::Result<(Option<Tensor>, f64)> {
    interrupt::check()?;
    let bins: Vec<&str> = codecs(&arguments.survive).collect();
    // Each step draws its own, so that a run that goes on draws the same.
    let mut rng = ChaCha8Rng::seed_from_u64(arguments.seed);
    rng.set_stream(u64::from(step));
    // What frames before a window leave as, in a stream that goes through a codec.
    let now = if bins.is_empty() { None } else { Some(learner.finish(header.clone())?) };
    let mut sum = None;
    let (mut losses, mut asked) = (0.0, 0);
    while asked < arguments.batch {
        let place = rng.random_range(0..clips.len());
        let Some(clip) = clips.get(place)? else {
            ensure!(!clips.is_spent(), "Expected training clips of at least a window that can be read, found none.");
            continue;
        };
        let windowing = clip.windowing();
        let first = rng.random_range(0..=clip.frames.len() - windowing.span);
        let phase = rng.random_range(0..windowing.frames);
        let samples = clip.samples(first);
        let through = now.as_ref().filter(|_| rng.random_bool(0.5)).zip(bins.choose(&mut rng));
        asked += 1;
        let made = through.map(|(_, bin)| made.of(bin, &clip.stream)).transpose()?;
        let (context, buffers) = match through {
            Some((universal, _)) => (clip.before(first, phase, universal)?, clip.window(first, phase, universal)?),
            None => (Vec::new(), Vec::new()),
        };
        let offsets: Vec<usize> = windowing.offsets(windowing.span).collect();
        let survival = made.iter().flat_map(|codecs| codecs.iter()).map(|codec| Survival {
            stream: &clip.stream,
            codec,
            buffers: &buffers,
            offsets: &offsets,
            context: &context,
            canceled: &|| interrupt::check().is_err(),
        });
        let survival: Vec<Survival> = survival.collect();
        let mut target = WindowTarget::new(model, &clip.stream.view, &samples)?;
        let real: Vec<usize> = (0..samples.len()).collect();
        let label = argmax(&torch::download(&target.logits_of(&real)?)?);
        target.behind(survival.iter().map(|s| s as &dyn Transport), None);
        let Some((loss, gradient)) = learner.gradient(&mut target, label, phase)? else { continue };
        losses += loss;
        sum = Some(match sum {
            None => gradient,
            Some(sum) => gradient + sum,
        });
    }
    Ok((sum, losses))
}

/// So many at the most, as far apart as they can be.
fn spread<T: Copy>(all: &[T], most: usize) -> Vec<T> {
    let some = all.len().min(most);
    (0..some).map(|i| all[i * all.len() / some]).collect()
}

/// The bins of an argument.
fn codecs(survive: &str) -> impl Iterator<Item = &str> {
    codec::split(survive).filter(|bin| !bin.is_empty())
}

fn progress(steps: u64) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} [{elapsed_precise}, {eta} left]")?;
    Ok(ProgressBar::new(steps).with_style(style))
}
