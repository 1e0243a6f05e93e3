// SPDX-License-Identifier: MPL-2.0

//! Descent by an optimizer: the paper's two-stage loss, or SA's weighted sum.

use tch::Tensor;

use super::Step;
use super::trial::Trial;
use crate::attack::objective::two_stage::{Stage, TwoStage};
use crate::attack::objective::weighted_sum;
use crate::attack::optimizer::{self, Kind, Optimizer};
use crate::attack::support::Support;
use crate::attack::{Config, Error, Loss, Search, norm};

pub struct Descent {
    optimizer: Optimizer,
    two_stage: TwoStage,
    learning_rate: f32,
    decay: f32,
    loss: Loss,
    search: Search,
    /// Whether gradients are brought to one size.
    unit: bool,
}

impl Descent {
    pub fn new(config: &Config) -> Self {
        Self {
            optimizer: Optimizer::new(config.optimizer),
            two_stage: TwoStage::default(),
            learning_rate: config.learning_rate,
            decay: config.learning_rate_decay,
            loss: config.loss,
            search: config.search,
            unit: config.optimizer == Kind::Adam && config.search == Search::TwoStage,
        }
    }

    /// What is descended next, by the perturbation's values.
    fn gradient(&mut self, trial: &mut Trial) -> Result<Tensor, Error> {
        trial.loss = self.loss;
        if self.search == Search::WeightedSum {
            let class = trial.class_gradient()?;
            return Ok(weighted_sum::add_norm(&trial.delta.values, &class)?);
        }
        match self.two_stage.stage(trial.fooled(), &mut self.learning_rate, self.decay) {
            Stage::Norm => Ok(norm::l21_gradient(&trial.delta.values)?),
            Stage::Class => trial.class_gradient(),
        }
    }
}

impl Step for Descent {
    const IMPROVEMENT: f64 = 0.99;

    fn step(&mut self, trial: &mut Trial, iteration: u32) -> Result<Tensor, Error> {
        let config = trial.problem.config;
        let gradient = self.gradient(trial)?;
        let mut gradient = trial.support.pull(gradient)?;
        let fixed = trial.fixed() as i64;
        if fixed > 0 {
            let rest = gradient.f_narrow(1, fixed, gradient.size()[1] - fixed)?;
            let zeros = gradient.f_narrow(1, 0, fixed)?.f_zeros_like()?;
            gradient = Tensor::f_cat(&[zeros, rest], 1)?;
        }
        let norms = norm::frame_norms(&gradient)?;
        // Not finite as soon as any value is not.
        if !norms.iter().all(|norm| norm.is_finite()) {
            return Err(Error::GradientNotFinite { iteration });
        }
        if self.unit {
            gradient = optimizer::unit_rms(gradient, &norms)?;
        }
        let stepped = self.optimizer.descend(self.learning_rate, &trial.parameters, &gradient)?;
        Ok(optimizer::clamp(stepped, config.epsilon)?)
    }
}
