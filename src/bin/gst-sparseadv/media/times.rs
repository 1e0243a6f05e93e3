// SPDX-License-Identifier: MPL-2.0

//! Times for frames whose file gives them none that a muxer takes.

use std::sync::Mutex;

use gst::prelude::*;
use gstsparseadv::element::lock;

/// Decoders give frames of no known rate durations such as a nanosecond.
const NEGLIGIBLE: gst::ClockTime = gst::ClockTime::from_useconds(100);

/// Gives frames without a duration that of the interval before them, or a muxer would hide the last. `mean` serves the
/// first. With a `rate`, for muxers that take a constant one alone, gives all of them times of that.
pub fn keep(pad: &gst::Pad, rate: Option<gst::Fraction>, mean: gst::Fraction) {
    let state = Mutex::new(State::default());
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(kinds, move |_, info| {
        let mut state = lock(&state);
        if let Some(rate) = rate
            && let Some(event) = info.event().map(ToOwned::to_owned)
        {
            return match state.event(&event, rate) {
                Some(event) => {
                    info.data = Some(gst::PadProbeData::Event(event));
                    gst::PadProbeReturn::Ok
                }
                None => gst::PadProbeReturn::Drop,
            };
        }
        if let Some(buffer) = info.buffer_mut() {
            state.frame(buffer, rate, mean);
        }
        gst::PadProbeReturn::Ok
    });
}

#[derive(Default)]
struct State {
    frames: u64,
    /// Time of the frame before.
    before: Option<gst::ClockTime>,
    has_segment: bool,
}

impl State {
    /// What becomes of an event where all frames get new times.
    fn event(&mut self, event: &gst::Event, rate: gst::Fraction) -> Option<gst::Event> {
        match event.view() {
            gst::EventView::Segment(_) if self.has_segment => None,
            gst::EventView::Segment(_) => {
                self.has_segment = true;
                let plain = gst::FormattedSegment::<gst::ClockTime>::new();
                Some(gst::event::Segment::new(&plain))
            }
            gst::EventView::Gap(_) => None,
            gst::EventView::Caps(caps) => {
                let mut caps = caps.caps_owned();
                caps.make_mut().set("framerate", rate);
                Some(gst::event::Caps::new(&caps))
            }
            _ => Some(event.clone()),
        }
    }

    fn frame(&mut self, buffer: &mut gst::Buffer, rate: Option<gst::Fraction>, mean: gst::Fraction) {
        let pts = buffer.pts();
        if let Some(rate) = rate {
            let (start, end) = (time(self.frames, rate), time(self.frames + 1, rate));
            let buffer = buffer.make_mut();
            buffer.set_pts(start);
            buffer.set_dts(None);
            buffer.set_duration(end.zip(start).map(|(end, start)| end - start));
        } else if buffer.duration().is_none_or(|d| d < NEGLIGIBLE) {
            let since = pts.zip(self.before).and_then(|(now, before)| now.checked_sub(before));
            let duration = since.filter(|t| !t.is_zero()).or(time(1, mean));
            buffer.make_mut().set_duration(duration);
        }
        self.frames += 1;
        self.before = pts.or(self.before);
    }
}

/// Of the n-th frame.
fn time(n: u64, rate: gst::Fraction) -> Option<gst::ClockTime> {
    let (numer, denom) = (rate.numer() as u64, rate.denom() as u64);
    gst::ClockTime::SECOND.mul_div_round(n * denom, numer)
}
