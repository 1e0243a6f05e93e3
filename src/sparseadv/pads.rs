// SPDX-License-Identifier: MPL-2.0

//! The pads: the sink pad's thread queues, the source pad's task pushes.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Instant;

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::format;
use super::imp::{lock, SparseAdv, CAT};
use super::queue::{begins, ends_window, Frame, Item, Output};
use super::stream::Stream;

/// When a buffer is due, by the segment of the pad it comes by.
pub fn running_time(pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    let segment = segment.segment().downcast_ref::<gst::ClockTime>()?;
    segment.to_running_time(buffer.pts())
}

/// Where the stream comes from, if its source has an address.
pub fn input_uri(pad: &gst::Pad) -> Option<String> {
    let mut query = gst::query::Uri::new();
    pad.peer_query(&mut query)
        .then(|| query.uri())?
        .map(Into::into)
}

impl SparseAdv {
    pub(super) fn sink_chain(
        &self,
        buffer: gst::Buffer,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut state = self.state();
        let Some(stream) = state.incoming.clone() else {
            return Err(gst::FlowError::NotNegotiated);
        };
        // The worker needs one window, the next may gather meanwhile.
        let capacity = state.windowing.span + state.windowing.stride;
        loop {
            state.flow?;
            if state.ended {
                return Err(gst::FlowError::Eos);
            }
            if state.failed {
                return Err(gst::FlowError::Error);
            }
            if state.queue.waiting_frames() < capacity {
                break;
            }
            state = self.wait(state, None);
        }
        if let Err(error) = stream.sample(&buffer) {
            drop(state);
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                (
                    "Expected a frame of {} bytes as the caps say, found {} bytes: {error}",
                    stream.info.size(),
                    buffer.size()
                )
            );
            return Err(gst::FlowError::Error);
        }
        if buffer.flags().contains(gst::BufferFlags::DISCONT) {
            state.queue.push(Item::Drain);
        }
        let running_time = running_time(&self.sinkpad, &buffer);
        let index = state.next_frame;
        state.next_frame += 1;
        state.stats.frame_in();
        state.queue.push(Item::Frame(Frame {
            buffer,
            index,
            arrived: Instant::now(),
            running_time,
            seen: false,
            delta: None,
            info: None,
        }));
        drop(state);
        self.changed.notify_all();
        Ok(gst::FlowSuccess::Ok)
    }

    pub(super) fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        use gst::EventView;

        gst::log!(CAT, obj = pad, "Event {event:?}");
        match event.view() {
            EventView::FlushStart(_) => {
                let result = self.srcpad.push_event(event);
                self.stop_flow();
                let _ = self.srcpad.pause_task();
                result
            }
            EventView::FlushStop(_) => {
                self.flush();
                let result = self.srcpad.push_event(event);
                self.state().flow = Ok(gst::FlowSuccess::Ok);
                self.start_task().is_ok() && result
            }
            EventView::Caps(caps) => match self.new_caps(caps.caps()) {
                Some(stream) => self.enqueue(Item::Caps(event, stream)),
                None => false,
            },
            _ if ends_window(event.type_()) => self.enqueue(Item::Event(event, true)),
            _ if event.is_serialized() => self.enqueue(Item::Event(event, false)),
            _ => gst::Pad::event_default(pad, Some(&*self.obj()), event),
        }
    }

    fn enqueue(&self, item: Item) -> bool {
        let mut state = self.state();
        if let Item::Event(event, _) = &item {
            if begins(event) {
                state.ended = false;
            }
        }
        let eos = matches!(&item, Item::Event(e, _) if e.type_() == gst::EventType::Eos);
        if let (Err(error), false) = (state.flow, state.failed) {
            drop(state);
            // Upstream learns of an error by its next buffer, but after EOS there is none.
            if eos && !matches!(error, gst::FlowError::Flushing | gst::FlowError::Eos) {
                gst::element_imp_error!(
                    self,
                    gst::StreamError::Failed,
                    ("Pushing downstream failed: {error}")
                );
            }
            return false;
        }
        state.queue.push(item);
        drop(state);
        self.changed.notify_all();
        true
    }

    /// The stream that caps describe; posts an error for caps that cannot be used.
    fn new_caps(&self, caps: &gst::CapsRef) -> Option<Arc<Stream>> {
        let metadata = self.metadata()?;
        let info = gst_video::VideoInfo::from_caps(caps).ok().filter(|info| {
            format::FORMATS.contains(&info.format())
                && info.width() as i32 >= format::MIN_SIZE
                && info.height() as i32 >= format::MIN_SIZE
        });
        let Some(info) = info else {
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                (
                    "Expected 8-bit raw video of at least {0}x{0}, found {caps}. Put a videoconvert in front of sparseadv.",
                    format::MIN_SIZE
                )
            );
            return None;
        };
        let stream = Arc::new(Stream::new(info, &metadata));
        let input = input_uri(&self.sinkpad);
        let report = lock(&self.report);
        if let Some(Err(message)) = report.as_ref().map(|r| r.check_input(input.as_deref())) {
            drop(report);
            self.post_error_message(message);
            return None;
        }
        drop(report);
        let mut state = self.state();
        state.incoming = Some(stream.clone());
        Arc::make_mut(&mut state.provenance).input = input;
        drop(state);
        self.ask_whether_live();
        self.tell_latency();
        Some(stream)
    }

    /// Makes every thread let go of what it waits for or works on.
    pub(super) fn stop_flow(&self) {
        let mut state = self.state();
        state.flow = Err(gst::FlowError::Flushing);
        self.epoch.fetch_add(1, Ordering::SeqCst);
        drop(state);
        self.changed.notify_all();
    }

    /// Drops what is queued.
    pub(super) fn flush(&self) {
        let mut state = self.state();
        self.epoch.fetch_add(1, Ordering::SeqCst);
        let (sticky, stream) = state.queue.flush();
        if stream.is_some() {
            state.stream = stream;
        }
        state.ended = false;
        state.skip = 0;
        state.job = None;
        state.open.clear();
        state.released.clear();
        state.context.clear();
        drop(state);
        for event in sticky {
            // Upstream will not send these again.
            let _ = self.srcpad.store_sticky_event(&event);
        }
    }

    fn start_task(&self) -> Result<(), gst::LoggableError> {
        let this = self.obj().downgrade();
        self.srcpad
            .start_task(move || {
                if let Some(this) = this.upgrade() {
                    this.imp().src_task();
                }
            })
            .map_err(|e| gst::loggable_error!(CAT, "Cannot start the source pad's task: {e}"))
    }

    pub(super) fn src_activate(
        &self,
        pad: &gst::Pad,
        active: bool,
    ) -> Result<(), gst::LoggableError> {
        if active {
            self.state().flow = Ok(gst::FlowSuccess::Ok);
            self.start_task()
        } else {
            self.stop_flow();
            pad.stop_task()
                .map_err(|e| gst::loggable_error!(CAT, "Cannot stop the source pad's task: {e}"))
        }
    }

    /// One round of the source pad's task: pushes what is ready, or lets go of a window whose deadline has passed.
    fn src_task(&self) {
        let mut state = self.state();
        loop {
            if state.flow.is_err() {
                drop(state);
                let _ = self.srcpad.pause_task();
                return;
            }
            if let Some(output) = state.queue.pop_ready() {
                state.pushing = true;
                drop(state);
                self.changed.notify_all();
                self.push(output);
                return;
            }
            let left = match self.deadline(&state) {
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        self.release_expired(state);
                        return;
                    }
                    Some(left)
                }
                None => None,
            };
            state = self.wait(state, left);
        }
    }

    fn push(&self, output: Output) {
        let result = match output {
            Output::Frame(buffer) => {
                let result = self.srcpad.push(buffer);
                if result.is_ok() {
                    self.state().stats.frame_out();
                }
                result
            }
            Output::Event(event) => {
                if event.type_() == gst::EventType::Eos {
                    let stats = self.state().stats.structure();
                    gst::info!(CAT, imp = self, "{stats}");
                    self.publish_report();
                    self.post(stats);
                }
                gst::log!(CAT, imp = self, "Pushing {event:?}");
                self.srcpad.push_event(event);
                Ok(gst::FlowSuccess::Ok)
            }
        };
        let mut state = self.state();
        state.pushing = false;
        // Upstream learns of an error by its next buffer; behind EOS there is none.
        let mut unheard = None;
        if let Err(error) = result {
            gst::debug!(CAT, imp = self, "Downstream returned {error:?}");
            if state.flow.is_ok() {
                self.epoch.fetch_add(1, Ordering::SeqCst);
                if error == gst::FlowError::Eos {
                    // No more frames, but EOS, a new segment and a new stream still pass.
                    state.ended = !state.queue.drop_frames();
                    state.skip = 0;
                    state.job = None;
                    state.open.clear();
                    state.released.clear();
                    state.context.clear();
                } else {
                    state.flow = Err(error);
                    let fatal = error != gst::FlowError::Flushing;
                    unheard = Some(error).filter(|_| fatal && state.queue.holds_eos());
                }
            }
        }
        drop(state);
        self.changed.notify_all();
        if let Some(error) = unheard {
            gst::element_imp_error!(
                self,
                gst::StreamError::Failed,
                ("Pushing downstream failed: {error}")
            );
        }
    }

    pub(super) fn sink_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Allocation(query) => self.answer_allocation(query),
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }

    /// Asks downstream, and adds room for the frames held here: a pool of a few buffers would run dry.
    fn answer_allocation(&self, query: &mut gst::query::Allocation) -> bool {
        let mut state = self.state();
        // Downstream has to have the caps first. Frames that wait for a window would be waited for in vain.
        while state.flow.is_ok() && state.queue.waiting_frames() == 0 {
            if state.queue.is_empty() && !state.pushing && !state.releasing {
                break;
            }
            state = self.wait(state, None);
        }
        let ask = state.flow.is_ok() && state.queue.waiting_frames() == 0;
        let held = (state.windowing.span + state.windowing.stride) as u32;
        drop(state);
        if !ask || !self.srcpad.peer_query(query.query_mut()) {
            return false;
        }
        let pools: Vec<_> = query.allocation_pools().map(|p| (p.1, p.2)).collect();
        if let Some(&(size, min)) = pools.first() {
            // A pool of downstream's own may be bounded, and its buffers may be scarce.
            for _ in 0..pools.len() {
                query.remove_nth_allocation_pool(0);
            }
            query.add_allocation_pool(None::<&gst::BufferPool>, size, min + held, 0);
        }
        true
    }

    pub(super) fn src_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        if event.type_() == gst::EventType::Qos {
            // A decoder would drop frames for a late sink, and windows would be of other frames than the file's.
            return true;
        }
        gst::Pad::event_default(pad, Some(&*self.obj()), event)
    }

    pub(super) fn src_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Latency(query) => self.answer_latency(query),
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }
}
