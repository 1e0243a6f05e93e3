// SPDX-License-Identifier: MPL-2.0

//! The least radius at which a direction fools (Cheng et al., *Query-Efficient Hard-label Black-box Attack*, ICLR 2019):
//! what attacks make small that are told labels alone. Radii are L2 norms in gray levels.

use rand_distr::{Distribution, StandardNormal};
use tch::{Kind, TchError, Tensor};

use super::oracle::Oracle;
use crate::attack::access::Level;
use crate::attack::optimizer;
use crate::attack::target::{Delta, Shape};
use crate::attack::{Config, Error};
use crate::torch;

/// Where a direction's radius is looked for.
pub struct Search {
    /// The frames of a direction `[1, frames, 3, height, width]`.
    pub frames: Vec<usize>,
    /// A radius is known up to this share of itself.
    pub tolerance: f64,
    /// Steps outwards and inwards from where it is looked for first.
    pub grow: f64,
    pub shrink: f64,
    /// The largest radius.
    pub largest: f64,
    /// The smallest radius that is told from none: far below what samples of 8 bits can show.
    pub floor: f64,
    /// Bound on any value in gray levels; 0 for none. Where it holds values back, a radius is longer than what is added.
    pub bound: f32,
}

/// The largest radius of Wei et al., whose pixels are from 0 to 1.
const LARGEST: [f64; 2] = [320.0 * 255.0, 400.0 * 255.0];

impl Search {
    /// As Wei et al. (AAAI 2020) have it, but that a radius is known up to a hundredth of itself for either goal: their finer
    /// one is below what samples of 8 bits can tell.
    pub fn new(frames: Vec<usize>, shape: Shape, config: &Config) -> Self {
        let values = (frames.len() * shape.frame_len()) as f64;
        let largest = match config.epsilon {
            // Most values of most directions are at the bound there.
            bound if bound > 0.0 => 4.0 * f64::from(bound) * values.sqrt(),
            _ => LARGEST[usize::from(config.goal.is_targeted())],
        };
        Self {
            frames,
            tolerance: 0.01,
            grow: 1.01,
            shrink: 0.99,
            largest,
            floor: 1e-3 * values.sqrt(),
            bound: config.epsilon,
        }
    }

    /// The perturbation at a radius.
    pub fn at(&self, direction: &Tensor, radius: f64) -> Result<Delta, Error> {
        let values = optimizer::clamp(direction.f_mul_scalar(radius)?, self.bound)?;
        Ok(Delta { frames: self.frames.clone(), values })
    }

    /// Whether the window is fooled at this radius. A success that is smaller than all before is kept.
    pub fn fools<L: Level>(&self, oracle: &mut Oracle<L>, direction: &Tensor, radius: f64) -> Result<bool, Error> {
        oracle.fools(&self.at(direction, radius)?)
    }

    /// The radius of a direction of length 1, looked for around one that is near. Nothing where it is beyond the largest.
    pub fn radius<L: Level>(
        &self,
        oracle: &mut Oracle<L>,
        direction: &Tensor,
        near: f64,
    ) -> Result<Option<f64>, Error> {
        let (mut low, mut high);
        let near = near.max(self.floor);
        if self.fools(oracle, direction, near)? {
            (low, high) = (near * self.shrink, near);
            while high > self.floor && self.fools(oracle, direction, low)? {
                (low, high) = (low * self.shrink, low);
            }
        } else {
            (low, high) = (near, near * self.grow);
            while !self.fools(oracle, direction, high)? {
                if high > self.largest {
                    return Ok(None);
                }
                (low, high) = (high, high * self.grow);
            }
        }
        self.bisect(oracle, direction, low, high).map(Some)
    }

    /// Between a radius that is too small and one that fools.
    pub fn bisect<L: Level>(
        &self,
        oracle: &mut Oracle<L>,
        direction: &Tensor,
        mut low: f64,
        mut high: f64,
    ) -> Result<f64, Error> {
        while high - low > self.tolerance * high && high > self.floor {
            let middle = (low + high) / 2.0;
            if self.fools(oracle, direction, middle)? {
                high = middle;
            } else {
                low = middle;
            }
        }
        Ok(high)
    }
}

/// The length of a direction, in double precision.
pub fn length(direction: &Tensor) -> Result<f64, TchError> {
    let squares = direction.f_mul(direction)?.f_sum(Kind::Double)?;
    Ok(torch::download_f64(&squares)?[0].sqrt())
}

/// A direction of length 1; nothing where it has none.
pub fn unit(direction: &Tensor) -> Result<Option<Tensor>, TchError> {
    let length = length(direction)?;
    if length > 0.0 && length.is_finite() { direction.f_div_scalar(length).map(Some) } else { Ok(None) }
}

/// A direction drawn at random, of length 1, where the mask lets it.
pub fn drawn(rng: &mut impl rand::Rng, like: &Tensor, mask: Option<&Tensor>) -> Result<Option<Tensor>, TchError> {
    let values: Vec<f32> = (0..like.numel()).map(|_| StandardNormal.sample(rng)).collect();
    let values = torch::upload(&values, &like.size(), like.device())?;
    match mask {
        Some(mask) => unit(&values.f_mul(mask)?),
        None => unit(&values),
    }
}
