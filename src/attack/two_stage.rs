// SPDX-License-Identifier: MPL-2.0

//! The two-stage attack of Section 3.1: while the window keeps its label, (alpha, beta) = (0, 1) and the class term of Eq. 1 or Eq. 2 is
//! descended; while it is fooled, (1, 0) and the L2,1 norm is. The smallest success seen is the result. What is judged in every iteration
//! is the frame as the stream can hold it, rounded to its own 8-bit samples.

use std::time::Instant;

use super::keyframes::Keyframes;
use super::optimizer::{Kind, Optimizer};
use super::run::{Counted, Progress};
use super::{loss, norm, sparse, Config, Error, Objective, Scene};

/// A successful perturbation.
#[derive(Clone, Debug)]
pub struct Best {
    /// The perturbed frames and their perturbations before rendering.
    pub perturbation: Vec<(usize, Vec<f32>)>,
    /// What the model sees of them, frame after frame in the same order.
    pub seen: Vec<f32>,
    pub logits: Vec<f32>,
    /// L2,1 of `seen`.
    pub l21: f64,
}

pub(super) struct Problem<'a, 'b> {
    pub scene: &'a mut dyn Scene,
    pub classifier: &'a mut Counted<'b>,
    pub config: &'a Config,
    /// The label to be left.
    pub label: usize,
    pub clean_logits: &'a [f32],
    pub clean_view: &'a [f32],
    /// Gradient of the label's logit with respect to the clean view, if the selection of keyframes has computed it.
    pub score_gradient: Option<Vec<f32>>,
    pub deadline: Option<Instant>,
    pub cancelled: &'a dyn Fn() -> bool,
}

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
        return Ok(Found {
            best: None,
            queries_first_success: None,
            iterations_first_success: None,
            iterations: 0,
            out_of_time: false,
        });
    }
    let mut state = State::new(problem, keyframes.chosen(), start);
    // One a frame, since frames may join.
    let new_optimizer = || Optimizer::new(config.optimizer, len);
    let mut optimizers: Vec<Optimizer> = state.frames.iter().map(|_| new_optimizer()).collect();
    let mut learning_rate = config.learning_rate;
    let mut found = Found {
        best: None,
        queries_first_success: None,
        iterations_first_success: None,
        iterations: 0,
        out_of_time: false,
    };
    // Successes in the order they were found, which is that of falling size. The first one is confirmed.
    let mut candidates: Vec<Best> = Vec::new();
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
        let record = found.best.as_ref().map_or(f64::INFINITY, |best| best.l21);
        since_better += 1;
        if state.fooled() && l21 < record {
            if l21 < record * WORTH_WAITING {
                since_better = 0;
            }
            let first = found.best.is_none();
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
                candidates.push(best.clone());
                found.best = Some(best);
            }
        }
        since_fooled = if state.fooled() { 0 } else { since_fooled + 1 };
        longest = longest.max(began.elapsed());
        let patient = config.patience == 0 || since_better < config.patience;
        let enough = config.stop_early || !patient;
        // Shrinking what an earlier window stands on could undo it.
        let kept = carried && found.iterations == 0;
        if found.best.is_some() && (enough || kept) || found.iterations >= config.max_iterations {
            break;
        }
        began = Instant::now();
        // Not begun if it would not be finished in time, going by the slowest so far.
        if state.problem.deadline.is_some_and(|d| began + longest > d) {
            found.out_of_time = true;
            break;
        }
        if (state.problem.cancelled)() {
            return Err(Error::Cancelled);
        }
        let stalled = found.best.is_none() && config.grow_after > 0;
        if stalled && since_fooled > config.grow_after && keyframes.count < keyframes.order.len() {
            state.add(keyframes.order[keyframes.count]);
            keyframes.count += 1;
            optimizers.push(new_optimizer());
            gradient.resize(state.delta.len(), 0.0);
            since_fooled = 1;
        }
        found.iterations += 1;
        if config.objective == Objective::Sparse {
            state.class_gradient(&mut gradient, found.iterations)?;
            sparse::add_norm(&state.delta, len, &mut gradient);
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
        let frames = state
            .delta
            .chunks_exact_mut(len)
            .zip(gradient.chunks_exact(len));
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
    found.best = state.settle(candidates)?;
    Ok(found)
}

/// A success must be this much smaller than the smallest to renew the patience: the last per cent is not worth its queries.
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

/// The perturbation and the last look at it.
struct State<'a, 'b> {
    problem: Problem<'a, 'b>,
    frames: Vec<usize>,
    delta: Vec<f32>,
    /// Perturbed minus clean view of the keyframes.
    seen: Vec<f32>,
    view: Vec<f32>,
    grad_view: Vec<f32>,
    grad_channel: Vec<f32>,
    /// Gradient of the keyframes' views, each with those that repeat it.
    grad_shown: Vec<f32>,
    logits: Vec<f32>,
    /// The last query was of the second reading; its view, empty before the first.
    on_second: bool,
    /// By how much the lead was less in the second reading than in the first, at the most.
    lag: f32,
    second_view: Vec<f32>,
    len: usize,
    /// Behind these, if there are any, the window is to be fooled. `logits` are those behind the one that resists most, and `grad_view` is
    /// the sum over those where it is not fooled.
    channels: usize,
    /// Real frames, and frames of the model's window.
    frame_counts: (usize, usize),
}

impl<'a, 'b> State<'a, 'b> {
    fn new(problem: Problem<'a, 'b>, frames: &[usize], start: &[(usize, Vec<f32>)]) -> Self {
        let len = problem.scene.frame_len();
        let initial = match problem.config.objective {
            Objective::TwoStage => 0.0,
            Objective::Sparse => sparse::INITIAL,
        };
        let mut delta = vec![0.0; frames.len() * len];
        for (frame, d) in frames.iter().zip(delta.chunks_exact_mut(len)) {
            match start.iter().find(|(k, _)| k == frame) {
                Some((_, from)) => d.copy_from_slice(from),
                None => d.fill(initial),
            }
        }
        Self {
            frames: frames.to_vec(),
            seen: vec![0.0; delta.len()],
            grad_shown: vec![0.0; delta.len()],
            delta,
            view: problem.clean_view.to_vec(),
            grad_view: vec![0.0; problem.clean_view.len()],
            grad_channel: Vec::new(),
            logits: problem.clean_logits.to_vec(),
            on_second: false,
            lag: 0.0,
            second_view: Vec::new(),
            len,
            channels: problem.scene.channels(),
            frame_counts: (problem.scene.real_frames(), problem.scene.frames()),
            problem,
        }
    }

    fn add(&mut self, frame: usize) {
        self.frames.push(frame);
        self.delta.resize(self.delta.len() + self.len, 0.0);
        self.seen.resize(self.delta.len(), 0.0);
        self.grad_shown.resize(self.delta.len(), 0.0);
        self.observe();
    }

    /// The frames of the model's window that show any keyframe.
    fn all_shown(&self) -> Vec<usize> {
        let counts = self.frame_counts;
        self.frames.iter().flat_map(|k| shown(*k, counts)).collect()
    }

    /// Brings the view up to date with the perturbation.
    fn observe(&mut self) {
        let len = self.len;
        // `seen` holds the perturbed views first, and then what is left of them without the clean ones.
        let scene = &mut self.problem.scene;
        scene.perturbed(&self.frames, &self.delta, &mut self.seen);
        for (i, frame) in self.frames.iter().enumerate() {
            let seen = &mut self.seen[i * len..][..len];
            for k in shown(*frame, self.frame_counts) {
                self.view[k * len..][..len].copy_from_slice(seen);
            }
            let clean = &self.problem.clean_view[frame * len..][..len];
            seen.iter_mut().zip(clean).for_each(|(s, c)| *s -= c);
        }
    }

    fn query(&mut self) -> Result<(), Error> {
        if self.channels > 0 {
            return self.query_channels();
        }
        let changed = self.all_shown();
        let classifier = &mut self.problem.classifier;
        self.logits = if self.on_second {
            classifier.forward(&self.view)?
        } else {
            classifier.forward_changed(&self.view, &changed)?
        };
        self.on_second = false;
        Ok(())
    }

    /// Where the window is not fooled behind a channel, the gradient is wanted for certain, and it is taken while the pass is at hand. A
    /// channel's own derivative counts as the identity (straight-through).
    fn query_channels(&mut self) -> Result<(), Error> {
        let all: Vec<usize> = (0..self.frame_counts.1).collect();
        let mut gradient = std::mem::take(&mut self.grad_channel);
        gradient.resize(self.view.len(), 0.0);
        self.grad_view.fill(0.0);
        let mut weakest = f32::INFINITY;
        for channel in 0..self.channels {
            let Problem {
                scene,
                classifier,
                config,
                label,
                ..
            } = &mut self.problem;
            scene.received(channel, &mut self.view)?;
            classifier.count_channel_run();
            let logits = classifier.forward(&self.view)?;
            let lead = loss::lead(&logits, config.goal, *label);
            if lead <= config.confidence {
                let cotangent = loss::cotangent(&logits, config.goal, *label);
                classifier.backward(&cotangent, &all, &mut gradient)?;
                let sum = self.grad_view.iter_mut().zip(&gradient);
                sum.for_each(|(s, g)| *s += g);
            }
            if lead < weakest {
                weakest = lead;
                self.logits = logits;
            }
        }
        self.grad_channel = gradient;
        Ok(())
    }

    /// Whether the window is fooled in the second reading of its frames too, if there is one. If not, it is that reading's logits, and
    /// gradient, by which the attack goes on. Later successes have to lead by as much more as this one led by less in the second reading.
    fn confirm(&mut self, best: &Best) -> Result<bool, Error> {
        let (len, counts) = (self.len, self.frame_counts);
        if self.channels > 0 {
            return Ok(true);
        }
        let Some(second) = self.problem.scene.second_reading() else {
            return Ok(true);
        };
        // All frames anew: the keyframes may have been others at the last time.
        self.second_view.resize(self.view.len(), 0.0);
        for (k, view) in self.second_view.chunks_exact_mut(len).enumerate() {
            second.clean(k, view);
        }
        let mut perturbed = vec![0.0; len];
        for (frame, delta) in &best.perturbation {
            second.perturbed(&[*frame], delta, &mut perturbed);
            for k in shown(*frame, counts) {
                self.second_view[k * len..][..len].copy_from_slice(&perturbed);
            }
        }
        self.logits = self.problem.classifier.forward(&self.second_view)?;
        self.on_second = true;
        let Problem { config, label, .. } = &self.problem;
        let lead = |logits: &[f32]| loss::lead(logits, config.goal, *label);
        self.lag = self.lag.max(lead(&best.logits) - lead(&self.logits));
        Ok(self.fooled())
    }

    /// The smallest of the successes that holds in the second reading. The first one is known to.
    fn settle(&mut self, mut candidates: Vec<Best>) -> Result<Option<Best>, Error> {
        while candidates.len() > 1 {
            let Some(best) = candidates.pop() else { break };
            let Problem { config, label, .. } = &self.problem;
            let lead = loss::lead(&best.logits, config.goal, *label);
            if lead > config.confidence + self.lag && self.confirm(&best)? {
                return Ok(Some(best));
            }
        }
        Ok(candidates.pop())
    }

    fn fooled(&self) -> bool {
        let Problem { config, label, .. } = &self.problem;
        let lag = if self.on_second { 0.0 } else { self.lag };
        loss::lead(&self.logits, config.goal, *label) > config.confidence + lag
    }

    fn class_gradient(&mut self, gradient: &mut [f32], iteration: u32) -> Result<(), Error> {
        let (len, goal) = (self.len, self.problem.config.goal);
        let score_gradient = self.problem.score_gradient.take();
        let shared = iteration == 1
            && !goal.is_targeted()
            && self.channels == 0
            && self.problem.config.objective == Objective::TwoStage
            && self.delta.iter().all(|d| *d == 0.0);
        let cotangent = match self.problem.config.objective {
            Objective::TwoStage => loss::cotangent(&self.logits, goal, self.problem.label),
            Objective::Sparse => sparse::cotangent(&self.logits, goal, self.problem.label),
        };
        match score_gradient {
            // The label's score is what the first step lowers; the gradient is at hand, and saves a backward pass.
            Some(gradient) if shared => self.grad_view = gradient,
            _ if self.channels == 0 => {
                let wanted = self.all_shown();
                self.problem
                    .classifier
                    .backward(&cotangent, &wanted, &mut self.grad_view)?;
            }
            _ => {}
        }
        for (i, frame) in self.frames.iter().enumerate() {
            let sum = &mut self.grad_shown[i * len..][..len];
            sum.copy_from_slice(&self.grad_view[frame * len..][..len]);
            for k in shown(*frame, self.frame_counts).skip(1) {
                let grad = &self.grad_view[k * len..][..len];
                sum.iter_mut().zip(grad).for_each(|(s, g)| *s += g);
            }
        }
        let scene = &mut self.problem.scene;
        match scene.second_reading().filter(|_| self.on_second) {
            Some(second) => {
                // A frame that has just joined was not in the confirmation.
                let mut views = vec![0.0; self.delta.len()];
                second.perturbed(&self.frames, &self.delta, &mut views);
                second.backward(&self.frames, &self.grad_shown, gradient);
            }
            None => scene.backward(&self.frames, &self.grad_shown, gradient),
        }
        // Not finite as soon as any of them is not.
        if norm::l2(gradient).is_finite() {
            Ok(())
        } else {
            Err(Error::GradientNotFinite { iteration })
        }
    }

    fn best(&self, l21: f64) -> Best {
        let mut perturbation = Vec::new();
        let mut seen = Vec::new();
        let parts = self
            .delta
            .chunks_exact(self.len)
            .zip(self.seen.chunks_exact(self.len));
        for (frame, (delta, part)) in self.frames.iter().zip(parts) {
            // What rounds to nothing leaves its frame clean.
            if part.iter().any(|v| *v != 0.0) {
                perturbation.push((*frame, delta.to_vec()));
                seen.extend_from_slice(part);
            }
        }
        Best {
            perturbation,
            seen,
            logits: self.logits.clone(),
            l21,
        }
    }
}

/// The frames of the model's window that show real frame `frame`: itself, and for the last one those that repeat it.
fn shown(frame: usize, (real, all): (usize, usize)) -> std::ops::Range<usize> {
    if frame + 1 == real {
        frame..all
    } else {
        frame..frame + 1
    }
}
