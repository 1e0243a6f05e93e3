// SPDX-License-Identifier: MPL-2.0

//! A model under evaluation: its clips go through the element once for each threat model, and once clean.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use gst::prelude::*;
use gst_video::VideoFormat;
use gstsparseadv::dataset;
use gstsparseadv::model::{Metadata, Model, Options, Precision, archive};
use gstsparseadv::window::Windowing;
use gstsparseadv::window::report::WindowReport;

use super::channels::{self, Channel};
use super::clips;
use super::judge::{Answer, Answers, Judges};
use super::preview::Recorder;
use super::results::{Clip, Line, Window};
use super::settings::Settings;
use super::threat::Threat;
use crate::element::{Attacker, report};
use crate::interrupt::Interrupted;
use crate::media::{self, Plan};

/// A threat model with its element, which keeps the model loaded.
struct Armed<'a> {
    threat: &'a Threat,
    attacker: Attacker,
}

pub struct Subject<'a> {
    pub name: String,
    metadata: Metadata,
    model: Model,
    windowing: Windowing,
    channels: &'a [Channel],
    format: Option<VideoFormat>,
    /// Lets frames pass as they are.
    clean: Attacker,
    armed: Vec<Armed<'a>>,
    /// Kinds of frames that the channels were tried with.
    tried: HashSet<String>,
}

/// A model goes by the name of its file.
pub fn name_of(path: &Path) -> anyhow::Result<String> {
    let name = path.file_stem().context("Expected a model's file, found no name.")?;
    Ok(name.to_string_lossy().into_owned())
}

impl<'a> Subject<'a> {
    /// Loads a model, and checks every threat model against it.
    pub fn load(
        path: &Path,
        settings: &Settings,
        threats: &'a [Threat],
        channels: &'a [Channel],
    ) -> anyhow::Result<Self> {
        let (metadata, _) = archive::read_metadata(path)?;
        ensure!(
            !metadata.labels.is_empty(),
            "Expected label names in the metadata of {}, found none: without them its answers cannot be compared with classes. Add them.",
            path.display()
        );
        let element = |properties: &str| {
            let attacker = Attacker::make(path, properties)?;
            attacker.element.set_property("device", settings.device.as_deref().unwrap_or("auto"));
            attacker.load()?;
            anyhow::Ok(attacker)
        };
        let clean = element(&line(settings, "enabled=false"))?;
        let set = |name| Some(clean.element.property::<u32>(name) as usize).filter(|n| *n > 0);
        let window = set("window-size").unwrap_or(metadata.window);
        let windowing = Windowing::new(window, set("frame-step").unwrap_or(metadata.frame_step), set("stride"));
        let armed = threats.iter().map(|threat| {
            let attacker = element(&line(settings, &threat.properties))
                .with_context(|| format!("threat model {} on {}", threat.name, path.display()))?;
            Ok(Armed { threat, attacker })
        });
        let armed = armed.collect::<anyhow::Result<_>>()?;
        let model = Model::load(&Options {
            path: path.to_path_buf(),
            device: settings.device.as_deref().unwrap_or("auto").parse()?,
            window: set("window-size"),
            precision: Precision::F32,
            sha256: None,
        })?;
        Ok(Self {
            name: name_of(path)?,
            metadata: Metadata { window, ..metadata },
            model,
            windowing,
            channels,
            format: settings.format()?,
            clean,
            armed,
            tried: HashSet::new(),
        })
    }

    /// Attacks a clip by the threat models that are not `done`. Each one's lines are given to `keep`, with the videos
    /// if they are to be recorded. An error is a reason to skip the clip, unless it is an interruption.
    pub fn evaluate(
        &mut self,
        set: &str,
        clip: &clips::Clip,
        done: impl Fn(&str) -> bool,
        record: bool,
        mut keep: impl FnMut(Vec<Line>, Option<Recorder>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Some(truth) = dataset::find_class(&clip.class, &self.metadata.labels) else {
            bail!(
                "Expected a class among the model's labels ({}), found {}. Name it as the model does.",
                self.metadata.labels.join(", "),
                clip.class
            );
        };
        let truth = self.metadata.labels[truth].clone();
        let plan = self.plan(clip)?;
        let frames = plan.source.frames as usize;
        let firsts: Vec<usize> = (0..)
            .map(|n| n * self.windowing.stride)
            .take_while(|first| first + self.windowing.span <= frames)
            .collect();
        ensure!(
            !firsts.is_empty(),
            "Expected at least the {} frames of a window, found {frames}.",
            self.windowing.span
        );
        let (clean, _) = self.pass(&self.clean, &plan, &firsts)?;
        for armed in &self.armed {
            let name = &armed.threat.name;
            if done(name) {
                continue;
            }
            let began = Instant::now();
            armed.attacker.element.set_property("label", &truth);
            let recorder = record.then(|| Recorder::new(&armed.attacker.element)).transpose()?;
            let (attacked, mut reports) = self.pass(&armed.attacker, &plan, &firsts)?;
            // A perturbation that was learned is judged in what is left at the end too.
            reports.retain(|report| report.frames == self.windowing.frames);
            reports.sort_by_key(|report| report.first_frame);
            let found: Vec<usize> = reports.iter().map(|report| report.first_frame as usize).collect();
            ensure!(
                found == firsts,
                "Expected windows that begin with the frames {firsts:?}, found {found:?} ({name}): the clip has gaps."
            );
            let windows = reports.into_iter().enumerate().map(|(n, report)| {
                let answers = |all: &Answers| by_channel(self.channels, &all[n]);
                let window = window(set, &self.name, name, clip, &truth, n, report);
                Line::Window(Box::new(Window { clean: answers(&clean), attacked: answers(&attacked), ..window }))
            });
            let mut lines: Vec<Line> = windows.collect();
            lines.push(Line::Clip(Clip {
                dataset: set.into(),
                model: self.name.clone(),
                threat: name.clone(),
                clip: clip.name.clone(),
                class: clip.class.clone(),
                windows: firsts.len(),
                frames,
                notes: plan.notes.clone(),
                seconds: began.elapsed().as_secs_f64(),
            }));
            keep(lines, recorder)?;
        }
        Ok(())
    }

    fn plan(&mut self, clip: &clips::Clip) -> anyhow::Result<Plan> {
        let plan = Plan::unencoded(media::look(&clip.path)?, self.format)?;
        let kinds = plan.infos()?;
        ensure!(kinds.len() == 1, "Expected frames of one size and format, found changes in mid-stream.");
        let kind = kinds[0].to_caps()?.to_string();
        if !self.tried.contains(&kind) {
            channels::check(self.channels, &kinds)?;
            self.tried.insert(kind);
        }
        Ok(plan)
    }

    /// Sends a clip through an element and all channels: what the model says of each window behind each, and what the element
    /// reports.
    fn pass(&self, attacker: &Attacker, plan: &Plan, firsts: &[usize]) -> anyhow::Result<(Answers, Vec<WindowReport>)> {
        let frames = plan.source.frames as usize;
        let judges = Judges::new(self.channels, &self.model, self.windowing, firsts, frames);
        let mut reports = Vec::new();
        let message = |structure: Option<&gst::StructureRef>, _| {
            reports.extend(structure.and_then(report).transpose()?);
            Ok(())
        };
        attacker.push(plan, &judges.sink()?, |_| {}, message)?;
        Ok((judges.answers(self.channels, firsts.len(), frames)?, reports))
    }
}

/// All properties of an element but its model, of which the last ones count.
pub fn line(settings: &Settings, properties: &str) -> String {
    let [front, behind] = settings.common();
    format!("{front} {properties} {behind}")
}

/// Whether a clip's error ends the whole run.
pub fn is_end(error: &anyhow::Error) -> bool {
    error.is::<Interrupted>()
}

fn by_channel(channels: &[Channel], answers: &[Option<Answer>]) -> BTreeMap<String, Answer> {
    let pairs = channels.iter().zip(answers);
    pairs.filter_map(|(channel, answer)| Some((channel.name.clone(), answer.clone()?))).collect()
}

/// What a report says of a window, without any channel's answers.
fn window(
    set: &str,
    model: &str,
    threat: &str,
    clip: &clips::Clip,
    truth: &str,
    number: usize,
    report: WindowReport,
) -> Window {
    Window {
        dataset: set.into(),
        model: model.into(),
        threat: threat.into(),
        clip: clip.name.clone(),
        class: clip.class.clone(),
        truth: truth.into(),
        target: None,
        window: number,
        first_frame: report.first_frame as usize,
        clean: BTreeMap::new(),
        attacked: BTreeMap::new(),
        success: report.success,
        calls: report.calls,
        queries_first_success: report.queries_first_success,
        iterations: report.iterations,
        keyframes: report.perturbed.keyframes,
        perturbed_frames: report.perturbed.perturbed_frames,
        weights: report.weights,
        size: report.size,
        out_of_queries: report.out_of_queries,
        zero_gradient: report.zero_gradient,
        seconds: report.seconds,
    }
}
