// SPDX-License-Identifier: MPL-2.0

//! First-order steps on a perturbation, `[1, frames, 3, height, width]`. Each frame has a state of its own, since frames
//! may join.

use tch::{TchError, Tensor};

use super::norm;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstSparseAdvOptimizer")]
pub enum Kind {
    /// Adam (Kingma and Ba, ICLR 2015), beta 0.9 and 0.999, epsilon 1e-8: what SA and the paper use.
    #[default]
    #[enum_value(name = "Adam, as in the paper", nick = "adam")]
    Adam,
    /// A step of the learning rate along the gradient's sign, as in PGD (Madry et al., ICLR 2018).
    #[enum_value(name = "Steps along the gradient's sign, as PGD takes", nick = "sign")]
    Sign,
    /// A step along the gradient, scaled so that its root mean square is the learning rate.
    #[enum_value(name = "Steps along the gradient, of fixed size", nick = "normalized")]
    Normalized,
}

/// An optimizer and its state.
#[derive(Debug)]
pub struct Optimizer {
    kind: Kind,
    /// Steps that each frame has taken.
    steps: Vec<i32>,
    /// Adam's moments, `None` before the first step.
    moments: Option<[Tensor; 2]>,
}

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

impl Optimizer {
    pub fn new(kind: Kind) -> Self {
        Self { kind, steps: Vec::new(), moments: None }
    }

    /// `values` after a step down `gradient`, of `lr` in the values' unit. Frames beyond those of the last step have
    /// joined at the end.
    pub fn descend(&mut self, lr: f32, values: &Tensor, gradient: &Tensor) -> Result<Tensor, TchError> {
        match self.kind {
            Kind::Adam => self.adam(lr, values, gradient),
            // The sign of zero is zero.
            Kind::Sign => values.f_sub(&gradient.f_sign()?.f_mul_scalar(f64::from(lr))?),
            Kind::Normalized => {
                let size = (gradient.numel() / gradient.size()[1].max(1) as usize).max(1) as f64;
                let inverse = |norm: f64| if norm > 0.0 { f64::from(lr) / (norm / size.sqrt()) } else { 0.0 };
                let factors: Vec<f64> = norm::frame_norms(gradient)?.into_iter().map(inverse).collect();
                values.f_sub(&norm::scale_frames(gradient, &factors)?)
            }
        }
    }

    /// Each product and sum is rounded by itself, so that a device gives what plain loops in single precision give.
    fn adam(&mut self, lr: f32, values: &Tensor, gradient: &Tensor) -> Result<Tensor, TchError> {
        self.join(gradient)?;
        self.steps.iter_mut().for_each(|step| *step += 1);
        let Some([mean, variance]) = &mut self.moments else { return Ok(values.shallow_clone()) };
        let _ = mean.f_mul_scalar_(BETA1)?.f_add_(&gradient.f_mul_scalar(1.0 - BETA1)?)?;
        let _ = variance.f_mul_scalar_(BETA2)?.f_add_(&gradient.f_mul_scalar(1.0 - BETA2)?.f_mul_(gradient)?)?;
        let step_size = |step: i32| f64::from(lr / (1.0 - BETA1.powi(step)) as f32);
        let scale = |step: i32| f64::from((1.0 / (1.0 - BETA2.powi(step)).sqrt()) as f32);
        let root = variance.f_sqrt()?;
        let scaled = each(&root, &self.steps, scale)?.f_add_scalar_(EPSILON)?;
        values.f_sub(&each(mean, &self.steps, step_size)?.f_div_(&scaled)?)
    }

    /// Zero moments for the frames that have joined.
    fn join(&mut self, gradient: &Tensor) -> Result<(), TchError> {
        let (held, frames) = (self.steps.len(), gradient.size()[1] as usize);
        if held == frames {
            return Ok(());
        }
        let fresh = gradient.f_narrow(1, held as i64, (frames - held) as i64)?.f_zeros_like()?;
        self.moments = Some(match self.moments.take() {
            None => [fresh.f_zeros_like()?, fresh],
            Some([mean, variance]) => [Tensor::f_cat(&[&mean, &fresh], 1)?, Tensor::f_cat(&[&variance, &fresh], 1)?],
        });
        self.steps.resize(frames, 0);
        Ok(())
    }
}

/// Each frame multiplied by a factor that goes by its number of steps.
fn each(values: &Tensor, steps: &[i32], factor: impl Fn(i32) -> f64) -> Result<Tensor, TchError> {
    match steps[..] {
        // The usual case; a loop over one number is twice as fast.
        [first, ..] if steps.iter().all(|step| *step == first) => values.f_mul_scalar(factor(first)),
        _ => norm::scale_frames(values, &steps.iter().map(|step| factor(*step)).collect::<Vec<_>>()),
    }
}

/// A gradient whose root mean square is 1. Adam's moments are shared by the gradients of two losses of unrelated units.
pub fn unit_rms(gradient: Tensor) -> Result<Tensor, TchError> {
    let norm = norm::frame_norms(&gradient)?.iter().map(|n| n * n).sum::<f64>().sqrt();
    let rms = norm / (gradient.numel().max(1) as f64).sqrt();
    if rms > 0.0 { gradient.f_mul_scalar(f64::from((1.0 / rms) as f32)) } else { Ok(gradient) }
}

/// `values` within `bound` of zero; a bound of zero is none.
pub fn clamp(values: Tensor, bound: f32) -> Result<Tensor, TchError> {
    if bound > 0.0 { values.f_clamp(f64::from(-bound), f64::from(bound)) } else { Ok(values) }
}
