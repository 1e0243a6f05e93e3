// SPDX-License-Identifier: MPL-2.0

//! Running totals over the windows so far.

use super::report::WindowReport;
use crate::tally::Tally;

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
        let mut s = gst::Structure::builder("clipclassifier-stats")
            .field("windows", tally.windows + self.unclassified)
            .field("unclassified", self.unclassified)
            .field("labeled", tally.labeled)
            .field("correct", tally.correct)
            .field("compared", self.compared)
            .field("already-fooled", tally.already_fooled)
            .field("attacked", tally.attacked)
            .field("fooled", tally.fooled)
            .field("seconds", self.seconds)
            .build();
        if tally.windows > 0 {
            s.set("mean-probability", self.probability / tally.windows as f64);
        }
        if let Some(accuracy) = tally.robust_accuracy() {
            s.set("accuracy", accuracy);
        }
        tally.set_rates(&mut s);
        s
    }
}
