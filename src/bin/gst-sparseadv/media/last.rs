// SPDX-License-Identifier: MPL-2.0

//! The last frame of an MP4 file. mp4mux shows a file for as long as its frames last in the order in which they are
//! stored. Where times are not regular and frames are stored out of order, that is too short, and players leave the
//! last frame out.

use std::sync::Mutex;

use gst::prelude::*;
use gstsparseadv::element::lock;

/// Muxers that do so.
const MUXERS: [&str; 4] = ["mp4mux", "qtmux", "3gppmux", "ismlmux"];

/// Makes the last frame that enters such a muxer of a bin last until the last that is shown ends. Where times are
/// `irregular`, keeps from it the frame rate, by which it would judge that for itself.
pub fn mend(bin: &gst::Bin, irregular: bool) {
    for element in bin.iterate_recurse().into_iter().flatten() {
        let kind = element.factory().map(|f| f.name());
        if kind.is_some_and(|kind| MUXERS.contains(&kind.as_str())) {
            element.sink_pads().iter().for_each(|pad| hold(pad, irregular));
        }
    }
}

#[derive(Default)]
struct State {
    held: Option<gst::Buffer>,
    /// Whether the held frame is on its way, which leads here again.
    passes: bool,
    first: Option<(gst::ClockTime, gst::ClockTime)>,
    end: gst::ClockTime,
}

/// Holds each frame until the next one comes.
fn hold(pad: &gst::Pad, irregular: bool) {
    let shared = Mutex::new(State::default());
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(kinds, move |pad, info| {
        let mut state = lock(&shared);
        if state.passes {
            return gst::PadProbeReturn::Ok;
        }
        if let Some(event) = info.event().map(ToOwned::to_owned) {
            if let (true, gst::EventView::Caps(caps)) = (irregular, event.view()) {
                let mut caps = caps.caps_owned();
                caps.make_mut().set("framerate", gst::Fraction::new(0, 1));
                info.data = Some(gst::PadProbeData::Event(gst::event::Caps::new(&caps)));
            }
            // Tags may go first: an encoder sends some right before the end.
            let is_order = [gst::EventType::Caps, gst::EventType::Segment, gst::EventType::Eos];
            if !is_order.contains(&event.type_()) {
                return gst::PadProbeReturn::Ok;
            }
            let is_end = event.type_() == gst::EventType::Eos;
            if let Some(buffer) = state.release(is_end) {
                state.passes = true;
                drop(state);
                // An error is met again by the next frame or event.
                let _ = pad.chain(buffer);
                lock(&shared).passes = false;
            }
            return gst::PadProbeReturn::Ok;
        }
        let Some(gst::PadProbeData::Buffer(buffer)) = info.data.take() else {
            return gst::PadProbeReturn::Ok;
        };
        match state.swap(buffer) {
            Some(before) => {
                info.data = Some(gst::PadProbeData::Buffer(before));
                gst::PadProbeReturn::Ok
            }
            // What was taken is ours.
            None => gst::PadProbeReturn::Handled,
        }
    });
}

impl State {
    fn swap(&mut self, buffer: gst::Buffer) -> Option<gst::Buffer> {
        if let Some(pts) = buffer.pts() {
            let dts = buffer.dts_or_pts().unwrap_or(pts);
            let (start, _) = *self.first.get_or_insert((pts, dts));
            self.first = self.first.map(|(_, dts)| (start.min(pts), dts));
            self.end = self.end.max(pts + buffer.duration().unwrap_or_default());
        }
        self.held.replace(buffer)
    }

    fn release(&mut self, is_end: bool) -> Option<gst::Buffer> {
        let mut buffer = self.held.take()?;
        if let (true, Some((start, first)), Some(dts)) = (is_end, self.first, buffer.dts_or_pts()) {
            // The frames' time in the order shown, less that of those before in the order stored.
            let shown = self.end.saturating_sub(start);
            let left = shown.saturating_sub(dts.saturating_sub(first));
            if buffer.duration().is_none_or(|duration| duration < left) {
                buffer.make_mut().set_duration(left);
            }
        }
        Some(buffer)
    }
}
