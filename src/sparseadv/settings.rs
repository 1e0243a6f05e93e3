// SPDX-License-Identifier: MPL-2.0

//! The element's properties as values, and what follows from them together with a model.

use std::path::PathBuf;
use std::time::Duration;

use crate::attack::config::nick;
use crate::attack::{self, Access, Goal, Region, Search, Selection, select};
use crate::element::model::find_label;
use crate::element::settings::Common;
use crate::model::{Metadata, Precision};
use crate::window::{Mode, Windowing};

/// The properties. Zero, -1 or an absent value stands for "by the model" or "by the goal", as each property's text
/// says.
#[derive(Clone, Debug)]
pub struct Settings {
    pub common: Common,
    pub precision: Precision,
    pub batch_windows: u32,
    /// What an attack is asked and no goal, model or codec has a say in. Its other fields stand below.
    pub attack: attack::Config,
    pub keyframes: Option<String>,
    pub region: Option<String>,
    pub donors: Option<PathBuf>,
    pub surrogate: Option<PathBuf>,
    pub boundary: f64,
    pub max_iterations: i32,
    pub max_queries: u32,
    /// 0 for the search's own.
    pub probes: u32,
    pub probe_size: f32,
    pub patience: i32,
    pub grow_after: i32,
    pub confidence: f32,
    pub time_budget: Option<gst::ClockTime>,
    pub survive: Option<String>,
    pub target_label: Option<String>,
    pub enabled: bool,
    pub perturbation: Option<PathBuf>,
    pub mode: Mode,
    pub warm_start: bool,
    pub on_error: OnError,
}

/// What becomes of a stream whose attack fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstSparseAdvOnError")]
pub enum OnError {
    #[default]
    #[enum_value(name = "The stream ends with an error", nick = "stop")]
    Stop,
    #[enum_value(name = "The window leaves clean, and is counted", nick = "passthrough")]
    Passthrough,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            common: Common::default(),
            precision: Precision::default(),
            batch_windows: 0,
            attack: attack::Config::new(Goal::Untargeted { label: None }),
            keyframes: None,
            region: None,
            donors: None,
            surrogate: None,
            boundary: 0.0,
            max_iterations: -1,
            max_queries: 0,
            probes: 0,
            probe_size: 0.0,
            patience: -1,
            grow_after: -1,
            confidence: -1.0,
            time_budget: None,
            survive: None,
            target_label: None,
            enabled: true,
            perturbation: None,
            mode: Mode::default(),
            warm_start: false,
            on_error: OnError::default(),
        }
    }
}

impl Settings {
    /// Descriptions of the codecs that an attack has to survive, where there are any.
    pub fn survive(&self) -> Option<&str> {
        self.survive.as_deref().filter(|text| !text.trim().is_empty())
    }

    /// The attack that the properties ask for, or what is wrong with them.
    pub fn attack_config(&self, metadata: &Metadata, classes: usize) -> Result<attack::Config, String> {
        let label = self.common.true_label(metadata, classes)?;
        let target = self.target_label.as_deref();
        let target = target.map(|text| find_label("target-label", text, metadata, classes)).transpose()?;
        let goal = Goal::new(label, target);
        let keyframes = self.keyframes.as_deref().map(str::parse).transpose();
        let keyframes: Option<Selection> = keyframes.map_err(|e| format!("The keyframes property: {e}."))?;
        let (access, search) = (self.attack.access, self.attack.search);
        if search.needs() > access {
            return Err(format!(
                "The search property: expected one that needs no more than access={}, found {}, which needs access={}. Set search=squares, \
                 stde, opt or sign-opt for labels alone, v-bad for scores.",
                nick(access),
                nick(search),
                nick(search.needs())
            ));
        }
        let asks = search.is_black_box();
        let radius = search.seeks_radius();
        let selection = keyframes.unwrap_or_else(|| if asks { select::All.into() } else { Selection::default() });
        if selection.deletes().is_some() && !radius {
            return Err(format!(
                "The keyframes property: expected search=opt or sign-opt with {selection}, found {}. Set one of these, or other keyframes.",
                nick(search)
            ));
        }
        if search == Search::I2v && self.surrogate.is_none() {
            return Err(attack::Error::NeedsSurrogate.to_string());
        }
        let region = self.region.as_deref().map(str::parse).transpose();
        let region: Region = region.map_err(|e| format!("The region property: {e}."))?.unwrap_or_default();
        if region != Region::All && !radius {
            return Err(format!(
                "The region property: expected search=opt or sign-opt with {region}, found {}. Set one of these, or region=all.",
                nick(search)
            ));
        }
        let told = if asks { access.min(Access::Logits) } else { access };
        if selection.needs() > told {
            return Err(format!(
                "The keyframes property: expected frames that can be chosen with access={}, found {selection}, which needs access={}. Set all, ifd, fixed, \
                 random, agent:FILE or frame numbers.",
                nick(told),
                nick(selection.needs())
            ));
        }
        check_frames(&selection, metadata.window)?;
        let defaults = attack::Config::of(goal, self.attack.search);
        // Samples are whole numbers: a fraction of one would be rounded up in some.
        let epsilon = self.attack.epsilon.floor();
        if self.attack.epsilon > 0.0 && epsilon < 1.0 {
            return Err(format!(
                "The epsilon property: expected 0 for no bound, or at least the one gray level that samples differ by, found {}.",
                self.attack.epsilon
            ));
        }
        let confidence = match (self.confidence, self.survive()) {
            (set, _) if set >= 0.0 => set,
            (_, Some(_)) => self.attack.search.surviving_confidence(),
            _ => defaults.confidence,
        };
        Ok(attack::Config {
            goal,
            selection,
            region,
            boundary: if self.boundary > 0.0 { self.boundary } else { defaults.boundary },
            max_iterations: u32::try_from(self.max_iterations).unwrap_or(defaults.max_iterations),
            probes: Some(self.probes).filter(|probes| *probes > 0),
            probe: Some(self.probe_size).filter(|size| *size > 0.0),
            max_queries: Some(self.max_queries).filter(|most| *most > 0),
            patience: u32::try_from(self.patience).unwrap_or(defaults.patience),
            grow_after: u32::try_from(self.grow_after).unwrap_or(defaults.grow_after),
            confidence,
            epsilon,
            ..self.attack.clone()
        })
    }

    /// What is set and has no effect on the search that is set, and what to do.
    pub fn without_effect(&self) -> Option<String> {
        let (set, default) = (&self.attack, Self::default().attack);
        let (walks, descends) = (set.search == Search::Walk, set.search == Search::TwoStage);
        let asks = set.search.is_black_box();
        let paper = descends || set.search == Search::WeightedSum;
        let unused: Vec<&str> = [
            ("donors", !set.search.takes_donors() && self.donors.is_some()),
            ("surrogate", !set.search.takes_surrogate() && self.surrogate.is_some()),
            ("probes", self.probes > 0 && !set.search.takes_probes()),
            ("probe-size", self.probe_size > 0.0 && set.search != Search::VBad),
            ("learning-rate", !paper && set.learning_rate != default.learning_rate),
            ("learning-rate-decay", !descends && set.learning_rate_decay != default.learning_rate_decay),
            ("optimizer", !paper && set.search != Search::I2v && set.optimizer != default.optimizer),
            ("loss", !descends && set.loss != default.loss),
            ("norm", !walks && set.norm != default.norm),
            ("boundary", asks && self.boundary > 0.0),
            ("patience", asks && self.patience >= 0),
            ("grow-after", asks && self.grow_after >= 0),
        ]
        .into_iter()
        .filter_map(|(name, unused)| unused.then_some(name))
        .collect();
        let other = match unused.as_slice() {
            ["donors", ..] => "opt",
            ["surrogate" | "probes" | "probe-size", ..] => "v-bad",
            unused if unused.contains(&"norm") => "walk",
            _ => "two-stage",
        };
        let set = unused.join(" and ");
        (!unused.is_empty()).then(|| {
            let (set, has, it) = match unused.len() {
                1 => (format!("property {set}"), "has", "Leave it out"),
                _ => (format!("properties {set}"), "have", "Leave them out"),
            };
            format!("The {set} {has} no effect on this search. {it}, or set search={other}, which has a use for it.")
        })
    }

    /// The time a window's attack may take: as set, or in a live pipeline the time until the next window is due, so
    /// that it keeps up.
    pub fn budget(&self, live: bool, frame_duration: gst::ClockTime, windowing: Windowing) -> Option<Duration> {
        match self.time_budget {
            Some(gst::ClockTime::ZERO) => None,
            Some(budget) => Some(budget.into()),
            None if live => {
                let strides = u32::try_from(windowing.stride).unwrap_or(u32::MAX);
                Some(Duration::from(frame_duration).saturating_mul(strides))
            }
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
    fn what_a_search_does_not_look_at_is_told_of() {
        let mut settings = Settings::default();
        assert_eq!(settings.without_effect(), None);
        settings.attack.learning_rate = 0.255;
        assert!(settings.without_effect().is_some_and(|text| text.contains("learning-rate")));
        settings.attack.search = Search::TwoStage;
        assert_eq!(settings.without_effect(), None);
        settings.attack.norm = attack::Norm::L1;
        assert!(settings.without_effect().is_some_and(|text| text.contains("norm")));
        settings = Settings::default();
        settings.attack.search = Search::WeightedSum;
        settings.attack.learning_rate_decay = 0.5;
        assert!(settings.without_effect().is_some_and(|text| text.contains("search=two-stage")));
    }

    #[test]
    fn a_bound_is_one_of_whole_samples() {
        let bound = |epsilon: f32| {
            let mut settings = Settings::default();
            settings.attack.epsilon = epsilon;
            settings.attack_config(&Metadata::default(), 2).map(|config| config.epsilon)
        };
        assert_eq!([0.0, 1.0, 2.6, 8.0].map(bound), [0.0, 1.0, 2.0, 8.0].map(Ok));
        assert!(bound(0.6).is_err_and(|text| text.contains("epsilon") && text.contains("0.6")));
    }

    #[test]
    fn surviving_asks_for_a_larger_lead_unless_it_is_set() {
        let lead = |confidence: f32, survive: Option<&str>| {
            let settings = Settings { confidence, survive: survive.map(String::from), ..Settings::default() };
            let config = settings.attack_config(&Metadata::default(), 2);
            config.expect("settings of an attack").confidence
        };
        assert_eq!(lead(-1.0, None), 0.02);
        assert_eq!(lead(-1.0, Some("jpegenc ! jpegdec")), 1.0);
        assert_eq!(lead(0.0, Some("jpegenc ! jpegdec")), 0.0);
        assert_eq!(lead(0.25, None), 0.25);
    }
}
