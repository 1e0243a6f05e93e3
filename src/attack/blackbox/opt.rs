// SPDX-License-Identifier: MPL-2.0

//! Opt-attack (Cheng et al., ICLR 2019): descent on the radius at which a direction fools, by differences of radii along
//! random directions, each of which takes a search. It is the search of Wei et al. (*Heuristic Black-box Adversarial Attacks
//! on Video Recognition Models*, AAAI 2020), whose constants these are.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::deletion::Sparse;
use super::oracle::Oracle;
use super::radius::{drawn, unit};
use crate::attack::access::Level;
use crate::attack::{Config, Error};

/// What differs by goal.
struct Constants {
    /// Directions for an estimate, q.
    probes: u32,
    /// The first step, alpha.
    step: f64,
    /// How far from a direction others are tried, beta, and where that is too near.
    probe: f64,
    least_probe: f64,
    /// The factor of an estimate.
    scale: f64,
}

const UNTARGETED: Constants = Constants { probes: 15, step: 0.2, probe: 0.01, least_probe: 1e-4, scale: 15.0 };
const TARGETED: Constants = Constants { probes: 20, step: 2.0, probe: 0.005, least_probe: 0.0005 / 16.0, scale: 1.0 };
/// The step where nothing gets better, at which probes come nearer.
const LEAST_STEP: f64 = 1e-4;
/// Steps of a line search, outwards and inwards, and by what they change.
const ALONG: u32 = 15;
const OUTWARDS: f64 = 2.0;
const INWARDS: f64 = 0.25;

/// From a direction and its radius.
pub fn search<L: Level>(
    oracle: &mut Oracle<L>,
    config: &Config,
    from: Sparse,
    mask: Option<&Tensor>,
) -> Result<(), Error> {
    let Sparse { radii, mut direction, mut radius } = from;
    let constants = if config.goal.is_targeted() { TARGETED } else { UNTARGETED };
    let mut rng = ChaCha8Rng::seed_from_u64(oracle.seed());
    let (mut step, mut probe) = (constants.step, constants.probe);
    while oracle.next_iteration(config.max_iterations) {
        let mut gradient = direction.f_zeros_like()?;
        let mut best = (radius, direction.shallow_clone());
        for _ in 0..config.probes.unwrap_or(constants.probes) {
            let Some(drawn) = drawn(&mut rng, &direction, mask)? else { continue };
            let Some(near) = unit(&direction.f_add(&drawn.f_mul_scalar(probe)?)?)? else { continue };
            let Some(there) = radii.radius(oracle, &near, radius)? else { continue };
            // Relative to the radius, so that a step means the same however far the boundary is.
            let slope = constants.scale * (there - radius) / (radius * probe);
            gradient = gradient.f_add(&drawn.f_mul_scalar(slope)?)?;
            if there < best.0 {
                best = (there, near);
            }
        }
        let Some(gradient) = unit(&gradient)? else { return Ok(()) };
        let mut line = (radius, direction.shallow_clone(), 0.0);
        let mut next = step;
        for _ in 0..ALONG {
            let Some(candidate) = unit(&direction.f_sub(&gradient.f_mul_scalar(next)?)?)? else { break };
            // One query tells whether it is worth a search.
            if radii.fools(oracle, &candidate, line.0)? {
                line = (radii.bisect(oracle, &candidate, 0.0, line.0)?, candidate, next);
                next *= OUTWARDS;
            } else if line.2 > 0.0 || next < LEAST_STEP {
                break;
            } else {
                next *= INWARDS;
            }
        }
        step = if line.2 > 0.0 { line.2 } else { next };
        if line.0 < best.0 {
            best = (line.0, line.1);
        }
        if step < LEAST_STEP {
            (step, probe) = (1.0, probe / 10.0);
            if probe < constants.least_probe {
                return Ok(());
            }
        }
        (radius, direction) = best;
    }
    Ok(())
}
