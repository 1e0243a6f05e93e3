// SPDX-License-Identifier: MPL-2.0

//! V-BAD: black-box attack by patches of a tentative direction (Jiang et al., *Black-box Adversarial Attacks on Video
//! Recognition Models*, ACM MM 2019).
//!
//! The tentative direction is the sign of a surrogate's gradient, or drawn at random where there is none. What is sought
//! by queries is one coefficient for each of 8 x 8 patches a frame: the gradient by these is estimated by [`Nes`], and its
//! sign rectifies the tentative direction. The step is in what comes of that, within a bound on each value. The paper
//! attacks all frames; with keyframes it is the sparse variant of SVA (Wei et al., IJCV 2022).
//!
//! A targeted attack begins at a clip of the target. It draws its bound together, around the clean window, as long as the
//! target stays on top, and only what is within the bound is a success. Without such a clip it begins as an untargeted one does.
//!
//! Three things differ from the published program. There the step of the untargeted attack is halved while it works, by a
//! comparison that slipped; here it is halved where twenty steps in a row brought nothing. The program's probes, of a
//! quarter of a gray level and less, vanish in samples of 8 bits; these here are larger. Of several surrogates only the last
//! one has an effect there; here there is one.

use std::time::Instant;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::nes::Nes;
use super::oracle::Oracle;
use super::patches::Patches;
use super::starts;
use super::tentative::Tentative;
use crate::attack::access::Scored;
use crate::attack::optimizer;
use crate::attack::target::Delta;
use crate::attack::{Config, Error, Purpose};
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
/// What a bound is drawn together by, at first and at the least.
const DRAWN_IN: [f32; 2] = [127.5, 0.255];

/// Attacks these frames, from a window's perturbation, from a clip of the target, or from values that are drawn within the
/// bound.
pub fn search<L: Scored>(
    oracle: &mut Oracle<L>,
    config: &Config,
    frames: &[usize],
    start: Option<Tensor>,
) -> Result<(), Error> {
    let bound = config.bound_or(BOUND);
    let tentative = match &config.surrogate {
        Some(surrogate) => Tentative::Surrogate { surrogate: &**surrogate, aim: None },
        None => Tentative::Drawn,
    };
    let mut rectified = Rectified {
        nes: Nes { probes: config.probes.unwrap_or(PROBES) as usize, sigma: config.probe.unwrap_or(SIGMA) },
        patches: Patches::new(frames.len(), GRID, oracle.shape(), oracle.device()),
        tentative,
        rng: ChaCha8Rng::seed_from_u64(oracle.seed()),
    };
    if start.is_none() && oracle.criterion().goal.is_targeted() && !config.donors.windows().is_empty() {
        oracle.turn_to(Purpose::Start);
        let Some((donor, _)) = starts::replaced(oracle, &config.donors, frames)? else { return Ok(()) };
        oracle.turn_to(Purpose::Search);
        if let Tentative::Surrogate { surrogate, aim } = &mut rectified.tentative {
            *aim = Some(surrogate.look(&oracle.window(&donor)?)?.logits);
        }
        return draw_in(oracle, config, rectified, donor, bound);
    }
    push(oracle, config, rectified, (frames, start), bound)
}

/// The tentative direction, rectified by answers.
struct Rectified<'a> {
    nes: Nes,
    patches: Patches,
    tentative: Tentative<'a>,
    rng: ChaCha8Rng,
}

impl Rectified<'_> {
    /// A direction of signs that leads towards the goal, as far as answers tell.
    fn direction<L: Scored>(&mut self, oracle: &mut Oracle<L>, at: &Delta) -> Result<Tensor, Error> {
        let began = Instant::now();
        let tentative = self.tentative.signs(oracle, at, &mut self.rng)?;
        // No query begins that would end too late behind another look at a surrogate.
        oracle.takes(began.elapsed());
        match self.nes.gradient(oracle, at, &self.patches, &tentative, &mut self.rng)? {
            Some(gradient) => {
                let signs: Vec<f32> = gradient.iter().map(|g| if *g > 0.0 { -1.0 } else { 1.0 }).collect();
                Ok(self.patches.spread(&signs, &tentative)?)
            }
            // Nothing is known of any direction. Another draw may tell.
            None => Ok(tentative),
        }
    }
}

/// Steps until the goal is reached.
fn push<L: Scored>(
    oracle: &mut Oracle<L>,
    config: &Config,
    mut rectified: Rectified,
    (frames, start): (&[usize], Option<Tensor>),
    bound: f32,
) -> Result<(), Error> {
    let (shape, device) = (oracle.shape(), oracle.device());
    let mut values = match start {
        Some(values) => values,
        None => {
            let len = frames.len() * shape.frame_len();
            let drawn: Vec<f32> = (0..len).map(|_| rectified.rng.random_range(-bound..=bound)).collect();
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
        let moved = rectified.direction(oracle, &delta)?.f_mul_scalar(f64::from(step))?;
        values = optimizer::clamp(delta.values.f_add(&moved)?, bound)?;
    }
    Ok(())
}

/// Draws the bound in from one within which a clip of the target lies, as the partial-information attack of Ilyas et al.
/// (ICML 2018) does.
fn draw_in<L: Scored>(
    oracle: &mut Oracle<L>,
    config: &Config,
    mut rectified: Rectified,
    mut delta: Delta,
    goal: f32,
) -> Result<(), Error> {
    let (mut bound, mut by, mut since) = (255.0f32, DRAWN_IN[0], 0);
    while since < GIVE_UP && oracle.next_iteration(config.max_iterations) {
        let direction = rectified.direction(oracle, &delta)?;
        let (mut step, before) = (STEPS[0], bound);
        loop {
            let within = (bound - by).max(goal);
            let moved = delta.values.f_add(&direction.f_mul_scalar(f64::from(step))?)?;
            let tried = Delta { frames: delta.frames.clone(), values: optimizer::clamp(moved, within)? };
            let answer = oracle.ask_one(&tried)?;
            if oracle.holds(&answer) {
                // A success is one within the bound.
                if within <= goal && oracle.keep(&tried, &answer)? {
                    return Ok(());
                }
                (delta, bound, by) = (tried, within, 2.0 * by);
                break;
            }
            if step > STEPS[1] {
                step = (step / 2.0).max(STEPS[1]);
            } else if by > DRAWN_IN[1] {
                (by, step) = ((by / 2.0).max(DRAWN_IN[1]), STEPS[0]);
            } else {
                // Another direction may be a better one.
                break;
            }
        }
        since = if bound < before { 0 } else { since + 1 };
    }
    Ok(())
}
