// SPDX-License-Identifier: MPL-2.0

//! Running totals: the paper's four metrics (Section 4.1) over the windows so far.

use crate::tally::Tally;
use crate::window::report::WindowReport;

#[derive(Clone, Debug, Default)]
pub struct Stats {
    tally: Tally,
    overruns: u64,
    frames_in: u64,
    frames_out: u64,
    queries: u64,
    forwards: u64,
    backwards: u64,
    codec_runs: u64,
    /// Sums over windows that the attack fooled.
    successes: u64,
    first_success_queries: u64,
    map: f64,
    map_float: f64,
    map_keyframes: f64,
    sparse_rate: f64,
    seconds: f64,
}

impl Stats {
    pub fn frame_in(&mut self) {
        self.frames_in += 1;
    }

    pub fn frame_out(&mut self) {
        self.frames_out += 1;
    }

    pub fn add(&mut self, report: &WindowReport) {
        self.tally.add(report.labels());
        self.overruns += u64::from(report.overrun);
        self.queries += u64::from(report.queries);
        self.forwards += u64::from(report.forwards);
        self.backwards += u64::from(report.backwards);
        self.codec_runs += u64::from(report.codec_runs);
        self.seconds += report.seconds;
        if report.success == Some(true) {
            self.successes += 1;
            self.first_success_queries += u64::from(report.queries_first_success.unwrap_or(0));
            self.map += report.map;
            self.map_float += report.map_float;
            self.map_keyframes += report.map_keyframes;
            self.sparse_rate += report.sparse_rate;
        }
    }

    /// The `stats` property. Means are over fooled windows, as in the paper's Table 2, and left out while there is
    /// none.
    pub fn structure(&self) -> gst::Structure {
        let tally = &self.tally;
        let mut s = gst::Structure::builder("sparseadv-stats")
            .field("windows", tally.windows)
            .field("unclassified", tally.unclassified)
            .field("already-fooled", tally.already_fooled)
            .field("attacked", tally.attacked)
            .field("fooled", tally.fooled)
            .field("overruns", self.overruns)
            .field("frames-in", self.frames_in)
            .field("frames-out", self.frames_out)
            .field("queries", self.queries)
            .field("forwards", self.forwards)
            .field("backwards", self.backwards)
            .field("codec-runs", self.codec_runs)
            .field("seconds", self.seconds)
            .build();
        tally.set_rates(&mut s);
        if self.successes > 0 {
            let n = self.successes as f64;
            s.set("mean-queries", self.first_success_queries as f64 / n);
            s.set("map", self.map / n);
            s.set("map-float", self.map_float / n);
            s.set("map-keyframes", self.map_keyframes / n);
            s.set("sparse-rate", self.sparse_rate / n);
        }
        s
    }
}
