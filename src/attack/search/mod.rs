// SPDX-License-Identifier: MPL-2.0

//! The attack's loop: one step, one look, until patience, iterations or time are over. The smallest success is the
//! result. What is judged in every iteration is the frame as the stream can hold it, rounded to its own 8-bit samples.

mod boundary;
mod descent;
mod success;
mod trial;
mod walk;

use std::time::{Duration, Instant};

use tch::Tensor;

use self::descent::Descent;
use self::success::Success;
use self::trial::Trial;
use self::walk::Walk;
use super::calls::Counted;
use super::criterion::Criterion;
use super::outcome::{Best, Perturbation, Progress};
use super::select::{Keyframes, Selected};
use super::{Config, Error, Search};

/// What a search is over, and when it has to end.
pub(super) struct Problem<'a, 'b> {
    pub target: &'a mut Counted<'b>,
    pub config: &'a Config,
    pub criterion: Criterion,
    pub clean_logits: &'a [f32],
    /// Perturbations that frames carry already.
    pub start: &'a Perturbation,
    pub deadline: Option<Instant>,
    pub canceled: &'a dyn Fn() -> bool,
}

#[derive(Default)]
pub(super) struct Found {
    pub best: Option<Best>,
    pub queries_first_success: Option<u32>,
    pub iterations_first_success: Option<u32>,
    pub iterations: u32,
    pub out_of_time: bool,
    pub out_of_queries: bool,
}

/// How the parameters move.
trait Step {
    /// A success must be this much smaller than the smallest to renew the patience: the last per cent is not worth its
    /// queries.
    const IMPROVEMENT: f64;
    /// How many times the search goes on from where its smallest success does not hold in all readings, though a larger
    /// one may. It ends with that one otherwise.
    const ROUNDS: u32 = 0;

    /// How many times the iterations that are set as patience and for growth are had.
    fn endurance(&self) -> u32 {
        1
    }

    /// What that patience is multiplied by where this is the smallest success so far.
    fn effort(&self, _trial: &Trial, _best: &Success) -> f64 {
        1.0
    }

    /// The next parameters, from those that the trial has last looked at. `iteration` counts from 1.
    fn step(&mut self, trial: &mut Trial, iteration: u32) -> Result<Tensor, Error>;
}

/// Counts of iterations since something happened.
#[derive(Default)]
struct Since {
    /// A success that was worth waiting for.
    better: u32,
    /// Any success.
    fooled: u32,
    /// Readings that confirm were asked, while there is a success to ask about.
    asked: u32,
}

/// Iterations after which a walk asks about its smallest success, and how many of all are left when it does so at the
/// latest: what it walks on towards may not hold there, and it needs some to come back.
const ASK_AFTER: u32 = 20;
const ASK_BEFORE_END: [u32; 2] = [5, 1];

pub(super) fn search(
    problem: Problem,
    selected: Selected,
    keyframes: &mut Keyframes,
    progress: &mut dyn FnMut(Progress),
) -> Result<Found, Error> {
    *keyframes = selected.keyframes;
    let carried: Vec<usize> = problem.start.iter().map(|(frame, _)| *frame).collect();
    if !carried.is_empty() {
        keyframes.carry(&carried);
    }
    if keyframes.count == 0 {
        return Ok(Found::default());
    }
    let config = problem.config;
    let trial = Trial::new(problem, keyframes.chosen(), selected.first_gradient)?;
    match config.search {
        Search::TwoStage | Search::WeightedSum => run(trial, Descent::new(config), keyframes, progress),
        // The others ask for no gradient, and do not come here.
        _ => run(trial, Walk::default(), keyframes, progress),
    }
}

fn run<S: Step>(
    mut trial: Trial,
    stepper: S,
    keyframes: &mut Keyframes,
    progress: &mut dyn FnMut(Progress),
) -> Result<Found, Error> {
    let mut found = Found::default();
    // In the order they were found, which is that of falling size.
    let mut successes: Vec<Success> = Vec::new();
    match step_by_step(&mut trial, stepper, keyframes, progress, &mut found, &mut successes) {
        // In the middle of something that took more than was reckoned with.
        Err(Error::Spent) => {
            found.out_of_queries = true;
            found.settle(&mut trial, &mut successes, true)?;
        }
        ended => ended?,
    }
    Ok(found)
}

fn step_by_step<S: Step>(
    trial: &mut Trial,
    mut stepper: S,
    keyframes: &mut Keyframes,
    progress: &mut dyn FnMut(Progress),
    found: &mut Found,
    successes: &mut Vec<Success>,
) -> Result<(), Error> {
    let config = trial.problem.config;
    let mut since = Since::default();
    let mut rounds = 0;
    let mut longest = Duration::ZERO;
    // Queries of an iteration: a look in each reading that is looked at always.
    let mut dearest = trial.readings.always_looked_at();
    let mut confirming = Duration::ZERO;
    let mut began = Instant::now();
    loop {
        let asked = note_success(trial, S::IMPROVEMENT, successes, &mut since, found, progress)?;
        confirming = confirming.max(asked);
        progress(Progress::Made(trial.problem.target.calls(), found.iterations));
        since.fooled = if trial.fooled() { 0 } else { since.fooled + 1 };
        longest = longest.max(began.elapsed().saturating_sub(asked));
        let patience = f64::from(config.patience.saturating_mul(stepper.endurance()));
        let effort = successes.last().map_or(1.0, |best| stepper.effort(trial, best));
        let patient = config.patience == 0 || f64::from(since.better) < (patience * effort).round();
        // Shrinking what an earlier window stands on could undo it.
        let kept = !trial.problem.start.is_empty() && found.iterations == 0;
        let enough = config.stop_early || !patient || kept;
        let over = found.iterations >= config.max_iterations;
        since.asked = if successes.last().is_some_and(|best| !best.known) { since.asked + 1 } else { 0 };
        let left = config.max_iterations.saturating_sub(found.iterations);
        let ask = S::ROUNDS > 0 && since.asked > 0 && (since.asked >= ASK_AFTER || ASK_BEFORE_END.contains(&left));
        if !successes.is_empty() && enough || over {
            let goes_on = rounds < S::ROUNDS && !over && !config.stop_early && !kept;
            if !goes_on || found.ask(trial, successes)? {
                found.settle(trial, successes, over)?;
                if found.best.is_some() || over {
                    break;
                }
            }
            // It did not hold in all readings. The attack goes on by how much less it leads there. What does hold is near.
            rounds += 1;
            trial.look_again()?;
            let spent = if S::ROUNDS > 0 { (patience * effort / 2.0) as u32 } else { 0 };
            since = Since { better: spent, ..Since::default() };
        } else if ask {
            if !found.ask(trial, successes)? {
                since = Since::default();
            } else if let Some(best) = successes.last() {
                since.asked = 0;
                progress(Progress::Improved(&best.best(trial.shape)?));
            }
            trial.look_again()?;
        }
        began = Instant::now();
        // Not begun if it would not be finished in time, going by the slowest so far. A smaller success than the first is
        // still to be confirmed then.
        if trial.problem.deadline.is_some_and(|d| began + longest + confirming > d) {
            found.out_of_time = true;
            found.settle(trial, successes, true)?;
            break;
        }
        if trial.problem.target.left() < dearest.saturating_add(trial.readings.confirming()) {
            found.out_of_queries = true;
            found.settle(trial, successes, true)?;
            break;
        }
        let spent = trial.problem.target.calls().queries;
        if (trial.problem.canceled)() {
            return Err(Error::Canceled);
        }
        let grow_after = config.grow_after.saturating_mul(stepper.endurance());
        let stalled = successes.is_empty() && grow_after > 0 && since.fooled > grow_after;
        if stalled && keyframes.has_more() {
            trial.grow(keyframes)?;
            since.fooled = 1;
        }
        found.iterations += 1;
        let parameters = stepper.step(trial, found.iterations)?;
        trial.set(parameters)?;
        dearest = dearest.max(trial.problem.target.calls().queries - spent);
    }
    Ok(())
}

/// Keeps a success that is smaller than those before. Returns how long it took to confirm it.
fn note_success(
    trial: &mut Trial,
    improvement: f64,
    successes: &mut Vec<Success>,
    since: &mut Since,
    found: &mut Found,
    progress: &mut dyn FnMut(Progress),
) -> Result<Duration, Error> {
    since.better += 1;
    let size = trial.size()?;
    let record = successes.last().map_or(f64::INFINITY, |best| best.size);
    if !trial.fooled() || size >= record {
        return Ok(Duration::ZERO);
    }
    if size < record * improvement {
        since.better = 0;
    }
    let mut success = trial.success(size, found.iterations)?;
    let began = Instant::now();
    let confirms = successes.is_empty() && trial.confirms_first();
    if confirms && !trial.confirm(&mut success)? {
        since.better = 1;
        return Ok(began.elapsed());
    }
    success.known |= confirms;
    let asked = if confirms { began.elapsed() } else { Duration::ZERO };
    success.queries = trial.problem.target.calls().queries;
    let all_are_looked_at = trial.readings.are_all_looked_at();
    if confirms || all_are_looked_at && trial.problem.deadline.is_some() {
        progress(Progress::Improved(&success.best(trial.shape)?));
    }
    if all_are_looked_at {
        // Nothing can send the attack back to a larger one.
        found.note_first(&success);
        successes.clear();
    }
    successes.push(success);
    Ok(asked)
}

impl Found {
    fn note_first(&mut self, success: &Success) {
        self.queries_first_success.get_or_insert(success.queries);
        self.iterations_first_success.get_or_insert(success.iteration);
    }

    /// The same where `best` holds in all readings: of those before it the first that may hold as well, by what is known of
    /// the readings now.
    fn note_first_of(&mut self, before: &[Success], best: &Success, trial: &Trial) {
        let criterion = trial.problem.criterion;
        let first = before.iter().find(|earlier| trial.readings.may_hold(&earlier.logits, &criterion));
        self.note_first(first.unwrap_or(best));
    }

    /// Whether the smallest success holds in all readings. Where it does not, it goes, and with it those that lead by less
    /// than what it has lost there.
    fn ask(&mut self, trial: &mut Trial, successes: &mut Vec<Success>) -> Result<bool, Error> {
        let criterion = trial.problem.criterion;
        let Some(best) = successes.last_mut() else {
            return Ok(false);
        };
        if best.known || trial.can_confirm() && trial.confirm(best)? {
            best.known = true;
            if let Some((best, before)) = successes.split_last() {
                self.note_first_of(before, best, trial);
            }
            // Nothing can send the attack back to a larger one.
            successes.drain(..successes.len() - 1);
            return Ok(true);
        }
        successes.pop();
        successes.retain(|success| success.known || trial.readings.may_hold(&success.logits, &criterion));
        Ok(false)
    }

    /// The smallest of the successes that holds in all readings. Those that lead by less than what others have lost there
    /// are asked about only where the attack cannot go on.
    fn settle(&mut self, trial: &mut Trial, successes: &mut Vec<Success>, last: bool) -> Result<(), Error> {
        let criterion = trial.problem.criterion;
        while let Some(mut success) = successes.pop() {
            let asked = last || trial.readings.may_hold(&success.logits, &criterion);
            if success.known || asked && trial.can_confirm() && trial.confirm(&mut success)? {
                self.note_first_of(successes, &success, trial);
                self.best = Some(success.best(trial.shape)?);
                break;
            }
        }
        Ok(())
    }
}
