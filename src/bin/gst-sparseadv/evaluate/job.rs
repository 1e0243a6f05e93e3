// SPDX-License-Identifier: MPL-2.0

//! An evaluation from its settings to its results.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use anyhow::{Context, ensure};
use gstsparseadv::files::write_whole;
use indicatif::{ProgressBar, ProgressStyle};

use super::channels::{self, Channel};
use super::clips::{self, Set};
use super::gallery::Gallery;
use super::gate::Gate;
use super::log::{self, Log};
use super::measure::{Subject, is_end, line, name_of};
use super::results::{self, Conditions, Line, ModelFile, Results, Run, Skipped, ThreatLine};
use super::settings::{self, Settings};
use super::summary::{Cell, Row};
use super::threat::{self, Threat};
use crate::convert::shard::{self, Shard};
use crate::out::errln;
use crate::provenance::{Versions, sha256};

/// A run of which everything is known to be possible that can be known.
pub struct Job<'a> {
    pub settings: Settings,
    pub gates: Vec<Gate>,
    sets: Vec<Set>,
    threats: Vec<Threat>,
    channels: Vec<Channel>,
    run: Run,
    out: &'a Path,
    shard: Shard,
}

impl<'a> Job<'a> {
    pub fn prepare(settings: Settings, out: &'a Path, shard: Shard) -> anyhow::Result<Self> {
        let gates: Vec<Gate> = settings.fail_if.iter().map(|text| text.parse()).collect::<anyhow::Result<_>>()?;
        let threats = threat::all(&settings)?;
        let channels = channels::all(&settings)?;
        ensure!(!settings.model.is_empty(), "Expected a model as --model FILE, found none. Name one.");
        let mut models = BTreeMap::new();
        for path in &settings.model {
            let file = ModelFile { file: path.display().to_string(), sha256: sha256(path)? };
            let name = name_of(path)?;
            ensure!(
                models.insert(name.clone(), file).is_none(),
                "Expected models of different names, found {name} twice. Rename one."
            );
        }
        let sets = clips::all(&settings)?;
        apart(&settings, out)?;
        // A scope that is about nothing would be found after all was measured.
        let rows = rows(&sets, models.keys(), &threats, &channels);
        gates.iter().try_for_each(|gate| gate.check(&rows).map(drop))?;
        let lines = threats.iter().map(|threat| {
            let line = ThreatLine {
                properties: line(&settings, &threat.properties).trim().to_string(),
                file_sha256: threat.file.as_deref().map(sha256).transpose()?,
                curve: threat.curve.clone(),
            };
            Ok((threat.name.clone(), line))
        });
        let run = Run {
            command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
            conditions: Conditions {
                results_format: results::FORMAT,
                seed: settings.seed(),
                raw_format: settings.format()?.map_or("native".into(), |format| format.to_str().to_string()),
                properties: settings.common(),
                channels: channels.clone(),
                versions: Versions::here(),
            },
            clips_sha256: clips::digest_of(&sets),
            models,
            threats: lines.collect::<anyhow::Result<_>>()?,
        };
        Ok(Self { settings, gates, sets, threats, channels, run, out, shard })
    }

    /// Files that are read, by the names that their users know them by.
    pub fn inputs(&self) -> Vec<(&str, &Path)> {
        let models = self.settings.model.iter().map(|path| ("a model", path.as_path()));
        let files = self.threats.iter().filter_map(|threat| Some(("a perturbation", threat.file.as_deref()?)));
        let clips = self.sets.iter().flat_map(|set| &set.clips).map(|clip| ("a clip", clip.path.as_path()));
        models.chain(files).chain(clips).collect()
    }

    /// Measures what is not known yet. Returns the results of the clips that are asked for.
    /// Of some the videos are kept, for a page with at most so many.
    pub fn measure(&self, page_clips: usize) -> anyhow::Result<Results> {
        let mut known = log::known(self.out, &self.run)?;
        let done: HashSet<[String; 4]> = known.clips.iter().map(|clip| results::owned(clip.unit())).collect();
        let is_done = |set: &str, model: &str, threat: &str, clip: &str| {
            done.contains(&results::owned((set, model, threat, clip)))
        };
        let mine: Vec<(&Set, Vec<clips::Clip>)> =
            self.sets.iter().map(|set| (set, shard::take(set.clips.clone(), self.shard))).collect();
        let open = |model: &str, (set, clips): &(&Set, Vec<clips::Clip>)| -> usize {
            let open = |clip: &clips::Clip| {
                self.threats.iter().filter(|t| !is_done(&set.name, model, &t.name, &clip.name)).count()
            };
            clips.iter().map(open).sum()
        };
        // Those that have nothing to do need not be loaded.
        let mut subjects = Vec::new();
        for path in &self.settings.model {
            let name = name_of(path)?;
            if mine.iter().any(|set| open(&name, set) > 0) {
                subjects.push(Subject::load(path, &self.settings, &self.threats, &self.channels)?);
            }
        }
        let units = subjects.iter().flat_map(|subject| mine.iter().map(|set| open(&subject.name, set)));
        let bar = bar(units.sum())?;
        let mut log = Log::open(self.out, self.shard)?;
        let mut gallery = Gallery::open(self.out, page_clips, &known);
        self.keep_settings()?;
        let mut added = vec![Line::Run(Box::new(self.run.clone()))];
        log.add(&added)?;
        for (set, clips) in &mine {
            self.skip_missing(set, &mut log, &mut added)?;
            for subject in &mut subjects {
                for clip in clips {
                    let model = subject.name.clone();
                    let is_done = |threat: &str| is_done(&set.name, &model, threat, &clip.name);
                    if self.threats.iter().any(|threat| !is_done(&threat.name)) {
                        self.attack(subject, set, clip, (&mut log, &mut added, &mut gallery, &bar), &is_done)?;
                    }
                }
            }
        }
        log.add(&[Line::End])?;
        bar.finish_and_clear();
        known.add(added);
        known.settle();
        self.keep_asked(&mut known);
        Ok(known)
    }

    /// Says and keeps what is evaluated.
    fn keep_settings(&self) -> anyhow::Result<()> {
        let path = self.out.join(settings::FILE);
        write_whole(&path, self.settings.to_toml()?.as_bytes())
            .with_context(|| format!("{} could not be written", path.display()))?;
        for (name, threat) in &self.run.threats {
            errln!("threat model {name}: sparseadv {}", threat.properties);
        }
        for set in &self.sets {
            set.notes.iter().for_each(|note| errln!("note: {}: {note}", set.name));
        }
        Ok(())
    }

    /// Attacks a clip, or notes why that cannot be.
    fn attack(
        &self,
        subject: &mut Subject,
        set: &Set,
        clip: &clips::Clip,
        (log, added, gallery, bar): (&mut Log, &mut Vec<Line>, &mut Gallery, &ProgressBar),
        is_done: &dyn Fn(&str) -> bool,
    ) -> anyhow::Result<()> {
        let model = subject.name.clone();
        let record = gallery.is_wanted();
        let result = subject.evaluate(&set.name, clip, is_done, record, |lines, recorder| {
            // Before its lines, for what has these is done.
            if let Some(recorder) = recorder {
                gallery.offer(&windows(&lines), &recorder);
            }
            log.add(&lines)?;
            bar.inc(1);
            // A log has no bar.
            if let Some(Line::Clip(done)) = lines.last().filter(|_| bar.is_hidden()) {
                let (at, of) = (bar.position(), bar.length().unwrap_or_default());
                errln!("{at}/{of} {} {} {}: {:.1} s", done.model, done.threat, done.clip, done.seconds);
            }
            added.extend(lines);
            Ok(())
        });
        let Err(error) = result else { return Ok(()) };
        if is_end(&error) {
            return Err(error);
        }
        let reason = format!("{error:#}");
        bar.suspend(|| errln!("skipped {}: {reason}", clip.name));
        let skipped = Line::Skipped(Skipped {
            dataset: set.name.clone(),
            model,
            clip: clip.name.clone(),
            class: clip.class.clone(),
            reason,
        });
        log.add(std::slice::from_ref(&skipped))?;
        added.push(skipped);
        Ok(())
    }

    fn skip_missing(&self, set: &Set, log: &mut Log, added: &mut Vec<Line>) -> anyhow::Result<()> {
        for lost in shard::take(set.missing.clone(), self.shard) {
            errln!("missing {}: {}", lost.clip, lost.reason);
            let skipped = |model: &String| {
                Line::Skipped(Skipped {
                    dataset: set.name.clone(),
                    model: model.clone(),
                    clip: lost.clip.clone(),
                    class: lost.class.clone(),
                    reason: lost.reason.clone(),
                })
            };
            let skipped: Vec<Line> = self.run.models.keys().map(skipped).collect();
            log.add(&skipped)?;
            added.extend(skipped);
        }
        Ok(())
    }

    /// Leaves out what an earlier run with other clips, models or threat models has found.
    fn keep_asked(&self, known: &mut Results) {
        let clips = self.sets.iter().flat_map(|set| {
            let clips = set.clips.iter().map(|clip| clip.name.as_str());
            let missing = set.missing.iter().map(|lost| lost.clip.as_str());
            clips.chain(missing).map(|clip| (set.name.as_str(), clip))
        });
        let clips: HashSet<(&str, &str)> = clips.collect();
        let is_asked = |dataset: &str, model: &str, clip: &str| {
            clips.contains(&(dataset, clip)) && self.run.models.contains_key(model)
        };
        let threats = &self.run.threats;
        known.windows.retain(|w| is_asked(&w.dataset, &w.model, &w.clip) && threats.contains_key(&w.threat));
        known.clips.retain(|c| is_asked(&c.dataset, &c.model, &c.clip) && threats.contains_key(&c.threat));
        known.skipped.retain(|s| is_asked(&s.dataset, &s.model, &s.clip));
        known.runs = vec![self.run.clone()];
    }
}

fn windows(lines: &[Line]) -> Vec<&results::Window> {
    let windows = lines.iter().filter_map(|line| match line {
        Line::Window(window) => Some(window.as_ref()),
        _ => None,
    });
    windows.collect()
}

/// What there will be rows of.
fn rows<'a>(
    sets: &[Set],
    models: impl Iterator<Item = &'a String> + Clone,
    threats: &[Threat],
    channels: &[Channel],
) -> Vec<Row> {
    let mut rows = Vec::new();
    for set in sets {
        let classes: BTreeSet<Option<&String>> = set.clips.iter().map(|clip| Some(&clip.class)).chain([None]).collect();
        for model in models.clone() {
            for (threat, channel) in threats.iter().flat_map(|threat| channels.iter().map(move |c| (threat, c))) {
                let cell = Cell {
                    dataset: set.name.clone(),
                    model: model.clone(),
                    threat: threat.name.clone(),
                    channel: channel.name.clone(),
                };
                rows.extend(classes.iter().map(|class| Row {
                    cell: cell.clone(),
                    class: class.cloned(),
                    ..Row::default()
                }));
            }
        }
    }
    rows
}

fn bar(units: usize) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} attacks on clips, {eta} left")?;
    Ok(ProgressBar::new(units as u64).with_style(style))
}

/// Results inside a data set would become part of it.
fn apart(settings: &Settings, out: &Path) -> anyhow::Result<()> {
    for data in &settings.data {
        let folder = Path::new(data.split_once('=').map_or(data.as_str(), |(_, folder)| folder));
        ensure!(
            !folder.is_dir() || !crate::reproduce::is_inside(out, folder)?,
            "Expected a folder outside the data set for --out, found {} inside {}. Name another.",
            out.display(),
            folder.display()
        );
    }
    Ok(())
}
