// SPDX-License-Identifier: MPL-2.0

//! Running totals: the paper's four metrics (Section 4.1) over the windows so far.

use serde::Serialize;

use crate::element::message;
use crate::tally::{Rates, Tally};
use crate::window::report::WindowReport;

#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Stats {
    #[serde(flatten)]
    tally: Tally,
    /// Windows whose attack was cut short by its deadline.
    overruns: u64,
    /// Windows whose attack or judgment failed, and the end of learning or of the worker.
    failures: u64,
    /// Frames that came.
    frames_in: u64,
    /// Frames that left.
    frames_out: u64,
    /// Queries of the model.
    queries: u64,
    /// Forward passes of the model.
    forwards: u64,
    /// Backward passes of the model.
    backwards: u64,
    /// Windows sent through a codec.
    codec_runs: u64,
    /// How long all attacks took. Unit: s.
    seconds: f64,
    /// Sums over windows that an attack of their own fooled, and their number. Where windows overlap, one may be fooled by
    /// its neighbors' perturbations alone, which cost it nothing.
    #[serde(skip)]
    sums: Means,
    #[serde(skip)]
    successes: u64,
}

/// Over fooled windows, as in the paper's Table 2.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
struct Means {
    /// Mean number of queries up to the first success.
    mean_queries: f64,
    /// MAP, the mean absolute perturbation of what the model sees of the pushed bytes. Unit: gray levels.
    map: f64,
    /// The same before rendering and rounding. Unit: gray levels.
    map_float: f64,
    /// `map` over the keyframes alone. Unit: gray levels.
    map_keyframes: f64,
    /// Mean share of frames that leave clean, from 0 to 1.
    sparse_rate: f64,
}

impl Means {
    fn add(&mut self, report: &WindowReport) {
        self.mean_queries += f64::from(report.queries_first_success.unwrap_or(0));
        self.map += report.size.map;
        self.map_float += report.size.map_float;
        self.map_keyframes += report.size.map_keyframes;
        self.sparse_rate += report.perturbed.sparse_rate;
    }

    fn over(&self, n: f64) -> Self {
        Self {
            mean_queries: self.mean_queries / n,
            map: self.map / n,
            map_float: self.map_float / n,
            map_keyframes: self.map_keyframes / n,
            sparse_rate: self.sparse_rate / n,
        }
    }
}

/// What the `stats` property says. Means and rates are left out while there is nothing they would be of.
#[derive(Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub(super) struct Totals<'a> {
    #[serde(flatten)]
    stats: &'a Stats,
    #[serde(flatten)]
    rates: Rates,
    /// Whose labels windows are judged by: `ground-truth`, the `model`'s own, or `mixed`.
    labels: Option<&'static str>,
    #[serde(flatten)]
    means: Option<Means>,
}

impl Stats {
    pub fn frame_in(&mut self) {
        self.frames_in += 1;
    }

    pub fn frame_out(&mut self) {
        self.frames_out += 1;
    }

    pub fn failure(&mut self) {
        self.failures += 1;
    }

    pub fn add(&mut self, report: &WindowReport) {
        self.tally.add(report.labels());
        self.overruns += u64::from(report.overrun);
        self.queries += u64::from(report.calls.queries);
        self.forwards += u64::from(report.calls.forwards);
        self.backwards += u64::from(report.calls.backwards);
        self.codec_runs += u64::from(report.calls.codec_runs);
        self.seconds += report.seconds;
        if report.success == Some(true) && report.queries_first_success.is_some() {
            self.successes += 1;
            self.sums.add(report);
        }
    }

    /// The `stats` property.
    pub fn structure(&self) -> gst::Structure {
        let totals = Totals {
            stats: self,
            rates: self.tally.rates(),
            labels: self.tally.judge(),
            means: (self.successes > 0).then(|| self.sums.over(self.successes as f64)),
        };
        message::of_totals("sparseadv-stats", &totals)
    }
}
