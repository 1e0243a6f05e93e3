// SPDX-License-Identifier: MPL-2.0

//! The perturbation under way, and what is known of it: what every way to search moves and looks at.

use tch::Tensor;

use super::Problem;
use super::success::Success;
use crate::attack::criterion::Criterion;
use crate::attack::criterion::{self, Loss};
use crate::attack::norm;
use crate::attack::objective::weighted_sum;
use crate::attack::readings::{Look, Readings};
use crate::attack::select::{Keyframes, folded, view_weights};
use crate::attack::support::{Support, WholeFrames};
use crate::attack::target::{Delta, Shape, ViewGradient};
use crate::attack::{Config, Error, Search};
use crate::torch;

pub struct Trial<'a, 'b> {
    pub problem: Problem<'a, 'b>,
    pub shape: Shape,
    pub readings: Readings,
    pub support: WholeFrames,
    pub parameters: Tensor,
    pub delta: Delta,
    /// Perturbed minus clean view of the perturbed frames.
    observed: Tensor,
    /// The L2 norm of each of them.
    norms: Vec<f64>,
    pub look: Look,
    /// The class term whose gradient is taken.
    pub loss: Loss,
}

impl<'a, 'b> Trial<'a, 'b> {
    pub fn new(
        problem: Problem<'a, 'b>,
        frames: &[usize],
        first_gradient: Option<ViewGradient>,
    ) -> Result<Self, Error> {
        let Problem { target, config, start, .. } = &problem;
        let (shape, device) = (target.shape(), target.device());
        let support = WholeFrames::new(frames);
        let initial = match config.search {
            Search::WeightedSum => f64::from(weighted_sum::INITIAL),
            _ => 0.0,
        };
        let fresh = support.filled(start.len(), initial, shape, device)?;
        let held: Vec<f32> = start.iter().flat_map(|(_, delta)| delta.iter().copied()).collect();
        let parameters = if start.is_empty() {
            fresh
        } else {
            Tensor::f_cat(&[torch::upload(&held, &shape.of_frames(start.len()), device)?, fresh], 1)?
        };
        let readings = Readings::of(target);
        let look_first = !start.is_empty() || readings.transports();
        // Of use only where the first step starts from the clean window.
        let fresh = problem.start.is_empty() && config.search != Search::WeightedSum;
        let first_gradient = first_gradient.filter(|_| fresh);
        let clean = Look { logits: problem.clean_logits.to_vec(), reading: 0, gradient: None };
        let delta = support.expand(&parameters)?;
        let observed = parameters.shallow_clone();
        let loss = config.class_term();
        let walk = config.search == Search::Walk;
        let mut trial =
            Self { problem, shape, readings, support, parameters, delta, observed, norms: vec![], look: clean, loss };
        trial.observe()?;
        if look_first {
            // Their own logits, not the clean window's, say which stage is on.
            trial.look()?;
        }
        if !look_first {
            trial.look.gradient = first_gradient;
        } else if walk && trial.look.gradient.is_none() {
            // Behind a codec the clean window's is near enough for a walk, which learns by how much the first step was
            // wrong. What is missing of it could not be had from the pass just made.
            let all: Vec<usize> = (0..shape.frames).collect();
            trial.look.gradient = first_gradient.filter(|known| known.missing(&all).is_empty());
        }
        Ok(trial)
    }

    /// Takes these parameters, and looks at what has become of the window.
    pub fn set(&mut self, parameters: Tensor) -> Result<(), Error> {
        self.parameters = parameters;
        self.look_again()
    }

    /// Looks at the window anew: another perturbation was looked at.
    pub fn look_again(&mut self) -> Result<(), Error> {
        self.observe()?;
        self.look()
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
        let loss = self.loss;
        let grad_logits = |logits: &[f32]| grad_logits(config, criterion, loss, logits);
        let walk = config.search == Search::Walk;
        self.look = self.readings.look(target, &self.delta, criterion, walk, &grad_logits)?;
        if walk && self.readings.may_fail(&self.look, criterion) {
            // The gap is one of margins.
            self.loss = Loss::Margin;
            let frames = match self.problem.target.by_frames() {
                // A codec changes all frames.
                Some(_) if !self.readings.transports() => self.shown(),
                _ => (0..self.shape.frames).collect(),
            };
            let _ = self.view_gradient(&frames)?;
            if let Some(by_view) = &self.look.gradient {
                self.readings.expect(self.problem.target, &self.delta, by_view)?;
            }
        }
        Ok(())
    }

    /// Whether readings that confirm are asked about the first success at once. A deadline may make it the result.
    pub fn confirms_first(&self) -> bool {
        self.problem.config.search != Search::Walk || self.problem.deadline.is_some()
    }

    pub fn fooled(&self) -> bool {
        self.readings.holds(&self.look, &self.problem.criterion)
    }

    /// What the goal lacks where the trial stands; negative where it is reached.
    pub fn lack(&self) -> f32 {
        self.readings.lack(&self.look, &self.problem.criterion)
    }

    /// By how much the goal is reached in the reading that was looked at.
    pub fn margin(&self) -> f32 {
        self.problem.criterion.margin(&self.look.logits)
    }

    /// What the goal lacked at an earlier look, by what is known of the readings now.
    pub fn lack_by(&self, reading: usize, margin: f32) -> f32 {
        self.readings.lack_by(reading, margin, &self.problem.criterion)
    }

    /// The size of what the model sees, in the norm that the search makes small.
    pub fn size(&self) -> Result<f64, Error> {
        Ok(norm::size(self.problem.config.minimized_norm(), &self.observed, &self.norms)?)
    }

    /// The frames at the front of the perturbation that stay as they are: an earlier window stands on them. None where
    /// there are no others.
    pub fn fixed(&self) -> usize {
        let carried = self.problem.start.len();
        if self.support.frames().len() > carried { carried } else { 0 }
    }

    /// What is at hand, whose size is known.
    pub fn success(&self, size: f64, iteration: u32) -> Result<Success, Error> {
        let (logits, norms) = (self.look.logits.clone(), self.norms.clone());
        let queries = self.problem.target.calls().queries;
        // What rounds to nothing leaves its frame clean.
        let seen: Vec<usize> = (0..self.norms.len()).filter(|i| self.norms[*i] > 0.0).collect();
        let delta = if seen.len() == self.norms.len() {
            self.delta.clone()
        } else {
            let index = torch::index(&seen, self.delta.values.device())?;
            let frames = seen.iter().map(|i| self.delta.frames[*i]).collect();
            Delta { frames, values: self.delta.values.f_index_select(1, &index)? }
        };
        let observed = norm::sum_and_max_abs(&self.observed)?;
        Ok(Success {
            delta,
            observed,
            logits,
            size,
            norms,
            iteration,
            queries,
            known: self.readings.are_all_looked_at(),
        })
    }

    /// Whether there are queries left to confirm a success by.
    pub fn can_confirm(&self) -> bool {
        self.problem.target.left() >= self.readings.confirming()
    }

    /// Whether a success holds in all readings. Where it does not, the attack goes on by what the model said there.
    pub fn confirm(&mut self, success: &mut Success) -> Result<bool, Error> {
        let Problem { target, criterion, .. } = &mut self.problem;
        let look = self.readings.confirm(target, &success.delta, &mut success.logits, criterion)?;
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
    pub fn grow(&mut self, keyframes: &mut Keyframes) -> Result<(), Error> {
        let config = self.problem.config;
        if config.selection.weighs_anew() {
            keyframes.rank_rest(&self.weights()?);
        }
        let held = self.support.frames().len();
        self.support.join(keyframes.grow(config.grow_by as usize));
        let fresh = self.support.filled(held, 0.0, self.shape, self.problem.target.device())?;
        self.parameters = Tensor::f_cat(&[&self.parameters, &fresh], 1)?;
        self.observe()
    }

    /// How much each real frame weighs in the class term's gradient at the last look.
    fn weights(&mut self) -> Result<Vec<f64>, Error> {
        let all: Vec<usize> = (0..self.shape.frames).collect();
        let known = self.look.gradient.as_ref();
        let whole = known.is_some_and(|gradient| gradient.missing(&all).is_empty());
        if !whole && self.problem.target.by_frames().is_some() {
            let _ = self.view_gradient(&self.shown())?;
            if let Some(target) = self.problem.target.by_frames() {
                return Ok(folded(target.frame_weights()?, self.shape));
            }
        }
        Ok(view_weights(&self.view_gradient(&all)?, self.shape)?)
    }

    /// The frames of the model's window that show the perturbation: its own, and those that repeat the last of them.
    fn shown(&self) -> Vec<usize> {
        let last = self.shape.real - 1;
        let repeats = self.shape.shown(last).skip(1).filter(|_| self.delta.frames.contains(&last));
        self.delta.frames.iter().copied().chain(repeats).collect()
    }

    /// The class term's gradient at the last look, by the model's view of some frames of its window.
    fn view_gradient(&mut self, frames: &[usize]) -> Result<Tensor, Error> {
        let Problem { target, config, criterion, .. } = &mut self.problem;
        let known = match self.look.gradient.take() {
            Some(known) => known,
            None => {
                let grad_logits = grad_logits(config, criterion, self.loss, &self.look.logits);
                ViewGradient { frames: frames.to_vec(), values: target.backward(&grad_logits, frames)? }
            }
        };
        let missing = known.missing(frames);
        let (gradient, lasts) = match target.by_frames() {
            Some(target) if !missing.is_empty() => {
                let values = target.complete(&missing)?;
                (known.with(missing, &values)?, true)
            }
            by_frames => {
                // Another target would have to take it anew to know more of it.
                let lasts = by_frames.is_some() || known.frames.len() == self.shape.frames;
                (known, lasts)
            }
        };
        let part = gradient.of(frames)?;
        self.look.gradient = Some(gradient).filter(|_| lasts);
        Ok(part)
    }

    /// The same by the perturbation.
    pub fn class_gradient(&mut self) -> Result<Tensor, Error> {
        let last = self.shape.real - 1;
        let shown = self.shown();
        let repeated = shown.iter().position(|k| *k == last).filter(|_| self.shape.frames > self.shape.real);
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
}

/// The gradient of what is descended while the window keeps its label, by its logits.
fn grad_logits(config: &Config, criterion: &Criterion, loss: Loss, logits: &[f32]) -> Vec<f32> {
    let Criterion { goal, label, .. } = *criterion;
    match config.search {
        Search::WeightedSum => weighted_sum::grad_logits(logits, goal, label),
        _ => criterion::grad_logits(logits, goal, label, loss),
    }
}
