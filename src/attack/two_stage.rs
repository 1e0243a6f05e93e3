// SPDX-License-Identifier: MPL-2.0

//! The two-stage attack of Section 3.1: while the window keeps its label, (alpha, beta) = (0, 1) and the class term of
//! Eq. 1 or Eq. 2 is descended; while it is fooled, (1, 0) and the L2,1 norm is. The smallest success seen is the
//! result. What is judged in every iteration is the frame as the stream can hold it, rounded to its own 8-bit samples.

use std::time::Instant;

use super::keyframes::Keyframes;
use super::optimizer::{Kind, Optimizer};
use super::run::{Counted, Progress, Size};
use super::state::State;
use super::{Config, Error, Objective, Perturbation, Scene, Selection, norm, weighted_sum};

/// A successful perturbation.
#[derive(Clone, Debug)]
pub struct Best {
    /// The perturbed frames and their perturbations before rendering.
    pub perturbation: Perturbation,
    /// What the model sees of them, frame after frame in the same order.
    pub seen: Vec<f32>,
    pub logits: Vec<f32>,
    /// L2,1 of `seen`.
    pub l21: f64,
    pub size: Size,
}

pub(super) struct Problem<'a, 'b> {
    pub scene: &'a mut dyn Scene,
    pub classifier: &'a mut Counted<'b>,
    pub config: &'a Config,
    /// The label to be left.
    pub label: usize,
    pub clean_logits: &'a [f32],
    pub clean_view: &'a [f32],
    /// The selection of keyframes has computed the gradient of what the first step is to lower.
    pub first_gradient: Option<Vec<f32>>,
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
}

pub(super) fn attack(
    problem: Problem,
    keyframes: &mut Keyframes,
    start: &[(usize, Vec<f32>)],
    progress: &mut dyn FnMut(Progress),
) -> Result<Found, Error> {
    let config = problem.config;
    let len = problem.scene.frame_len();
    carry_over(keyframes, start);
    if keyframes.count == 0 {
        return Ok(Found::default());
    }
    let mut state = State::new(problem, keyframes.chosen(), start);
    // One a frame, since frames may join.
    let new_optimizer = || Optimizer::new(config.optimizer, len);
    let mut optimizers: Vec<Optimizer> = state.frames.iter().map(|_| new_optimizer()).collect();
    let mut learning_rate = config.learning_rate;
    let mut found = Found::default();
    // Successes in the order they were found, which is that of falling size. The first one is confirmed.
    let mut successes: Vec<Best> = Vec::new();
    let mut was_fooled = false;
    let mut since_better = 0;
    let mut since_fooled = 0;
    let mut gradient = vec![0.0; state.delta.len()];
    let mut longest = std::time::Duration::ZERO;
    let mut began = Instant::now();
    state.observe();
    let carried = !start.is_empty();
    if carried || state.channels > 0 {
        // Their own logits, not the clean window's, say which stage is on.
        state.query()?;
    }
    loop {
        let l21 = norm::l21(&state.seen, len);
        let record = successes.last().map_or(f64::INFINITY, |best| best.l21);
        since_better += 1;
        if state.fooled() && l21 < record {
            if l21 < record * WORTH_WAITING {
                since_better = 0;
            }
            let first = successes.is_empty();
            let best = state.best(l21);
            if first && !state.confirm(&best)? {
                since_better = 1;
            } else {
                if first {
                    let calls = state.problem.classifier.calls();
                    progress(Progress::Improved(&best, calls));
                    found.queries_first_success = Some(calls.queries);
                    found.iterations_first_success = Some(found.iterations);
                }
                if !state.has_second_reading() {
                    // Nothing can send the attack back to a larger one.
                    successes.clear();
                }
                successes.push(best);
            }
        }
        since_fooled = if state.fooled() { 0 } else { since_fooled + 1 };
        longest = longest.max(began.elapsed());
        let patient = config.patience == 0 || since_better < config.patience;
        let enough = config.stop_early || !patient;
        // Shrinking what an earlier window stands on could undo it.
        let kept = carried && found.iterations == 0;
        if !successes.is_empty() && (enough || kept) || found.iterations >= config.max_iterations {
            break;
        }
        began = Instant::now();
        // Not begun if it would not be finished in time, going by the slowest so far.
        if state.problem.deadline.is_some_and(|d| began + longest > d) {
            found.out_of_time = true;
            break;
        }
        if (state.problem.canceled)() {
            return Err(Error::Canceled);
        }
        let stalled = successes.is_empty() && config.grow_after > 0;
        if stalled && since_fooled > config.grow_after && keyframes.count < keyframes.order.len() {
            if matches!(config.selection, Selection::Gradient(_)) {
                // What was missing on the clean window may not be what is missing here.
                keyframes.rank_rest(&state.frame_weights()?);
            }
            let before = keyframes.count;
            keyframes.count = (before + config.grow_by as usize).min(keyframes.order.len());
            state.add(&keyframes.order[before..keyframes.count]);
            optimizers.resize_with(keyframes.count, new_optimizer);
            gradient.resize(state.delta.len(), 0.0);
            since_fooled = 1;
        }
        found.iterations += 1;
        if config.objective == Objective::WeightedSum {
            state.class_gradient(&mut gradient, found.iterations)?;
            weighted_sum::add_norm(&state.delta, len, &mut gradient);
        } else if state.fooled() {
            norm::l21_gradient(&state.delta, len, &mut gradient);
        } else {
            if was_fooled {
                // The boundary lies within the last step: look for it with smaller ones.
                learning_rate *= config.learning_rate_decay;
            }
            state.class_gradient(&mut gradient, found.iterations)?;
        }
        was_fooled = state.fooled();
        // An earlier window stands on these: to change them would undo it.
        if state.frames.len() > start.len() {
            gradient[..start.len() * len].fill(0.0);
        }
        if config.optimizer == Kind::Adam && config.objective == Objective::TwoStage {
            unit_rms(&mut gradient);
        }
        let frames = state.delta.chunks_exact_mut(len).zip(gradient.chunks_exact(len));
        for (optimizer, (delta, gradient)) in optimizers.iter_mut().zip(frames) {
            optimizer.descend(learning_rate, delta, gradient);
        }
        if config.epsilon > 0.0 {
            for d in &mut state.delta {
                *d = d.clamp(-config.epsilon, config.epsilon);
            }
        }
        state.observe();
        state.query()?;
    }
    found.best = state.settle(successes)?;
    Ok(found)
}

/// A success must be this much smaller than the smallest to renew the patience: the last per cent is not worth its
/// queries.
const WORTH_WAITING: f64 = 0.99;

/// Puts the frames that carry a perturbation first among the keyframes.
fn carry_over(keyframes: &mut Keyframes, start: &[(usize, Vec<f32>)]) {
    let carried = |k: &usize| start.iter().any(|(frame, _)| frame == k);
    let new = keyframes.chosen().iter().filter(|k| !carried(k)).count();
    let mut order: Vec<usize> = start.iter().map(|(frame, _)| *frame).collect();
    order.extend(keyframes.order.iter().filter(|k| !carried(k)));
    keyframes.order = order;
    // The carried ones stay as they are, so that at least one other is needed.
    keyframes.count = (start.len() + new.max(1)).min(keyframes.order.len());
}

/// Both stages' gradients at one scale: Adam's moments are shared by two losses of unrelated units.
fn unit_rms(gradient: &mut [f32]) {
    let rms = norm::l2(gradient) / (gradient.len().max(1) as f64).sqrt();
    if rms > 0.0 {
        let scale = (1.0 / rms) as f32;
        gradient.iter_mut().for_each(|g| *g *= scale);
    }
}
