// SPDX-License-Identifier: MPL-2.0

//! STDE: a patch of another clip in few frames, by labels alone (Jiang et al., *Efficient Decision-based Black-box Patch
//! Attacks on Video Recognition*, ICCV 2023).
//!
//! A candidate is a rectangle and a bit for each frame. What it covers is shown as the other clip has it, or as stripes of
//! black and white a color where there is none. Differential evolution (Storn and Price, 1997) makes the covered pixels few:
//! edges move by the difference of two other candidates, and the bits by which these differ are drawn anew. A population of
//! 15 and the shares of frames at first, 0.6 and 0.7 with a target, are the paper's. The abstract and the published settings
//! are what is known here; the rates below are those that differential evolution is mostly used with.
//!
//! Where `epsilon` is set, the stripes are that far from the clean frame; a clip is shown as it is.
//!
//! A candidate that covers more than its parent could not take its place, and is not asked about. What is kept as the
//! result is the success of the smallest mean absolute perturbation.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::oracle::Oracle;
use super::patches::stripes;
use super::shrink::Rectangle;
use super::starts;
use crate::attack::access::Level;
use crate::attack::target::{Delta, Shape};
use crate::attack::{Config, Error, Purpose};
use crate::torch;

const POPULATION: usize = 15;
/// The share of the frames that a candidate has at first: untargeted, targeted.
const FRAMES: [f64; 2] = [0.6, 0.7];
/// The share of a side that it has at first, at the least.
const SIDE: f64 = 0.5;
/// Stripes that are tried.
const DRAWN: usize = 8;
/// What a difference is multiplied by, and how likely a part is taken from the mutant.
const FACTOR: f64 = 0.5;
const CROSSOVER: f64 = 0.7;
/// Generations without a smaller cover after which it is over.
const PATIENCE: u32 = 15;

/// Edges top, left, bottom, right in shares of the frame, and the places of the frames that are covered.
#[derive(Clone)]
struct Candidate {
    edges: [f64; 4],
    covers: Vec<bool>,
    fools: bool,
}

impl Candidate {
    fn drawn(rng: &mut impl Rng, frames: usize, share: f64) -> Self {
        let sides = [0, 1].map(|_| rng.random_range(SIDE..=1.0));
        let at = sides.map(|side| rng.random_range(0.0..=1.0 - side));
        let mut covers: Vec<bool> = (0..frames).map(|_| rng.random_bool(share)).collect();
        covers[rng.random_range(0..frames)] = true;
        Self { edges: [at[0], at[1], at[0] + sides[0], at[1] + sides[1]], covers, fools: false }
    }

    /// At least a row and a column.
    fn pixels(&self, shape: Shape) -> Rectangle {
        let [top, left, bottom, right] = self.edges;
        let side = |a: f64, b: f64, size: usize| {
            let at = |edge: f64| ((edge * size as f64).round() as usize).min(size);
            let first = at(a.min(b)).min(size - 1);
            [first, at(a.max(b)).max(first + 1) - first].map(|n| n as i64)
        };
        let [rows, columns] = [side(top, bottom, shape.height), side(left, right, shape.width)];
        Rectangle { at: [rows[0], columns[0]], size: [rows[1], columns[1]] }
    }

    fn covered(&self, shape: Shape) -> i64 {
        self.pixels(shape).area() * self.covers.iter().filter(|covers| **covers).count() as i64
    }

    /// A child of it, by two others and the best one.
    fn child(&self, rng: &mut impl Rng, best: &Self, others: [&Self; 2]) -> Self {
        let mut child = self.clone();
        child.fools = false;
        let [a, b] = others;
        let sure = rng.random_range(0..child.edges.len());
        for edge in 0..child.edges.len() {
            if edge == sure || rng.random_bool(CROSSOVER) {
                let moved = best.edges[edge] + FACTOR * (a.edges[edge] - b.edges[edge]);
                child.edges[edge] = moved.clamp(0.0, 1.0);
            }
        }
        for (place, covers) in child.covers.iter_mut().enumerate() {
            if rng.random_bool(CROSSOVER) {
                let differ = a.covers[place] != b.covers[place];
                *covers = if differ && rng.random_bool(FACTOR) { !best.covers[place] } else { best.covers[place] };
            }
        }
        if !child.covers.contains(&true) {
            let place = rng.random_range(0..child.covers.len());
            child.covers[place] = true;
        }
        child
    }
}

/// Attacks these frames.
pub fn search<L: Level>(oracle: &mut Oracle<L>, config: &Config, frames: &[usize]) -> Result<(), Error> {
    let shape = oracle.shape();
    let mut rng = ChaCha8Rng::seed_from_u64(oracle.seed());
    oracle.turn_to(Purpose::Start);
    let Some(texture) = texture(oracle, config, frames, &mut rng)? else { return Ok(()) };
    if config.stop_early {
        return Ok(());
    }
    oracle.turn_to(Purpose::Search);
    let share = FRAMES[usize::from(oracle.criterion().goal.is_targeted())];
    let mut all: Vec<Candidate> = (0..POPULATION).map(|_| Candidate::drawn(&mut rng, frames.len(), share)).collect();
    for candidate in &mut all {
        candidate.fools = fools(oracle, candidate, &texture)?;
    }
    let cost = |candidate: &Candidate| if candidate.fools { candidate.covered(shape) } else { i64::MAX };
    let mut since = 0;
    while since < PATIENCE && oracle.next_iteration(config.max_iterations) {
        let least = all.iter().map(cost).min();
        for place in 0..all.len() {
            let Some(best) = all.iter().min_by_key(|candidate| cost(candidate)).cloned() else { return Ok(()) };
            let others = [0, 1].map(|_| &all[(place + rng.random_range(1..all.len())) % all.len()]);
            let mut child = all[place].child(&mut rng, &best, others);
            if all[place].fools && child.covered(shape) >= all[place].covered(shape) {
                continue;
            }
            child.fools = fools(oracle, &child, &texture)?;
            if child.fools {
                all[place] = child;
            }
        }
        since = if all.iter().map(cost).min() < least { 0 } else { since + 1 };
    }
    Ok(())
}

/// A perturbation of all frames that fools, of which candidates show parts; nothing where there is none.
fn texture<L: Level>(
    oracle: &mut Oracle<L>,
    config: &Config,
    frames: &[usize],
    rng: &mut impl Rng,
) -> Result<Option<Delta>, Error> {
    let shape = oracle.shape();
    if !config.donors.windows().is_empty() {
        let Some((whole, answer)) = starts::replaced(oracle, &config.donors, frames)? else { return Ok(None) };
        // It has no bound, and is a result as it is.
        return Ok(oracle.keep(&whole, &answer)?.then_some(whole));
    }
    let bound = config.bound_or(255.0);
    for _ in 0..DRAWN {
        let signs: Vec<f32> = stripes(rng, frames.len(), shape).iter().map(|sign| sign * bound).collect();
        let values = torch::upload(&signs, &shape.of_frames(frames.len()), oracle.device())?;
        let whole = Delta { frames: frames.to_vec(), values };
        if oracle.fools(&whole)? {
            return Ok(Some(whole));
        }
    }
    Ok(None)
}

fn fools<L: Level>(oracle: &mut Oracle<L>, candidate: &Candidate, texture: &Delta) -> Result<bool, Error> {
    let shape = oracle.shape();
    let covered = candidate.covers.iter().enumerate().filter_map(|(place, covers)| covers.then_some(place));
    let places: Vec<usize> = covered.collect();
    let values = texture.values.f_index_select(1, &torch::index(&places, oracle.device())?)?;
    let patch = values.f_zeros_like()?;
    let pixels = candidate.pixels(shape);
    pixels.of(&patch)?.f_copy_(&pixels.of(&values)?)?;
    let frames = places.iter().map(|place| texture.frames[*place]).collect();
    oracle.fools(&Delta { frames, values: patch })
}
