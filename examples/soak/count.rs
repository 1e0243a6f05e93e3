// SPDX-License-Identifier: MPL-2.0

//! Frames that come to an element and leave it.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use gst::prelude::*;

use crate::stream::Stream;

#[derive(Default)]
struct Seen {
    came: u64,
    left: u64,
    /// Whether frames may have been lost: a flush, or a stop.
    disturbed: bool,
    /// The last frame that left, by its address and time: no frame leaves twice.
    last: Option<(usize, Option<gst::ClockTime>)>,
    twice: u64,
}

pub struct Count(Arc<Mutex<Seen>>);

impl Count {
    pub fn of(pipeline: &gst::Pipeline, n: usize) -> anyhow::Result<Self> {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let attack = pipeline.by_name(&format!("attack{n}")).context("an element")?;
        for (name, incoming) in [("sink", true), ("src", false)] {
            let pad = attack.static_pad(name).context("a pad")?;
            let kinds =
                gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::EVENT_FLUSH;
            let noted = seen.clone();
            pad.add_probe(kinds, move |_, info| {
                let mut seen = noted.lock().unwrap_or_else(PoisonError::into_inner);
                match &info.data {
                    Some(gst::PadProbeData::Buffer(buffer)) => seen.frame(buffer, incoming),
                    Some(gst::PadProbeData::Event(event)) => seen.event(event, incoming),
                    _ => {}
                }
                gst::PadProbeReturn::Ok
            });
        }
        Ok(Self(seen))
    }

    pub fn came(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).came
    }

    /// Whether what left is what came.
    pub fn check(&self, stream: &Stream) -> anyhow::Result<()> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Seen { came, left, disturbed, twice, .. } = *seen;
        ensure!(twice == 0, "{}: {twice} frames left twice", stream.name);
        ensure!(left <= came, "{}: {came} frames came and {left} left", stream.name);
        ensure!(
            disturbed || left == came,
            "{}: {came} frames came and {left} left, and nothing was flushed",
            stream.name
        );
        Ok(())
    }

    /// A stop or the like takes frames along.
    pub fn disturb(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).disturbed = true;
    }
}

impl Seen {
    fn frame(&mut self, buffer: &gst::Buffer, incoming: bool) {
        if incoming {
            self.came += 1;
            return;
        }
        self.left += 1;
        let this = (buffer.as_ptr() as usize, buffer.pts());
        self.twice += u64::from(self.last == Some(this) && buffer.pts().is_some());
        self.last = Some(this);
    }

    fn event(&mut self, event: &gst::Event, incoming: bool) {
        match event.type_() {
            gst::EventType::FlushStart => self.disturbed = true,
            gst::EventType::StreamStart if incoming => self.last = None,
            gst::EventType::Segment => self.last = None,
            _ => {}
        }
    }
}
