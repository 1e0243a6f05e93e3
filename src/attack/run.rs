// SPDX-License-Identifier: MPL-2.0

//! One window from the clean pass to the result: selection (Section 3.2), then the search (Section 3.1).

use std::time::Instant;

use super::calls::Counted;
use super::criterion::{Criterion, argmax, softmax};
use super::outcome::{Outcome, Perturbation, Progress, Size};
use super::search::{self, Problem};
use super::select::{Clean, Keyframes};
use super::target::Features;
use super::{Config, Error, Goal};

/// Attacks a window. `start` holds the perturbations its frames carry already, as part of an earlier window that
/// overlaps: if they fool this one too, they stay as they are. `canceled` is asked once an iteration.
pub fn run(
    target: &mut dyn Features,
    config: &Config,
    start: &Perturbation,
    canceled: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, Error> {
    let began = Instant::now();
    let mut target = Counted::new(target);
    let shape = target.shape();
    let classes = shape.classes;
    let labels = [config.goal.label(), config.goal.target()];
    if let Some(found) = labels.into_iter().flatten().find(|l| *l >= classes) {
        return Err(Error::LabelOutOfRange { classes, found });
    }
    if canceled() {
        return Err(Error::Canceled);
    }
    let logits = target.logits_of(&(0..shape.real).collect::<Vec<_>>())?;
    let clean_label = argmax(&logits);
    let mut outcome = clean_outcome(clean_label, logits.clone());
    progress(Progress::CleanLabel(clean_label, outcome.clean_probability));
    progress(Progress::Made(target.calls(), 0));
    outcome.already_fooled = config.goal.already_fooled(clean_label);
    outcome.calls = target.calls();
    outcome.duration = began.elapsed();
    if outcome.already_fooled || config.max_iterations == 0 {
        return Ok(outcome);
    }
    if canceled() {
        return Err(Error::Canceled);
    }
    let label = match config.goal {
        Goal::Untargeted { label: Some(label) } => label,
        _ => clean_label,
    };
    let criterion = Criterion { goal: config.goal, label, confidence: config.confidence };
    let deadline = config.time_budget.map(|budget| began + budget);
    let mut clean = Clean { target: &mut target, logits: &logits, criterion, config, canceled, deadline };
    let selected = config.selection.select(&mut clean)?;
    let problem = Problem { target: &mut target, config, criterion, clean_logits: &logits, start, deadline, canceled };
    let found = search::search(problem, selected, &mut outcome.keyframes, progress)?;
    outcome.calls = target.calls();
    outcome.zero_gradient = target.zero_gradient();
    outcome.iterations = found.iterations;
    outcome.out_of_time = found.out_of_time;
    if let Some(best) = found.best {
        outcome.success = true;
        outcome.final_label = argmax(&best.logits);
        outcome.final_probability = softmax(&best.logits)[outcome.final_label];
        outcome.queries_first_success = found.queries_first_success;
        outcome.iterations_first_success = found.iterations_first_success;
        outcome.size = best.size;
        outcome.logits = best.logits;
        outcome.perturbation = best.perturbation;
        outcome.perturbation.sort_by_key(|(k, _)| *k);
    }
    outcome.duration = began.elapsed();
    Ok(outcome)
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
        iterations: 0,
        size: Size::default(),
        out_of_time: false,
        zero_gradient: false,
        duration: std::time::Duration::ZERO,
        logits,
    }
}
