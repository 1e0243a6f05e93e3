// SPDX-License-Identifier: MPL-2.0

//! I2V: a perturbation made on a model of pictures, and shown to one of video (Wei et al., *Cross-Modal Transferability of
//! Adversarial Examples from Images to Videos*, CVPR 2022).
//!
//! Each frame is led away from what the surrogate sees in it: the cosine between the features of the perturbed and of the
//! clean frame falls. The steps, their number and the bound are the paper's. The features are those that the surrogate
//! returns beside its logits; where it returns none, the logits. The model that is attacked is asked once more than about
//! the clean window, in the end.

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

use super::oracle::Oracle;
use super::patches::random_signs;
use crate::attack::access::Level;
use crate::attack::optimizer::{self, Optimizer};
use crate::attack::surrogate::Seen;
use crate::attack::target::Delta;
use crate::attack::{Config, Error};

/// The paper's bound, step and number of steps: 16 and 0.005 * 255 gray levels.
const BOUND: f32 = 16.0;
const STEP: f32 = 1.275;
const STEPS: u32 = 60;
/// Where it begins, in gray levels: at the clean frame the cosine has no slope.
const BEGIN: f64 = 0.01;

/// Attacks these frames. One query, and those that confirm a success.
pub fn search<L: Level>(oracle: &mut Oracle<L>, config: &Config, frames: &[usize]) -> Result<(), Error> {
    let surrogate = config.surrogate.as_deref().ok_or(Error::NeedsSurrogate)?;
    let (shape, device) = (oracle.shape(), oracle.device());
    let bound = config.bound_or(BOUND);
    let mut rng = ChaCha8Rng::seed_from_u64(oracle.seed());
    let values = random_signs(&mut rng, frames.len(), shape, device)?.f_mul_scalar(BEGIN)?;
    let mut delta = Delta { frames: frames.to_vec(), values };
    let nothing = Delta { frames: frames.to_vec(), values: delta.values.f_zeros_like()? };
    let clean = surrogate.look(&oracle.window(&nothing)?)?.features.f_flatten(1, -1)?;
    let loss = |seen: &Seen| {
        Tensor::f_cosine_similarity(&seen.features.f_flatten(1, -1)?, &clean, 1, 1e-8)?.f_sum(Kind::Float)
    };
    let mut optimizer = Optimizer::new(config.optimizer);
    let mut longest = Duration::ZERO;
    while oracle.iterations() < STEPS && oracle.has_time_for(longest)? && oracle.next_iteration(config.max_iterations) {
        let began = Instant::now();
        let gradient = surrogate.gradient(&oracle.window(&delta)?, &loss)?;
        let gradient = oracle.of_frames(&gradient, frames)?;
        delta.values = optimizer::clamp(optimizer.descend(STEP, &delta.values, &gradient)?, bound)?;
        longest = longest.max(began.elapsed());
    }
    oracle.fools(&delta)?;
    Ok(())
}
