// SPDX-License-Identifier: MPL-2.0

//! `learn --kind agent`: what picks keyframes, by what short attacks on the frames that it has drawn come to.

use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use gstsparseadv::agent::trial::{attempt, reward};
use gstsparseadv::agent::{self, Config, Episode, Learner};
use gstsparseadv::attack::Donors;
use gstsparseadv::attack::criterion::argmax;
use gstsparseadv::attack::select::agent::{keyframes, shown};
use gstsparseadv::dataset::DataSet;
use gstsparseadv::model::{Model, together};
use gstsparseadv::provenance::Versions;
use gstsparseadv::target::WindowTarget;
use gstsparseadv::torch;
use gstsparseadv::video::view::Samples;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde_json::json;
use tch::{Device, Tensor};

use super::super::clips::{Clip, Clips};
use super::super::descent::{KEEP, progress};
use super::super::spread;
use super::Arguments;
use crate::interrupt;
use crate::out::{errln, outln};

/// Clips that are looked at for a donor of another label.
const TRIES: usize = 20;

/// A window, and another clip that it is changed towards.
struct Drawn {
    clip: Arc<Clip>,
    samples: Vec<Samples>,
    /// `[T, 3, height, width]` in gray levels.
    views: Vec<f32>,
    shape: [i64; 4],
    donor: Donors,
}

impl Drawn {
    /// What the agent sees.
    fn shown(&self, donor: bool) -> anyhow::Result<Tensor> {
        let donor = self.donor.windows().first().map(Vec::as_slice).filter(|_| donor);
        Ok(shown(&torch::upload(&self.views, &self.shape, Device::Cpu)?, donor)?)
    }
}

/// Sets of frames on held out windows.
#[derive(Default, Serialize)]
struct Worth {
    /// The mean reward, and the share of windows that are fooled.
    reward: f64,
    fooled: f64,
}

/// What an agent comes to on clips that it has not learned from.
#[derive(Default, Serialize)]
struct Verdict {
    windows: usize,
    /// Of a window, on average.
    keyframes: f64,
    agent: Worth,
    /// As many frames by chance, and all of them.
    random: Worth,
    all: Worth,
}

/// What windows are drawn from, and attacked with.
struct Ground<'a> {
    models: Vec<Model>,
    /// Windows are drawn from these, and donors for all.
    train: Clips<'a>,
}

impl Ground<'_> {
    /// The label of a window.
    fn label(&mut self, clip: &Clip, first: usize) -> anyhow::Result<usize> {
        let model = &mut self.models[0];
        clip.label(first, || {
            let view = clip.stream.view.observe_window(&clip.samples(first), model.metadata().window);
            Ok(argmax(&model.classify(&view)?))
        })
    }

    /// The window of a clip from this frame on, with a donor: the first window of a clip of another label, as the element
    /// takes them. Nothing where none is found.
    fn window(&mut self, clip: &Arc<Clip>, first: usize, rng: &mut impl Rng) -> anyhow::Result<Option<Drawn>> {
        let label = self.label(clip, first)?;
        for _ in 0..TRIES {
            let Some(other) = self.train.get(rng.random_range(0..self.train.len()))? else { continue };
            if self.label(&other, 0)? == label {
                continue;
            }
            let metadata = self.models[0].metadata();
            let window = metadata.window;
            let shape = [window, 3, metadata.crop[0], metadata.crop[1]].map(|n| n as i64);
            let donor = other.stream.view.observe_window(&other.samples(0), window);
            let samples = clip.samples(first);
            let views = clip.stream.view.observe_window(&samples, window);
            return Ok(Some(Drawn { clip: clip.clone(), samples, views, shape, donor: Donors::new(vec![donor]) }));
        }
        Ok(None)
    }

    /// What sets of a window's frames are worth: the reward, and whether it was fooled.
    fn try_out(&mut self, drawn: &Drawn, sets: &[Vec<bool>]) -> anyhow::Result<Vec<(f64, bool)>> {
        let mut worth = Vec::new();
        for some in sets.chunks(self.models.len()) {
            interrupt::check()?;
            let found = together(self.models.iter_mut(), some, |model, picked| {
                let mut target = WindowTarget::new(model, &drawn.clip.stream.view, &drawn.samples)?;
                target.answer_only();
                attempt(&mut target, picked, &drawn.donor, &|| interrupt::check().is_err())
            });
            for outcome in found {
                interrupt::check()?;
                let outcome = outcome?;
                worth.push((reward(outcome.as_ref()), outcome.is_some_and(|outcome| outcome.success)));
            }
        }
        Ok(worth)
    }
}

impl Arguments {
    /// Refuses what has no effect on an agent.
    fn check_agent(&self) -> anyhow::Result<()> {
        let unused = [
            ("--region", !self.region.is_empty()),
            ("--thickness", self.thickness.is_some()),
            ("--roughness", self.roughness.is_some()),
            ("--target-label", self.target_label.is_some()),
            ("--only-label", self.only_label.is_some()),
            ("--survive", !self.survive.is_empty()),
            ("--margin", self.margin != 0.0),
            ("--focus", self.focus != 0.0),
        ];
        let unused: Vec<&str> = unused.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
        let named = unused.join(" and ");
        ensure!(
            unused.is_empty(),
            "Expected none of a perturbation's options beside --kind agent, found {named}. Leave it out."
        );
        Ok(())
    }
}

/// Learns an agent, and judges it on the clips held out. Returns how many clips could not be read.
pub fn run(arguments: &Arguments, set: &DataSet, model: &Model) -> anyhow::Result<usize> {
    arguments.check_agent()?;
    arguments.check_output(agent::is_one)?;
    let metadata = model.metadata().clone();
    let side = |held_out: bool| set.clips.iter().filter(|clip| clip.held_out == held_out).collect::<Vec<_>>();
    let train = Clips::new(side(false), &metadata);
    let mut test = Clips::new(spread(&side(true), arguments.held_out), &metadata);
    ensure!(train.len() > 1, "Expected training clips of two labels at least, found {}: {}.", train.len(), set.sides);
    let config = Config { seed: arguments.seed, ..Config::default() };
    let mut learner = Learner::new(config, train.len())?;
    let state = arguments.state();
    let &Arguments { steps, batch, seed, .. } = arguments;
    let settings = json!({
        "kind": "agent", "model_sha256": model.sha256(), "view": metadata, "clips": train.digest(), "steps": steps, "batch": batch,
        "seed": seed, "draws": config.draws, "learning_rate": config.learning_rate,
    });
    let settings = settings.to_string();
    let taken = learner.resume(&state, &settings)?;
    if taken > 0 {
        errln!("note: goes on after step {taken}, where {} stands", state.display());
    }
    // A place that cannot be written is told of before the work.
    learner.suspend(&state, &settings, taken)?;
    let together = config.draws.min(model.windows_a_pass()).max(1);
    let models = (0..together).map(|_| model.share()).collect();
    let mut ground = Ground { models, train };
    let (mut kept, bar) = (Instant::now(), progress(u64::from(steps))?);
    bar.set_position(u64::from(taken));
    for step in taken..steps {
        if kept.elapsed() > KEEP {
            learner.suspend(&state, &settings, step)?;
            kept = Instant::now();
        }
        let found = take_step(&mut learner, &mut ground, (step, batch));
        if found.is_err() {
            // Whatever ended it, the step has changed nothing.
            learner.suspend(&state, &settings, step)?;
        }
        bar.set_message(format!("reward {:.3}", found?));
        bar.inc(1);
    }
    bar.finish_and_clear();
    // Judging takes a while, too.
    learner.suspend(&state, &settings, steps)?;
    let verdict = judge(&learner, &mut ground, &mut test, seed)?;
    let notes = json!({
        "format": 1, "window": metadata.window, "view": metadata, "model_sha256": model.sha256(),
        "data": arguments.data.file_name().map(|name| name.to_string_lossy()), "sides": set.sides, "training_clips": ground.train.len(),
        "held_out": verdict, "steps": steps, "batch": batch, "seed": seed, "draws": config.draws,
        "learning_rate": config.learning_rate, "versions": Versions::here(),
    });
    agent::save(&learner, metadata.window, metadata.crop, &notes.to_string(), &arguments.output)?;
    let _ = std::fs::remove_file(&state);
    let Verdict { windows, keyframes, agent, random, all } = verdict;
    outln!("{keyframes:.1} of {} frames are keyframes in {windows} held out windows", metadata.window);
    for (of, Worth { reward, fooled }) in [("the agent's", agent), ("as many by chance", random), ("all frames", all)] {
        outln!("{of}: reward {reward:.3}, fooled {:.1} %", 100.0 * fooled);
    }
    Ok(ground.train.skipped() + test.skipped())
}

/// A step of learning, by so many windows. Each step draws its own, so that a run that goes on draws the same. Returns the
/// mean reward.
fn take_step(learner: &mut Learner, ground: &mut Ground, (step, batch): (u32, usize)) -> anyhow::Result<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(learner.config.seed);
    rng.set_stream(u64::from(step));
    let (mut sum, mut done): (Option<Tensor>, Vec<(usize, Vec<Episode>)>) = (None, Vec::new());
    let mut tries = 0;
    while done.len() < batch {
        tries += 1;
        ensure!(
            tries <= TRIES * batch,
            "Expected training clips of at least a window that the model gives two labels or more, found none of a second one."
        );
        let place = rng.random_range(0..ground.train.len());
        let Some(clip) = ground.train.get(place)? else { continue };
        let first = rng.random_range(0..=clip.frames.len() - clip.windowing().span);
        let Some(drawn) = ground.window(&clip, first, &mut rng)? else { continue };
        // It has to do without a donor, too.
        let shown = drawn.shown(rng.random())?;
        let sets = learner.draw(&learner.probabilities(&shown)?, &mut rng);
        let worth = ground.try_out(&drawn, &sets)?;
        let episodes = sets.into_iter().zip(worth).map(|(picked, (reward, _))| Episode { picked, reward });
        let episodes: Vec<Episode> = episodes.collect();
        let gradient = learner.gradient(&shown, place, &episodes)?.f_div_scalar(batch as f64)?;
        sum = Some(match sum {
            Some(sum) => sum.f_add(&gradient)?,
            None => gradient,
        });
        done.push((place, episodes));
    }
    if let Some(sum) = sum {
        learner.step(&sum)?;
    }
    done.iter().for_each(|(place, episodes)| learner.expect(*place, episodes));
    let rewards: Vec<f64> = done.iter().flat_map(|(_, episodes)| episodes).map(|episode| episode.reward).collect();
    Ok(rewards.iter().sum::<f64>() / rewards.len().max(1) as f64)
}

/// The middle window of each clip, with a donor that the agent sees.
fn judge(learner: &Learner, ground: &mut Ground, test: &mut Clips, seed: u64) -> anyhow::Result<Verdict> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(u64::MAX);
    let mut verdict = Verdict::default();
    for place in 0..test.len() {
        let Some(clip) = test.get(place)? else { continue };
        let first = (clip.frames.len() - clip.windowing().span) / 2;
        let Some(drawn) = ground.window(&clip, first, &mut rng)? else { continue };
        let chosen = keyframes(&learner.probabilities(&drawn.shown(true)?)?);
        let frames = chosen.order.len();
        let set = |some: &[usize]| (0..frames).map(|k| some.contains(&k)).collect::<Vec<bool>>();
        let mut chance: Vec<usize> = (0..frames).collect();
        chance.shuffle(&mut rng);
        let sets = [set(chosen.chosen()), set(&chance[..chosen.count]), vec![true; frames]];
        let worth = ground.try_out(&drawn, &sets)?;
        verdict.windows += 1;
        verdict.keyframes += chosen.count as f64;
        let Verdict { agent, random, all, .. } = &mut verdict;
        for (of, (reward, fooled)) in [agent, random, all].into_iter().zip(worth) {
            of.reward += reward;
            of.fooled += f64::from(u8::from(fooled));
        }
    }
    let windows = verdict.windows.max(1) as f64;
    verdict.keyframes /= windows;
    for of in [&mut verdict.agent, &mut verdict.random, &mut verdict.all] {
        of.reward /= windows;
        of.fooled /= windows;
    }
    Ok(verdict)
}
