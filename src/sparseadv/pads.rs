// SPDX-License-Identifier: MPL-2.0

//! The pads: the sink pad's thread queues, the source pad's task pushes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::imp::{CAT, SparseAdv};
use super::queue::{Frame, Item, Output};
use crate::element::lock;
use crate::element::pads::{begins, ends_window, input_uri, running_time};
use crate::element::planes;
use crate::element::stream::Stream;

/// There is nothing to do, for so long at the most.
struct Idle(Option<std::time::Duration>);

impl SparseAdv {
    pub(super) fn sink_chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut state = self.state();
        let Some(stream) = state.incoming.clone() else {
            state.flow?;
            return Err(gst::FlowError::NotNegotiated);
        };
        // The worker needs one window, the next may gather meanwhile.
        let capacity = state.windowing.span + state.windowing.stride;
        loop {
            if state.flow == Err(gst::FlowError::NotLinked) {
                state.told_not_linked = true;
            }
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
            state = self.wait(state);
        }
        if let Err(error) = planes::check(&buffer, &stream.info) {
            drop(state);
            gst::element_imp_error!(self, gst::StreamError::Format, ("{error}"));
            return Err(gst::FlowError::Error);
        }
        let buffer = planes::own(buffer, capacity);
        if buffer.flags().contains(gst::BufferFlags::DISCONT) || std::mem::take(&mut state.relinked) {
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
        self.tell();
        Ok(gst::FlowSuccess::Ok)
    }

    pub(super) fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> Result<gst::FlowSuccess, gst::FlowError> {
        use gst::EventView;

        gst::log!(CAT, obj = pad, "Event {event:?}");
        let passed = match event.view() {
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
            EventView::Caps(caps) => {
                // On the way down nothing is wrong with any caps.
                if self.state().flow == Err(gst::FlowError::Flushing) {
                    return Err(gst::FlowError::Flushing);
                }
                if self.knows(caps.caps()) {
                    self.note_input().ok_or(gst::FlowError::NotNegotiated)?;
                    return self.enqueue(Item::Event(event, false));
                }
                let stream = self.new_caps(caps.caps());
                let stream = stream.ok_or(gst::FlowError::NotNegotiated)?;
                return self.enqueue(Item::Caps(event, stream));
            }
            _ if ends_window(event.type_()) => return self.enqueue(Item::Event(event, true)),
            _ if event.is_serialized() => return self.enqueue(Item::Event(event, false)),
            _ => gst::Pad::event_default(pad, Some(&*self.obj()), event),
        };
        match passed {
            true => Ok(gst::FlowSuccess::Ok),
            false => Err(gst::FlowError::Error),
        }
    }

    /// Whether frames come with these caps already: the same caps once more begin nothing.
    fn knows(&self, caps: &gst::CapsRef) -> bool {
        let info = gst_video::VideoInfo::from_caps(caps).ok();
        let state = self.state();
        let incoming = state.incoming.as_ref();
        info.is_some_and(|info| incoming.is_some_and(|stream| stream.info == info))
    }

    /// Takes an item into the line. While downstream refuses frames, events wait there as in a `queue`: upstream hears
    /// of it by frames, and a refused event would be an error to every other branch of a tee.
    fn enqueue(&self, item: Item) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut state = self.state();
        if let Item::Event(event, _) = &item {
            if begins(event) {
                state.ended = false;
            }
        }
        let eos = matches!(&item, Item::Event(e, _) if e.type_() == gst::EventType::Eos);
        let mut unheard = None;
        match state.flow {
            Err(gst::FlowError::Flushing) => return Err(gst::FlowError::Flushing),
            // Upstream learns of an error by its next buffer, but after EOS there is none.
            Err(error) if eos && !state.failed => unheard = Some(error).filter(|_| !state.told_not_linked),
            _ => {}
        }
        state.queue.push(item);
        drop(state);
        self.tell();
        self.tell_unheard(unheard)?;
        Ok(gst::FlowSuccess::Ok)
    }

    /// Posts why frames did not get on, where upstream will not hear of it.
    fn tell_unheard(&self, unheard: Option<gst::FlowError>) -> Result<(), gst::FlowError> {
        let Some(error) = unheard else {
            return Ok(());
        };
        if error == gst::FlowError::NotLinked && self.has_sister_branch() {
            // The others go on, as they do with a tee's own unlinked pad.
            gst::warning!(CAT, imp = self, "Nothing is linked to the source pad");
            return Ok(());
        }
        gst::element_imp_error!(self, gst::StreamError::Failed, ("Pushing downstream failed: {error}"));
        Err(error)
    }

    /// Whether some element upstream feeds another branch besides this one.
    fn has_sister_branch(&self) -> bool {
        let mut pad = self.sinkpad.peer();
        // Loops are no pipelines; still, no walk without an end.
        for _ in 0..1000 {
            let Some(element) = pad.and_then(|pad| pad.parent_element()) else {
                return false;
            };
            if element.src_pads().len() > 1 {
                return true;
            }
            pad = element.sink_pads().first().and_then(|pad| pad.peer());
        }
        false
    }

    /// The stream that caps describe; posts an error for caps that cannot be used.
    fn new_caps(&self, caps: &gst::CapsRef) -> Option<Arc<Stream>> {
        let metadata = self.metadata()?;
        // The probe on the pad has told of caps that cannot be used.
        let info = gst_video::VideoInfo::from_caps(caps).ok()?;
        let stream = Arc::new(Stream::new(info, &metadata));
        self.note_input()?;
        self.state().incoming = Some(stream.clone());
        self.ask_whether_live();
        self.tell_latency();
        Some(stream)
    }

    /// Notes where the stream comes from. An error where the report would take its place.
    fn note_input(&self) -> Option<()> {
        let input = input_uri(&self.sinkpad);
        let report = lock(&self.report);
        if let Some(Err(message)) = report.as_ref().map(|r| r.check_input(input.as_deref())) {
            drop(report);
            self.post_error_message(message);
            return None;
        }
        drop(report);
        Arc::make_mut(&mut self.state().provenance).input = input;
        Some(())
    }

    /// Makes every thread let go of what it waits for or works on.
    pub(super) fn stop_flow(&self) {
        let mut state = self.state();
        state.flow = Err(gst::FlowError::Flushing);
        self.epoch.fetch_add(1, Ordering::SeqCst);
        drop(state);
        self.tell();
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
        let (this, bell) = (self.obj().downgrade(), self.bell.clone());
        self.srcpad
            .start_task(move || {
                let seen = bell.count();
                let idle = this.upgrade().and_then(|this| this.imp().src_task());
                if let Some(Idle(left)) = idle {
                    bell.wait(seen, left);
                }
            })
            .map_err(|e| gst::loggable_error!(CAT, "Cannot start the source pad's task: {e}"))
    }

    pub(super) fn src_activate(&self, pad: &gst::Pad, active: bool) -> Result<(), gst::LoggableError> {
        if active {
            self.state().flow = Ok(gst::FlowSuccess::Ok);
            self.start_task()
        } else {
            self.stop_flow();
            pad.stop_task().map_err(|e| gst::loggable_error!(CAT, "Cannot stop the source pad's task: {e}"))
        }
    }

    /// One round of the source pad's task: pushes what is ready, or lets go of a window whose deadline has passed.
    /// Where there is nothing to do, returns for how long at the most.
    fn src_task(&self) -> Option<Idle> {
        let mut state = self.state();
        if state.flow.is_err() {
            drop(state);
            let _ = self.srcpad.pause_task();
            return None;
        }
        if let Some(output) = state.queue.pop_ready() {
            state.pushing = true;
            state.caps_under_way = matches!(&output, Output::Event(e) if e.type_() == gst::EventType::Caps);
            drop(state);
            self.tell();
            self.push(output);
            return None;
        }
        let Some(deadline) = self.deadline(&state) else {
            return Some(Idle(None));
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            self.release_expired(state);
            return None;
        }
        Some(Idle(Some(left)))
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
                let is_caps = event.type_() == gst::EventType::Caps;
                let taken = self.srcpad.push_event(event);
                if is_caps {
                    let mut state = self.state();
                    state.caps_under_way = false;
                    state.caps_refused = !taken;
                }
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
                    state.told_not_linked = false;
                    unheard = Some(error).filter(|_| fatal && state.queue.holds_eos());
                }
            }
        }
        drop(state);
        self.tell();
        // There is nobody to return it to.
        let _ = self.tell_unheard(unheard);
    }

    pub(super) fn src_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        match event.type_() {
            // A decoder would leave out frames, and the windows would be of others than the file's.
            gst::EventType::Qos => return true,
            gst::EventType::Reconfigure => {
                let mut state = self.state();
                let unlinked = state.flow == Err(gst::FlowError::NotLinked);
                if unlinked {
                    state.flow = Ok(gst::FlowSuccess::Ok);
                    state.told_not_linked = false;
                    // Upstream's frames were refused meanwhile.
                    state.relinked = true;
                }
                drop(state);
                if unlinked {
                    self.tell();
                    if let Err(error) = self.start_task() {
                        gst::warning!(CAT, imp = self, "{error}");
                    }
                }
            }
            _ => {}
        }
        gst::Pad::event_default(pad, Some(&*self.obj()), event)
    }
}
