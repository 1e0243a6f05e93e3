// SPDX-License-Identifier: MPL-2.0

//! A direction to begin with, for attacks on the radius at which one fools: towards another clip that the model gives the
//! wanted label, as Wei et al. (AAAI 2020) begin, or stripes of random signs where there is none.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{TchError, Tensor};

use super::oracle::Oracle;
use super::patches::stripes;
use super::radius::{Search, length, unit};
use crate::attack::Error;
use crate::attack::access::{Answer, Level};
use crate::attack::donors::Donors;
use crate::attack::target::{Delta, Shape};
use crate::torch;

/// Stripes that are tried, and gray levels of each.
const DRAWN: usize = 8;
const LEVELS: [f64; 5] = [12.0, 24.0, 48.0, 96.0, 192.0];

/// The direction of the smallest radius among those that are tried, of length 1, and that radius. Nothing where none
/// fools.
pub fn first<L: Level>(
    oracle: &mut Oracle<L>,
    radii: &Search,
    donors: &Donors,
    mask: Option<&Tensor>,
) -> Result<Option<(Tensor, f64)>, Error> {
    let shape = oracle.shape();
    let (frames, device) = (radii.frames.len(), oracle.device());
    let clean = oracle.clean()?.f_index_select(0, &torch::index(&radii.frames, device)?)?.f_unsqueeze(0)?;
    let within = |values: Tensor| -> Result<Tensor, Error> {
        Ok(match mask {
            Some(mask) => values.f_mul(mask)?,
            None => values,
        })
    };
    let size = clean.size();
    let mut best: Option<(Tensor, f64)> = None;
    for donor in usable(donors, shape) {
        let towards = within(shown(donor, &radii.frames, &clean)?.f_sub(&clean)?)?;
        let whole = length(&towards)?;
        best = better(oracle, radii, &towards, &[whole], best)?;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(oracle.seed());
    // A target is nowhere near such patterns.
    let drawn = if oracle.criterion().goal.is_targeted() || !donors.windows().is_empty() { 0 } else { DRAWN };
    for _ in 0..drawn {
        let signs = within(torch::upload(&stripes(&mut rng, frames, shape), &size, device)?)?;
        let one = length(&signs)?;
        best = better(oracle, radii, &signs, &LEVELS.map(|levels| levels * one), best)?;
    }
    Ok(best)
}

/// These frames as the first clip has them with which the window fools, whatever the bound. A query for each that is tried.
/// The answer goes with them: they are no result yet.
pub fn replaced<L: Level>(
    oracle: &mut Oracle<L>,
    donors: &Donors,
    frames: &[usize],
) -> Result<Option<(Delta, Answer<L>)>, Error> {
    let clean = oracle.clean()?.f_index_select(0, &torch::index(frames, oracle.device())?)?.f_unsqueeze(0)?;
    for donor in usable(donors, oracle.shape()) {
        let values = shown(donor, frames, &clean)?.f_sub(&clean)?;
        let delta = Delta { frames: frames.to_vec(), values };
        let answer = oracle.ask_one(&delta)?;
        if oracle.holds(&answer) {
            return Ok(Some((delta, answer)));
        }
    }
    Ok(None)
}

fn usable(donors: &Donors, shape: Shape) -> impl Iterator<Item = &Vec<f32>> {
    donors.windows().iter().filter(move |donor| donor.len() >= shape.real * shape.frame_len())
}

/// Frames of a clip, shaped and placed as others are.
fn shown(donor: &[f32], frames: &[usize], like: &Tensor) -> Result<Tensor, TchError> {
    let size = like.size();
    let len = size[2..].iter().product::<i64>() as usize;
    let shown: Vec<f32> = frames.iter().flat_map(|k| donor[k * len..][..len].iter().copied()).collect();
    torch::upload(&shown, &size, like.device())
}

/// The better of the best one so far and a direction that may fool at one of some rising radii.
fn better<L: Level>(
    oracle: &mut Oracle<L>,
    radii: &Search,
    towards: &Tensor,
    at: &[f64],
    best: Option<(Tensor, f64)>,
) -> Result<Option<(Tensor, f64)>, Error> {
    let Some(direction) = unit(towards)? else { return Ok(best) };
    let least = best.as_ref().map_or(f64::INFINITY, |(_, radius)| *radius);
    let mut low = 0.0;
    // One query tells whether it can be better than the best one.
    for radius in at.iter().copied().filter(|radius| *radius < least).chain([least]).filter(|radius| radius.is_finite())
    {
        if radii.fools(oracle, &direction, radius)? {
            let found = radii.bisect(oracle, &direction, low, radius)?;
            return Ok(Some((direction, found)));
        }
        low = radius;
    }
    Ok(best)
}
