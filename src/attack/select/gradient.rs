// SPDX-License-Identifier: MPL-2.0

//! The paper's selection (Section 3.2): Eq. 3 and Eq. 4, and the boundary on the weights' sum.

use std::sync::Arc;

use tch::{Kind, TchError, Tensor};

use super::{Ask, Clean, Keyframes, Select, Selected, descending, normalized};
use crate::attack::criterion;
use crate::attack::target::ViewGradient;
use crate::attack::{Access, Error, Shape};
use crate::torch;

/// Where the gradient is taken, and how that of a frame becomes its weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// At the model's feature map where it gives one, else at its input: the mean absolute gradient. Weights are then not
    /// negative, as a boundary on their sum needs.
    #[default]
    Auto,
    /// The same, and a model without a feature map is told of.
    Features,
    /// The absolute value of the mean instead: Eq. 3 as printed sums the gradient itself.
    Net,
    /// At the input, of the attack's class term (Eq. 1 or Eq. 2) in place of the label's logit: that of the first step.
    Loss,
    /// At the input.
    Input,
}

const SOURCES: [(Source, &str); 5] = [
    (Source::Auto, "gradient"),
    (Source::Features, "gradient:features"),
    (Source::Net, "gradient:net"),
    (Source::Loss, "gradient:loss"),
    (Source::Input, "gradient:input"),
];

/// Descending weights until their sum reaches the boundary.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gradient(pub Source);

impl Gradient {
    pub(super) fn parse(name: &str, argument: Option<&str>) -> Option<Arc<dyn Select>> {
        let named = argument.map_or(name.to_string(), |argument| format!("{name}:{argument}"));
        let (source, _) = SOURCES.iter().find(|(_, known)| *known == named)?;
        Some(Arc::new(Self(*source)))
    }
}

impl Select for Gradient {
    fn name(&self) -> String {
        let found = SOURCES.iter().find(|(source, _)| *source == self.0);
        found.map_or_else(String::new, |(_, name)| (*name).into())
    }

    fn select(&self, clean: &mut Clean) -> Result<Selected, Error> {
        let Clean { target, logits, criterion, config, .. } = clean;
        let shape = target.shape();
        let of_loss = self.0 == Source::Loss;
        let grad_logits = if of_loss {
            criterion::grad_logits(logits, criterion.goal, criterion.label, config.class_term())
        } else {
            let mut score = vec![0.0; shape.classes];
            score[criterion.label] = 1.0;
            score
        };
        let features = match self.0 {
            Source::Input | Source::Loss => None,
            _ => target.feature_gradient(&grad_logits)?,
        };
        let all: Vec<usize> = (0..shape.frames).collect();
        let (weights, by_view) = match features {
            Some(features) => {
                let steps = step_weights(&features.by_features, features.time_axis, self.0 == Source::Net)?;
                let by_view = match features.by_view {
                    Some(values) => ViewGradient { frames: all, values },
                    None => ViewGradient::none(shape, target.device())?,
                };
                (frame_weights(&steps, &features.steps, shape.frames), by_view)
            }
            None => {
                let values = target.backward(&grad_logits, &all)?;
                (step_weights(&values, 1, false)?, ViewGradient { frames: all, values })
            }
        };
        let weights = normalized(&folded(weights, shape));
        let order = descending(&weights);
        let count = count_to_boundary(&weights, &order, config.boundary);
        // The untargeted attack lowers the label's logit; the targeted one has other plans.
        let descended = of_loss || !criterion.goal.is_targeted();
        Ok(Selected { keyframes: Keyframes { weights, order, count }, first_gradient: descended.then_some(by_view) })
    }

    fn ask(&self, _: &mut dyn Ask) -> Result<Keyframes, Error> {
        Err(Error::NeedsGradient { keyframes: self.name() })
    }

    fn needs(&self) -> Access {
        Access::Gradient
    }

    fn weighs_anew(&self) -> bool {
        true
    }

    fn needs_features(&self) -> bool {
        matches!(self.0, Source::Features | Source::Net)
    }
}

/// Eq. 3: the weight of each step of a gradient's time axis is the mean over all other axes of its absolute values, or
/// the absolute value of their mean.
pub fn step_weights(gradient: &Tensor, time_axis: usize, net: bool) -> Result<Vec<f64>, TchError> {
    let others: Vec<i64> = (0..gradient.dim()).filter(|d| *d != time_axis).map(|d| d as i64).collect();
    let mean = |g: &Tensor| g.f_mean_dim(&others[..], false, Kind::Double);
    torch::download_f64(&if net { mean(gradient)?.f_abs()? } else { mean(&gradient.f_abs()?)? })
}

/// Eq. 4: a frame's weight is the mean of the weights of the steps that see it, zero where none does. `seen` holds the
/// frames that each step sees. With one step a frame it is Eq. 3.
pub fn frame_weights(steps: &[f64], seen: &[Vec<usize>], frames: usize) -> Vec<f64> {
    let weight = |k: usize| {
        let seeing = seen.iter().zip(steps).filter(|(frames, _)| frames.contains(&k));
        let weights: Vec<f64> = seeing.map(|(_, weight)| *weight).collect();
        weights.iter().sum::<f64>() / weights.len().max(1) as f64
    };
    (0..frames).map(weight).collect()
}

/// Each real frame's weight by a gradient by the model's view of all frames, `[1, T, 3, height, width]`.
pub(in crate::attack) fn view_weights(by_view: &Tensor, shape: Shape) -> Result<Vec<f64>, TchError> {
    Ok(folded(step_weights(by_view, 1, false)?, shape))
}

/// Adds the weights of frames that repeat the last real one to it.
pub(in crate::attack) fn folded(mut weights: Vec<f64>, shape: Shape) -> Vec<f64> {
    let rest: f64 = weights.drain(shape.real..).sum();
    if let Some(last) = weights.last_mut() {
        *last += rest;
    }
    weights
}

/// How many of the frames in `order` it takes until their weights sum to the boundary.
pub fn count_to_boundary(weights: &[f64], order: &[usize], boundary: f64) -> usize {
    let mut sum = 0.0;
    for (n, k) in order.iter().enumerate() {
        sum += weights[*k];
        // Sixteen weights of 1/16 must reach a boundary of 1 in spite of rounding.
        if sum >= boundary - 1e-9 {
            return n + 1;
        }
    }
    order.len()
}
