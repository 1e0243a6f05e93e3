// SPDX-License-Identifier: MPL-2.0

//! The attack of one window of stream frames: the one place where the element meets the attack.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::settings::Settings;
use super::survive::SurvivingScene;
use crate::attack::{self, Classifier as _, Outcome, Perturbation, Progress};
use crate::element::stream::Stream;
use crate::model::Model;
use crate::video::view::Samples;

/// Share of a deadline's time that an attack may plan with; the rest is for rendering and for being wrong about a
/// pass's time.
const PLANNED: f64 = 0.85;

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
    pub settings: Arc<Settings>,
    pub deadline: Option<Instant>,
}

impl AttackTask {
    /// Attacks the window. `canceled` is asked once an iteration.
    pub fn run(
        &self,
        model: &mut Model,
        canceled: &dyn Fn() -> bool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Outcome, attack::Error> {
        let failed = |text: String| attack::Error::Classifier(text.into());
        let mut config = self.settings.attack_config(model.metadata(), model.classes()).map_err(failed)?;
        // One seed, and other frames in every window.
        config.seed = config.seed.wrapping_add(self.window);
        config.time_budget = match self.deadline {
            Some(deadline) => Some(deadline.saturating_duration_since(Instant::now()).mul_f64(PLANNED)),
            None => self.settings.time_budget.filter(|b| !b.is_zero()).map(Duration::from),
        };
        let scene = self.stream.scene(self.offsets.iter().map(|k| &self.buffers[*k]));
        let mut scene = scene.map_err(failed)?;
        scene.pad_to(model.metadata().window);
        let survive = self.settings.survive();
        let codecs = survive.map(|survive| self.stream.codecs(survive)).transpose().map_err(attack::Error::Channel)?;
        let mut surviving;
        let scene: &mut dyn attack::Scene = match &codecs {
            None => &mut scene,
            Some(codecs) => {
                surviving = SurvivingScene {
                    inner: scene,
                    stream: &self.stream,
                    codecs,
                    buffers: &self.buffers,
                    places: &self.offsets,
                    context: &self.context,
                    canceled,
                    perturbed: Vec::new(),
                };
                &mut surviving
            }
        };
        attack::run(scene, model, &config, &self.start, canceled, progress)
    }
}

/// The logits of a window whose frames have left.
pub(super) fn judge(model: &mut Model, stream: &Stream, samples: &[Samples]) -> Result<Vec<f32>, attack::Error> {
    let view = stream.view.observe_window(samples, model.metadata().window);
    model.forward(&view)
}
