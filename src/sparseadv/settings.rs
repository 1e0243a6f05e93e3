// SPDX-License-Identifier: MPL-2.0

//! The element's properties as values, and what follows from them together with a model.

use std::path::PathBuf;
use std::time::Duration;

use crate::attack::{self, Goal, Loss, Objective, Selection, optimizer};
use crate::element::model::find_label;
use crate::model::{self, Metadata};
use crate::window::{Tail, Windowing};

/// The properties. Zero, -1 or an absent value stands for "by the model" or "by the goal", as each property's text
/// says.
#[derive(Clone, Debug)]
pub struct Settings {
    pub model: Option<PathBuf>,
    pub device: String,
    pub window_size: u32,
    pub stride: u32,
    pub frame_step: u32,
    pub keyframes: String,
    pub boundary: f64,
    pub max_iterations: i32,
    pub patience: u32,
    pub stop_early: bool,
    pub grow_after: u32,
    pub grow_by: u32,
    pub time_budget: Option<gst::ClockTime>,
    pub learning_rate: f32,
    pub learning_rate_decay: f32,
    pub optimizer: optimizer::Kind,
    pub objective: Objective,
    pub loss: Loss,
    pub epsilon: f32,
    pub confidence: f32,
    pub survive: Option<String>,
    pub label: Option<String>,
    pub target_label: Option<String>,
    pub seed: u64,
    pub tail: Tail,
    pub enabled: bool,
    pub report_location: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        let config = attack::Config::new(Goal::Untargeted { label: None });
        Self {
            model: None,
            device: "auto".into(),
            window_size: 0,
            stride: 0,
            frame_step: 0,
            keyframes: config.selection.to_string(),
            boundary: 0.0,
            max_iterations: -1,
            patience: config.patience,
            stop_early: config.stop_early,
            grow_after: config.grow_after,
            grow_by: config.grow_by,
            time_budget: gst::ClockTime::NONE,
            learning_rate: config.learning_rate,
            learning_rate_decay: config.learning_rate_decay,
            optimizer: optimizer::Kind::default(),
            objective: Objective::default(),
            loss: Loss::default(),
            epsilon: config.epsilon,
            confidence: -1.0,
            survive: None,
            label: None,
            target_label: None,
            seed: config.seed,
            tail: Tail::default(),
            enabled: true,
            report_location: None,
        }
    }
}

/// What a codec takes away depends on the rest of the file too, which the loop does not have. This lead keeps windows
/// fooled behind an encoder of the whole file that are lost without it (README, "Behind a codec").
const SURVIVING_CONFIDENCE: f32 = 2.0;

impl Settings {
    /// What to load, or which property is wrong.
    pub fn model_options(&self) -> Result<model::Options, String> {
        let path = self.model.clone().ok_or(
            "Expected the path of a TorchScript classifier in the model property, found none. Set model=FILE.pt.",
        )?;
        Ok(model::Options {
            path,
            device: self.device.parse().map_err(|e: model::Error| e.to_string())?,
            window: (self.window_size > 0).then_some(self.window_size as usize),
        })
    }

    pub fn windowing(&self, metadata: &Metadata) -> Windowing {
        let frames = metadata.window;
        let step = match self.frame_step {
            0 => metadata.frame_step,
            n => n as usize,
        };
        Windowing {
            frames,
            step,
            span: (frames - 1) * step + 1,
            stride: match self.stride {
                0 => frames * step,
                n => n as usize,
            },
        }
    }

    /// The attack that the properties ask for, or what is wrong with them.
    pub fn attack_config(&self, metadata: &Metadata, classes: usize) -> Result<attack::Config, String> {
        let find = |property: &str, text: &str| find_label(property, text, metadata, classes);
        let label = self.label.as_deref().map(|t| find("label", t)).transpose()?;
        let target = self.target_label.as_deref();
        let target = target.map(|t| find("target-label", t)).transpose()?;
        let goal = Goal::new(label, target);
        let selection: Selection = self.keyframes.parse().map_err(|e| format!("The keyframes property: {e}."))?;
        check_frames(&selection, metadata.window)?;
        let defaults = attack::Config::new(goal);
        let confidence = match (self.confidence, &self.survive) {
            (set, _) if set >= 0.0 => set,
            (_, Some(_)) => SURVIVING_CONFIDENCE,
            _ => defaults.confidence,
        };
        Ok(attack::Config {
            selection,
            boundary: if self.boundary > 0.0 { self.boundary } else { defaults.boundary },
            max_iterations: u32::try_from(self.max_iterations).unwrap_or(defaults.max_iterations),
            patience: self.patience,
            stop_early: self.stop_early,
            grow_after: self.grow_after,
            grow_by: self.grow_by,
            learning_rate: self.learning_rate,
            learning_rate_decay: self.learning_rate_decay,
            optimizer: self.optimizer,
            objective: self.objective,
            loss: self.loss,
            epsilon: self.epsilon,
            confidence,
            seed: self.seed,
            ..defaults
        })
    }

    /// The time a window's attack may take: as set, or in a live pipeline the time until the next window is due, so
    /// that it keeps up.
    pub fn budget(&self, live: bool, frame_duration: gst::ClockTime, windowing: Windowing) -> Option<Duration> {
        match self.time_budget {
            Some(gst::ClockTime::ZERO) => None,
            Some(budget) => Some(budget.into()),
            None if live => Some((frame_duration * windowing.stride as u64).into()),
            None => None,
        }
    }
}

fn check_frames(selection: &Selection, window: usize) -> Result<(), String> {
    match selection.bounds(window) {
        Some((wanted, at_most)) if wanted > at_most => Err(format!(
            "The keyframes property: expected at most {at_most} for a window of {window} frames, found {wanted}."
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surviving_asks_for_a_larger_lead_unless_it_is_set() {
        let lead = |confidence: f32, survive: Option<&str>| {
            let settings = Settings { confidence, survive: survive.map(String::from), ..Settings::default() };
            let config = settings.attack_config(&Metadata::default(), 2);
            config.expect("settings of an attack").confidence
        };
        assert_eq!(lead(-1.0, None), 0.5);
        assert_eq!(lead(-1.0, Some("jpegenc ! jpegdec")), SURVIVING_CONFIDENCE);
        assert_eq!(lead(0.0, Some("jpegenc ! jpegdec")), 0.0);
        assert_eq!(lead(0.25, None), 0.25);
    }
}
