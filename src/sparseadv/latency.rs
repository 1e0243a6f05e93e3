// SPDX-License-Identifier: MPL-2.0

//! Latency: what the pipeline is told of it. How it comes about is the schedule's.

use std::time::Duration;

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::imp::{CAT, SparseAdv};

impl SparseAdv {
    pub(super) fn answer_latency(&self, query: &mut gst::query::Latency) -> bool {
        let mut upstream = gst::query::Latency::new();
        if !self.sinkpad.peer_query(&mut upstream) {
            return false;
        }
        let (live, min, max) = upstream.result();
        let mut state = self.state();
        let settings = self.settings();
        state.latency.set_live(live);
        state.apply(&settings);
        let (own, holds) = state.own_latency(&settings);
        state.latency.tell(own);
        drop(state);
        // There may be deadlines now, and more room.
        self.tell();
        gst::debug!(CAT, imp = self, "Own latency {own}, room for {holds}, live {live}");
        query.set(live, min.saturating_add(own), max.map(|max| max.saturating_add(holds)));
        true
    }

    pub(super) fn ask_whether_live(&self) {
        let mut query = gst::query::Latency::new();
        let answered = self.sinkpad.peer_query(&mut query);
        let mut state = self.state();
        let settings = self.settings();
        if answered {
            state.latency.set_live(query.result().0);
        }
        state.apply(&settings);
        drop(state);
        self.tell();
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
            self.tell();
            self.tell_latency();
        }
    }
}
