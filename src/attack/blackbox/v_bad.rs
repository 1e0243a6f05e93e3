// SPDX-License-Identifier: MPL-2.0

//! V-BAD: black-box attack by patches of a tentative direction (Jiang et al., *Black-box Adversarial Attacks on Video
//! Recognition Models*, ACM MM 2019).
//!
//! The tentative direction is the sign of another model's gradient, or drawn at random where there is none. What is sought
//! by queries is one coefficient for each of 8 x 8 patches a frame: the gradient by these is estimated by [`Nes`], and its
//! sign rectifies the tentative direction. The step is in what comes of that, within a bound on each value. The paper
//! attacks all frames; with keyframes it is the sparse variant of SVA (Wei et al., IJCV 2022).
//!
//! Two things differ from the published program. There the step of the untargeted attack is halved while it works, by a
//! comparison that slipped; here it is halved where twenty steps in a row brought nothing. And the program's probes of a
//! quarter of a gray level vanish in samples of 8 bits, so that they are larger here.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::nes::Nes;
use super::oracle::Oracle;
use super::patches::{Patches, random_signs};
use crate::attack::access::Scored;
use crate::attack::optimizer;
use crate::attack::target::Delta;
use crate::attack::{Config, Error};
use crate::torch;

/// The paper's bound on any value: 0.05 of 255.
pub const BOUND: f32 = 12.75;
/// Patches along each axis of a frame.
const GRID: usize = 8;
/// Queries for a gradient.
pub const PROBES: u32 = 48;
/// The size of a probe in gray levels.
pub const SIGMA: f32 = 2.0;
/// Steps in gray levels, the first one and the smallest.
const STEPS: [f32; 2] = [2.55, 0.255];
/// Steps without anything gained after which they are halved, and after which the attack is over.
const PATIENCE: u32 = 20;
const GIVE_UP: u32 = 200;

/// Attacks these frames, from a window's perturbation or from one that is drawn within the bound.
pub fn search<L: Scored>(
    oracle: &mut Oracle<L>,
    config: &Config,
    frames: &[usize],
    start: Option<Tensor>,
) -> Result<(), Error> {
    let (shape, device) = (oracle.shape(), oracle.device());
    let bound = if config.epsilon > 0.0 { config.epsilon } else { BOUND };
    let nes = Nes { probes: config.probes.unwrap_or(PROBES) as usize, sigma: config.probe.unwrap_or(SIGMA) };
    let mut rng = ChaCha8Rng::seed_from_u64(oracle.seed());
    let patches = Patches::new(frames.len(), GRID, shape, device);
    let mut values = match start {
        Some(values) => values,
        None => {
            let drawn: Vec<f32> =
                (0..frames.len() * shape.frame_len()).map(|_| rng.random_range(-bound..=bound)).collect();
            torch::upload(&drawn, &shape.of_frames(frames.len()), device)?
        }
    };
    let (mut step, mut least, mut since) = (STEPS[0], f64::INFINITY, 0);
    while oracle.next_iteration(config.max_iterations) {
        let delta = Delta { frames: frames.to_vec(), values };
        let answer = oracle.ask_one(&delta)?;
        if oracle.keep(&delta, &answer)? {
            return Ok(());
        }
        let lack = L::lack(&answer, oracle.criterion()).unwrap_or(f64::INFINITY);
        since = if lack < least { 0 } else { since + 1 };
        least = least.min(lack);
        if since >= GIVE_UP {
            return Ok(());
        }
        if since > 0 && since % PATIENCE == 0 {
            step = (step / 2.0).max(STEPS[1]);
        }
        let tentative = random_signs(&mut rng, frames.len(), shape, device)?;
        let rectified = match nes.gradient(oracle, &delta, &patches, &tentative, &mut rng)? {
            Some(gradient) => {
                let signs: Vec<f32> = gradient.iter().map(|g| if *g > 0.0 { -step } else { step }).collect();
                patches.spread(&signs, &tentative)?
            }
            // Nothing is known of any direction. Another draw may tell.
            None => tentative.f_mul_scalar(f64::from(step))?,
        };
        values = optimizer::clamp(delta.values.f_add(&rectified)?, bound)?;
    }
    Ok(())
}
