// SPDX-License-Identifier: MPL-2.0

//! A perturbation under way: what the model sees of it, what it says, and the gradients of either stage.

use super::run::Size;
use super::two_stage::{Best, Problem};
use super::{Error, Objective, keyframes, loss, norm, weighted_sum};

/// The perturbation and the last look at it.
pub(super) struct State<'a, 'b> {
    pub problem: Problem<'a, 'b>,
    pub frames: Vec<usize>,
    pub delta: Vec<f32>,
    /// Perturbed minus clean view of the keyframes.
    pub seen: Vec<f32>,
    view: Vec<f32>,
    grad_view: Vec<f32>,
    /// `grad_view` is the class term's gradient at the last query, of every frame.
    at_hand: bool,
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
    /// Behind these, if there are any, the window is to be fooled. `logits` are those behind the one that resists most,
    /// and `grad_view` is the sum over those where it is not fooled.
    pub channels: usize,
    /// Real frames, and frames of the model's window.
    frame_counts: (usize, usize),
}

impl<'a, 'b> State<'a, 'b> {
    pub fn new(mut problem: Problem<'a, 'b>, frames: &[usize], start: &[(usize, Vec<f32>)]) -> Self {
        let len = problem.scene.frame_len();
        let channels = problem.scene.channels();
        // Of use only where the first step starts from the clean window as it is.
        let usable = start.is_empty() && channels == 0 && problem.config.objective == Objective::TwoStage;
        let first_gradient = problem.first_gradient.take().filter(|_| usable);
        let initial = match problem.config.objective {
            Objective::TwoStage => 0.0,
            Objective::WeightedSum => weighted_sum::INITIAL,
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
            at_hand: first_gradient.is_some(),
            grad_view: first_gradient.unwrap_or_else(|| vec![0.0; problem.clean_view.len()]),
            grad_channel: Vec::new(),
            logits: problem.clean_logits.to_vec(),
            on_second: false,
            lag: 0.0,
            second_view: Vec::new(),
            len,
            channels,
            frame_counts: (problem.scene.real_frames(), problem.scene.frames()),
            problem,
        }
    }

    pub fn add(&mut self, frames: &[usize]) {
        self.frames.extend(frames);
        self.delta.resize(self.frames.len() * self.len, 0.0);
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
    pub fn observe(&mut self) {
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

    pub fn query(&mut self) -> Result<(), Error> {
        if self.channels > 0 {
            return self.query_channels();
        }
        self.at_hand = false;
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

    /// Where the window is not fooled behind a channel, the gradient is wanted for certain, and it is taken while the
    /// pass is at hand. A channel's own derivative counts as the identity (straight-through).
    fn query_channels(&mut self) -> Result<(), Error> {
        let all: Vec<usize> = (0..self.frame_counts.1).collect();
        let mut gradient = std::mem::take(&mut self.grad_channel);
        gradient.resize(self.view.len(), 0.0);
        self.grad_view.fill(0.0);
        let mut weakest = f32::INFINITY;
        for channel in 0..self.channels {
            let Problem { scene, classifier, config, label, .. } = &mut self.problem;
            scene.received(channel, &mut self.view)?;
            classifier.count_channel_run();
            let logits = classifier.forward(&self.view)?;
            let lead = loss::lead(&logits, config.goal, *label);
            if lead <= config.confidence {
                let cotangent = loss::cotangent(&logits, config.goal, *label, config.loss);
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
        self.at_hand = true;
        Ok(())
    }

    /// Whether the window is fooled in the second reading of its frames too, if there is one. If not, it is that
    /// reading's logits, and gradient, by which the attack goes on. Later successes have to lead by as much more as
    /// this one led by less in the second reading.
    pub fn confirm(&mut self, best: &Best) -> Result<bool, Error> {
        let (len, counts) = (self.len, self.frame_counts);
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
        (self.on_second, self.at_hand) = (true, false);
        let Problem { config, label, .. } = &self.problem;
        let lead = |logits: &[f32]| loss::lead(logits, config.goal, *label);
        self.lag = self.lag.max(lead(&best.logits) - lead(&self.logits));
        Ok(self.fooled())
    }

    pub fn has_second_reading(&mut self) -> bool {
        self.problem.scene.second_reading().is_some()
    }

    /// The smallest of the successes that holds in the second reading. The first one is known to.
    pub fn settle(&mut self, mut successes: Vec<Best>) -> Result<Option<Best>, Error> {
        while successes.len() > 1 {
            let Some(best) = successes.pop() else { break };
            let Problem { config, label, .. } = &self.problem;
            let lead = loss::lead(&best.logits, config.goal, *label);
            if lead > config.confidence + self.lag && self.confirm(&best)? {
                return Ok(Some(best));
            }
        }
        Ok(successes.pop())
    }

    pub fn fooled(&self) -> bool {
        let Problem { config, label, .. } = &self.problem;
        let lag = if self.on_second { 0.0 } else { self.lag };
        loss::lead(&self.logits, config.goal, *label) > config.confidence + lag
    }

    /// Each real frame's weight as the class term has it where the attack stands. Its gradient serves the next step
    /// too.
    pub fn frame_weights(&mut self) -> Result<Vec<f64>, Error> {
        let (real, all) = self.frame_counts;
        self.differentiate(&(0..all).collect::<Vec<_>>())?;
        self.at_hand = true;
        let weights = keyframes::frame_means(&self.grad_view, all);
        Ok(keyframes::folded(weights, real))
    }

    /// Writes the class term's gradient with respect to the frames `wanted` of the view to `grad_view`, if it is not
    /// there yet.
    fn differentiate(&mut self, wanted: &[usize]) -> Result<(), Error> {
        if self.at_hand {
            return Ok(());
        }
        let Problem { config, label, .. } = &self.problem;
        let cotangent = match config.objective {
            Objective::TwoStage => loss::cotangent(&self.logits, config.goal, *label, config.loss),
            Objective::WeightedSum => weighted_sum::cotangent(&self.logits, config.goal, *label),
        };
        let classifier = &mut self.problem.classifier;
        classifier.backward(&cotangent, wanted, &mut self.grad_view)
    }

    pub fn class_gradient(&mut self, gradient: &mut [f32], iteration: u32) -> Result<(), Error> {
        let len = self.len;
        self.differentiate(&self.all_shown())?;
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
        if norm::l2(gradient).is_finite() { Ok(()) } else { Err(Error::GradientNotFinite { iteration }) }
    }

    pub fn best(&self, l21: f64) -> Best {
        let mut perturbation = Vec::new();
        let mut seen = Vec::new();
        let parts = self.delta.chunks_exact(self.len).zip(self.seen.chunks_exact(self.len));
        for (frame, (delta, part)) in self.frames.iter().zip(parts) {
            // What rounds to nothing leaves its frame clean.
            if part.iter().any(|v| *v != 0.0) {
                perturbation.push((*frame, delta.to_vec()));
                seen.extend_from_slice(part);
            }
        }
        let size = Size::of(&perturbation, &seen, self.frame_counts.0, self.len);
        Best { perturbation, seen, logits: self.logits.clone(), l21, size }
    }
}

/// The frames of the model's window that show real frame `frame`: itself, and for the last one those that repeat it.
fn shown(frame: usize, (real, all): (usize, usize)) -> std::ops::Range<usize> {
    if frame + 1 == real { frame..all } else { frame..frame + 1 }
}
