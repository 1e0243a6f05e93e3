// SPDX-License-Identifier: MPL-2.0

//! A random search for signs (Square Attack, Andriushchenko et al., ECCV 2020), for windows of a video. Every value is at
//! the bound, one way or the other. A proposal turns the values of a square, in a run of the frames, to one sign a color; it
//! stays where the goal lacks less by it. One query a proposal, and no probe that is too small to be seen. Where labels alone
//! are told, other stripes are drawn instead.
//!
//! Where the paper's bound is fixed, here it is large and grows until the window is fooled, unless `epsilon` says what it
//! is: a success is cheaper to make smaller than to find at once. Frames and parts of the picture are left clean then
//! (`shrink.rs`). In the end each proposal turns a square and makes everything smaller at the same time; it stays where the
//! window is still fooled. Where `max-queries` leaves some it begins anew.
//!
//! With a surrogate and no target the first success is looked for on that one (`transferred.rs`).

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::oracle::Oracle;
use super::patches::{sign, stripes};
use super::shrink::{Rectangle, shrink};
use super::transferred;
use crate::attack::access::Level;
use crate::attack::target::{Delta, Shape};
use crate::attack::{Config, Error};
use crate::torch;

/// The bound in gray levels at first, by what it grows, and proposals after which it does.
const BOUND: f32 = 96.0;
const GROWTH: f32 = 1.5;
const GROW_AFTER: u32 = 25;
/// The largest bound, where most of a picture would be gone.
const LARGEST: f32 = 192.0;
/// The share of a frame that a square covers at first, and the proposals after which it is halved.
const SHARE: f64 = 0.3;
const HALVED_AFTER: [u32; 6] = [10, 40, 120, 300, 800, 2000];
/// What a proposal of the end multiplies all values by: at first, and at the most, where proposals fail.
const SMALLER: f64 = 0.85;
const SMALLER_AT_MOST: f64 = 0.98;
/// Where queries are bounded it begins anew, by other stripes, until so many times in a row have brought nothing smaller.
const IN_VAIN: u32 = 2;
/// Proposals in a row that fail in the end.
const PATIENCE: u32 = 20;

/// Attacks these frames.
pub fn search<L: Level>(oracle: &mut Oracle<L>, config: &Config, frames: &[usize]) -> Result<(), Error> {
    let mut rng = ChaCha8Rng::seed_from_u64(oracle.seed());
    let targeted = oracle.criterion().goal.is_targeted();
    let mut begun = match config.surrogate.as_deref().filter(|_| !targeted) {
        Some(surrogate) => transferred::first(oracle, config, surrogate, frames)?,
        None => None,
    };
    let mut in_vain = 0;
    while in_vain < IN_VAIN {
        let before = oracle.kept_size();
        let found = match begun.take() {
            None => first(oracle, config, frames, &mut rng)?,
            found => found,
        };
        let Some(success) = found else { return Ok(()) };
        if config.stop_early {
            return Ok(());
        }
        let rest = shrink(oracle, success)?;
        refine(oracle, config, rest, &mut rng)?;
        // Where queries are bounded they are there to be used.
        if config.max_queries.is_none() {
            break;
        }
        in_vain = if oracle.kept_size() < before { 0 } else { in_vain + 1 };
    }
    Ok(())
}

/// A success, where there is one.
fn first<L: Level>(
    oracle: &mut Oracle<L>,
    config: &Config,
    frames: &[usize],
    rng: &mut impl Rng,
) -> Result<Option<Delta>, Error> {
    let shape = oracle.shape();
    let mut signs = stripes(rng, frames.len(), shape);
    let mut bound = config.bound_or(BOUND);
    let (mut least, mut looked, begun) = (f64::INFINITY, false, oracle.iterations());
    while oracle.next_iteration(config.max_iterations) {
        let iteration = oracle.iterations() - begun - 1;
        let grows = config.epsilon <= 0.0 && bound < LARGEST && iteration > 0 && iteration.is_multiple_of(GROW_AFTER);
        if grows {
            bound = (bound * GROWTH).min(LARGEST);
            (least, looked) = (f64::INFINITY, false);
        }
        // A larger bound, and the first signs, are looked at as they are.
        let proposed = match looked {
            false => signs.clone(),
            // Nothing is told of any, and one is as good as another.
            true if least == f64::INFINITY => stripes(rng, frames.len(), shape),
            true => proposal(rng, &signs, frames.len(), shape, iteration),
        };
        let values: Vec<f32> = proposed.iter().map(|sign| sign * bound).collect();
        let values = torch::upload(&values, &shape.of_frames(frames.len()), oracle.device())?;
        let delta = Delta { frames: frames.to_vec(), values };
        let answer = oracle.ask_one(&delta)?;
        if oracle.keep(&delta, &answer)? {
            return Ok(Some(delta));
        }
        let lack = L::lack(&answer, oracle.criterion()).unwrap_or(f64::INFINITY);
        if lack < least || lack == f64::INFINITY && least == f64::INFINITY {
            (least, signs) = (lack, proposed);
        }
        looked = true;
    }
    Ok(None)
}

/// The signs with a square of some frames turned to one sign a color.
fn proposal(rng: &mut impl Rng, signs: &[f32], frames: usize, shape: Shape, iteration: u32) -> Vec<f32> {
    let [height, width] = [shape.height, shape.width];
    let halved = HALVED_AFTER.iter().filter(|after| iteration > **after).count();
    let share = SHARE / f64::from(1u32 << halved);
    let side = |n: usize| ((n as f64 * share.sqrt()).round() as usize).clamp(1, n);
    let (rows, columns) = (side(height), side(width));
    let (top, left) = (rng.random_range(0..=height - rows), rng.random_range(0..=width - columns));
    // All frames, or a run of them: what stays the same weighs most in some models, and what changes in others.
    let run = if rng.random() { frames } else { rng.random_range(1..=frames) };
    let first = rng.random_range(0..=frames - run);
    let colors = [sign(rng), sign(rng), sign(rng)];
    let mut proposed = signs.to_vec();
    for frame in first..first + run {
        for (color, to) in colors.iter().enumerate() {
            for row in top..top + rows {
                let from = frame * shape.frame_len() + (color * height + row) * width + left;
                proposed[from..from + columns].fill(*to);
            }
        }
    }
    proposed
}

/// Turns squares, or leaves them clean, and makes all values smaller, as long as that fools.
fn refine<L: Level>(
    oracle: &mut Oracle<L>,
    config: &Config,
    mut success: Delta,
    rng: &mut impl Rng,
) -> Result<(), Error> {
    let shape = oracle.shape();
    let (mut factor, mut failures) = (SMALLER, 0);
    while failures < PATIENCE && oracle.next_iteration(config.max_iterations) {
        let values = success.values.f_mul_scalar(factor)?;
        let side = |n: usize| ((n as f64 * share_of_side(failures)).round() as i64).clamp(1, n as i64);
        let size = [side(shape.height), side(shape.width)];
        let at = [shape.height as i64 - size[0], shape.width as i64 - size[1]].map(|most| rng.random_range(0..=most));
        let mut square = Rectangle { at, size }.of(&values)?;
        let _ = match rng.random_range(0..3) {
            0 => square.f_zero_()?,
            1 => square.f_mul_scalar_(-1.0)?,
            // As it is: smaller alone.
            _ => square,
        };
        let smaller = Delta { frames: success.frames.clone(), values };
        if oracle.fools(&smaller)? {
            (success, failures, factor) = (smaller, 0, SMALLER);
        } else {
            failures += 1;
            factor = factor.sqrt().min(SMALLER_AT_MOST);
        }
    }
    Ok(())
}

/// The share of a side that a square of the end has: smaller where larger ones have failed.
fn share_of_side(failures: u32) -> f64 {
    0.5 / f64::from(1 + failures / 4)
}
