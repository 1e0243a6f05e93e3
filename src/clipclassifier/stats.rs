// SPDX-License-Identifier: MPL-2.0

//! Running totals over the windows so far.

use serde::Serialize;

use super::report::WindowReport;
use crate::element::message;
use crate::tally::{Rates, Tally};

#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Over the classified windows.
    tally: Tally,
    /// Windows of a live stream that the model had no time for; they are in no rate.
    unclassified: u64,
    /// Windows with a reference.
    compared: u64,
    probability: f64,
    seconds: f64,
}

impl Stats {
    pub fn add(&mut self, report: &WindowReport) {
        self.tally.add(report.labels());
        self.compared += u64::from(report.clean_label.is_some());
        self.probability += report.probability;
        self.seconds += report.seconds;
    }

    /// Counts a window that passes unclassified; returns how many did so far.
    pub fn skip(&mut self) -> u64 {
        self.unclassified += 1;
        self.unclassified
    }

    /// Windows that were classified.
    pub fn classified(&self) -> u64 {
        self.tally.windows
    }

    /// The `stats` property. Rates are left out while there is nothing they would be of. `compared` counts the windows
    /// whose reference was found; of these, `attacked` are in the fooling rate and `already-fooled` in none.
    pub fn structure(&self) -> gst::Structure {
        let tally = &self.tally;
        let totals = Totals {
            windows: tally.windows + self.unclassified,
            unclassified: self.unclassified,
            labeled: tally.labeled,
            correct: tally.correct,
            compared: self.compared,
            already_fooled: tally.already_fooled,
            attacked: tally.attacked,
            fooled: tally.fooled,
            seconds: self.seconds,
            mean_probability: (tally.windows > 0).then(|| self.probability / tally.windows as f64),
            accuracy: tally.robust_accuracy(),
            rates: tally.rates(),
            labels: tally.judge(),
        };
        message::of_totals("clipclassifier-stats", &totals)
    }
}

/// The fields of the `stats` property.
#[derive(Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub(super) struct Totals {
    /// Windows so far.
    windows: u64,
    /// Windows of a live stream that the model had no time for; they are in no rate.
    unclassified: u64,
    /// Windows of known truth.
    labeled: u64,
    /// Those of them that are right.
    correct: u64,
    /// Windows whose reference was found.
    compared: u64,
    /// Windows that were fooled before any attack; they are in no fooling rate.
    already_fooled: u64,
    /// Windows that the fooling rate is over.
    attacked: u64,
    /// Those of them that are fooled.
    fooled: u64,
    /// How long all classifications took. Unit: s.
    seconds: f64,
    /// Mean probability of the model's labels.
    mean_probability: Option<f64>,
    /// Share of windows of known truth that are right, from 0 to 1.
    accuracy: Option<f64>,
    #[serde(flatten)]
    rates: Rates,
    /// Whose labels windows are judged by: `ground-truth`, the `model`'s own, or `mixed`.
    labels: Option<&'static str>,
}
