// SPDX-License-Identifier: MPL-2.0

//! First-order steps on a perturbation.

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

/// An optimizer and its state over `n` values.
#[derive(Clone, Debug)]
pub struct Optimizer {
    kind: Kind,
    step: i32,
    mean: Vec<f32>,
    variance: Vec<f32>,
}

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
/// 1 - beta, written out: `1.0 - 0.999` has lost four digits in single precision.
const REST1: f32 = 0.1;
const REST2: f32 = 0.001;
const EPSILON: f32 = 1e-8;

impl Optimizer {
    pub fn new(kind: Kind, n: usize) -> Self {
        let state = if kind == Kind::Adam { n } else { 0 };
        Self { kind, step: 0, mean: vec![0.0; state], variance: vec![0.0; state] }
    }

    /// One step of `values` down `gradient`, of `lr` in the values' unit.
    pub fn descend(&mut self, lr: f32, values: &mut [f32], gradient: &[f32]) {
        match self.kind {
            Kind::Adam => {
                self.step += 1;
                // In double precision for the same reason.
                let correction1 = (1.0 - 0.9f64.powi(self.step)) as f32;
                let scale2 = (1.0 / (1.0 - 0.999f64.powi(self.step)).sqrt()) as f32;
                let state = self.mean.iter_mut().zip(self.variance.iter_mut());
                for ((v, g), (m, s)) in values.iter_mut().zip(gradient).zip(state) {
                    *m = BETA1 * *m + REST1 * g;
                    *s = BETA2 * *s + REST2 * g * g;
                    *v -= lr / correction1 * *m / (s.sqrt() * scale2 + EPSILON);
                }
            }
            Kind::Sign => {
                for (v, g) in values.iter_mut().zip(gradient) {
                    // `signum` of zero is one.
                    if *g != 0.0 {
                        *v -= lr * g.signum();
                    }
                }
            }
            Kind::Normalized => {
                let rms = super::norm::l2(gradient) / (gradient.len() as f64).sqrt();
                if rms > 0.0 {
                    let scale = (f64::from(lr) / rms) as f32;
                    for (v, g) in values.iter_mut().zip(gradient) {
                        *v -= scale * g;
                    }
                }
            }
        }
    }
}
