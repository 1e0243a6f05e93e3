// SPDX-License-Identifier: MPL-2.0

//! The heuristic selection of Wei et al. (AAAI 2020): the frames whose removal lowers the label's probability most. It
//! asks for logits alone, one query a frame.

use std::sync::Arc;
use std::time::Instant;

use super::baselines::count;
use super::{Clean, Keyframes, Select, Selected, counted, with_count};
use crate::attack::Error;
use crate::attack::criterion::softmax;

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
        let mut frames: Vec<usize> = (0..real).collect();
        let mut weights = Vec::with_capacity(real);
        for k in 0..real {
            if (clean.canceled)() {
                return Err(Error::Canceled);
            }
            if clean.deadline.is_some_and(|deadline| Instant::now() > deadline) {
                // The attack has no time for a step either.
                weights.resize(real, 0.0);
                break;
            }
            // The model needs its T frames, so a removed frame is one that repeats its neighbor.
            frames[k] = if k > 0 { k - 1 } else { 1.min(real - 1) };
            let logits = clean.target.logits_of(&frames)?;
            frames[k] = k;
            weights.push((base - softmax(&logits)[label]).max(0.0));
        }
        // The attack's first step starts from the clean window's pass.
        clean.target.logits_of(&frames)?;
        Ok(Keyframes::ranked(&weights, count(self.0, clean)).into())
    }

    fn bounds(&self, frames: usize) -> Option<(usize, usize)> {
        self.0.map(|n| (n, frames))
    }
}
