// SPDX-License-Identifier: MPL-2.0

//! One window from the clean pass to the result: selection (Section 3.2), then the search (Section 3.1).

use std::time::Instant;

use super::calls::{Calls, Counted, Purpose};
use super::criterion::{Criterion, argmax, softmax};
use super::outcome::{Best, Outcome, Perturbation, Progress, Size, Trail};
use super::search::{self, Found, Problem};
use super::select::{Clean, Keyframes};
use super::target::{Features, Shape};
use super::{Config, Error, Goal, Search, blackbox};

/// What an attack begins with.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// Perturbations that frames carry already, as part of an earlier window that overlaps: if they fool this one too, they
    /// stay as they are.
    Carried(&'a Perturbation),
    /// That of another window, which is tried before anything else: if it fools this one too, it is the result. If it does
    /// not, a walk goes on from there. If that gets nowhere, the attack begins with nothing.
    Tried(&'a Perturbation),
}

impl<'a> Start<'a> {
    /// What frames carry, and what is tried.
    fn parts(self, nothing: &'a Perturbation) -> (&'a Perturbation, &'a Perturbation) {
        match self {
            Self::Carried(carried) => (carried, nothing),
            Self::Tried(tried) => (nothing, tried),
        }
    }
}

impl<'a> From<&'a Perturbation> for Start<'a> {
    fn from(carried: &'a Perturbation) -> Self {
        Self::Carried(carried)
    }
}

/// Steps of a walk that begins with what another window got, at the most, and its patience: what it is for is few calls.
const STEPS: u32 = 8;
const PATIENCE: u32 = 1;

/// Attacks a window. `canceled` is asked once an iteration.
pub fn run<'a>(
    target: &mut dyn Features,
    config: &Config,
    start: impl Into<Start<'a>>,
    canceled: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, Error> {
    let start = start.into();
    if config.is_black_box() {
        return blackbox::run(target, config, start, canceled, progress);
    }
    let began = Instant::now();
    let mut target = Counted::new(target, config.max_queries);
    let shape = target.shape();
    check_labels(config, shape.classes)?;
    if canceled() {
        return Err(Error::Canceled);
    }
    let logits = target.logits_of(&(0..shape.real).collect::<Vec<_>>())?;
    let (mut outcome, criterion) = opening(config, &logits, target.calls(), began, progress);
    if outcome.already_fooled || config.max_iterations == 0 {
        return Ok(outcome);
    }
    if canceled() {
        return Err(Error::Canceled);
    }
    let deadline = config.time_budget.map(|budget| began + budget);
    let nothing = Perturbation::new();
    let (carried, tried) = start.parts(&nothing);
    let mut spent = 0;
    let tries = !tried.is_empty() && fits(tried, config, shape);
    if tries {
        let config = warm(config);
        target.turn_to(Purpose::Start);
        let frames = Keyframes::of(tried.iter().map(|(frame, _)| *frame).collect(), shape.real);
        let problem = Problem {
            target: &mut target,
            config: &config,
            criterion,
            clean_logits: &logits,
            start: tried,
            deadline,
            canceled,
        };
        let found = within_bounds(search::search(problem, frames.into(), &mut outcome.keyframes, progress))?;
        if found.best.is_some() || found.out_of_time || found.out_of_queries {
            outcome.take(found, &target, began);
            return Ok(outcome);
        }
        spent = found.iterations;
        outcome.keyframes = Keyframes::default();
    }
    let config = Config { max_iterations: config.max_iterations.saturating_sub(spent), ..config.clone() };
    let mut progress = |news: Progress| match news {
        Progress::Made(calls, iterations) => progress(Progress::Made(calls, spent + iterations)),
        news => progress(news),
    };
    let found = (|| {
        target.turn_to(Purpose::Selection);
        if tries {
            // Keyframes are chosen by the pass of the clean window, which is not the last one any more.
            target.logits_of(&(0..shape.real).collect::<Vec<_>>())?;
        }
        let mut clean = Clean { target: &mut target, logits: &logits, criterion, config: &config, canceled, deadline };
        let selected = config.selection.select(&mut clean)?;
        target.turn_to(Purpose::Search);
        let problem = Problem {
            target: &mut target,
            config: &config,
            criterion,
            clean_logits: &logits,
            start: carried,
            deadline,
            canceled,
        };
        search::search(problem, selected, &mut outcome.keyframes, &mut progress)
    })();
    let mut found = within_bounds(found)?;
    found.iterations += spent;
    found.iterations_first_success = found.iterations_first_success.map(|first| first + spent);
    outcome.take(found, &target, began);
    Ok(outcome)
}

/// Whether another window's perturbation can be tried: a shorter one may not have its frames, and the bound may have
/// changed.
pub(super) fn fits(tried: &Perturbation, config: &Config, shape: Shape) -> bool {
    tried.iter().all(|(frame, delta)| {
        let bounded = config.epsilon <= 0.0 || delta.iter().all(|v| v.abs() <= config.epsilon);
        *frame < shape.real && bounded
    })
}

/// That the queries are spent is a result.
fn within_bounds(found: Result<Found, Error>) -> Result<Found, Error> {
    match found {
        Err(Error::Spent) => Ok(Found { out_of_queries: true, ..Found::default() }),
        found => found,
    }
}

/// What a walk is asked that begins with what another window got. Where a look at that is not enough, it goes on from
/// there: the boundary of the next window is near.
fn warm(config: &Config) -> Config {
    let steps = if config.search == Search::Walk { config.max_iterations.min(STEPS) } else { 0 };
    Config { max_iterations: steps, patience: PATIENCE.min(config.patience), ..config.clone() }
}

impl Outcome {
    /// Takes over what a search has found.
    fn take(&mut self, found: Found, target: &Counted, began: Instant) {
        self.calls = target.calls();
        self.zero_gradient = target.zero_gradient();
        self.duration = began.elapsed();
        self.iterations = found.iterations;
        self.out_of_time = found.out_of_time;
        self.out_of_queries = found.out_of_queries;
        let Some(best) = found.best else { return };
        self.queries_first_success = found.queries_first_success;
        self.iterations_first_success = found.iterations_first_success;
        self.take_best(best);
    }

    /// Takes over a success.
    pub(super) fn take_best(&mut self, best: Best) {
        self.success = true;
        self.final_label = argmax(&best.logits);
        self.final_probability = softmax(&best.logits)[self.final_label];
        self.size = best.size;
        self.logits = best.logits;
        self.perturbation = best.perturbation;
        self.perturbation.sort_by_key(|(k, _)| *k);
    }
}

/// Whether the labels of a goal are the model's.
pub(super) fn check_labels(config: &Config, classes: usize) -> Result<(), Error> {
    let labels = [config.goal.label(), config.goal.target()];
    match labels.into_iter().flatten().find(|label| *label >= classes) {
        Some(found) => Err(Error::LabelOutOfRange { classes, found }),
        None => Ok(()),
    }
}

/// What is known of a window by the logits of its clean frames, which is told, and when an attack has succeeded.
pub(super) fn opening(
    config: &Config,
    logits: &[f32],
    calls: Calls,
    began: Instant,
    progress: &mut dyn FnMut(Progress),
) -> (Outcome, Criterion) {
    let clean = argmax(logits);
    let mut outcome = clean_outcome(clean, logits.to_vec());
    outcome.already_fooled = config.goal.already_fooled(clean);
    outcome.calls = calls;
    outcome.duration = began.elapsed();
    progress(Progress::CleanLabel(clean, outcome.clean_probability));
    progress(Progress::Made(calls, 0));
    let label = match config.goal {
        Goal::Untargeted { label: Some(label) } => label,
        _ => clean,
    };
    (outcome, Criterion { goal: config.goal, label, confidence: config.confidence })
}

/// That of a window that nothing has been done to.
fn clean_outcome(label: usize, logits: Vec<f32>) -> Outcome {
    let probability = softmax(&logits)[label];
    Outcome {
        clean_label: label,
        final_label: label,
        clean_probability: probability,
        final_probability: probability,
        success: false,
        already_fooled: false,
        keyframes: Keyframes::default(),
        perturbation: Vec::new(),
        calls: super::Calls::default(),
        queries_first_success: None,
        iterations_first_success: None,
        trail: Trail::default(),
        iterations: 0,
        size: Size::default(),
        out_of_time: false,
        out_of_queries: false,
        zero_gradient: false,
        duration: std::time::Duration::ZERO,
        logits,
    }
}
