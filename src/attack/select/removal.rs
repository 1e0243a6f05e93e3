// SPDX-License-Identifier: MPL-2.0

//! The heuristic selection of Wei et al. (AAAI 2020): the frames whose removal lowers the label's probability most. It
//! asks for logits alone, one query a frame.

use std::sync::Arc;
use std::time::Instant;

use super::baselines::count;
use super::{Ask, Clean, Keyframes, Known, Select, Selected, counted, with_count};
use crate::attack::criterion::softmax;
use crate::attack::{Access, Error};

/// By removal, `heuristic`. A count of `None` is that of the other baselines.
#[derive(Clone, Copy, Debug)]
pub struct Removal(pub Option<usize>);

impl Removal {
    pub(super) fn parse(name: &str, argument: Option<&str>) -> Option<Arc<dyn Select>> {
        Some(Arc::new(Self(counted(name, &["heuristic"], argument)?)))
    }
}

impl Select for Removal {
    fn name(&self) -> String {
        with_count("heuristic", self.0)
    }

    fn select(&self, clean: &mut Clean) -> Result<Selected, Error> {
        let real = clean.target.shape().real;
        let label = clean.criterion.label;
        let base = softmax(clean.logits)[label];
        let weights = weigh(real, base, |frames| {
            if (clean.canceled)() {
                return Err(Error::Canceled);
            }
            if clean.deadline.is_some_and(|deadline| Instant::now() > deadline) {
                // The attack has no time for a step either.
                return Ok(None);
            }
            Ok(Some(softmax(&clean.target.logits_of(frames)?)[label]))
        })?;
        // The attack's first step starts from the clean window's pass.
        clean.target.logits_of(&(0..real).collect::<Vec<_>>())?;
        let window = Known { target: clean.target.known(), goal: clean.criterion.goal, seed: clean.config.seed };
        Ok(Keyframes::ranked(&weights, count(self.0, &window)).into())
    }

    fn ask(&self, window: &mut dyn Ask) -> Result<Keyframes, Error> {
        let real = window.known().target.shape().real;
        let base = window.probability(&(0..real).collect::<Vec<_>>())?;
        let weights = weigh(real, base, |frames| window.probability(frames).map(Some))?;
        Ok(Keyframes::ranked(&weights, count(self.0, &window.known())))
    }

    fn needs(&self) -> Access {
        Access::Scores
    }

    fn bounds(&self, frames: usize) -> Option<(usize, usize)> {
        self.0.map(|n| (n, frames))
    }
}

/// By how much the label's probability falls without each frame. The model needs its T frames, so a removed frame is one
/// that repeats its neighbor. Where nothing is answered, the rest weighs nothing.
fn weigh(
    real: usize,
    base: f64,
    mut probability: impl FnMut(&[usize]) -> Result<Option<f64>, Error>,
) -> Result<Vec<f64>, Error> {
    let mut frames: Vec<usize> = (0..real).collect();
    let mut weights = Vec::with_capacity(real);
    for k in 0..real {
        frames[k] = if k > 0 { k - 1 } else { 1.min(real - 1) };
        let Some(without) = probability(&frames)? else { break };
        frames[k] = k;
        weights.push((base - without).max(0.0));
    }
    weights.resize(real, 0.0);
    Ok(weights)
}
