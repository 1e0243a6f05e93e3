// SPDX-License-Identifier: MPL-2.0

//! First-order steps on a perturbation, `[1, frames, 3, height, width]`. Each frame has a state of its own, since frames
//! may join.

use tch::{TchError, Tensor};

use super::adam::Adam;
use super::norm;
use crate::torch;

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
    adam: Adam,
}

impl Optimizer {
    pub fn new(kind: Kind) -> Self {
        Self { kind, adam: Adam::default() }
    }

    /// `values` after a step down `gradient`, of `lr` in the values' unit. Frames beyond those of the last step have
    /// joined at the end.
    pub fn descend(&mut self, lr: f32, values: &Tensor, gradient: &Tensor) -> Result<Tensor, TchError> {
        match self.kind {
            Kind::Adam if torch::is_on_host(gradient) => self.adam.by_rows(lr, values, gradient),
            Kind::Adam => self.adam.by_tensors(lr, values, gradient),
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
}

/// A gradient whose root mean square is 1, by its frames' norms. Adam's moments are shared by the gradients of two losses
/// of unrelated units.
pub fn unit_rms(gradient: Tensor, norms: &[f64]) -> Result<Tensor, TchError> {
    let norm = norms.iter().map(|n| n * n).sum::<f64>().sqrt();
    let rms = norm / (gradient.numel().max(1) as f64).sqrt();
    if rms > 0.0 { gradient.f_mul_scalar(f64::from((1.0 / rms) as f32)) } else { Ok(gradient) }
}

/// `values` within `bound` of zero; a bound of zero is none.
pub fn clamp(values: Tensor, bound: f32) -> Result<Tensor, TchError> {
    if bound > 0.0 { values.f_clamp(f64::from(-bound), f64::from(bound)) } else { Ok(values) }
}
