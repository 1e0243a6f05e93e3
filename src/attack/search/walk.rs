// SPDX-License-Identifier: MPL-2.0

//! A walk along the decision boundary to the smallest perturbation, in a handful of calls: as DeepFool (Moosavi-Dezfooli
//! et al., CVPR 2016), FAB (Croce and Hein, ICML 2020) and boundary projection (Zhang et al., IEEE TIFS 2021) do.
//!
//! At the perturbation at hand, `lack` is what the goal's margin is short of and `g` its gradient. Where the model is
//! linear, a perturbation `d` lacks `lack + <g, d - at hand>`. The smallest one that lacks nothing is known in each norm
//! ([`boundary`](super::boundary)).
//!
//! Until the first success each step is the smallest one from where the walk stands. From then on the smallest
//! perturbation is sought as seen from the clean window. The next one lies between that and the one at hand, so that the
//! gradient of either side of the boundary has a say in it. Where a success is lost, the way back to the last one says
//! where the boundary is, and the linear model is trusted less. By what that was wrong, the next step aims further.
//!
//! A hard target may be out of reach for it. After fifteen iterations without a success the two-stage search takes over.

use tch::{TchError, Tensor};

use super::boundary::{mean, nearest};
use super::descent::Descent;
use super::success::Success;
use super::{Step, trial::Trial};
use crate::attack::criterion::Loss;
use crate::attack::norm::{Norm, dot};
use crate::attack::support::Support;
use crate::attack::{Config, Error, Search, optimizer};

/// The largest step before the first success, in gray levels by root mean square. The gradient of a model that is sure
/// of itself says next to nothing of how far the boundary is. Behind a codec, which takes its part of a step, it is more.
const RADIUS: f64 = 3.0;
const RADIUS_BEHIND: f64 = 4.0;
/// The share in the next perturbation of the one that is sought: at the most, and at the least.
const MIX: f64 = 0.6;
const LEAST_MIX: f64 = 0.1;
/// What that share is multiplied by where a success is lost, and where one is found.
const DISTRUST: f64 = 0.5;
const TRUST: f64 = 1.5;
/// What a success is to lead by beyond its margin, by the lead of the clean window.
const LEAD: f64 = 0.03;
/// How far the linear model is taken to be wrong at first and at the most, by the lead of the clean window; and the share of
/// what it was wrong by at the last step that counts.
const FIRST_BIAS: f64 = 0.1;
const FIRST_BIAS_BEHIND: f64 = 0.3;
const LARGEST_BIAS: f64 = 0.5;
const LEARNING: f64 = 0.5;
/// How much nearer to the clean window a step may go than where the straight way there crosses the boundary. By L1 a
/// perturbation that gathers in fewer values is smaller without being nearer to the boundary.
const RETREAT: f64 = 0.8;
const RETREAT_L1: f64 = 0.6;
/// Bounds on the share of the last success in a step back to it.
const RETURN: (f64, f64) = (0.1, 0.9);
/// Losses in a row after which the gradient has no say in the way back, at least half of which is gone: on a plateau, and
/// where bfloat16 tells no small margins apart, it leads on where nothing is.
const ASTRAY: u32 = 3;

/// Iterations without a success after which the linear model is no guide. From then on the two-stage search goes on from
/// the clean window: its steps are of one size wherever the boundary is.
const LOST: u32 = 15;
/// How many times the walk's patience that search has.
const ENDURANCE: u32 = 4;
/// The size of a perturbation that the patience set is for, in gray levels: the largest value for `linf`, the mean
/// absolute one for the others. A larger one is worth more iterations, by the root of how much larger it is, since what
/// they save is seen.
const fn usual(norm: Norm) -> f64 {
    match norm {
        Norm::L21 | Norm::L2 => 0.1,
        Norm::L1 => 0.04,
        Norm::Linf => 4.0,
    }
}
/// How many times that is usual for a target, and behind a codec.
const USUAL_OF_TARGET: f64 = 3.0;
const USUAL_BEHIND: f64 = 5.0;
/// Bounds on that root.
const EFFORT: (f64, f64) = (0.67, 4.0);

#[derive(Default)]
pub struct Walk {
    state: Option<State>,
    /// Iterations since the last success.
    without: u32,
    descent: Option<Descent>,
}

struct State {
    /// The lead of the clean window, which leads are shares of.
    unit: f64,
    /// The largest step before the first success.
    radius: f64,
    /// By how much more than the linear model says the goal is missed.
    bias: f64,
    /// The share of the perturbation that is sought in the next one.
    mix: f64,
    /// What the goal's margin was to be here by the linear model.
    expected: f64,
    best: Option<LastSuccess>,
    /// Steps without a success since the last one.
    losses: u32,
}

/// Where the goal was last reached.
struct LastSuccess {
    values: Tensor,
    lack: f64,
    size: f64,
    margin: f32,
    reading: usize,
}

/// Where the walk stands, as far as it is free to move.
struct Here<'a> {
    lack: f64,
    gradient: &'a Tensor,
    values: &'a Tensor,
    /// `<gradient, values>`.
    linear: f64,
    /// By how much the goal is reached, and in which reading.
    margin: f32,
    reading: usize,
}

impl Step for Walk {
    const IMPROVEMENT: f64 = 0.95;
    const ROUNDS: u32 = 3;

    fn endurance(&self) -> u32 {
        if self.descent.is_some() { ENDURANCE } else { 1 }
    }

    fn effort(&self, trial: &Trial, best: &Success) -> f64 {
        if self.descent.is_some() {
            return 1.0;
        }
        let config = trial.problem.config;
        let norm = config.minimized_norm();
        let hardness = match (trial.readings.transports(), config.goal.is_targeted()) {
            (true, _) => USUAL_BEHIND,
            (false, true) => USUAL_OF_TARGET,
            (false, false) => 1.0,
        };
        let usual = usual(norm) * hardness;
        let size = if norm == Norm::Linf { best.observed.1 } else { best.map(trial.shape) };
        (size / usual).sqrt().clamp(EFFORT.0, EFFORT.1)
    }

    fn step(&mut self, trial: &mut Trial, iteration: u32) -> Result<Tensor, Error> {
        let config = trial.problem.config;
        if let Some(descent) = &mut self.descent {
            return descent.step(trial, iteration);
        }
        trial.loss = Loss::Margin;
        self.without = if trial.lack() < 0.0 { 0 } else { self.without + 1 };
        let fixed = trial.fixed() as i64;
        let free = |values: &Tensor| values.f_narrow(1, fixed, values.size()[1] - fixed);
        let whole = |parameters: &Tensor, next: Tensor| match fixed {
            0 => Ok(next),
            _ => Tensor::f_cat(&[parameters.f_narrow(1, 0, fixed)?, next], 1),
        };
        let values = free(&trial.parameters)?;
        if self.without > LOST {
            self.descent = Some(Descent::new(&Config::of(config.goal, Search::TwoStage)));
            return Ok(whole(&trial.parameters, values.f_zeros_like()?)?);
        }
        let gradient = trial.class_gradient()?;
        let gradient = free(&trial.support.pull(gradient)?)?;
        let linear = dot(&gradient, &values)?;
        if !linear.is_finite() {
            return Err(Error::GradientNotFinite { iteration });
        }
        let (lack, margin, reading) = (trial.lack().into(), trial.margin(), trial.look.reading);
        let here = Here { lack, gradient: &gradient, values: &values, linear, margin, reading };
        let clean = -f64::from(trial.problem.criterion.margin(trial.problem.clean_logits));
        let state = self.state.get_or_insert_with(|| State::new(&here, clean, trial.readings.transports()));
        state.recall(trial, &here, config.minimized_norm())?;
        state.learn(&here, config.minimized_norm())?;
        let next = match &state.best {
            None => state.onward(&here, config.epsilon)?,
            Some(best) => state.along(&here, best, config.minimized_norm(), config.epsilon.into())?,
        };
        state.expected = f64::from(margin) - (dot(&gradient, &next)? - linear);
        Ok(whole(&trial.parameters, next)?)
    }
}

impl State {
    fn new(here: &Here, clean: f64, behind: bool) -> Self {
        let unit = here.lack.max(clean).max(0.5);
        let (radius, bias) = if behind { (RADIUS_BEHIND, FIRST_BIAS_BEHIND) } else { (RADIUS, FIRST_BIAS) };
        let bias = bias * unit;
        Self { unit, radius, bias, mix: MIX, expected: f64::from(here.margin) + bias, best: None, losses: 0 }
    }

    /// The last success by what is known now: other readings may not have had it, and frames may have joined.
    fn recall(&mut self, trial: &Trial, here: &Here, norm: Norm) -> Result<(), TchError> {
        let Some(mut best) = self.best.take() else { return Ok(()) };
        best.lack = trial.lack_by(best.reading, best.margin).into();
        let (held, all) = (best.values.size()[1], here.values.size()[1]);
        if held < all {
            let joined = here.values.f_narrow(1, held, all - held)?.f_zeros_like()?;
            best.values = Tensor::f_cat(&[&best.values, &joined], 1)?;
            best.size = mean(norm, &best.values)?;
        }
        self.best = Some(best).filter(|best| best.lack < 0.0);
        Ok(())
    }

    /// Takes note of what has become of the last step.
    fn learn(&mut self, here: &Here, norm: Norm) -> Result<(), TchError> {
        let wrong = self.expected - f64::from(here.margin);
        self.bias = (self.bias + LEARNING * (wrong - self.bias)).clamp(0.0, LARGEST_BIAS * self.unit);
        self.losses = if here.lack < 0.0 { 0 } else { self.losses + 1 };
        if self.best.is_some() {
            let trust = if here.lack < 0.0 { TRUST } else { DISTRUST };
            self.mix = (self.mix * trust).clamp(LEAST_MIX, MIX);
        }
        if here.lack < 0.0 {
            let size = mean(norm, here.values)?;
            let Here { lack, margin, reading, .. } = *here;
            self.best = Some(LastSuccess { values: here.values.shallow_clone(), lack, size, margin, reading });
        }
        Ok(())
    }

    /// The smallest step to the boundary. It is sought in L2, whatever is to be small in the end: few values go as far as
    /// they can only where the boundary is near.
    fn onward(&self, here: &Here, epsilon: f32) -> Result<Tensor, TchError> {
        let effect = here.lack + LEAD * self.unit + self.bias;
        let step = nearest(Norm::L2, here.gradient, effect, epsilon.into(), self.radius)?;
        optimizer::clamp(here.values.f_add(&step.values)?, epsilon)
    }

    /// Towards the smallest perturbation on the boundary.
    fn along(&self, here: &Here, best: &LastSuccess, norm: Norm, bound: f64) -> Result<Tensor, TchError> {
        let (lost, lead, mix) = (here.lack >= 0.0, LEAD * self.unit, self.mix);
        // From where the boundary is by the last success, if that is lost.
        let (from, lack, linear) = if lost {
            let astray = self.losses >= ASTRAY;
            let least = if astray { 0.5 } else { RETURN.0 };
            let share = ((here.lack + lead) / (here.lack - best.lack)).clamp(least, RETURN.1);
            let from = here.values.f_lerp(&best.values, share)?;
            if astray {
                return Ok(from);
            }
            let linear = dot(here.gradient, &from)?;
            (from, here.lack + share * (best.lack - here.lack), linear)
        } else {
            (here.values.shallow_clone(), here.lack, here.linear)
        };
        // Of the next perturbation, which is only in part the one that is sought. What the linear model is wrong by
        // shrinks with that part.
        let effect = lack - linear + lead + self.bias * mix / MIX;
        let sought = (effect + (1.0 - mix) * linear) / mix;
        if sought <= 0.0 {
            let least = 1.0 - mix;
            let share = match (linear < 0.0, lost) {
                (true, _) => (effect / -linear).clamp(least, 1.0),
                // By this gradient the perturbation does harm, so less of it is better, without an end.
                (false, false) => least,
                (false, true) => 1.0,
            };
            return self.held_back(here, best, norm, from.f_mul_scalar(share)?);
        }
        let found = nearest(norm, here.gradient, sought, bound, best.size)?;
        if lost && found.size > best.size {
            // The linear model knows no way that is better than the one back.
            return Ok(from);
        }
        self.held_back(here, best, norm, from.f_lerp(&found.values, mix)?)
    }

    /// From a success no further towards the clean window than the straight way there tells of the boundary.
    fn held_back(&self, here: &Here, best: &LastSuccess, norm: Norm, next: Tensor) -> Result<Tensor, TchError> {
        if here.lack >= 0.0 {
            return Ok(next);
        }
        let retreat = if norm == Norm::L1 { RETREAT_L1 } else { RETREAT };
        let least = retreat * self.unit / (self.unit - here.lack);
        let share = mean(norm, &next)? / best.size.max(f64::MIN_POSITIVE);
        if share >= least {
            return Ok(next);
        }
        here.values.f_lerp(&next, (1.0 - least) / (1.0 - share))
    }
}
