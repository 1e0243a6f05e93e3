// SPDX-License-Identifier: MPL-2.0

//! Latency: what the pipeline is told of it. How it comes about is the schedule's.

use std::time::Duration;

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::imp::{CAT, SparseAdv};

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

    pub fn told(&self) -> Option<gst::ClockTime> {
        self.told
    }

    pub fn slowest(&self) -> Duration {
        self.slowest
    }

    /// Notes what is told now. Returns whether it is news.
    fn tell(&mut self, own: gst::ClockTime) -> bool {
        self.told.replace(own) != Some(own)
    }

    /// Notes how long an attack took. Returns whether that is news. A tenth of slack, or every window would make the
    /// pipeline reconfigure.
    fn note(&mut self, duration: Duration) -> bool {
        let longer = self.is_live() && duration > self.slowest + self.slowest / 10;
        if longer {
            self.slowest = duration;
        }
        longer
    }
}

impl SparseAdv {
    pub(super) fn answer_latency(&self, query: &mut gst::query::Latency) -> bool {
        let mut upstream = gst::query::Latency::new();
        if !self.sinkpad.peer_query(&mut upstream) {
            return false;
        }
        let (live, min, max) = upstream.result();
        let mut state = self.state();
        let settings = self.settings();
        state.latency.live = Some(live);
        state.apply(&settings);
        let (own, holds) = state.own_latency(&settings);
        state.latency.tell(own);
        drop(state);
        gst::debug!(CAT, imp = self, "Own latency {own}, room for {holds}, live {live}");
        query.set(live, min.saturating_add(own), max.map(|max| max.saturating_add(holds)));
        true
    }

    pub(super) fn ask_whether_live(&self) {
        let mut query = gst::query::Latency::new();
        if self.sinkpad.peer_query(&mut query) {
            let mut state = self.state();
            let settings = self.settings();
            state.latency.live = Some(query.result().0);
            state.apply(&settings);
        }
    }

    /// Has the pipeline ask again where the latency is no longer what it was told.
    pub(super) fn tell_latency(&self) {
        let mut state = self.state();
        let settings = self.settings();
        let (own, _) = state.own_latency(&settings);
        if state.incoming().is_none() || !state.latency.tell(own) {
            return;
        }
        drop(state);
        gst::debug!(CAT, imp = self, "Another latency: {own}");
        let message = gst::message::Latency::builder().src(&*self.obj()).build();
        let _ = self.obj().post_message(message);
    }

    /// Notes how long an attack took where nothing bounds it.
    pub(super) fn note_duration(&self, duration: Duration) {
        let mut state = self.state();
        let settings = self.settings();
        if state.latency.note(duration) {
            state.apply(&settings);
            drop(state);
            self.tell_latency();
        }
    }
}
