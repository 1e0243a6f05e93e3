// SPDX-License-Identifier: MPL-2.0

//! Frames by deletion (Wei et al., AAAI 2020, Algorithm 1): from a direction in all frames those are left out one after
//! another without which it still fools, the ones first without which the model stays surest.

use tch::Tensor;

use super::oracle::Oracle;
use super::radius::{Search, unit};
use crate::attack::Error;
use crate::attack::access::Level;
use crate::attack::target::Delta;
use crate::torch;

/// A direction of length 1 in some frames, and its radius.
pub struct Sparse {
    pub radii: Search,
    pub direction: Tensor,
    pub radius: f64,
}

/// While the mean absolute perturbation is above `bound` a frame goes if that makes it smaller, and below it if the rest
/// still fools.
pub fn delete<L: Level>(
    oracle: &mut Oracle<L>,
    from: Sparse,
    mask: Option<&Tensor>,
    bound: f64,
) -> Result<Sparse, Error> {
    let order = order(oracle, &from)?;
    let mut kept = from;
    let mut mean = kept.mean(mask)?;
    for frame in order {
        if kept.radii.frames.len() < 2 {
            break;
        }
        let Some((radii, direction)) = kept.without(frame)? else { continue };
        let Some(radius) = radii.radius(oracle, &direction, kept.radius)? else { continue };
        let fewer = Sparse { radii, direction, radius };
        let of_fewer = fewer.mean(mask)?;
        if mean < bound || of_fewer < mean {
            (kept, mean) = (fewer, of_fewer);
        }
    }
    Ok(kept)
}

/// The frames that can go, by how sure the model is of another label without each. One query a frame. Those that cannot go
/// by themselves come last.
fn order<L: Level>(oracle: &mut Oracle<L>, from: &Sparse) -> Result<Vec<usize>, Error> {
    let mut scored = Vec::new();
    for (place, frame) in from.radii.frames.iter().enumerate() {
        let places: Vec<usize> = (0..from.radii.frames.len()).filter(|other| *other != place).collect();
        let delta = Delta {
            frames: places.iter().map(|place| from.radii.frames[*place]).collect(),
            values: from
                .direction
                .f_index_select(1, &torch::index(&places, from.direction.device())?)?
                .f_mul_scalar(from.radius)?,
        };
        let answer = oracle.ask_one(&delta)?;
        let fools = oracle.holds(&answer);
        // The less the label that is left has, the surer the model is of others.
        let sure = L::probability(&answer, oracle.criterion()).map_or(0.0, |own| 1.0 - own);
        scored.push((*frame, if fools { 1.0 + sure } else { 0.0 }));
    }
    scored.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(scored.into_iter().map(|(frame, _)| frame).collect())
}

impl Sparse {
    /// The rest of the direction, of length 1; nothing where nothing is left of it.
    fn without(&self, frame: usize) -> Result<Option<(Search, Tensor)>, Error> {
        let places: Vec<usize> =
            (0..self.radii.frames.len()).filter(|place| self.radii.frames[*place] != frame).collect();
        let rest = self.direction.f_index_select(1, &torch::index(&places, self.direction.device())?)?;
        let frames = places.iter().map(|place| self.radii.frames[*place]).collect();
        Ok(unit(&rest)?.map(|direction| (Search { frames, ..self.radii }, direction)))
    }

    /// The mean absolute perturbation of what may change.
    fn mean(&self, mask: Option<&Tensor>) -> Result<f64, Error> {
        let sum = torch::download_f64(&self.direction.f_abs()?.f_sum(tch::Kind::Double)?)?[0] * self.radius;
        let of_frame = match mask {
            Some(mask) => torch::download_f64(&mask.f_mean(tch::Kind::Double)?)?[0],
            None => 1.0,
        };
        Ok(sum / (self.direction.numel() as f64 * of_frame).max(1.0))
    }
}
