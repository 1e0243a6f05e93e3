// SPDX-License-Identifier: MPL-2.0

//! Sign-OPT (Cheng et al., ICLR 2020): descent on the radius at which a direction fools, by the sign of its slope along
//! random directions. A slope's sign takes one query where the slope itself takes a search. It is the search of Wang et al.
//! (*Reinforcement Learning Based Sparse Black-box Adversarial Attack on Video Recognition Models*, IJCAI 2021), who do it
//! on the salient part of key frames.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::deletion::Sparse;
use super::oracle::Oracle;
use super::radius::{Search, drawn, unit};
use crate::attack::access::Level;
use crate::attack::{Config, Error};

/// Directions for one estimate, as published.
pub const PROBES: u32 = 200;
/// How far from a direction they are tried, as a share of its length. Published is a thousandth, which is next to nothing
/// in samples of 8 bits.
pub const PROBE: f64 = 0.02;
/// The first step, and the smallest one that is worth a query.
const STEP: f64 = 0.2;
const LEAST_STEP: f64 = 1e-4;
/// Steps of a line search at the most.
const ALONG: u32 = 15;

/// From a direction and its radius.
pub fn search<L: Level>(
    oracle: &mut Oracle<L>,
    config: &Config,
    from: Sparse,
    mask: Option<&Tensor>,
) -> Result<(), Error> {
    let Sparse { radii, mut direction, mut radius } = from;
    let mut rng = ChaCha8Rng::seed_from_u64(oracle.seed());
    let probes = config.probes.unwrap_or(PROBES);
    let mut step = STEP;
    while step > LEAST_STEP && oracle.next_iteration(config.max_iterations) {
        let slope = slope(oracle, &radii, mask, &direction, radius, probes, &mut rng)?;
        let Some(slope) = unit(&slope)? else { return Ok(()) };
        let along =
            |step: f64| -> Result<Option<Tensor>, Error> { Ok(unit(&direction.f_sub(&slope.f_mul_scalar(step)?)?)?) };
        let (mut best, mut moved) = ((radius, direction.shallow_clone()), 0.0);
        let mut next = step;
        for _ in 0..ALONG {
            // A direction that fools no sooner than the best one is of no use.
            let Some(candidate) = along(next)?.filter(|_| next > LEAST_STEP) else { break };
            let better = radii.fools(oracle, &candidate, best.0)?;
            if better {
                let found = radii.bisect(oracle, &candidate, 0.0, best.0)?;
                (best, moved) = ((found, candidate), next);
                next *= 2.0;
            } else if moved > 0.0 {
                break;
            } else {
                next /= 4.0;
            }
        }
        step = if moved > 0.0 { moved } else { next };
        (radius, direction) = best;
    }
    Ok(())
}

/// The mean of directions, each by the sign of the radius's slope along it: where the window is not fooled any more at the
/// radius at hand, it is larger there.
fn slope<L: Level>(
    oracle: &mut Oracle<L>,
    radii: &Search,
    mask: Option<&Tensor>,
    direction: &Tensor,
    radius: f64,
    probes: u32,
    rng: &mut ChaCha8Rng,
) -> Result<Tensor, Error> {
    let mut sum = direction.f_zeros_like()?;
    for _ in 0..probes {
        let Some(drawn) = drawn(rng, direction, mask)? else { continue };
        let Some(near) = unit(&direction.f_add(&drawn.f_mul_scalar(PROBE)?)?)? else { continue };
        let sign = if radii.fools(oracle, &near, radius)? { -1.0 } else { 1.0 };
        sum = sum.f_add(&drawn.f_mul_scalar(sign)?)?;
    }
    Ok(sum)
}
