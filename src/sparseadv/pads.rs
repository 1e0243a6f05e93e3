// SPDX-License-Identifier: MPL-2.0

//! The pads: the sink pad's thread queues, the source pad's task pushes.

use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::imp::{CAT, SparseAdv};
use super::state::{Frame, State};
use crate::element::lock;
use crate::element::pads::{begins, ends_window, input_uri, running_time};
use crate::element::planes;
use crate::element::stream::Stream;
use crate::universal::Universal;
use crate::window::schedule::{Item, Output};

/// There is nothing to do, for so long at the most.
struct Idle(Option<std::time::Duration>);

impl SparseAdv {
    pub(super) fn sink_chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        // A live frame's time counts from here, also where it has to wait for room.
        let arrived = Instant::now();
        let mut state = self.state();
        let Some(stream) = state.incoming() else {
            state.downstream.flow()?;
            return Err(gst::FlowError::NotNegotiated);
        };
        loop {
            state.downstream.hear()?;
            if state.has_failed() {
                return Err(gst::FlowError::Error);
            }
            if state.schedule.has_room(Instant::now()) {
                break;
            }
            state = self.wait(state);
        }
        if let Err(error) = planes::check(&buffer, &stream.info) {
            drop(state);
            gst::element_imp_error!(self, gst::StreamError::Format, ("{error}"));
            return Err(gst::FlowError::Error);
        }
        let buffer = planes::own(buffer, state.schedule.held());
        let relinked = state.downstream.take_relinked();
        if relinked || buffer.flags().contains(gst::BufferFlags::DISCONT) {
            state.schedule.push(Item::Barrier(None), arrived);
        }
        let running_time = running_time(&self.sinkpad, &buffer);
        state.stats.frame_in();
        let number = state.number();
        let frame = Frame { buffer, stream, number, running_time, delta: None, info: None };
        state.schedule.push(Item::Frame(frame), arrived);
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
                self.state().downstream.resume();
                self.tell();
                self.start_task().is_ok() && result
            }
            EventView::Caps(caps) => {
                // On the way down nothing is wrong with any caps.
                if self.state().downstream.is_flushing() {
                    return Err(gst::FlowError::Flushing);
                }
                let known = self.new_caps(caps.caps()).ok_or(gst::FlowError::NotNegotiated)?;
                return self.enqueue(if known { Item::Event(event) } else { Item::Barrier(Some(event)) });
            }
            EventView::Eos(_) => return self.enqueue(Item::End(event)),
            _ if ends_window(event.type_()) => return self.enqueue(Item::Barrier(Some(event))),
            _ if event.is_serialized() => return self.enqueue(Item::Event(event)),
            _ => gst::Pad::event_default(pad, Some(&*self.obj()), event),
        };
        if passed { Ok(gst::FlowSuccess::Ok) } else { Err(gst::FlowError::Error) }
    }

    /// Takes an item into the line. While downstream refuses frames, sticky events wait there as in a `queue`. Others are
    /// dropped as the frames are, or they would pile up. None is refused: upstream hears of it by frames, and a refused
    /// event would be an error to every other branch of a tee.
    fn enqueue(&self, item: Item<Frame, gst::Event>) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut state = self.state();
        if state.downstream.is_flushing() {
            return Err(gst::FlowError::Flushing);
        }
        if matches!(&item, Item::Barrier(Some(event)) if begins(event)) {
            state.downstream.begin();
        }
        if state.downstream.flow().is_err() && matches!(&item, Item::Event(event) if !event.is_sticky()) {
            return Ok(gst::FlowSuccess::Ok);
        }
        // Upstream learns of an error by its next buffer, but after EOS there is none.
        let last = matches!(&item, Item::End(_)) && !state.has_failed();
        let unheard = state.downstream.unheard().filter(|_| last);
        state.schedule.push(item, Instant::now());
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

    /// Takes over caps, and posts an error for those that cannot be used. Returns whether frames come with them already:
    /// the same caps once more begin nothing.
    fn new_caps(&self, caps: &gst::CapsRef) -> Option<bool> {
        let metadata = self.metadata()?;
        // The probe on the pad has told of caps that cannot be used.
        let info = gst_video::VideoInfo::from_caps(caps).ok()?;
        self.note_input()?;
        if self.state().knows(&info) {
            return Some(true);
        }
        let of = |universal: Option<Arc<Universal>>, info| match universal {
            Some(universal) => Stream::perturbed(info, &metadata, &universal),
            None => Stream::new(info, &metadata),
        };
        let universal = self.state().universal();
        let mut stream = of(universal, info);
        if self.choose(&stream) {
            let universal = self.state().universal();
            stream = of(universal, stream.info);
        }
        let stream = Arc::new(stream);
        self.state().set_incoming(stream);
        self.ask_whether_live();
        self.tell_latency();
        Some(false)
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
        self.state().provenance_mut().input = input;
        Some(())
    }

    /// Makes every thread let go of what it waits for or works on.
    pub(super) fn stop_flow(&self) {
        let mut state = self.state();
        state.downstream.set_flushing();
        state.schedule.cancel();
        drop(state);
        self.tell();
    }

    /// Drops what is inside.
    pub(super) fn flush(&self) {
        let mut state = self.state();
        let events = state.schedule.flush();
        if let Some(watch) = &mut state.watch {
            watch.flush();
        }
        state.downstream.begin();
        drop(state);
        gst::debug!(CAT, imp = self, "Flushed");
        for event in events {
            // Upstream will not send these again.
            if event.is_sticky() && !matches!(event.type_(), gst::EventType::Eos | gst::EventType::Segment) {
                let _ = self.srcpad.store_sticky_event(&event);
            }
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
            self.state().downstream.resume();
            self.start_task()
        } else {
            self.stop_flow();
            pad.stop_task().map_err(|e| gst::loggable_error!(CAT, "Cannot stop the source pad's task: {e}"))
        }
    }

    /// One round of the source pad's task: pushes what may leave, or lets go of a window whose deadline has passed. Where
    /// there is nothing to do, returns for how long at the most.
    fn src_task(&self) -> Option<Idle> {
        // Windows that another thread has judged may have held these up.
        self.publish_closed();
        let mut state = self.state();
        if state.downstream.flow().is_err() {
            drop(state);
            let _ = self.srcpad.pause_task();
            // Linked again meanwhile, when this task was not yet paused.
            if self.state().downstream.flow().is_ok() {
                let _ = self.start_task();
            }
            return None;
        }
        let now = Instant::now();
        let ends = state.schedule.is_at_end();
        if state.waits_for_judge(ends) {
            drop(state);
            return Some(Idle(None));
        }
        match state.schedule.next_output(now) {
            Output::Frame { frame, sampled } => {
                state.downstream.push_frame();
                drop(state);
                let buffer = self.leave(frame, sampled);
                self.tell();
                let result = self.srcpad.push(buffer);
                let mut state = self.state();
                if result.is_ok() {
                    state.stats.frame_out();
                }
                self.pushed(state, result.map(|_| ()));
            }
            Output::Event(event) => {
                if event.type_() == gst::EventType::Caps {
                    state.downstream.push_caps();
                }
                drop(state);
                self.push_event(event);
                self.pushed(self.state(), Ok(()));
            }
            Output::Due(found) => self.expire(state, found),
            Output::Cut => {
                drop(state);
                gst::debug!(CAT, imp = self, "A window waits for no more frames");
                self.tell();
            }
            Output::Wait(until) => {
                drop(state);
                // A barrier without an event leaves unseen, and a query may wait for just that. Not the bell: this
                // thread would hear it too.
                self.changed.notify_all();
                return Some(Idle(until.map(|until| until.saturating_duration_since(now))));
            }
        }
        None
    }

    fn push_event(&self, event: gst::Event) {
        if event.type_() == gst::EventType::Eos {
            let stats = self.state().stats.structure();
            gst::info!(CAT, imp = self, "{stats}");
            self.publish_report();
            self.post(stats);
        }
        gst::log!(CAT, imp = self, "Pushing {event:?}");
        if ends_window(event.type_())
            && let Some(watch) = &mut self.state().watch
        {
            watch.bar();
        }
        let is_caps = event.type_() == gst::EventType::Caps;
        let taken = self.srcpad.push_event(event);
        if is_caps {
            self.state().downstream.caps_pushed(taken);
        }
    }

    /// Takes over what downstream has answered.
    fn pushed(&self, mut state: MutexGuard<State>, result: Result<(), gst::FlowError>) {
        state.schedule.pushed();
        let mut unheard = None;
        if let Err(error) = result {
            gst::debug!(CAT, imp = self, "Downstream returned {error:?}");
            if state.downstream.flow().is_ok() {
                if error == gst::FlowError::Eos {
                    // No more frames, but EOS, a new segment and a new stream still pass.
                    if !state.schedule.drop_frames(begins) {
                        state.downstream.end();
                    }
                } else if state.downstream.fail(error) {
                    state.schedule.cancel();
                    // Upstream learns of an error by its next buffer; behind EOS there is none.
                    let last = state.schedule.events().any(|event| event.type_() == gst::EventType::Eos);
                    unheard = state.downstream.unheard().filter(|_| last);
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
                let unlinked = self.state().downstream.relink();
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
