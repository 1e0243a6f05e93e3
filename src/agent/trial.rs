// SPDX-License-Identifier: MPL-2.0

//! What a set of frames is worth: the beginning of an attack by labels alone.

use crate::attack::select::List;
use crate::attack::{Access, Config, Donors, Error, Features, Goal, Outcome, Perturbation, Search, run};

/// Queries of a trial: the clean window, the whole way to the donor, and halves of it. The radius is known up to a
/// sixty-fourth of the way.
const QUERIES: u32 = 8;
/// The mean absolute perturbation, in gray levels, by which a reward falls to 1/e: 0.05 of SVA's values from 0 to 1.
const SCALE: f64 = 0.05 * 255.0;
/// The reward of a window that is not fooled.
pub const LOST: f64 = -1.0;

/// Attacks these frames of a window on the way to a donor. Nothing where there are none.
pub fn attempt(
    target: &mut dyn Features,
    picked: &[bool],
    donor: &Donors,
    canceled: &dyn Fn() -> bool,
) -> Result<Option<Outcome>, Error> {
    let frames: Vec<usize> = (0..picked.len()).filter(|k| picked[*k]).collect();
    if frames.is_empty() {
        return Ok(None);
    }
    let config = Config {
        access: Access::Label,
        selection: List(frames).into(),
        donors: donor.clone(),
        stop_early: true,
        max_queries: Some(QUERIES),
        ..Config::of(Goal::Untargeted { label: None }, Search::SignOpt)
    };
    run(target, &config, &Perturbation::new(), canceled, &mut |_| {}).map(Some)
}

/// What an attempt is worth: SVA's reward.
pub fn reward(outcome: Option<&Outcome>) -> f64 {
    outcome.filter(|outcome| outcome.success).map_or(LOST, |outcome| (-outcome.size.map / SCALE).exp())
}
