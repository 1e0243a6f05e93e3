// SPDX-License-Identifier: MPL-2.0

//! Running totals: the paper's four metrics (Section 4.1) over the windows so far.

use super::report::WindowReport;

#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Windows that were attacked: neither passed through nor fooled before the attack began.
    attacked: u64,
    fooled: u64,
    windows: u64,
    trivial: u64,
    overruns: u64,
    frames_in: u64,
    frames_out: u64,
    queries: u64,
    forwards: u64,
    backwards: u64,
    codec_runs: u64,
    /// Sums over fooled windows.
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
        self.windows += 1;
        self.overruns += u64::from(report.overrun);
        self.queries += u64::from(report.queries);
        self.forwards += u64::from(report.forwards);
        self.backwards += u64::from(report.backwards);
        self.codec_runs += u64::from(report.codec_runs);
        self.seconds += report.seconds;
        if report.trivial {
            self.trivial += 1;
            return;
        }
        self.attacked += 1;
        if report.success {
            self.fooled += 1;
            self.first_success_queries += u64::from(report.queries_first_success.unwrap_or(0));
            self.map += report.map;
            self.map_float += report.map_float;
            self.map_keyframes += report.map_keyframes;
            self.sparse_rate += report.sparse_rate;
        }
    }

    /// The `stats` property. Means are over fooled windows, as in the paper's Table 2, and left out while there is none.
    pub fn structure(&self) -> gst::Structure {
        let mut s = gst::Structure::builder("sparseadv-stats")
            .field("windows", self.windows)
            .field("attacked", self.attacked)
            .field("fooled", self.fooled)
            .field("already-fooled", self.trivial)
            .field("overruns", self.overruns)
            .field("frames-in", self.frames_in)
            .field("frames-out", self.frames_out)
            .field("queries", self.queries)
            .field("forwards", self.forwards)
            .field("backwards", self.backwards)
            .field("codec-runs", self.codec_runs)
            .field("seconds", self.seconds)
            .build();
        if self.attacked > 0 {
            s.set("fooling-rate", self.fooled as f64 / self.attacked as f64);
        }
        if self.fooled > 0 {
            let n = self.fooled as f64;
            s.set("mean-queries", self.first_success_queries as f64 / n);
            s.set("map", self.map / n);
            s.set("map-float", self.map_float / n);
            s.set("map-keyframes", self.map_keyframes / n);
            s.set("sparse-rate", self.sparse_rate / n);
        }
        s
    }
}
