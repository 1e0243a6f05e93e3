// SPDX-License-Identifier: MPL-2.0

//! What a pad's events say of the frames that come by it.

use gst::prelude::*;

/// When a buffer is due, by the segment of the pad it comes by.
pub fn running_time(pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    let segment = segment.segment().downcast_ref::<gst::ClockTime>()?;
    segment.to_running_time(buffer.pts())
}

/// Where the stream comes from, if its source has an address.
pub fn input_uri(pad: &gst::Pad) -> Option<String> {
    let mut query = gst::query::Uri::new();
    pad.peer_query(&mut query).then(|| query.uri())?.map(Into::into)
}

/// Whether the stream is live, if its source can say by now.
pub fn is_live(pad: &gst::Pad) -> Option<bool> {
    let mut query = gst::query::Latency::new();
    pad.peer_query(&mut query).then(|| query.result().0)
}

/// Whether frames are wanted again from this event on.
pub fn begins(event: &gst::Event) -> bool {
    matches!(event.type_(), gst::EventType::Segment | gst::EventType::StreamStart)
}

/// Whether no window may reach across an event of this kind. A caps event is another matter: only other caps end a
/// window.
pub fn ends_window(event: gst::EventType) -> bool {
    use gst::EventType::{Eos, Segment, SegmentDone, StreamGroupDone, StreamStart};
    matches!(event, Segment | StreamStart | SegmentDone | StreamGroupDone | Eos)
}
