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
struct Totals {
    windows: u64,
    unclassified: u64,
    labeled: u64,
    correct: u64,
    compared: u64,
    already_fooled: u64,
    attacked: u64,
    fooled: u64,
    seconds: f64,
    mean_probability: Option<f64>,
    accuracy: Option<f64>,
    #[serde(flatten)]
    rates: Rates,
    labels: Option<&'static str>,
}
