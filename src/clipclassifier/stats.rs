// SPDX-License-Identifier: MPL-2.0

//! Running totals over the windows so far.

use serde::Serialize;

use super::report::WindowReport;
use crate::element::message;
use crate::tally::{Rates, Tally};

#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    #[serde(flatten)]
    tally: Tally,
    /// Windows with a reference.
    compared: u64,
    #[serde(skip)]
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

    /// The `stats` property. Rates are left out while there is nothing they would be of. `compared` counts the windows
    /// whose reference was found; of these, `attacked` are in the fooling rate and `already-fooled` in none.
    pub fn structure(&self) -> gst::Structure {
        let windows = self.tally.windows;
        let totals = Totals {
            stats: self,
            mean_probability: (windows > 0).then(|| self.probability / windows as f64),
            accuracy: self.tally.robust_accuracy(),
            rates: self.tally.rates(),
            labels: self.tally.judge(),
        };
        message::of_totals("clipclassifier-stats", &totals)
    }
}

#[derive(Serialize)]
struct Totals<'a> {
    #[serde(flatten)]
    stats: &'a Stats,
    mean_probability: Option<f64>,
    accuracy: Option<f64>,
    #[serde(flatten)]
    rates: Rates,
    labels: Option<&'static str>,
}
