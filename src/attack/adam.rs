// SPDX-License-Identifier: MPL-2.0

//! Adam (Kingma and Ba, ICLR 2015), as SA and the paper use it, on values `[1, frames, 3, height, width]`. In loops over
//! the host's memory on the CPU, in tensor operations elsewhere.

use tch::{TchError, Tensor};

use super::norm;
use crate::{threads, torch};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// The moments of each frame.
#[derive(Debug, Default)]
pub struct Adam {
    /// Steps that each frame has taken.
    steps: Vec<i32>,
    /// Mean and variance of the gradient, `None` before the first step.
    moments: Option<[Tensor; 2]>,
}

impl Adam {
    /// One that has taken so many steps, with the mean and the variance of the gradient.
    pub fn resumed(steps: i32, moments: [Tensor; 2]) -> Self {
        let frames = moments[0].size().get(1).map_or(0, |n| *n as usize);
        Self { steps: vec![steps; frames], moments: Some(moments) }
    }

    /// The most steps that any frame has taken.
    pub fn steps(&self) -> i32 {
        self.steps.iter().copied().max().unwrap_or(0)
    }

    /// Mean and variance of the gradient, once there were steps.
    pub fn moments(&self) -> Option<&[Tensor; 2]> {
        self.moments.as_ref()
    }

    /// `values` after a step down `gradient`, both in the host's memory. Each product and sum is rounded by itself.
    pub fn by_rows(&mut self, lr: f32, values: &Tensor, gradient: &Tensor) -> Result<Tensor, TchError> {
        self.begin(gradient)?;
        let mut stepped = values.f_contiguous()?.f_detach_copy()?;
        let gradient = gradient.f_contiguous()?;
        let Some([mean, variance]) = &mut self.moments else { return Ok(stepped) };
        let len = gradient.numel() / self.steps.len().max(1);
        let frames =
            torch::slice_mut(&mut stepped)?.chunks_exact_mut(len).zip(torch::slice(&gradient)?.chunks_exact(len));
        let moments =
            torch::slice_mut(mean)?.chunks_exact_mut(len).zip(torch::slice_mut(variance)?.chunks_exact_mut(len));
        let (beta1, beta2, epsilon) = (BETA1 as f32, BETA2 as f32, EPSILON as f32);
        let (rest1, rest2) = ((1.0 - BETA1) as f32, (1.0 - BETA2) as f32);
        threads::each(self.steps.iter().zip(frames.zip(moments)), |(step, ((values, gradient), (mean, variance)))| {
            let (size, scale) = corrections(lr, *step);
            let moments = mean.iter_mut().zip(variance);
            for ((v, g), (m, s)) in values.iter_mut().zip(gradient).zip(moments) {
                *m = beta1 * *m + rest1 * g;
                *s = beta2 * *s + rest2 * g * g;
                *v -= size * *m / (s.sqrt() * scale + epsilon);
            }
        });
        Ok(stepped)
    }

    /// The same in tensor operations of any device. A library's square root may be a rounding off.
    pub fn by_tensors(&mut self, lr: f32, values: &Tensor, gradient: &Tensor) -> Result<Tensor, TchError> {
        self.begin(gradient)?;
        let Some([mean, variance]) = &mut self.moments else { return Ok(values.shallow_clone()) };
        let _ = mean.f_mul_scalar_(BETA1)?.f_add_(&gradient.f_mul_scalar(1.0 - BETA1)?)?;
        let _ = variance.f_mul_scalar_(BETA2)?.f_add_(&gradient.f_mul_scalar(1.0 - BETA2)?.f_mul_(gradient)?)?;
        let (sizes, scales): (Vec<f64>, Vec<f64>) =
            self.steps.iter().map(|step| corrections(lr, *step)).map(|(a, b)| (f64::from(a), f64::from(b))).unzip();
        let scaled = norm::scale_frames(&variance.f_sqrt()?, &scales)?.f_add_scalar_(EPSILON)?;
        values.f_sub(&norm::scale_frames(mean, &sizes)?.f_div_(&scaled)?)
    }

    /// Counts a step, with zero moments for the frames that have joined.
    fn begin(&mut self, gradient: &Tensor) -> Result<(), TchError> {
        let (held, frames) = (self.steps.len(), gradient.size()[1] as usize);
        if held < frames {
            let fresh = gradient.f_contiguous()?.f_narrow(1, held as i64, (frames - held) as i64)?.f_zeros_like()?;
            self.moments = Some(match self.moments.take() {
                None => [fresh.f_zeros_like()?, fresh],
                Some(moments) => {
                    let [mean, variance] = moments.map(|held| Tensor::f_cat(&[&held, &fresh], 1));
                    [mean?, variance?]
                }
            });
            self.steps.resize(frames, 0);
        }
        self.steps.iter_mut().for_each(|step| *step += 1);
        Ok(())
    }
}

/// The learning rate corrected for the first moment's bias, and the factor that corrects the second one's root.
fn corrections(lr: f32, step: i32) -> (f32, f32) {
    let scale = 1.0 / (1.0 - BETA2.powi(step)).sqrt();
    (lr / (1.0 - BETA1.powi(step)) as f32, scale as f32)
}
