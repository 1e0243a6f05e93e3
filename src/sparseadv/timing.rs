// SPDX-License-Identifier: MPL-2.0

//! What the element knows of the pipeline's time.

use std::time::Duration;

/// What is known of the pipeline's time.
#[derive(Default)]
pub(super) struct Latency {
    live: Option<bool>,
    /// The own latency last told.
    told: Option<gst::ClockTime>,
    /// The longest attack in a live pipeline without a budget.
    slowest: Duration,
}

impl Latency {
    pub fn is_live(&self) -> bool {
        self.live == Some(true)
    }

    pub fn set_live(&mut self, live: bool) {
        self.live = Some(live);
    }

    pub fn told(&self) -> Option<gst::ClockTime> {
        self.told
    }

    pub fn slowest(&self) -> Duration {
        self.slowest
    }

    /// Notes what is told now. Returns whether it is news.
    pub fn tell(&mut self, own: gst::ClockTime) -> bool {
        self.told.replace(own) != Some(own)
    }

    /// Notes how long an attack took. Returns whether that is news. A tenth of slack, or every window would make the
    /// pipeline reconfigure.
    pub fn note(&mut self, duration: Duration) -> bool {
        let longer = self.is_live() && duration > self.slowest + self.slowest / 10;
        if longer {
            self.slowest = duration;
        }
        longer
    }
}
