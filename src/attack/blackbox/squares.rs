// SPDX-License-Identifier: MPL-2.0

//! A random search for signs (Square Attack, Andriushchenko et al., ECCV 2020), for windows of a video. Every value is at
//! the bound, one way or the other. A proposal turns the values of a square, in a run of the frames, to one sign a color; it
//! stays where the goal lacks less by it. One query a proposal, and no probe that is too small to be seen.
//!
//! Where the paper's bound is fixed, here it grows from a small one until the window is fooled, unless `epsilon` says what it
//! is. Signs are kept when it does. What is found is made smaller at the end (`shrink.rs`).

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::oracle::Oracle;
use super::patches::{sign, stripes};
use super::shrink::shrink;
use crate::attack::access::Scored;
use crate::attack::target::{Delta, Shape};
use crate::attack::{Config, Error};
use crate::torch;

/// The bound in gray levels at first, by what it grows, and proposals after which it does.
const BOUND: f32 = 16.0;
const GROWTH: f32 = 1.5;
const GROW_AFTER: u32 = 40;
/// The largest bound, where most of a picture would be gone.
const LARGEST: f32 = 64.0;
/// The share of a frame that a square covers at first, and the proposals after which it is halved.
const SHARE: f64 = 0.3;
const HALVED_AFTER: [u32; 6] = [10, 40, 120, 300, 800, 2000];

/// Attacks these frames.
pub fn search<L: Scored>(oracle: &mut Oracle<L>, config: &Config, frames: &[usize]) -> Result<(), Error> {
    let shape = oracle.shape();
    let mut rng = ChaCha8Rng::seed_from_u64(oracle.seed());
    let mut signs = stripes(&mut rng, frames.len(), shape);
    let mut bound = if config.epsilon > 0.0 { config.epsilon } else { BOUND };
    let (mut least, mut looked) = (f64::INFINITY, false);
    while oracle.next_iteration(config.max_iterations) {
        let iteration = oracle.iterations() - 1;
        let grows = config.epsilon <= 0.0 && bound < LARGEST && iteration > 0 && iteration.is_multiple_of(GROW_AFTER);
        if grows {
            bound = (bound * GROWTH).min(LARGEST);
            (least, looked) = (f64::INFINITY, false);
        }
        // A larger bound, and the first signs, are looked at as they are.
        let proposed = if looked { proposal(&mut rng, &signs, frames.len(), shape, iteration) } else { signs.clone() };
        let values: Vec<f32> = proposed.iter().map(|sign| sign * bound).collect();
        let values = torch::upload(&values, &shape.of_frames(frames.len()), oracle.device())?;
        let delta = Delta { frames: frames.to_vec(), values };
        let answer = oracle.ask_one(&delta)?;
        if oracle.keep(&delta, &answer)? {
            return if config.stop_early { Ok(()) } else { shrink(oracle, delta) };
        }
        let lack = L::lack(&answer, oracle.criterion()).unwrap_or(f64::INFINITY);
        // Where nothing is told of any, one is as good as another.
        if lack < least || lack == f64::INFINITY && least == f64::INFINITY {
            (least, signs) = (lack, proposed);
        }
        looked = true;
    }
    Ok(())
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
