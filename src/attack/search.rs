// SPDX-License-Identifier: MPL-2.0

//! The attack's loop: one step, one look, until patience, iterations or time are over. The smallest success is the
//! result. What is judged in every iteration is the frame as the stream can hold it, rounded to its own 8-bit samples.

use std::time::{Duration, Instant};

use tch::Tensor;

use super::calls::Counted;
use super::criterion::{self, Criterion};
use super::norm;
use super::objective::two_stage::{Stage, TwoStage};
use super::objective::weighted_sum;
use super::optimizer::{self, Kind, Optimizer};
use super::outcome::{Best, Perturbation, Progress, Size};
use super::readings::{Look, Readings};
use super::select::{Keyframes, Selected, view_weights};
use super::support::{Support, WholeFrames};
use super::target::{Delta, Shape};
use super::{Config, Error, Objective};
use crate::torch;

/// A success must be this much smaller than the smallest to renew the patience: the last per cent is not worth its
/// queries.
const MIN_IMPROVEMENT: f64 = 0.99;

/// What a search is over, and when it has to end.
pub(super) struct Problem<'a, 'b> {
    pub target: &'a mut Counted<'b>,
    pub config: &'a Config,
    pub criterion: Criterion,
    pub clean_logits: &'a [f32],
    /// Perturbations that frames carry already.
    pub start: &'a Perturbation,
    pub deadline: Option<Instant>,
    pub canceled: &'a dyn Fn() -> bool,
}

#[derive(Default)]
pub(super) struct Found {
    pub best: Option<Best>,
    pub queries_first_success: Option<u32>,
    pub iterations_first_success: Option<u32>,
    pub iterations: u32,
    pub out_of_time: bool,
}

/// A success on the device.
struct Success {
    delta: Delta,
    /// What the model sees of it, of the same frames.
    observed: Tensor,
    logits: Vec<f32>,
    l21: f64,
}

/// The perturbation under way, and what is known of it.
struct Search<'a, 'b> {
    problem: Problem<'a, 'b>,
    shape: Shape,
    readings: Readings,
    support: WholeFrames,
    parameters: Tensor,
    delta: Delta,
    /// Perturbed minus clean view of the perturbed frames.
    observed: Tensor,
    /// The norm of each of them.
    norms: Vec<f64>,
    look: Look,
}

/// A step of the parameters.
struct Step {
    gradient: Tensor,
    /// The first frames, as many as these, stay where there are others: an earlier window stands on them.
    fixed: usize,
    learning_rate: f32,
    iteration: u32,
}

/// Counts of iterations since something happened.
#[derive(Default)]
struct Since {
    /// A success that was worth waiting for.
    better: u32,
    /// Any success.
    fooled: u32,
}

pub(super) fn search(
    problem: Problem,
    selected: Selected,
    keyframes: &mut Keyframes,
    progress: &mut dyn FnMut(Progress),
) -> Result<Found, Error> {
    *keyframes = selected.keyframes;
    let carried: Vec<usize> = problem.start.iter().map(|(frame, _)| *frame).collect();
    if !carried.is_empty() {
        keyframes.carry(&carried);
    }
    let mut found = Found::default();
    if keyframes.count == 0 {
        return Ok(found);
    }
    let config = problem.config;
    let mut search = Search::new(problem, keyframes.chosen(), selected.first_gradient)?;
    let mut optimizer = Optimizer::new(config.optimizer);
    let mut two_stage = TwoStage::default();
    let mut learning_rate = config.learning_rate;
    // In the order they were found, which is that of falling size. The first one is confirmed.
    let mut successes: Vec<Success> = Vec::new();
    let mut since = Since::default();
    let mut longest = Duration::ZERO;
    let mut began = Instant::now();
    loop {
        search.note_success(&mut successes, &mut since, &mut found, progress)?;
        let fooled = search.fooled();
        since.fooled = if fooled { 0 } else { since.fooled + 1 };
        longest = longest.max(began.elapsed());
        let patient = config.patience == 0 || since.better < config.patience;
        // Shrinking what an earlier window stands on could undo it.
        let kept = !carried.is_empty() && found.iterations == 0;
        let enough = config.stop_early || !patient || kept;
        if !successes.is_empty() && enough || found.iterations >= config.max_iterations {
            break;
        }
        began = Instant::now();
        // Not begun if it would not be finished in time, going by the slowest so far.
        if search.problem.deadline.is_some_and(|d| began + longest > d) {
            found.out_of_time = true;
            break;
        }
        if (search.problem.canceled)() {
            return Err(Error::Canceled);
        }
        let stalled = successes.is_empty() && config.grow_after > 0 && since.fooled > config.grow_after;
        if stalled && keyframes.has_more() {
            search.grow(keyframes)?;
            since.fooled = 1;
        }
        found.iterations += 1;
        let gradient = match (config.objective, two_stage.stage(fooled, &mut learning_rate, config.learning_rate_decay))
        {
            (Objective::WeightedSum, _) => {
                let class = search.class_gradient()?;
                weighted_sum::add_norm(&search.delta.values, &class)?
            }
            (Objective::TwoStage, Stage::Norm) => norm::l21_gradient(&search.delta.values)?,
            (Objective::TwoStage, Stage::Class) => search.class_gradient()?,
        };
        let step = Step { gradient, fixed: carried.len(), learning_rate, iteration: found.iterations };
        search.step(step, &mut optimizer)?;
    }
    found.best = search.settle(successes)?;
    Ok(found)
}

impl<'a, 'b> Search<'a, 'b> {
    fn new(problem: Problem<'a, 'b>, frames: &[usize], first_gradient: Option<Tensor>) -> Result<Self, Error> {
        let Problem { target, config, start, .. } = &problem;
        let (shape, device) = (target.shape(), target.device());
        let support = WholeFrames::new(frames);
        let initial = match config.objective {
            Objective::TwoStage => 0.0,
            Objective::WeightedSum => f64::from(weighted_sum::INITIAL),
        };
        let fresh = support.filled(start.len(), initial, shape, device)?;
        let held: Vec<f32> = start.iter().flat_map(|(_, delta)| delta.iter().copied()).collect();
        let parameters = if start.is_empty() {
            fresh
        } else {
            let size = [1, start.len(), 3, shape.height, shape.width].map(|n| n as i64);
            Tensor::f_cat(&[torch::upload(&held, &size, device)?, fresh], 1)?
        };
        let readings = Readings::of(target);
        let look_first = !start.is_empty() || readings.transports();
        // Of use only where the first step starts from the clean window as it is.
        let first_gradient = first_gradient.filter(|_| !look_first && config.objective == Objective::TwoStage);
        let look = Look { logits: problem.clean_logits.to_vec(), reading: 0, gradient: first_gradient };
        let delta = support.expand(&parameters)?;
        let observed = parameters.shallow_clone();
        let mut search = Self { problem, shape, readings, support, parameters, delta, observed, norms: vec![], look };
        search.observe()?;
        if look_first {
            // Their own logits, not the clean window's, say which stage is on.
            search.look()?;
        }
        Ok(search)
    }

    /// Brings what the model sees up to date with the parameters.
    fn observe(&mut self) -> Result<(), Error> {
        self.delta = self.support.expand(&self.parameters)?;
        self.observed = self.problem.target.observe(&self.delta)?;
        self.norms = norm::frame_norms(&self.observed)?;
        Ok(())
    }

    fn look(&mut self) -> Result<(), Error> {
        let Problem { target, config, criterion, .. } = &mut self.problem;
        let grad_logits = |logits: &[f32]| grad_logits(config, criterion, logits);
        self.look = self.readings.look(target, &self.delta, criterion, &grad_logits)?;
        Ok(())
    }

    fn fooled(&self) -> bool {
        self.readings.holds(&self.look, &self.problem.criterion)
    }

    /// Keeps a success that is smaller than those before. The first one is confirmed at once.
    fn note_success(
        &mut self,
        successes: &mut Vec<Success>,
        since: &mut Since,
        found: &mut Found,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Error> {
        since.better += 1;
        let l21 = self.norms.iter().sum();
        let record = successes.last().map_or(f64::INFINITY, |best| best.l21);
        if !self.fooled() || l21 >= record {
            return Ok(());
        }
        if l21 < record * MIN_IMPROVEMENT {
            since.better = 0;
        }
        let success = self.success(l21)?;
        if successes.is_empty() {
            if !self.confirm(&success)? {
                since.better = 1;
                return Ok(());
            }
            let calls = self.problem.target.calls();
            progress(Progress::Improved(&success.best(self.shape)?, calls));
            found.queries_first_success = Some(calls.queries);
            found.iterations_first_success = Some(found.iterations);
        }
        if self.readings.are_all_looked_at() {
            // Nothing can send the attack back to a larger one.
            successes.clear();
        }
        successes.push(success);
        Ok(())
    }

    fn success(&self, l21: f64) -> Result<Success, Error> {
        let logits = self.look.logits.clone();
        // What rounds to nothing leaves its frame clean.
        let seen: Vec<usize> = (0..self.norms.len()).filter(|i| self.norms[*i] > 0.0).collect();
        if seen.len() == self.norms.len() {
            let observed = self.observed.shallow_clone();
            return Ok(Success { delta: self.delta.clone(), observed, logits, l21 });
        }
        let index = torch::index(&seen, self.delta.values.device())?;
        let delta = Delta {
            frames: seen.iter().map(|i| self.delta.frames[*i]).collect(),
            values: self.delta.values.f_index_select(1, &index)?,
        };
        Ok(Success { delta, observed: self.observed.f_index_select(1, &index)?, logits, l21 })
    }

    /// Whether a success holds in all readings. Where it does not, the attack goes on by what the model said there.
    fn confirm(&mut self, success: &Success) -> Result<bool, Error> {
        let Problem { target, criterion, .. } = &mut self.problem;
        let look = self.readings.confirm(target, &success.delta, &success.logits, criterion)?;
        Ok(match look {
            Some(look) => {
                self.look = look;
                self.fooled()
            }
            None => true,
        })
    }

    /// Makes more frames keyframes. What was missing on the clean window may not be what is missing here, so that a
    /// selection by gradient weighs them anew. The gradient serves the next step too.
    fn grow(&mut self, keyframes: &mut Keyframes) -> Result<(), Error> {
        let config = self.problem.config;
        if config.selection.weighs_anew() {
            let all: Vec<usize> = (0..self.shape.frames).collect();
            let by_view = self.view_gradient(&all)?;
            keyframes.rank_rest(&view_weights(&by_view, self.shape)?);
            self.look.gradient = Some(by_view);
        }
        let held = self.support.frames().len();
        self.support.join(keyframes.grow(config.grow_by as usize));
        let fresh = self.support.filled(held, 0.0, self.shape, self.problem.target.device())?;
        self.parameters = Tensor::f_cat(&[&self.parameters, &fresh], 1)?;
        self.observe()
    }

    /// The class term's gradient at the last look, by the model's view of some frames of its window.
    fn view_gradient(&mut self, frames: &[usize]) -> Result<Tensor, Error> {
        let Problem { target, config, criterion, .. } = &mut self.problem;
        match &self.look.gradient {
            Some(all) if frames.iter().copied().eq(0..self.shape.frames) => Ok(all.shallow_clone()),
            Some(all) => Ok(all.f_index_select(1, &torch::index(frames, all.device())?)?),
            None => target.backward(&grad_logits(config, criterion, &self.look.logits), frames),
        }
    }

    /// The same by the perturbation.
    fn class_gradient(&mut self) -> Result<Tensor, Error> {
        let last = self.shape.real - 1;
        let mut shown: Vec<usize> = self.delta.frames.clone();
        let repeated = shown.iter().position(|k| *k == last).filter(|_| self.shape.frames > self.shape.real);
        let repeats = self.shape.shown(last).skip(1).filter(|_| repeated.is_some());
        shown.extend(repeats);
        let by_view = self.view_gradient(&shown)?;
        let part = |from: usize, to: usize| by_view.f_narrow(1, from as i64, (to - from) as i64);
        let frames = self.delta.frames.len();
        // The last frame is shown several times.
        let by_view = match repeated {
            None => by_view,
            Some(place) => {
                let mut sum = part(place, place + 1)?;
                for k in frames..shown.len() {
                    sum = sum.f_add(&part(k, k + 1)?)?;
                }
                Tensor::f_cat(&[part(0, place)?, sum, part(place + 1, frames)?], 1)?
            }
        };
        self.problem.target.pull(&self.delta, self.look.reading, &by_view)
    }

    /// Moves the parameters, and looks at what has become of the window.
    fn step(&mut self, step: Step, optimizer: &mut Optimizer) -> Result<(), Error> {
        let Step { gradient, fixed, learning_rate, iteration } = step;
        let config = self.problem.config;
        let mut gradient = self.support.pull(gradient)?;
        if fixed > 0 && self.support.frames().len() > fixed {
            let rest = gradient.f_narrow(1, fixed as i64, gradient.size()[1] - fixed as i64)?;
            let zeros = gradient.f_narrow(1, 0, fixed as i64)?.f_zeros_like()?;
            gradient = Tensor::f_cat(&[zeros, rest], 1)?;
        }
        let norms = norm::frame_norms(&gradient)?;
        // Not finite as soon as any value is not.
        if !norms.iter().all(|norm| norm.is_finite()) {
            return Err(Error::GradientNotFinite { iteration });
        }
        if config.optimizer == Kind::Adam && config.objective == Objective::TwoStage {
            gradient = optimizer::unit_rms(gradient, &norms)?;
        }
        let stepped = optimizer.descend(learning_rate, &self.parameters, &gradient)?;
        self.parameters = optimizer::clamp(stepped, config.epsilon)?;
        self.observe()?;
        self.look()
    }

    /// The smallest of the successes that holds in all readings. The first one is known to.
    fn settle(&mut self, mut successes: Vec<Success>) -> Result<Option<Best>, Error> {
        while successes.len() > 1 {
            let Some(success) = successes.pop() else { break };
            if self.readings.may_hold(&success.logits, &self.problem.criterion) && self.confirm(&success)? {
                return success.best(self.shape).map(Some);
            }
        }
        successes.pop().map(|success| success.best(self.shape)).transpose()
    }
}

impl Success {
    /// On the host.
    fn best(&self, shape: Shape) -> Result<Best, Error> {
        let len = shape.frame_len();
        let values = torch::download(&self.delta.values)?;
        let perturbation: Perturbation =
            self.delta.frames.iter().copied().zip(values.chunks_exact(len).map(<[f32]>::to_vec)).collect();
        let (observed, max_abs) = norm::sum_and_max_abs(&self.observed)?;
        let (float, _) = norm::sum_and_max_abs(&self.delta.values)?;
        let whole = (shape.real * len).max(1) as f64;
        let size = Size {
            map: observed / whole,
            map_float: float / whole,
            map_keyframes: observed / values.len().max(1) as f64,
            max_abs,
            l21: self.l21,
        };
        Ok(Best { perturbation, logits: self.logits.clone(), size })
    }
}

/// The gradient of what is descended while the window keeps its label, by its logits.
fn grad_logits(config: &Config, criterion: &Criterion, logits: &[f32]) -> Vec<f32> {
    let Criterion { goal, label, .. } = *criterion;
    match config.objective {
        Objective::TwoStage => criterion::grad_logits(logits, goal, label, config.loss),
        Objective::WeightedSum => weighted_sum::grad_logits(logits, goal, label),
    }
}
