// SPDX-License-Identifier: MPL-2.0

//! One window from the clean pass to the result: selection (Section 3.2), then the two-stage attack (Section 3.1).

use std::time::{Duration, Instant};

use super::keyframes::{self, Keyframes, Weighing};
use super::two_stage::{self, Best};
use super::{Calls, Classifier, Config, Error, Goal, Perturbation, Scene, loss, norm};

/// A classifier whose calls are counted and whose output is checked.
pub struct Counted<'a> {
    inner: &'a mut dyn Classifier,
    calls: Calls,
    /// The last forward already had its backward.
    spent: bool,
    logits: Vec<f32>,
    /// Whether any gradient that was asked for was not zero, once one was.
    gradient: Option<bool>,
}

impl<'a> Counted<'a> {
    pub fn new(inner: &'a mut dyn Classifier) -> Self {
        Self { inner, calls: Calls::default(), spent: false, logits: Vec::new(), gradient: None }
    }

    /// Gradients were asked for, and every one was zero: nothing can come of the attack, whatever the model is.
    pub fn zero_gradient(&self) -> bool {
        self.gradient == Some(false)
    }

    /// Notes whether a gradient is zero; what a buffer holds of frames that were not asked for is older gradients. That
    /// of a loss that is reached is zero with right, by its cotangent.
    fn note_gradient(&mut self, cotangent: &[f32], gradient: &[f32]) {
        if self.gradient != Some(true) && cotangent.iter().any(|c| *c != 0.0) {
            self.gradient = Some(gradient.iter().any(|g| *g != 0.0));
        }
    }

    pub fn calls(&self) -> Calls {
        self.calls
    }

    pub fn classes(&self) -> usize {
        self.inner.classes()
    }

    pub fn last_logits(&self) -> &[f32] {
        &self.logits
    }

    pub fn forward(&mut self, view: &[f32]) -> Result<Vec<f32>, Error> {
        let logits = self.inner.forward(view)?;
        self.passed(logits)
    }

    pub fn forward_changed(&mut self, view: &[f32], changed: &[usize]) -> Result<Vec<f32>, Error> {
        let logits = self.inner.forward_changed(view, changed)?;
        self.passed(logits)
    }

    fn passed(&mut self, logits: Vec<f32>) -> Result<Vec<f32>, Error> {
        self.calls.forwards += 1;
        self.calls.queries += 1;
        self.spent = false;
        self.logits = logits;
        if self.logits.len() != self.classes() || self.logits.iter().any(|z| !z.is_finite()) {
            return Err(Error::NotFinite { classes: self.classes(), found: format!("{:?}", self.logits) });
        }
        Ok(self.logits.clone())
    }

    pub fn backward(&mut self, cotangent: &[f32], frames: &[usize], grad_view: &mut [f32]) -> Result<(), Error> {
        self.count_backward();
        self.inner.backward(cotangent, frames, grad_view)?;
        self.note_gradient(cotangent, grad_view);
        Ok(())
    }

    pub fn feature_weights(
        &mut self,
        cotangent: &[f32],
        weighing: Weighing,
        grad_view: &mut [f32],
    ) -> Result<Option<Vec<f64>>, Error> {
        let weights = self.inner.feature_weights(cotangent, weighing, grad_view)?;
        if weights.is_some() {
            self.count_backward();
            self.note_gradient(cotangent, grad_view);
        }
        Ok(weights)
    }

    pub fn count_channel_run(&mut self) {
        self.calls.channel_runs += 1;
    }

    fn count_backward(&mut self) {
        self.calls.backwards += 1;
        self.calls.queries += u32::from(self.spent);
        self.spent = true;
    }
}

/// What an attack on a window came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The model's label of the clean window.
    pub clean_label: usize,
    /// Its label of the result; the clean one where nothing was found.
    pub final_label: usize,
    pub clean_probability: f64,
    /// Probability of the final label after the attack.
    pub final_probability: f64,
    /// The attack has reached the goal.
    pub success: bool,
    /// The clean window needed no attack ([`Goal::already_fooled`]), and got none.
    pub already_fooled: bool,
    pub keyframes: Keyframes,
    /// Perturbed frames, ascending, with their perturbations; empty where there is none to apply.
    pub perturbation: Perturbation,
    pub calls: Calls,
    pub queries_first_success: Option<u32>,
    pub iterations_first_success: Option<u32>,
    pub iterations: u32,
    pub size: Size,
    /// The time budget ended the attack.
    pub out_of_time: bool,
    /// Every gradient that the attack took was zero: that it found nothing is no robustness.
    pub zero_gradient: bool,
    pub duration: Duration,
    /// Logits of the result.
    pub logits: Vec<f32>,
}

/// Sizes of a perturbation in gray levels of the model's view, over all real frames unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Size {
    /// Mean absolute perturbation of what the model sees of the pushed bytes.
    pub map: f64,
    /// The same before rendering and rounding.
    pub map_float: f64,
    /// `map` over the keyframes alone.
    pub map_keyframes: f64,
    pub max_abs: f64,
    pub l21: f64,
}

/// News of an attack under way, so that a caller in a hurry has something to take.
pub enum Progress<'a> {
    /// The label of the clean window.
    CleanLabel(usize),
    /// A new smallest success, and the calls it took.
    Improved(&'a Best, Calls),
}

/// Attacks a window. `start` holds the perturbations its frames carry already, as part of an earlier window that
/// overlaps: if they fool this one too, they stay as they are. `canceled` is asked once an iteration.
pub fn run(
    scene: &mut dyn Scene,
    classifier: &mut dyn Classifier,
    config: &Config,
    start: &[(usize, Vec<f32>)],
    canceled: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, Error> {
    let began = Instant::now();
    let deadline = config.time_budget.map(|b| began + b);
    let mut classifier = Counted::new(classifier);
    let classes = classifier.classes();
    let mut labels = [config.goal.label(), config.goal.target()].into_iter().flatten();
    if let Some(found) = labels.find(|l| *l >= classes) {
        return Err(Error::LabelOutOfRange { classes, found });
    }
    let (frames, len) = (scene.frames(), scene.frame_len());
    let mut view = vec![0.0; frames * len];
    for (k, v) in view.chunks_exact_mut(len).enumerate() {
        scene.clean(k, v);
    }
    if canceled() {
        return Err(Error::Canceled);
    }
    let clean_logits = classifier.forward(&view)?;
    let clean_label = loss::top(&clean_logits);
    progress(Progress::CleanLabel(clean_label));
    let label = match config.goal {
        Goal::Untargeted { label: Some(label) } => label,
        _ => clean_label,
    };
    let probability = |logits: &[f32], label: usize| loss::probabilities(logits)[label];
    let mut outcome = Outcome {
        clean_label,
        final_label: clean_label,
        clean_probability: probability(&clean_logits, clean_label),
        final_probability: probability(&clean_logits, clean_label),
        success: false,
        already_fooled: false,
        keyframes: Keyframes::default(),
        perturbation: Vec::new(),
        calls: classifier.calls(),
        queries_first_success: None,
        iterations_first_success: None,
        iterations: 0,
        size: Size::default(),
        out_of_time: false,
        zero_gradient: false,
        duration: began.elapsed(),
        logits: clean_logits.clone(),
    };
    if config.goal.already_fooled(clean_label) {
        outcome.already_fooled = true;
        return Ok(outcome);
    }
    if config.max_iterations == 0 {
        return Ok(outcome);
    }
    if canceled() {
        return Err(Error::Canceled);
    }
    let (keyframes, first_gradient) = keyframes::select(config, label, scene, &view, &mut classifier)?;
    outcome.keyframes = keyframes;
    let found = two_stage::attack(
        two_stage::Problem {
            scene,
            classifier: &mut classifier,
            config,
            label,
            clean_logits: &clean_logits,
            clean_view: &view,
            first_gradient,
            deadline,
            canceled,
        },
        &mut outcome.keyframes,
        start,
        progress,
    )?;
    outcome.calls = classifier.calls();
    outcome.zero_gradient = classifier.zero_gradient();
    outcome.iterations = found.iterations;
    outcome.out_of_time = found.out_of_time;
    if let Some(best) = found.best {
        outcome.success = true;
        outcome.final_label = loss::top(&best.logits);
        outcome.final_probability = probability(&best.logits, outcome.final_label);
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

impl Size {
    /// The sizes of a perturbation of a window of `frames` frames of `len` values. `seen` is what the model sees of it,
    /// frame after frame.
    pub(super) fn of(perturbation: &[(usize, Vec<f32>)], seen: &[f32], frames: usize, len: usize) -> Self {
        let whole = (frames * len).max(1) as f64;
        let inside = (perturbation.len() * len).max(1) as f64;
        let sum = |values: &[f32]| values.iter().map(|v| f64::from(v.abs())).sum::<f64>();
        let total = sum(seen);
        let float: f64 = perturbation.iter().map(|(_, d)| sum(d)).sum();
        Self {
            map: total / whole,
            map_float: float / whole,
            map_keyframes: total / inside,
            max_abs: seen.iter().fold(0.0f64, |m, v| m.max(f64::from(v.abs()))),
            l21: norm::l21(seen, len),
        }
    }
}
