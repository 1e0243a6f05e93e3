// SPDX-License-Identifier: MPL-2.0

//! The measurements: which clips a model classifies rightly, and what each system makes of them.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use gst::prelude::*;
use gstsparseadv::dataset;
use gstsparseadv::model::{Metadata, archive};
use gstsparseadv::tally::Labels;
use gstsparseadv::window::Windowing;
use indicatif::{ProgressBar, ProgressStyle};
use rand::seq::{IndexedRandom, SliceRandom};
use tempfile::TempDir;

mod aids;

use super::Arguments;
use super::limit::Limit;
use super::metrics::seeded;
use super::results::{self, Accuracy, Attack, Judged, Line, Log, Results};
use super::rivals::Has;
use super::systems::{Goal, System, asked_for};
use crate::decode::{self, Clip};
use crate::element::Attacker;
use crate::provenance::sha256;

/// A test clip's middle window.
struct Window {
    /// Path below the data set's folder.
    clip: String,
    class: String,
    frames: Clip,
}

/// What a model makes of the test clips.
#[derive(Default)]
pub struct Classified {
    /// The clips that it classifies rightly, by class.
    pub right: BTreeMap<String, Vec<(String, PathBuf)>>,
    /// How many could not be read.
    pub skipped: usize,
}

/// A model on a data set.
pub struct Model {
    dataset: String,
    name: String,
    sha256: String,
    metadata: Metadata,
    attacker: Attacker,
    judge: Attacker,
}

impl Model {
    pub fn load(path: &Path, dataset: &str) -> anyhow::Result<Self> {
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
            sha256: sha256(path)?,
            metadata,
            attacker: Attacker::new(path, "")?,
            judge: Attacker::new(path, "max-iterations=0")?,
        })
    }

    /// An error where earlier results by this name are another model's.
    pub fn is_the_known_one(&self, known: &Results) -> anyhow::Result<()> {
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
    fn label(&self, frames: &Clip) -> anyhow::Result<usize> {
        let (_, reports) = self.judge.attack(frames)?;
        reports.first().and_then(|r| r.clean_label).context("expected a label, found none")
    }

    /// The middle of a clip, one window long.
    fn middle(&self, path: &Path, format: &str) -> anyhow::Result<Clip> {
        let caps = match format {
            "" => String::new(),
            format => format!("videoconvert ! video/x-raw,format={format} !"),
        };
        let mut clip = decode::read(path, &caps)?;
        let span = Windowing::new(self.metadata.window, self.metadata.frame_step, None).span;
        let start = clip.frames.len().saturating_sub(span) / 2;
        let end = clip.frames.len().min(start + span);
        clip.frames = clip.frames[start..end].to_vec();
        Ok(clip)
    }

    /// Table 1, and the clips that are classified rightly, by class. Classes go by the model's names.
    pub fn classify(
        &self,
        arguments: &Arguments,
        set: &dataset::DataSet,
        known: &Results,
        log: &mut Log,
    ) -> anyhow::Result<Classified> {
        let test = self.test_clips(arguments, set)?;
        let what = format!("{} {}: accuracy", self.dataset, self.name);
        let bar = progress(test.len(), &what)?;
        let mut classified = Classified::default();
        for (clip, class) in test {
            let earlier = known
                .accuracy
                .iter()
                .find(|a| a.dataset == self.dataset && a.model == self.name && a.clip == clip.name);
            let accuracy = match earlier {
                Some(earlier) => Ok(earlier.clone()),
                None => self.accuracy(arguments, clip, class),
            };
            bar.inc(1);
            match accuracy {
                Ok(accuracy) => {
                    if accuracy.label == class {
                        let right = classified.right.entry(class.to_owned()).or_default();
                        right.push((clip.name.clone(), clip.path.clone()));
                    }
                    if earlier.is_none() {
                        log.add(&Line::Accuracy(accuracy))?;
                    }
                }
                Err(error) => {
                    bar.suspend(|| crate::out::errln!("skipped {}: {error:#}", clip.name));
                    classified.skipped += 1;
                }
            }
        }
        bar.finish_and_clear();
        // One or more of each class, by chance.
        for clips in classified.right.values_mut() {
            clips.shuffle(&mut seeded(arguments.seed));
            clips.truncate(arguments.clips);
        }
        Ok(classified)
    }

    fn accuracy(&self, arguments: &Arguments, clip: &dataset::Clip, class: &str) -> anyhow::Result<Accuracy> {
        let frames = self.middle(&clip.path, &arguments.format)?;
        Ok(Accuracy {
            dataset: self.dataset.clone(),
            model: self.name.clone(),
            model_sha256: self.sha256.clone(),
            clip: clip.name.clone(),
            class: class.to_owned(),
            label: self.metadata.label_name(self.label(&frames)?),
        })
    }

    /// The test clips that take part, with the model's name of their class. Classes that the model lacks are passed
    /// over, and named.
    fn test_clips<'a>(
        &'a self,
        arguments: &Arguments,
        set: &'a dataset::DataSet,
    ) -> anyhow::Result<Vec<(&'a dataset::Clip, &'a str)>> {
        let test: Vec<&dataset::Clip> =
            set.clips.iter().filter(|c| c.held_out && self.takes_part(arguments, c, set)).collect();
        ensure!(
            !test.is_empty(),
            "Expected test clips in {}, found none among {} clips: {}.",
            self.dataset,
            set.clips.len(),
            set.sides
        );
        let mut unknown: Vec<&str> = Vec::new();
        let mut taken = Vec::new();
        for clip in test {
            let class = set.labels[clip.label].as_str();
            match dataset::find_class(class, &self.metadata.labels) {
                Some(index) => taken.push((clip, self.metadata.labels[index].as_str())),
                None if unknown.contains(&class) => {}
                None => unknown.push(class),
            }
        }
        let (names, labels) = (unknown.join(", "), self.metadata.labels.join(", "));
        ensure!(
            !taken.is_empty(),
            "Expected classes of {} among the labels of {} ({labels}), found none of {names}. Use a model of this set, or name the class \
             folders as the model does.",
            self.dataset,
            self.name
        );
        if !unknown.is_empty() {
            crate::out::errln!(
                "note: {} has no label for the classes {names} of {}; their clips are passed over. Its labels are {labels}",
                self.name,
                self.dataset
            );
        }
        Ok(taken)
    }

    fn takes_part(&self, arguments: &Arguments, clip: &dataset::Clip, set: &dataset::DataSet) -> bool {
        let name = clip.name.rsplit('/').next().unwrap_or(&clip.name);
        let group = dataset::group_of(name, &set.labels[clip.label]);
        arguments.only_groups.is_empty() || arguments.only_groups.contains(&group)
    }

    pub fn attack(
        &self,
        arguments: &Arguments,
        set: &dataset::DataSet,
        judges: &[Self],
        clips: &BTreeMap<String, Vec<(String, PathBuf)>>,
        limit: &mut Limit,
        (known, log): (&Results, &mut Log),
    ) -> anyhow::Result<()> {
        limit.begin(Instant::now());
        let surrogate = self.surrogate(arguments)?;
        let has = Has { surrogate: surrogate.is_some(), agent: arguments.agent.is_some() };
        let systems = |goal: Goal| asked_for(arguments, goal, has);
        let done: HashSet<_> = known.attacks.iter().map(Attack::key).collect();
        let windows: usize = clips.values().map(Vec::len).sum();
        let total = windows * arguments.goals.iter().map(|goal| systems(*goal).len()).sum::<usize>();
        let bar = progress(total, &format!("{} {}: attacks", self.dataset, self.name))?;
        for (class, clips) in clips {
            for (clip, path) in clips {
                let window =
                    Window { clip: clip.clone(), class: class.clone(), frames: self.middle(path, &arguments.format)? };
                for goal in arguments.goals.iter().copied() {
                    let mut systems = systems(goal);
                    bar.inc(systems.len() as u64);
                    systems.retain(|system| {
                        let key = (self.dataset.as_str(), self.name.as_str(), goal, system, clip.as_str());
                        !done.contains(&key)
                    });
                    let began = Instant::now();
                    if !systems.is_empty() && limit.allows(began) {
                        bar.dec(systems.len() as u64);
                        self.attack_by(arguments, (set, judges), &window, (goal, &systems), surrogate, (log, &bar))?;
                        limit.took(began.elapsed());
                    }
                }
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Attacks a window by these systems.
    fn attack_by(
        &self,
        arguments: &Arguments,
        (set, judges): (&dataset::DataSet, &[Self]),
        window: &Window,
        (goal, systems): (Goal, &[System]),
        surrogate: Option<&Path>,
        (log, bar): (&mut Log, &ProgressBar),
    ) -> anyhow::Result<()> {
        let target = self.target(arguments, window, goal);
        let target = target.as_deref();
        let donors = self.donors(arguments, set, window, target)?;
        for system in systems {
            match system {
                System::BlackBox { rival } if rival.begins_with_clips(goal) && donors.is_none() => {
                    let of = target.unwrap_or("other classes");
                    bar.suspend(|| {
                        crate::out::errln!("passed over {} on {}: no training clip of {of}", rival.name(), window.clip);
                    });
                }
                _ => {
                    let aids = (donors.as_ref(), surrogate);
                    let (mut line, pushed) = self.measure(arguments, window, (goal, system), target, aids)?;
                    for judge in judges.iter().filter(|judge| judge.name != self.name) {
                        line.judged.insert(judge.name.clone(), judge.judge(window, target, &pushed)?);
                    }
                    log.add(&Line::Attack(Box::new(line)))?;
                }
            }
            bar.inc(1);
        }
        Ok(())
    }

    /// What this model says of a window that was attacked on another one. Each has names of its own for classes.
    fn judge(&self, window: &Window, target: Option<&str>, pushed: &Clip) -> anyhow::Result<Judged> {
        let (clean, last) = (self.label(&window.frames)?, self.label(pushed)?);
        let known = |class: &str| dataset::find_class(class, &self.metadata.labels);
        let truth = known(&window.class);
        Ok(Judged {
            clean: self.metadata.label_name(clean),
            label: self.metadata.label_name(last),
            right: Some(clean) == truth,
            fooled: match target {
                Some(target) => known(target) == Some(last),
                None => Some(last) != truth,
            },
        })
    }

    /// Another label by chance, the same one for every system.
    fn target(&self, arguments: &Arguments, window: &Window, goal: Goal) -> Option<String> {
        if goal == Goal::Untargeted {
            return None;
        }
        let place = self.metadata.labels.iter().position(|l| *l == window.class)?;
        let mut rng = seeded(arguments.seed ^ ((place as u64 + 1) << 32));
        let others: Vec<&String> = self.metadata.labels.iter().filter(|l| **l != window.class).collect();
        others.choose(&mut rng).map(|l| l.to_string())
    }

    fn measure(
        &self,
        arguments: &Arguments,
        window: &Window,
        (goal, system): (Goal, &System),
        target: Option<&str>,
        aids: (Option<&TempDir>, Option<&Path>),
    ) -> anyhow::Result<(Attack, Clip)> {
        let iterations = arguments.iterations[usize::from(goal == Goal::Targeted)];
        self.attacker.configure(&format!(
            "{} {} max-iterations={iterations} seed={}",
            arguments.properties,
            system.properties(),
            arguments.seed
        ))?;
        // Labels may have spaces in their names.
        let element = &self.attacker.element;
        element.set_property("label", &window.class);
        element.set_property("target-label", target);
        if let System::BlackBox { rival } = system {
            self.aid(arguments, *rival, aids)?;
        }
        let began = Instant::now();
        let (pushed, reports) = self.attacker.attack(&window.frames)?;
        let seconds = began.elapsed().as_secs_f64();
        let report = reports.first().context("expected a report, found none")?;
        let labels = Labels { last: Some(self.label(&pushed)?), ..report.labels() };
        let line = Attack {
            dataset: self.dataset.clone(),
            model: self.name.clone(),
            goal,
            system: system.clone(),
            clip: window.clip.clone(),
            class: window.class.clone(),
            success: report.success == Some(true),
            verified: labels.fooled() == Some(true),
            target: target.map(String::from),
            calls: report.calls,
            queries_first_success: report.queries_first_success,
            iterations_first_success: report.iterations_first_success,
            trail: report.trail.clone(),
            iterations: report.iterations,
            perturbed_frames: report.perturbed.perturbed_frames,
            sparse_rate: report.perturbed.sparse_rate,
            clean_label: report.clean_label_name.clone(),
            final_label: report.final_label_name.clone(),
            judged: BTreeMap::new(),
            size: report.size,
            seconds,
        };
        Ok((line, pushed))
    }
}

fn progress(total: usize, what: &str) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}, {eta} left")?;
    Ok(ProgressBar::new(total as u64).with_style(style).with_message(what.to_string()))
}
