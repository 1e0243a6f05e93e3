// SPDX-License-Identifier: MPL-2.0

//! Running totals over the windows so far.

use super::report::WindowReport;

#[derive(Clone, Debug, Default)]
pub struct Stats {
    windows: u64,
    probability: f64,
    labelled: u64,
    correct: u64,
    compared: u64,
    fooled: u64,
    seconds: f64,
}

impl Stats {
    pub fn add(&mut self, report: &WindowReport) {
        self.windows += 1;
        self.probability += report.probability;
        self.seconds += report.seconds;
        self.labelled += u64::from(report.correct.is_some());
        self.correct += u64::from(report.correct == Some(true));
        self.compared += u64::from(report.fooled.is_some());
        self.fooled += u64::from(report.fooled == Some(true));
    }

    /// The `stats` property. Rates are left out while there is nothing they would be of.
    pub fn structure(&self) -> gst::Structure {
        let mut s = gst::Structure::builder("clipclassifier-stats")
            .field("windows", self.windows)
            .field("labelled", self.labelled)
            .field("correct", self.correct)
            .field("compared", self.compared)
            .field("fooled", self.fooled)
            .field("seconds", self.seconds)
            .build();
        let rates = [
            ("mean-probability", self.probability, self.windows),
            ("accuracy", self.correct as f64, self.labelled),
            ("fooling-rate", self.fooled as f64, self.compared),
        ];
        for (name, sum, n) in rates {
            if n > 0 {
                s.set(name, sum / n as f64);
            }
        }
        s
    }
}
