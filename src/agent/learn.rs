// SPDX-License-Identifier: MPL-2.0

//! Learning by REINFORCE: sets of frames that an attack gains by become more probable.

use std::path::Path;

use rand::Rng;
use tch::{Device, Kind, TchError, Tensor};

use super::network;
use crate::attack::adam::Adam;
use crate::files::learning::{Error, Standing};
use crate::torch;

/// Gradients are no longer than this.
const LONGEST: f64 = 5.0;
/// How much it counts that frames stay open. Without it an agent may be sure of all of them before it has tried enough.
const OPEN: f64 = 0.05;
/// What a baseline keeps of itself.
const KEEPS: f32 = 0.9;

/// How it is learned.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub seed: u64,
    /// Step of Adam.
    pub learning_rate: f32,
    /// Sets of frames that are drawn of a window.
    pub draws: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { seed: 0, learning_rate: 1e-3, draws: 5 }
    }
}

/// A set of frames that was drawn, and what an attack on it came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// Of each frame, whether it is one of the set.
    pub picked: Vec<bool>,
    pub reward: f64,
}

/// An agent that learns.
pub struct Learner {
    pub config: Config,
    /// The network's parameters, `[1, 1, all]`.
    values: Tensor,
    adam: Adam,
    /// What is to be expected of each clip.
    baselines: Vec<f32>,
}

impl Learner {
    /// One that is to learn from so many clips.
    pub fn new(config: Config, clips: usize) -> Result<Self, TchError> {
        let values = network::drawn(config.seed);
        let values = torch::upload(&values, &[1, 1, values.len() as i64], Device::Cpu)?;
        Ok(Self { config, values, adam: Adam::default(), baselines: vec![0.0; clips] })
    }

    /// The network's parameters, cut off from what led to them.
    pub(super) fn parts(&self) -> Result<Vec<Tensor>, TchError> {
        network::parts(&self.values.f_detach_copy()?)
    }

    /// The probability of each frame of what is shown, `[1, 6, T, height, width]`.
    pub fn probabilities(&self, shown: &Tensor) -> Result<Vec<f64>, TchError> {
        torch::download_f64(&network::logits(&self.parts()?, shown)?.f_sigmoid()?)
    }

    /// Sets of frames, each frame by its own probability.
    pub fn draw(&self, probabilities: &[f64], rng: &mut impl Rng) -> Vec<Vec<bool>> {
        let mut draw = || probabilities.iter().map(|p| rng.random::<f64>() < *p).collect();
        (0..self.config.draws).map(|_| draw()).collect()
    }

    /// The gradient by the parameters of what a window is expected to lose, by what was drawn of it. The window is one of
    /// this clip.
    pub fn gradient(&self, shown: &Tensor, clip: usize, episodes: &[Episode]) -> Result<Tensor, TchError> {
        let values = self.values.f_detach_copy()?.f_set_requires_grad(true)?;
        let logits = network::logits(&network::parts(&values)?, shown)?;
        let (taken, left) = (logits.f_log_sigmoid()?, logits.f_neg()?.f_log_sigmoid()?);
        let baseline = self.baselines.get(clip).map_or(0.0, |b| f64::from(*b));
        // The entropy of what is drawn.
        let each = left.f_add(&logits.f_sigmoid()?.f_mul(&taken.f_sub(&left)?)?)?;
        let mut loss = each.f_mean(Kind::Float)?.f_mul_scalar(OPEN)?;
        for Episode { picked, reward } in episodes {
            let picked: Vec<f32> = picked.iter().map(|p| f32::from(u8::from(*p))).collect();
            let picked = torch::upload(&picked, &logits.size(), logits.device())?;
            let log = left.f_add(&picked.f_mul(&taken.f_sub(&left)?)?)?.f_mean(Kind::Float)?;
            loss = loss.f_sub(&log.f_mul_scalar((reward - baseline) / episodes.len() as f64)?)?;
        }
        let gradients = Tensor::f_run_backward(&[loss], &[values], false, false)?;
        gradients.into_iter().next().ok_or_else(|| TchError::Torch("there is no gradient".into()))
    }

    /// Takes over what a window of a clip came to.
    pub fn expect(&mut self, clip: usize, episodes: &[Episode]) {
        let mean = episodes.iter().map(|episode| episode.reward).sum::<f64>() / episodes.len().max(1) as f64;
        if let Some(baseline) = self.baselines.get_mut(clip) {
            *baseline = KEEPS * *baseline + (1.0 - KEEPS) * mean as f32;
        }
    }

    /// Takes a step down a gradient.
    pub fn step(&mut self, gradient: &Tensor) -> Result<(), TchError> {
        let length = torch::download_f64(&gradient.f_square()?.f_sum(Kind::Double)?)?[0].sqrt();
        let gradient = gradient.f_mul_scalar((LONGEST / length.max(1e-12)).min(1.0))?;
        self.values = self.adam.by_rows(self.config.learning_rate, &self.values, &gradient)?;
        Ok(())
    }

    /// Writes where it stands after so many steps, and with what settings.
    pub fn suspend(&self, path: &Path, settings: &str, steps: u32) -> Result<(), Error> {
        self.standing(steps)?.suspend(path, settings)
    }

    /// Takes over where an earlier run stood. Returns how many steps it had taken, none where there is no file.
    pub fn resume(&mut self, path: &Path, settings: &str) -> Result<u32, Error> {
        let mut standing = self.standing(0)?;
        if standing.resume(path, settings)? {
            let [values, mean, variance, baselines] = standing.tensors.map(|(_, tensor)| tensor);
            self.values = values;
            self.baselines = torch::download(&baselines)?;
            self.adam =
                if standing.moves > 0 { Adam::resumed(standing.moves, [mean, variance]) } else { Adam::default() };
        }
        Ok(standing.steps)
    }

    fn standing(&self, steps: u32) -> Result<Standing<4>, TchError> {
        let [mean, variance] = match self.adam.moments() {
            Some(moments) => moments.each_ref().map(Tensor::shallow_clone),
            None => [self.values.f_zeros_like()?, self.values.f_zeros_like()?],
        };
        let baselines = torch::upload(&self.baselines, &[self.baselines.len() as i64], Device::Cpu)?;
        let values = ("values", self.values.shallow_clone());
        let tensors = [values, ("mean", mean), ("variance", variance), ("baselines", baselines)];
        Ok(Standing { steps, moves: self.adam.steps(), tensors })
    }
}
