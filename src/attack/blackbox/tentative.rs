// SPDX-License-Identifier: MPL-2.0

//! The tentative direction of V-BAD (Jiang et al., ACM MM 2019, Section 4.1): the sign of a surrogate's gradient, or signs
//! that are drawn.
//!
//! The loss is the squared distance of what the surrogate says of the window to something else: to numbers that are drawn,
//! or to nine tenths of what it says of a clip of the target. Which way the distance changes does not matter, since the
//! coefficient of each patch has a sign of its own.

use rand::Rng;
use rand_distr::{Distribution, Normal};
use tch::{Device, Kind, TchError, Tensor};

use super::oracle::Oracle;
use super::patches::random_signs;
use crate::attack::Error;
use crate::attack::access::Level;
use crate::attack::surrogate::{Seen, Surrogate};
use crate::attack::target::Delta;
use crate::torch;

/// The standard deviation of what is drawn, and the share of a clip's numbers that are looked at.
const DEVIATION: f32 = 5.0;
const SHARE: f64 = 0.9;

pub enum Tentative<'a> {
    Drawn,
    Surrogate {
        surrogate: &'a dyn Surrogate,
        /// What it says of a clip of the target, `[n, classes]`.
        aim: Option<Tensor>,
    },
}

impl Tentative<'_> {
    /// Signs at a perturbation, `[1, frames, 3, height, width]` of its frames. No query.
    pub fn signs<L: Level>(&self, oracle: &Oracle<L>, at: &Delta, rng: &mut impl Rng) -> Result<Tensor, Error> {
        let Self::Surrogate { surrogate, aim } = self else {
            return Ok(random_signs(rng, at.frames.len(), oracle.shape(), oracle.device())?);
        };
        let window = oracle.window(at)?;
        let device = oracle.device();
        let (aim, counted) = match aim {
            Some(aim) => {
                let counts = |_| f32::from(u8::from(rng.random_bool(SHARE)));
                (aim.shallow_clone(), Some(drawn(&aim.size(), device, counts)?))
            }
            None => {
                let normal = Normal::new(0.0, DEVIATION).map_err(|e| Error::Torch(e.to_string()))?;
                let size = surrogate.look(&window)?.logits.size();
                (drawn(&size, device, |_| normal.sample(rng).abs())?, None)
            }
        };
        let loss = |seen: &Seen| {
            let squares = seen.logits.f_sub(&aim)?.f_square()?;
            let squares = counted.as_ref().map(|counted| squares.f_mul(counted)).unwrap_or(Ok(squares))?;
            squares.f_sum(Kind::Float)
        };
        let gradient = surrogate.gradient(&window, &loss)?;
        Ok(oracle.of_frames(&gradient, &at.frames)?.f_sign()?)
    }
}

fn drawn(size: &[i64], device: Device, draw: impl FnMut(i64) -> f32) -> Result<Tensor, TchError> {
    let values: Vec<f32> = (0..size.iter().product()).map(draw).collect();
    torch::upload(&values, size, device)
}
