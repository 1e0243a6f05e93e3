// SPDX-License-Identifier: MPL-2.0

//! The attack of one window of stream frames: the one place where the element meets the attack.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::aids::Aids;
use super::settings::Settings;
use crate::attack::{self, Outcome, Perturbation, Progress, Start};
use crate::element::stream::Stream;
use crate::element::survive::{Codecs, Survival};
use crate::model::Model;
use crate::target::{Transport, WindowTarget};
use crate::video::view::{Samples, View};
use crate::window::pace::PLAN_SHARE;
use crate::window::scene;

/// A window to be attacked.
pub(super) struct AttackTask {
    /// Its number.
    pub window: u64,
    pub stream: Arc<Stream>,
    /// All of the window's stream frames, clean, and which of them the model sees.
    pub buffers: Vec<gst::Buffer>,
    pub offsets: Vec<usize>,
    /// The last frames before the window, as they left.
    pub context: Vec<gst::Buffer>,
    /// Perturbations that frames carry already, as part of an earlier window that overlaps.
    pub start: Perturbation,
    /// That of the window before, which is tried first where there is one.
    pub tried: Option<Arc<Perturbation>>,
    pub settings: Arc<Settings>,
    pub aids: Aids,
    pub deadline: Option<Instant>,
}

/// What a window got that was fooled, and how it ended.
pub(super) struct Last {
    stream: Arc<Stream>,
    end: Samples,
    perturbation: Arc<Perturbation>,
}

impl Last {
    /// Of a window whose attack is over, if there is anything to try.
    pub fn of(task: &AttackTask, outcome: &Outcome) -> Option<Self> {
        if !outcome.success || !task.settings.warm_start {
            return None;
        }
        let end = task.stream.sample(task.buffers.last()?).ok()?;
        Some(Self { stream: task.stream.clone(), end, perturbation: Arc::new(outcome.perturbation.clone()) })
    }

    /// What is to be tried on the next window, unless another scene begins in it.
    pub fn of_scene(self, task: &AttackTask) -> Option<Arc<Perturbation>> {
        if !Arc::ptr_eq(&self.stream, &task.stream) {
            return None;
        }
        let frames = task.buffers.iter().map(|buffer| self.stream.sample(buffer).ok());
        let frames = std::iter::once(Some(self.end)).chain(frames).collect::<Option<Vec<Samples>>>()?;
        let frames: Vec<&Samples> = frames.iter().collect();
        scene::last_cut(&differences(&frames)).is_none().then_some(self.perturbation)
    }
}

/// How much each frame differs from the one before, in levels.
fn differences(frames: &[&Samples]) -> Vec<f32> {
    let of = |k: usize| k.checked_sub(1).map_or(0.0, |before| frames[k].difference(frames[before]));
    (0..frames.len()).map(of).collect()
}

impl AttackTask {
    /// Attacks the window. `canceled` is asked once an iteration. `codecs` keeps those of the survive property.
    pub fn run(
        &self,
        model: &mut Model,
        codecs: &mut Codecs,
        canceled: &dyn Fn() -> bool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Outcome, attack::Error> {
        let failed = |text: String| attack::Error::Classifier(text.into());
        let mut config = self.settings.attack_config(model.metadata(), model.classes()).map_err(failed)?;
        self.aids.give(&mut config);
        // One seed, and other frames in every window.
        config.seed = config.seed.wrapping_add(self.window);
        config.time_budget = match self.deadline {
            Some(deadline) => Some(deadline.saturating_duration_since(Instant::now()).mul_f64(PLAN_SHARE)),
            None => self.settings.time_budget.filter(|b| !b.is_zero()).map(Duration::from),
        };
        let stream = &*self.stream;
        let made = self.settings.survive().map(|survive| codecs.of(survive, stream)).transpose()?;
        let survival = |codec| Survival {
            stream,
            codec,
            buffers: &self.buffers,
            offsets: &self.offsets,
            context: &self.context,
            canceled,
        };
        let transports: Vec<Survival> = made.iter().flat_map(|codecs| codecs.iter()).map(survival).collect();
        let mut target = WindowTarget::new(model, &stream.view, &self.samples(&stream.view)?)?;
        if config.is_black_box() {
            target.answer_only();
        }
        match (&made, stream.second_view()) {
            (Some(_), second) => target.behind(transports.iter().map(|t| t as &dyn Transport), second),
            (None, Some(second)) => target.confirm_by(second, &self.samples(second)?)?,
            (None, None) => {}
        }
        let start = match &self.tried {
            Some(tried) if self.start.is_empty() => Start::Tried(tried),
            _ => Start::Carried(&self.start),
        };
        attack::run(&mut target, &config, start, canceled, progress)
    }

    /// What a view touches of the frames that the model sees.
    fn samples(&self, view: &View) -> Result<Vec<Samples>, attack::Error> {
        let samples = self.offsets.iter().map(|k| self.stream.sample_by(view, &self.buffers[*k]));
        samples.collect::<Result<_, _>>().map_err(|text: String| attack::Error::Classifier(text.into()))
    }
}

/// The logits of a window whose frames have left.
pub(super) fn judge(model: &mut Model, stream: &Stream, samples: &[Samples]) -> Result<Vec<f32>, attack::Error> {
    let view = stream.view.observe_window(samples, model.metadata().window);
    Ok(model.classify(&view)?)
}
