// SPDX-License-Identifier: MPL-2.0

//! Attacks without gradients, on what a level of access lets be asked ([`super::access`]). They know of the target what
//! [`Query`] tells, through an [`Oracle`] that counts every view the model is shown.

pub mod deletion;
pub mod i2v;
pub mod nes;
pub mod opt;
pub mod oracle;
pub mod patches;
pub mod radius;
mod shrink;
pub mod sign_opt;
pub mod squares;
pub mod starts;
pub mod stde;
mod tentative;
mod transferred;
pub mod v_bad;

use std::time::Instant;

use tch::Tensor;

use self::oracle::{Asked, Bounds, Oracle};
use super::access::{Access, Label, Level, Logits, Scored, Scores};
use super::calls::{Calls, Purpose, checked};
use super::config::nick;
use super::outcome::{Outcome, Perturbation, Progress};
use super::run::{Start, check_labels, fits, opening};
use super::select::Keyframes;
use super::target::{Delta, Query};
use super::{Config, Error, Search};
use crate::torch;

/// Attacks a window. A perturbation of another window is tried first, and V-BAD goes on from there. Frames that carry one as
/// part of an earlier window keep it where the attack leaves them alone. `canceled` is asked before every query.
pub fn run(
    target: &mut dyn Query,
    config: &Config,
    start: Start,
    canceled: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, Error> {
    let began = Instant::now();
    let shape = target.shape();
    check_labels(config, shape.classes)?;
    if canceled() {
        return Err(Error::Canceled);
    }
    let logits = checked(&target.logits_of(&(0..shape.real).collect::<Vec<_>>())?, shape.classes)?;
    let mut calls = Calls::default();
    calls.note_forwards(1, Purpose::Clean);
    let (mut outcome, criterion) = opening(config, &logits, calls, began, progress);
    if outcome.already_fooled || config.max_iterations == 0 {
        return Ok(outcome);
    }
    let bounds =
        Bounds { most: config.max_queries, deadline: config.time_budget.map(|budget| began + budget), canceled };
    let norm = config.minimized_norm();
    let spent = (calls, began.elapsed());
    let (carried, start) = match start {
        Start::Carried(carried) => (carried_by(carried, target)?, carried),
        Start::Tried(tried) => (Vec::new(), tried),
    };
    // What is carried is there whatever the bound is now.
    let start = if carried.is_empty() && !fits(start, config, shape) { &Perturbation::new() } else { start };
    let keyframes = &mut outcome.keyframes;
    let (asked, ended) = match config.access {
        Access::Label => {
            let mut oracle =
                Oracle::<Label>::new(target, bounds, criterion, norm, config.seed, spent, carried, progress);
            let ended = match config.search.needs() {
                Access::Label => by_labels(&mut oracle, config, start, keyframes),
                _ => Err(Error::NeedsScores { what: nick(config.search) }),
            };
            (oracle.finish(), ended)
        }
        Access::Scores => {
            let mut oracle =
                Oracle::<Scores>::new(target, bounds, criterion, norm, config.seed, spent, carried, progress);
            let ended = by_answers(&mut oracle, config, start, keyframes);
            (oracle.finish(), ended)
        }
        Access::Logits | Access::Gradient => {
            let mut oracle =
                Oracle::<Logits>::new(target, bounds, criterion, norm, config.seed, spent, carried, progress);
            let ended = by_answers(&mut oracle, config, start, keyframes);
            (oracle.finish(), ended)
        }
    };
    match ended {
        Err(Error::Spent) => outcome.out_of_queries = !asked.out_of_time,
        ended => ended?,
    }
    outcome.take_asked(asked, began);
    Ok(outcome)
}

/// Attacks that need labels alone.
fn by_labels<L: Level>(
    oracle: &mut Oracle<L>,
    config: &Config,
    start: &Perturbation,
    keyframes: &mut Keyframes,
) -> Result<(), Error> {
    let Some((chosen, _)) = begun(oracle, config, start, keyframes)? else { return Ok(()) };
    match config.search {
        Search::I2v => i2v::search(oracle, config, &chosen),
        Search::Squares => squares::search(oracle, config, &chosen),
        Search::Stde => stde::search(oracle, config, &chosen),
        _ => by_radius(oracle, config, chosen, keyframes),
    }
}

/// Attacks on the radius at which a direction fools.
fn by_radius<L: Level>(
    oracle: &mut Oracle<L>,
    config: &Config,
    chosen: Vec<usize>,
    keyframes: &mut Keyframes,
) -> Result<(), Error> {
    let shape = oracle.shape();
    let clean = oracle.clean()?.f_index_select(0, &torch::index(&chosen, oracle.device())?)?;
    let mask = config.region.mask(&clean)?;
    oracle.turn_to(Purpose::Start);
    let radii = radius::Search::new(chosen.clone(), shape, config);
    let Some((direction, radius)) = starts::first(oracle, &radii, &config.donors, mask.as_ref())? else {
        return Ok(());
    };
    if config.stop_early {
        return Ok(());
    }
    let mut found = deletion::Sparse { radii, direction, radius };
    if let Some(bound) = config.selection.deletes() {
        oracle.turn_to(Purpose::Selection);
        found = deletion::delete(oracle, found, mask.as_ref(), bound)?;
        *keyframes = Keyframes::of(found.radii.frames.clone(), shape.real);
        let sparse = found.radii.at(&found.direction, found.radius)?;
        if !oracle.prefer(&sparse)? {
            return Ok(());
        }
    }
    oracle.turn_to(Purpose::Search);
    // Of the frames that are left.
    let places = found.radii.frames.iter().filter_map(|frame| chosen.iter().position(|all| all == frame));
    let places = torch::index(&places.collect::<Vec<_>>(), oracle.device())?;
    let mask = mask.map(|mask| mask.f_index_select(1, &places)).transpose()?;
    match config.search {
        Search::SignOpt => sign_opt::search(oracle, config, found, mask.as_ref()),
        _ => opt::search(oracle, config, found, mask.as_ref()),
    }
}

/// What came of a perturbation that was tried first.
enum Begun {
    Fooled,
    Not(Perturbation),
}

/// Tries what another window got, or frames carry already. A query, where there is any.
fn tried<L: Level>(oracle: &mut Oracle<L>, start: &Perturbation, keyframes: &mut Keyframes) -> Result<Begun, Error> {
    let shape = oracle.shape();
    let begun: Perturbation = start.iter().filter(|(frame, _)| *frame < shape.real).cloned().collect();
    if begun.is_empty() {
        return Ok(Begun::Not(begun));
    }
    oracle.turn_to(Purpose::Start);
    let frames: Vec<usize> = begun.iter().map(|(frame, _)| *frame).collect();
    *keyframes = Keyframes::of(frames.clone(), shape.real);
    let values = values_of(&begun, &frames, oracle)?;
    let delta = Delta { frames, values };
    Ok(if oracle.fools(&delta)? { Begun::Fooled } else { Begun::Not(begun) })
}

/// The frames to attack, and what of another window was tried in vain. Nothing where that fools, and where there are none.
fn begun<L: Level>(
    oracle: &mut Oracle<L>,
    config: &Config,
    start: &Perturbation,
    keyframes: &mut Keyframes,
) -> Result<Option<(Vec<usize>, Perturbation)>, Error> {
    let Begun::Not(begun) = tried(oracle, start, keyframes)? else { return Ok(None) };
    oracle.turn_to(Purpose::Selection);
    *keyframes = config.selection.ask(oracle)?;
    oracle.turn_to(Purpose::Search);
    let chosen = keyframes.chosen().to_vec();
    Ok((!chosen.is_empty()).then_some((chosen, begun)))
}

/// Attacks of either kind.
fn by_answers<L: Scored>(
    oracle: &mut Oracle<L>,
    config: &Config,
    start: &Perturbation,
    keyframes: &mut Keyframes,
) -> Result<(), Error> {
    match config.search.needs() {
        Access::Label => by_labels(oracle, config, start, keyframes),
        _ => by_scores(oracle, config, start, keyframes),
    }
}

/// Attacks that need to know how sure the model is.
fn by_scores<L: Scored>(
    oracle: &mut Oracle<L>,
    config: &Config,
    start: &Perturbation,
    keyframes: &mut Keyframes,
) -> Result<(), Error> {
    let Some((frames, begun)) = begun(oracle, config, start, keyframes)? else { return Ok(()) };
    let start = if begun.is_empty() { None } else { Some(values_of(&begun, &frames, oracle)?) };
    v_bad::search(oracle, config, &frames, start)
}

/// Frames that carry a perturbation already, and what.
fn carried_by(carried: &Perturbation, target: &dyn Query) -> Result<Vec<(usize, Tensor)>, Error> {
    let shape = target.shape();
    let size = shape.of_frames(1);
    let there = carried.iter().filter(|(frame, _)| *frame < shape.real);
    there.map(|(frame, values)| Ok((*frame, torch::upload(values, &size, target.device())?))).collect()
}

/// The values of some frames, `[1, frames, 3, height, width]`; zero where there are none.
fn values_of<L: Level>(begun: &Perturbation, frames: &[usize], oracle: &Oracle<L>) -> Result<Tensor, Error> {
    let shape = oracle.shape();
    let of = |frame: &usize| begun.iter().find(|(known, _)| known == frame).map(|(_, values)| values.clone());
    let values: Vec<f32> =
        frames.iter().flat_map(|frame| of(frame).unwrap_or_else(|| vec![0.0; shape.frame_len()])).collect();
    Ok(torch::upload(&values, &shape.of_frames(frames.len()), oracle.device())?)
}

impl Outcome {
    /// Takes over what came of a black box.
    fn take_asked(&mut self, asked: Asked, began: Instant) {
        self.calls = asked.calls;
        self.iterations = asked.iterations;
        self.out_of_time = asked.out_of_time;
        self.trail = asked.trail;
        self.duration = began.elapsed();
        let Some(best) = asked.best else { return };
        self.queries_first_success = asked.first.map(|(queries, _)| queries);
        self.iterations_first_success = asked.first.map(|(_, iterations)| iterations);
        self.take_best(best);
    }
}
