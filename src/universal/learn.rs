// SPDX-License-Identifier: MPL-2.0

//! Learning a universal perturbation: descent on the loss over windows of many clips, each at a phase drawn at random, as
//! C-DUP rolls its clip (Li et al., NDSS 2019). The windows are targets as an attack has them, so that what the stream's
//! 8-bit samples hold of a perturbation is in the loop, and a codec where there is one.

use serde::{Deserialize, Serialize};
use tch::{Kind as Type, TchError, Tensor};

use super::smooth::smoothed;
use super::{Header, Kind, Universal, Values};
use crate::attack::adam::Adam;
use crate::attack::select::splitmix;
use crate::attack::{Delta, Differentiate, Error, Reading};
use crate::torch;

/// What a perturbation is to bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Aim {
    /// Any label but the window's own.
    Untargeted,
    /// This label in every window.
    Target(usize),
    /// Any other label in the windows of this one, and its own in every other window (dual purpose, Li et al., Eq. 7).
    Only(usize),
}

/// What is learned, and how.
#[derive(Clone, Debug)]
pub struct Config {
    pub kind: Kind,
    pub aim: Aim,
    /// Bound on what is added to a value in gray levels. What replaces the picture has none.
    pub bound: f32,
    /// Step of Adam in gray levels.
    pub learning_rate: f32,
    /// Weight in the loss of the mean square of the values, in units of 127.5 gray levels (thickness, Pony et al., Eq. 4).
    pub thickness: f64,
    /// The same of their first and second differences in time, the last frame being followed by the first (roughness,
    /// Pony et al., Eq. 5).
    pub roughness: f64,
    /// How far beyond the border between two labels a window is to go, in logits.
    pub margin: f32,
    pub seed: u64,
}

/// Gray levels in the unit of Pony et al., whose inputs are from -1 to 1.
const UNIT: f64 = 127.5;

impl Config {
    /// Steps of a tenth of the bound, or of ten gray levels where there is none. A flicker has the weights of its paper.
    pub fn new(kind: Kind, aim: Aim, bound: f32) -> Self {
        let learning_rate = if kind.replaces() { 10.0 } else { bound / 10.0 };
        let weight = if kind == Kind::Flicker { 0.5 } else { 0.0 };
        Self { kind, aim, bound, learning_rate, thickness: weight, roughness: weight, margin: 0.0, seed: 0 }
    }
}

/// What is learned as it is now, which any thread may try.
pub struct Current {
    config: Config,
    /// As the learner has them.
    values: Tensor,
    mask: Option<Tensor>,
    /// Steps that led here.
    steps: i32,
}

/// A perturbation that is being learned.
pub struct Learner {
    config: Config,
    /// `[1, period, 3, height, width]` in gray levels; both sizes are 1 for a color.
    values: Tensor,
    /// `[height, width]`, where it may not change the whole view.
    mask: Option<Tensor>,
    adam: Adam,
}

impl Learner {
    /// One for windows of `frames` views of this height and width.
    pub fn new(config: Config, frames: usize, size: [usize; 2]) -> Result<Self, TchError> {
        let period = if config.kind.is_still() { 1 } else { frames };
        let [height, width] = if config.kind == Kind::Flicker { [1, 1] } else { size };
        // A generator of its own: libtorch's is the whole process's.
        let mut state = config.seed;
        let mut noise = || splitmix(&mut state) as f32 / u64::MAX as f32 * 2.0 - 1.0;
        let (middle, range) = if config.kind.replaces() { (128.0, 100.0) } else { (0.0, config.bound / 100.0) };
        let values: Vec<f32> = (0..period * 3 * height * width).map(|_| middle + range * noise()).collect();
        let values = torch::upload(&values, &[1, period, 3, height, width].map(|n| n as i64), tch::Device::Cpu)?;
        let mask = config.kind.mask(size);
        let mask = mask.map(|mask| torch::upload(&mask, &size.map(|n| n as i64), tch::Device::Cpu)).transpose()?;
        Ok(Self { config, values, mask, adam: Adam::default() })
    }

    /// One that goes on from what was learned, by its kind.
    pub fn of(universal: &Universal, config: Config) -> Result<Self, TchError> {
        let Universal { header, values, shape } = universal;
        let [period, _, height, width] = *shape;
        let floats: Vec<f32> = match values {
            Values::Added(values) => values.iter().map(|v| f32::from(*v)).collect(),
            Values::Shown(values) => values.iter().map(|v| f32::from(*v)).collect(),
        };
        let config = Config { kind: header.kind, ..config };
        let fresh = Self::new(config, period, header.view.crop)?;
        let shape = [1, period, 3, height, width].map(|n| n as i64);
        let values = torch::upload(&floats, &shape, tch::Device::Cpu)?;
        // Where it is nothing yet, all signs are as good.
        let nothing = !header.kind.replaces() && floats.iter().all(|v| *v == 0.0);
        Ok(if nothing { fresh } else { Self { values, ..fresh } })
    }

    /// Frames after which it begins again.
    pub fn period(&self) -> usize {
        self.values.size()[1] as usize
    }

    /// Bounds what is added to a value from the next step on.
    pub fn set_bound(&mut self, bound: f32) {
        self.config.bound = bound;
    }

    /// Forgets which way it has gone.
    pub fn forget(&mut self) {
        self.adam = Adam::default();
    }

    /// As it is now.
    pub fn current(&self) -> Current {
        Current {
            config: self.config.clone(),
            values: self.values.shallow_clone(),
            mask: self.mask.as_ref().map(Tensor::shallow_clone),
            steps: self.adam_steps(),
        }
    }

    /// That of windows that ask for nothing.
    pub fn no_gradient(&self) -> Result<Tensor, TchError> {
        self.values.f_zeros_like()
    }

    /// Takes a step down the mean gradient of windows. `share` of the usual size.
    pub fn step(&mut self, gradient: &Tensor, share: f32) -> Result<(), TchError> {
        let gradient = gradient.f_add(&self.by_size()?)?;
        let stepped = self.adam.by_rows(self.config.learning_rate * share, &self.values, &gradient)?;
        let (lo, hi) = match self.config.kind.replaces() {
            true => (0.0, 255.0),
            false => (-f64::from(self.config.bound), f64::from(self.config.bound)),
        };
        self.values = stepped.f_clamp(lo, hi)?;
        Ok(())
    }

    /// What thickness and roughness add to the gradient.
    fn by_size(&self) -> Result<Tensor, TchError> {
        let Config { thickness, roughness, .. } = self.config;
        // The second difference in time, which is also what squared differences have for a gradient.
        let curve = |x: &Tensor| x.f_roll([1], [1])?.f_add(&x.f_roll([-1], [1])?)?.f_sub(&x.f_mul_scalar(2.0)?);
        let first = curve(&self.values)?;
        let rough = curve(&first)?.f_sub(&first)?.f_mul_scalar(roughness)?;
        let scale = 2.0 / (UNIT * UNIT * self.values.numel() as f64);
        self.values.f_mul_scalar(thickness)?.f_add(&rough)?.f_mul_scalar(scale)
    }

    /// Adam's own count of steps: not every batch has windows to learn from.
    pub(super) fn adam_steps(&self) -> i32 {
        self.adam.steps()
    }

    /// The values, and Adam's mean and variance.
    pub(super) fn tensors(&self) -> Result<[Tensor; 3], TchError> {
        let [mean, variance] = match self.adam.moments() {
            Some(moments) => moments.each_ref().map(Tensor::shallow_clone),
            None => [self.values.f_zeros_like()?, self.values.f_zeros_like()?],
        };
        Ok([self.values.shallow_clone(), mean, variance])
    }

    /// Takes over these, of so many steps of Adam.
    pub(super) fn take(&mut self, [values, mean, variance]: [Tensor; 3], steps: i32) {
        self.values = values;
        self.adam = if steps > 0 { Adam::resumed(steps, [mean, variance]) } else { Adam::default() };
    }

    /// What was learned, rounded to whole gray levels.
    pub fn finish(&self, header: Header) -> Result<Universal, TchError> {
        let shape = self.values.size();
        let [period, height, width] = [shape[1], shape[3], shape[4]].map(|n| n as usize);
        let values = torch::download(&self.values.f_round()?)?;
        let values = match self.config.kind.replaces() {
            true => Values::Shown(values.into_iter().map(|v| v as u8).collect()),
            false => Values::Added(values.into_iter().map(|v| v as i8).collect()),
        };
        Ok(Universal { header, values, shape: [period, 3, height, width] })
    }
}

/// A window with the values in it, as the model has answered.
struct Asked {
    delta: Delta,
    loss: f64,
    by_logits: Tensor,
}

impl Current {
    /// Of its frames, that which each of `frames` of a window gets at a phase.
    fn places(&self, frames: usize, phase: usize) -> Result<Tensor, TchError> {
        let period = self.values.size()[1] as usize;
        torch::index(&(0..frames).map(|t| (phase + t) % period).collect::<Vec<_>>(), self.values.device())
    }

    /// What it changes in a window at a phase, in gray levels.
    fn delta(&self, target: &dyn Differentiate, phase: usize) -> Result<Delta, Error> {
        let shape = target.shape();
        let whole = shape.of_frames(shape.real);
        let values = self.values.f_index_select(1, &self.places(shape.real, phase)?)?.f_expand(whole, false)?;
        let values = values.f_to_device(target.device())?;
        let values = match (&self.mask, self.config.kind.replaces()) {
            (Some(mask), true) => {
                values.f_sub(&target.clean()?.f_unsqueeze(0)?)?.f_mul(&mask.f_to_device(target.device())?)?
            }
            _ => values.f_contiguous()?,
        };
        Ok(Delta { frames: (0..shape.real).collect(), values })
    }

    /// The loss of a window whose clean label is `label`, at a phase. Nothing where the aim asks nothing of such a window. One
    /// forward pass.
    pub fn loss(&self, target: &mut dyn Differentiate, label: usize, phase: usize) -> Result<Option<f64>, Error> {
        let asked = self.ask(target, label, phase)?;
        Ok(asked.map(|asked| asked.loss))
    }

    fn ask(&self, target: &mut dyn Differentiate, label: usize, phase: usize) -> Result<Option<Asked>, Error> {
        if self.config.aim == Aim::Target(label) {
            return Ok(None);
        }
        let delta = self.delta(target, phase)?;
        let _ = target.observe(&delta)?;
        let logits = target.logits(&delta, 0)?;
        let found = torch::download(&logits)?;
        if !found.iter().all(|logit| logit.is_finite()) {
            return Err(Error::NotFinite { classes: found.len(), found: format!("{found:?}") });
        }
        let (loss, by_logits) = loss(self.config.aim, &found, label, self.config.margin);
        let by_logits = torch::upload(&by_logits, &logits.size(), target.device())?;
        Ok(Some(Asked { delta, loss, by_logits }))
    }

    /// The same, and its gradient by the values. One forward and one backward pass.
    pub fn gradient(
        &self,
        target: &mut dyn Differentiate,
        label: usize,
        phase: usize,
    ) -> Result<Option<(f64, Tensor)>, Error> {
        let Some(Asked { delta, loss, by_logits }) = self.ask(target, label, phase)? else { return Ok(None) };
        let all: Vec<usize> = (0..target.shape().frames).collect();
        let by_view = target.backward(&by_logits, &all)?;
        let by_delta = target.pull(&delta, 0, &by_view)?.f_to_device(self.values.device())?;
        // A codec's own derivative counts as the identity, which it is not for what is fine.
        let behind = target.readings().first() == Some(&Reading::Transport);
        let by_delta = if behind { smoothed(&by_delta)? } else { by_delta };
        let by_delta = match &self.mask {
            Some(mask) => by_delta.f_mul(mask)?,
            None => by_delta,
        };
        let by_delta = match self.config.kind {
            Kind::Flicker => by_delta.f_sum_dim_intlist([3i64, 4].as_slice(), true, Type::Float)?,
            _ => by_delta,
        };
        // What is not finite would stay in the values for good.
        if !by_delta.f_isfinite()?.f_all()?.f_int64_value(&[])?.eq(&1) {
            return Err(Error::GradientNotFinite { iteration: self.steps.unsigned_abs() + 1 });
        }
        let places = self.places(target.shape().real, phase)?;
        Ok(Some((loss, self.values.f_zeros_like()?.f_index_add(1, &places, &by_delta)?)))
    }
}

/// The loss of a window's logits, and its gradient by them.
fn loss(aim: Aim, logits: &[f32], label: usize, margin: f32) -> (f64, Vec<f32>) {
    // The label that is to lose starts ahead, the one that is to win behind.
    let (from, by) = match aim {
        Aim::Target(wanted) => (wanted, -margin),
        Aim::Only(of) if of != label => (label, -margin),
        Aim::Untargeted | Aim::Only(_) => (label, margin),
    };
    let mut logits = logits.to_vec();
    logits[from] += by;
    // Logarithms of sums, so that however sure a model is nothing vanishes: the share of one class, and of all others.
    let sum = |without: Option<usize>| {
        let counted =
            || logits.iter().enumerate().filter(move |(j, _)| Some(*j) != without).map(|(_, v)| f64::from(*v));
        let largest = counted().fold(f64::NEG_INFINITY, f64::max);
        largest + counted().map(|v| (v - largest).exp()).sum::<f64>().ln()
    };
    let all = sum(None);
    let share = |j: usize| (f64::from(logits[j]) - all).exp();
    let towards = |wanted: usize| {
        let gradient = (0..logits.len()).map(|j| (share(j) - f64::from(u8::from(j == wanted))) as f32);
        (all - f64::from(logits[wanted]), gradient.collect())
    };
    let away = || {
        let others = sum(Some(label));
        let among_others = |j: usize| if j == label { 0.0 } else { (f64::from(logits[j]) - others).exp() };
        let gradient = (0..logits.len()).map(|j| (share(j) - among_others(j)) as f32);
        (all - others, gradient.collect())
    };
    match aim {
        Aim::Target(wanted) => towards(wanted),
        Aim::Only(of) if of != label => towards(label),
        Aim::Untargeted | Aim::Only(_) => away(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thickness and roughness as the paper has them, by differences.
    #[test]
    fn sizes_and_their_gradient_belong_together() {
        let values: Vec<f64> = (0..15).map(|i| f64::from(i * i % 11) - 4.0).collect();
        let (frames, weights) = (5, [0.3, 0.7]);
        let size = |v: &[f64]| {
            let at = |t: usize, c: usize| v[t % frames * 3 + c];
            let mut sums = [0.0; 2];
            for t in 0..frames {
                for c in 0..3 {
                    sums[0] += at(t, c).powi(2);
                    let first = at(t + 1, c) - at(t, c);
                    sums[1] += first.powi(2) + (at(t + 2, c) - at(t + 1, c) - first).powi(2);
                }
            }
            sums.iter().zip(weights).map(|(sum, weight)| weight * sum / (UNIT * UNIT * 15.0)).sum::<f64>()
        };
        let config = Config {
            thickness: weights[0],
            roughness: weights[1],
            ..Config::new(Kind::Flicker, Aim::Untargeted, 20.0)
        };
        let mut learner = Learner::new(config, frames, [8, 8]).expect("a learner");
        let floats: Vec<f32> = values.iter().map(|v| *v as f32).collect();
        learner.values = torch::upload(&floats, &[1, 5, 3, 1, 1], tch::Device::Cpu).expect("a tensor");
        let gradient = torch::download(&learner.by_size().expect("a gradient")).expect("values");
        for (i, found) in gradient.iter().enumerate() {
            let at = |by: f64| {
                let mut moved = values.clone();
                moved[i] += by;
                size(&moved)
            };
            let slope = (at(1e-3) - at(-1e-3)) / 2e-3;
            // Squares have no third derivative, so that what is left is the rounding of single precision.
            assert!((slope - f64::from(*found)).abs() < 1e-6 * slope.abs().max(1e-3), "{i}: {slope} and {found}");
        }
    }

    /// The gradient is the loss's own, by differences of it.
    #[test]
    fn a_loss_and_its_gradient_belong_together() {
        for logits in [[0.3, -1.2, 2.0, 0.7], [0.3, -1.2, 42.0, 0.7], [31.0, -1.2, 2.0, 30.0]] {
            for aim in [Aim::Untargeted, Aim::Target(0), Aim::Target(3), Aim::Only(2), Aim::Only(1)] {
                let (_, gradient) = loss(aim, &logits, 2, 1.5);
                for j in 0..4 {
                    let at = |by: f32| {
                        let mut moved = logits;
                        moved[j] += by;
                        loss(aim, &moved, 2, 1.5).0
                    };
                    let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
                    // Steps of a hundredth bend by a thousandth at the most, and single precision rounds off a tenth of that.
                    assert!((slope - f64::from(gradient[j])).abs() < 1e-3, "{aim:?}, {j}: {slope} and {}", gradient[j]);
                }
            }
        }
    }
}
