// SPDX-License-Identifier: MPL-2.0

//! Natural evolution strategies (Wierstra et al., JMLR 2014; Ilyas et al., ICML 2018): the gradient of what a goal lacks,
//! estimated by answers about pairs of probes on either side of a point.
//!
//! A probe has to be seen: a stream's samples are whole numbers, and one that is smaller than half a gray level rounds to
//! nothing. The published sizes do (V-BAD: 0.26 gray levels and less).

use rand_distr::{Distribution, StandardNormal};
use tch::Tensor;

use super::oracle::Oracle;
use super::patches::Patches;
use crate::attack::Error;
use crate::attack::access::Scored;
use crate::attack::target::Delta;

/// How a gradient is estimated.
#[derive(Clone, Copy, Debug)]
pub struct Nes {
    /// Probes, an even number: each direction is tried both ways.
    pub probes: usize,
    /// The standard deviation of a coefficient of a probe, in gray levels.
    pub sigma: f32,
}

impl Nes {
    /// The gradient of what the goal lacks by the coefficients of `patches`, at `at`, up to a positive factor: probes count by
    /// the rank of what is lacking there (Jiang et al., Section 4.3), so that it matters little how the loss is scaled.
    /// Nothing where no answer is better than another. `probes` queries.
    pub fn gradient<L: Scored>(
        self,
        oracle: &mut Oracle<L>,
        at: &Delta,
        patches: &Patches,
        tentative: &Tensor,
        rng: &mut impl rand::Rng,
    ) -> Result<Option<Vec<f32>>, Error> {
        let mut directions: Vec<Vec<f32>> = Vec::new();
        let mut lacks: Vec<Option<f64>> = Vec::new();
        for _ in 0..self.probes.div_ceil(2) {
            let direction: Vec<f32> = (0..patches.count()).map(|_| StandardNormal.sample(rng)).collect();
            let step = patches.spread(&direction, tentative)?.f_mul_scalar(f64::from(self.sigma))?;
            let probe = |values: Tensor| Delta { frames: at.frames.clone(), values };
            let pair = [probe(at.values.f_add(&step)?), probe(at.values.f_sub(&step)?)];
            for answer in oracle.ask(&pair)? {
                lacks.push(L::lack(&answer, oracle.criterion()));
            }
            directions.push(direction);
        }
        let Some(weights) = ranked(&lacks) else { return Ok(None) };
        let mut gradient = vec![0.0; patches.count()];
        for (direction, pair) in directions.iter().zip(weights.chunks_exact(2)) {
            let weight = (pair[0] - pair[1]) as f32;
            gradient.iter_mut().zip(direction).for_each(|(sum, value)| *sum += weight * value);
        }
        Ok(Some(gradient))
    }
}

/// Weights from -1/2 to 1/2 by the rank of what is lacking; equals share theirs, and answers that tell nothing of it have
/// the mean. Nothing where all are the same.
fn ranked(lacks: &[Option<f64>]) -> Option<Vec<f64>> {
    let mut known: Vec<f64> = lacks.iter().copied().flatten().collect();
    known.sort_by(f64::total_cmp);
    let (first, last) = (known.first()?, known.last()?);
    if first >= last {
        return None;
    }
    let span = (known.len() - 1) as f64;
    let rank = |lack: f64| {
        let below = known.partition_point(|other| *other < lack);
        let upto = known.partition_point(|other| *other <= lack);
        (below + upto - 1) as f64 / 2.0 / span - 0.5
    };
    Some(lacks.iter().map(|lack| lack.map_or(0.0, rank)).collect())
}

#[cfg(test)]
mod tests {
    use super::ranked;

    #[test]
    fn ranks_are_shared_by_equals_and_unknown_ones_have_the_mean() {
        let weights = ranked(&[Some(3.0), None, Some(-1.0), Some(3.0), Some(7.0)]);
        // Of four known ones in order: 0, then 1 and 2 in common, then 3.
        assert_eq!(weights, Some(vec![0.0, 0.0, -0.5, 0.0, 0.5]));
        assert_eq!(ranked(&[Some(2.0), Some(2.0), None]), None);
        assert_eq!(ranked(&[None, None]), None);
    }
}
