// SPDX-License-Identifier: MPL-2.0

//! `attack`: one file through decoder, element, encoder and muxer, then what the model says of the file that came out.
//! Nothing is held but the windows under way, however long the file is; nothing has its name before all is done.

use std::path::PathBuf;

use anyhow::Context;
use gst::prelude::*;
use gstsparseadv::element::donors::DEPTH;
use gstsparseadv::files;
use gstsparseadv::model::{Model, Options, Precision, archive};
use gstsparseadv::window::Windowing;

mod after;
mod arguments;
mod lines;
mod outputs;
mod shown;

use crate::container;
use crate::element::{Attacker, report};
use crate::media::{self, Plan, Planner};
use crate::out::errln;
use crate::page::{self, Page};
use crate::picture;
use crate::print::{self, Row};
pub use arguments::Arguments;
use lines::Lines;
use outputs::{Outputs, PAGE, PICTURE, REPORT, VIDEO};
use shown::{Shown, Window};

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    crate::interrupt::watch()?;
    gst::init()?;
    gstsparseadv::plugin_register_static()?;
    let mut job = Job::prepare(arguments)?;
    let mut lines = Lines::new(job.plan.source.frames, arguments.form())?;
    for note in &job.plan.notes {
        lines.note(note);
    }
    let rows = job.attack(&mut lines)?;
    lines.finish();
    job.finish(rows, &lines)
}

/// A run of which everything is known to be possible that can be known.
struct Job<'a> {
    arguments: &'a Arguments,
    encoder: String,
    plan: Plan,
    attacker: Attacker,
    outputs: Outputs,
    windowing: Windowing,
    /// What the picture and the page show, if they are wanted.
    shown: Option<Shown>,
    /// For the page, which asks it while the attack goes on.
    model: Option<Model>,
    windows: Vec<(Window, Vec<Option<Vec<f32>>>)>,
    left_out: usize,
}

/// The files that properties name, to be read.
fn named(attacker: &Attacker) -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
    let mut files = Vec::new();
    for property in ["perturbation", "surrogate", "donors"] {
        let Some(path) = attacker.element.property::<Option<PathBuf>>(property) else { continue };
        match path.is_dir() {
            // Clips lie in it, and in folders of it.
            true => {
                let clips = files::within(&path, DEPTH).with_context(|| format!("{}", path.display()))?;
                files.extend(clips.into_iter().map(|clip| (property, clip)));
            }
            false => files.push((property, path)),
        }
    }
    let keyframes = attacker.element.property::<Option<String>>("keyframes");
    if let Some(agent) = keyframes.as_deref().and_then(|text| text.trim().strip_prefix("agent:")) {
        files.push(("keyframes", agent.into()));
    }
    Ok(files)
}

impl<'a> Job<'a> {
    fn prepare(arguments: &'a Arguments) -> anyhow::Result<Self> {
        let attacker = arguments.attacker()?;
        let report = arguments.report(&attacker)?;
        let sidecar = archive::sidecar_path(&arguments.model);
        let outputs = [
            (REPORT, report.as_deref()),
            (PICTURE, arguments.picture.as_deref()),
            (PAGE, arguments.page.as_deref()),
            (VIDEO, Some(arguments.output.as_path())),
        ];
        let named = named(&attacker)?;
        let mut inputs = vec![
            ("the input", arguments.input.as_path()),
            ("the model", &arguments.model),
            ("the model's metadata", &sidecar),
        ];
        inputs.extend(named.iter().map(|(property, file)| (*property, file.as_path())));
        let (encoder, muxer) =
            container::chosen(&arguments.output, arguments.encoder.as_deref(), arguments.muxer.as_deref())?;
        let outputs = Outputs::new(&outputs, &inputs)?;
        let mut planner = Planner::new(&encoder, &muxer)?;
        let named = || format!("{}", arguments.input.display());
        let source = media::look(&arguments.input).with_context(named)?;
        let plan = planner.plan(source).with_context(named)?;
        for codec in &arguments.codec {
            media::try_bin("--codec", codec, &plan.infos()?)?;
        }
        if let Some(part) = outputs.part(REPORT) {
            let part = part.to_str().context("Expected a report whose path is in UTF-8. Rename its folder.")?;
            attacker.element.set_property("report-location", part);
        }
        attacker.load()?;
        let mut job = Self {
            arguments,
            encoder,
            plan,
            attacker,
            outputs,
            windowing: Windowing::new(1, 1, None),
            shown: None,
            model: None,
            windows: Vec::new(),
            left_out: 0,
        };
        job.prepare_shown()?;
        Ok(job)
    }

    fn prepare_shown(&mut self) -> anyhow::Result<()> {
        let element = &self.attacker.element;
        let set = |name| Some(element.property::<u32>(name) as usize).filter(|n| *n > 0);
        let (mut metadata, _) = archive::read_metadata(&self.arguments.model)?;
        metadata.window = set("window-size").unwrap_or(metadata.window);
        metadata.frame_step = set("frame-step").unwrap_or(metadata.frame_step);
        self.windowing = Windowing::new(metadata.window, metadata.frame_step, set("stride"));
        if self.arguments.page.is_some() {
            self.model = Some(self.load()?);
        }
        if self.arguments.page.is_some() || self.arguments.picture.is_some() {
            self.shown = Some(Shown::new(
                &metadata,
                self.windowing,
                self.plan.source.frames,
                self.arguments.codec.len(),
                self.model.is_some(),
            ));
        }
        Ok(())
    }

    /// The model for what is to be classified besides.
    fn load(&self) -> anyhow::Result<Model> {
        let element = &self.attacker.element;
        let window: u32 = element.property("window-size");
        let device: Option<String> = element.property("device");
        let sha256: Option<String> = element.property("model-sha256");
        Ok(Model::load(&Options {
            path: self.arguments.model.clone(),
            device: device.unwrap_or_default().parse().unwrap_or_default(),
            window: Some(window as usize).filter(|n| *n > 0),
            precision: Precision::F32,
            sha256: sha256.map(|text| text.to_ascii_lowercase()),
        })?)
    }

    /// Runs the pipeline. Returns the windows.
    fn attack(&mut self, lines: &mut Lines) -> anyhow::Result<Vec<Row>> {
        let part = self.outputs.part(VIDEO).context("an output")?.to_path_buf();
        let (file, _written) = self.plan.sink(&part)?;
        let sink = match &self.shown {
            Some(shown) => {
                let codecs: Vec<&str> = self.arguments.codec.iter().map(String::as_str).collect();
                media::branches("--codec", Some(&file), &codecs, |n, pad| {
                    shown.watch(2 + n, pad);
                })?
            }
            None => file,
        };
        let pad = |name: &str| self.attacker.element.static_pad(name).context("a pad");
        let (into, out_of) = (pad("sink")?, pad("src")?);
        let mut probes = Vec::new();
        if let Some(shown) = &self.shown {
            probes = vec![(into.clone(), shown.watch(0, &into)), (out_of.clone(), shown.watch(1, &out_of))];
        }
        let shown = self.shown.clone();
        let at_once = shown.clone();
        let mut rows = Vec::new();
        let (model, windows) = (&mut self.model, &mut self.windows);
        let result = self.attacker.push(
            &self.plan,
            &sink,
            move |structure| {
                if let Some((shown, row)) = at_once.as_ref().zip(window(structure)) {
                    shown.row(row);
                }
            },
            |structure, frames| {
                lines.at(frames);
                let json = || structure.and_then(|structure| structure.get::<&str>("json").ok()).unwrap_or_default();
                if let Some(mut row) = structure.and_then(window) {
                    lines.row(&row, json());
                    // Only what the sums need is kept for all.
                    row.weights = Vec::new();
                    row.keyframes = Vec::new();
                    rows.push(row);
                }
                match &shown {
                    Some(shown) => answer(shown.ready()?, model, windows),
                    None => Ok(()),
                }
            },
        );
        for (pad, probe) in probes {
            if let Some(probe) = probe {
                pad.remove_probe(probe);
            }
        }
        let frames = result?;
        if let Some(shown) = &self.shown {
            let (last, left_out) = shown.end()?;
            answer(last, model, windows)?;
            self.left_out = left_out;
            for (n, codec) in self.arguments.codec.iter().enumerate() {
                let found = shown.frames(2 + n) as u64;
                if found != frames {
                    errln!(
                        "warning: --codec \"{codec}\" gave back {found} of {frames} frames; the page lacks what it lost"
                    );
                }
            }
        }
        Ok(rows)
    }

    /// Looks at what was written, sums up, and gives the files their names.
    fn finish(mut self, mut rows: Vec<Row>, lines: &Lines) -> anyhow::Result<()> {
        let part = self.outputs.part(VIDEO).context("an output")?.to_path_buf();
        if rows.is_empty() {
            media::verify(&part, &self.plan.sizes())?;
        } else {
            let mut model = match self.model.take() {
                Some(model) => model,
                None => self.load()?,
            };
            let windows = &mut self.windows;
            after::classify(&part, &self.plan.sizes(), &mut rows, &mut model, self.windowing, |row, logits| {
                let shown = windows.iter_mut().find(|(w, _)| w.row.window == row.window);
                if let Some((window, answers)) = shown {
                    window.row.after_codec.clone_from(&row.after_codec);
                    answers.insert(2.min(answers.len()), Some(logits.to_vec()));
                }
            })?;
            self.model = Some(model);
        }
        let summary = self.summary(&rows);
        self.draw(&summary, lines)?;
        lines.end(&summary, &rows, &self.outputs.publish()?);
        Ok(())
    }

    fn summary(&self, rows: &[Row]) -> String {
        let enabled: bool = self.attacker.element.property("enabled");
        match rows.is_empty() {
            true if !enabled => "Nothing was attacked: enabled=false.".into(),
            true => "Nothing was attacked: there was no window.".into(),
            false => print::summary(rows, &self.encoder),
        }
    }

    /// Writes the picture and the page.
    fn draw(&mut self, summary: &str, lines: &Lines) -> anyhow::Result<()> {
        for (window, _) in &mut self.windows {
            picture::entitle(&mut window.strip, &window.row);
        }
        if self.left_out > 0 {
            lines.note(&format!(
                "{} windows are shown, spread over the file; {} others are left out of --picture and --page",
                self.windows.len(),
                self.left_out
            ));
        }
        if let Some(path) = self.outputs.part(PICTURE) {
            let bytes = picture::png(self.windows.iter().map(|(window, _)| &window.strip))?;
            std::fs::write(path, bytes).context("--picture")?;
        }
        let Some(path) = self.outputs.part(PAGE) else {
            return Ok(());
        };
        let mut stages = vec!["clean".to_string(), "attacked".into(), self.encoder.clone()];
        stages.extend(self.arguments.codec.iter().cloned());
        let windows = self.windows.iter().map(|(window, answers)| {
            Ok(page::Window {
                row: &window.row,
                image: picture::png(std::iter::once(&window.strip))?,
                answers: answers.clone(),
            })
        });
        let windows = windows.collect::<anyhow::Result<Vec<_>>>()?;
        let model = self.model.as_ref();
        let label = |n: usize| model.map_or(n.to_string(), |m| m.metadata().label_name(n));
        let title = self.arguments.title();
        let page = Page {
            title: &title,
            summary,
            stages: &stages,
            windows: &windows,
            left_out: self.left_out,
            label_name: &label,
        };
        std::fs::write(path, page::html(&page)?).context("--page")
    }
}

/// Asks the model of windows that the page shows.
fn answer(
    ready: Vec<Window>,
    model: &mut Option<Model>,
    windows: &mut Vec<(Window, Vec<Option<Vec<f32>>>)>,
) -> anyhow::Result<()> {
    for mut window in ready {
        let mut answers = Vec::new();
        for view in std::mem::take(&mut window.views) {
            answers.push(match (model.as_mut(), view) {
                (Some(model), Some(view)) => Some(model.classify(&view)?),
                _ => None,
            });
        }
        windows.push((window, answers));
    }
    Ok(())
}

/// The result in an element message; nothing where the window was never classified.
fn window(structure: &gst::StructureRef) -> Option<Row> {
    Row::new(report(structure)?.ok()?)
}
