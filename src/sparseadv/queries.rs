// SPDX-License-Identifier: MPL-2.0

//! Queries: those in line with the frames wait for these, and whoever allocates frames hears how many are held.

use std::time::Instant;

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::imp::SparseAdv;
use crate::element::format;
use crate::window::schedule::Item;

impl SparseAdv {
    pub(super) fn sink_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        let in_line = query.is_serialized();
        match query.view_mut() {
            gst::QueryViewMut::Allocation(query) => self.answer_allocation(query),
            gst::QueryViewMut::AcceptCaps(asked) => {
                format::tell_refused_caps(self.obj().upcast_ref(), pad, &asked.caps_owned());
                gst::Pad::query_default(pad, Some(&*self.obj()), query)
            }
            _ if in_line && !self.let_all_leave() => false,
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }

    /// Waits until nothing is inside any more, for a query that stands in line behind it. A window that is not full
    /// ends here, since its frames cannot come before the query is answered.
    fn let_all_leave(&self) -> bool {
        let mut state = self.state();
        state.schedule.push(Item::Barrier(None), Instant::now());
        self.tell();
        while state.downstream.flow().is_ok() {
            if state.schedule.is_idle() {
                return true;
            }
            state = self.wait(state);
        }
        false
    }

    /// Asks downstream, and adds room for the frames held here: a pool of a few buffers would run dry.
    fn answer_allocation(&self, query: &mut gst::query::Allocation) -> bool {
        let caps = query.get_owned().0;
        let reached = || self.srcpad.current_caps() == caps;
        let mut state = self.state();
        // Downstream has to have the caps first; those it has already are no barrier. A live source cannot wait for a window that is under attack before
        // them.
        while state.downstream.flow().is_ok() && !state.latency.is_live() {
            let is_caps = |event: &gst::Event| event.type_() == gst::EventType::Caps;
            let under_way = state.downstream.caps_under_way() || state.schedule.barriers().any(is_caps);
            if !under_way && (!state.schedule.is_pushing() || reached()) {
                break;
            }
            state = self.wait(state);
        }
        let flows = state.downstream.flow().is_ok();
        let held = u32::try_from(state.schedule.held()).unwrap_or(u32::MAX);
        let refused = !state.downstream.took_caps();
        drop(state);
        if !flows {
            return false;
        }
        let answered = !refused && reached() && self.srcpad.peer_query(query.query_mut());
        if let Some(place) = query.find_allocation_meta::<gst_video::VideoCropMeta>() {
            // The attack is on the frame that the caps describe.
            query.remove_nth_allocation_meta(place);
        }
        let pools: Vec<_> = query.allocation_pools().map(|p| (p.1, p.2)).collect();
        let info = caps.and_then(|caps| gst_video::VideoInfo::from_caps(&caps).ok());
        let own = info.map(|info| (info.size() as u32, 0));
        let Some((size, min)) = pools.first().copied().or(own) else {
            return answered;
        };
        // A pool of downstream's own may be bounded, and its buffers may be scarce.
        for _ in 0..pools.len() {
            query.remove_nth_allocation_pool(0);
        }
        query.add_allocation_pool(None::<&gst::BufferPool>, size, min.saturating_add(held), 0);
        true
    }

    pub(super) fn src_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Latency(query) => self.answer_latency(query),
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }
}
