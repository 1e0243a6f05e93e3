// SPDX-License-Identifier: MPL-2.0

//! A first success by transfer: what leads a surrogate away from its own label is shown to the model that is attacked, a
//! query for each bound, the smallest one first. On the surrogate it is a descent by signs with a bound (PGD, Madry et al.,
//! ICLR 2018). Models of the same clips often share what they fall for (Papernot et al., 2016).
//!
//! The surrogate's labels need not be those of the model: only its own opinion of the clean window counts.

use std::time::Instant;

use tch::{Kind, TchError, Tensor};

use super::oracle::Oracle;
use super::values_of;
use crate::attack::access::Level;
use crate::attack::optimizer;
use crate::attack::outcome::Perturbation;
use crate::attack::surrogate::{Seen, Surrogate};
use crate::attack::target::Delta;
use crate::attack::{Config, Error};

/// Bounds in gray levels that are tried in turn, where none is set.
const BOUNDS: [f32; 6] = [2.0, 4.0, 8.0, 16.0, 32.0, 64.0];
/// Steps of the descent for each bound, and the share of the bound that one goes.
const STEPS: u32 = 8;
const STEP: f32 = 0.25;

/// A success, where one of them is. Each goes on from the one before.
pub fn first<L: Level>(
    oracle: &mut Oracle<L>,
    config: &Config,
    surrogate: &dyn Surrogate,
    frames: &[usize],
) -> Result<Option<Delta>, Error> {
    let mut delta = Delta { frames: frames.to_vec(), values: values_of(&Perturbation::new(), frames, oracle)? };
    // Of each picture, or of the window.
    let own = surrogate.look(&oracle.window(&delta)?)?.logits.f_argmax(-1, true)?;
    // The margin, since the probability of a sure model has no slope.
    let loss = |seen: &Seen| {
        let others = seen.logits.f_scatter_value(-1, &own, f64::NEG_INFINITY)?.f_amax([-1i64].as_slice(), true)?;
        seen.logits.f_gather(-1, &own, false)?.f_sub(&others)?.f_sum(Kind::Float)
    };
    let set = [config.epsilon];
    for bound in if config.epsilon > 0.0 { &set[..] } else { &BOUNDS } {
        if !oracle.next_iteration(config.max_iterations) {
            break;
        }
        let began = Instant::now();
        for _ in 0..STEPS {
            let gradient = surrogate.gradient(&oracle.window(&delta)?, &loss)?;
            let gradient = oracle.of_frames(&gradient, frames)?;
            delta.values = stepped(&delta.values, &gradient, *bound)?;
        }
        oracle.takes(began.elapsed());
        if oracle.fools(&delta)? {
            return Ok(Some(delta));
        }
    }
    Ok(None)
}

/// A step against a gradient's signs, within a bound.
fn stepped(values: &Tensor, gradient: &Tensor, bound: f32) -> Result<Tensor, TchError> {
    let step = gradient.f_sign()?.f_mul_scalar(f64::from(STEP * bound))?;
    optimizer::clamp(values.f_sub(&step)?, bound)
}
