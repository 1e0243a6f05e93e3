// SPDX-License-Identifier: MPL-2.0

//! Latency: what the element adds, telling it, and the deadlines that keep it.

use std::time::{Duration, Instant};

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::imp::{CAT, SparseAdv};
use super::state::State;

/// Share of the time budget after which a window leaves with what has been found.
const TO_FIND: f64 = 0.93;

impl SparseAdv {
    /// Gathering a window, and attacking it.
    fn own_latency(&self, state: &State) -> gst::ClockTime {
        let settings = self.settings();
        let Some(stream) = state.incoming.as_ref().filter(|_| settings.enabled) else {
            return gst::ClockTime::ZERO;
        };
        let live = state.live == Some(true);
        let window = times(stream.frame_duration, state.windowing.span as u64 - 1);
        let budget = settings.budget(live, stream.frame_duration, state.windowing);
        let processing = match budget {
            Some(budget) => gst::ClockTime::try_from(budget).unwrap_or(gst::ClockTime::ZERO),
            None => state.slowest,
        };
        window.saturating_add(processing)
    }

    pub(super) fn answer_latency(&self, query: &mut gst::query::Latency) -> bool {
        let mut upstream = gst::query::Latency::new();
        if !self.sinkpad.peer_query(&mut upstream) {
            return false;
        }
        let (live, min, max) = upstream.result();
        let mut state = self.state();
        state.live = Some(live);
        let own = self.own_latency(&state);
        state.told_latency = Some(own);
        let held = (state.windowing.span + state.windowing.stride) as u64;
        let holds = match &state.incoming {
            Some(stream) => own.max(times(stream.frame_duration, held)),
            None => own,
        };
        drop(state);
        gst::debug!(CAT, imp = self, "Own latency {own}, live {live}");
        query.set(live, min.saturating_add(own), max.map(|max| max.saturating_add(holds)));
        true
    }

    pub(super) fn ask_whether_live(&self) {
        let mut query = gst::query::Latency::new();
        if self.sinkpad.peer_query(&mut query) {
            self.state().live = Some(query.result().0);
        }
    }

    /// Has the pipeline ask again where the latency is no longer what it was told.
    pub(super) fn tell_latency(&self) {
        let mut state = self.state();
        let own = self.own_latency(&state);
        if state.incoming.is_none() || state.told_latency == Some(own) {
            return;
        }
        state.told_latency = Some(own);
        drop(state);
        let message = gst::message::Latency::builder().src(&*self.obj()).build();
        let _ = self.obj().post_message(message);
    }

    /// Notes how long an attack took where nothing bounds it.
    pub(super) fn note_duration(&self, duration: Duration) {
        let mut state = self.state();
        let Ok(duration) = gst::ClockTime::try_from(duration) else {
            return;
        };
        // A tenth of slack, or every window would make the pipeline reconfigure.
        if state.live == Some(true) && duration > state.slowest + state.slowest / 10 {
            state.slowest = duration;
            drop(state);
            self.tell_latency();
        }
    }

    /// When the window at the front of the queue has to leave, in a live pipeline, finished or not.
    pub(super) fn deadline(&self, state: &State) -> Option<Instant> {
        let settings = self.settings();
        if !settings.enabled || state.live != Some(true) || state.releasing || state.failed || state.skip > 0 {
            return None;
        }
        let stream = state.stream.as_ref()?;
        let front = state.queue.front(state.windowing.span);
        if front.frames < state.windowing.span && !front.barrier {
            return None;
        }
        let budget = settings.budget(true, stream.frame_duration, state.windowing)?;
        // The rest is for rendering what has been found.
        let budget = budget.mul_f64(TO_FIND);
        front.complete.map(|complete| complete + budget)
    }
}

/// A duration many times over, bounded.
fn times(duration: gst::ClockTime, n: u64) -> gst::ClockTime {
    gst::ClockTime::from_nseconds(duration.nseconds().saturating_mul(n).min(u64::MAX - 1))
}
