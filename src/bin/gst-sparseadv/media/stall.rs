// SPDX-License-Identifier: MPL-2.0

//! Whether anything can still come out of a decoder. decodebin of GStreamer 1.22 loses a demuxer's error now and then,
//! and then nothing ever happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gst::prelude::*;

/// After this long without data and without anybody who could bring some, none will come.
const DEAD: Duration = Duration::from_secs(1);
/// After this long without data, whatever the reason is.
const PATIENCE: Duration = Duration::from_secs(30);
/// A process that works takes more time of the processor than this in [`DEAD`].
const IDLE: Duration = Duration::from_millis(100);

/// Counts what goes on.
#[derive(Clone, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    pub fn step(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn steps(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub struct Watch {
    seen: u64,
    /// The last sign of life.
    since: Instant,
    /// When the processor's time was looked at, and what it was.
    looked: (Instant, Duration),
}

impl Watch {
    pub fn new() -> Self {
        let now = Instant::now();
        Self { seen: 0, since: now, looked: (now, processor_time()) }
    }

    /// Why nothing more is to be hoped for, if so. To be asked several times a second.
    pub fn stalled(&mut self, progress: &Progress, pipeline: &gst::Pipeline) -> Option<String> {
        let steps = progress.steps();
        if steps != self.seen {
            *self = Self::new();
            self.seen = steps;
        }
        if self.since.elapsed() > PATIENCE {
            return Some(format!("no data came for {} s", PATIENCE.as_secs()));
        }
        if self.looked.0.elapsed() < DEAD || is_read(pipeline) {
            return None;
        }
        let busy = processor_time().saturating_sub(self.looked.1);
        // Somebody may compute, a slow decoder perhaps.
        self.looked = (Instant::now(), processor_time());
        (busy < IDLE).then(|| "the demultiplexer ended without a word".into())
    }
}

/// Whether a source, typefinder or demuxer has a running task. Queues have one even where nothing feeds them.
fn is_read(pipeline: &gst::Pipeline) -> bool {
    let mut elements = pipeline.iterate_recurse().into_iter();
    elements.any(|element| {
        let Ok(element) = element else { return true };
        let kind = element.factory().map(|f| f.name());
        let is_queue = kind.is_some_and(|name| name.contains("queue"));
        !is_queue && element.pads().iter().any(|pad| pad.task_state() == gst::TaskState::Started)
    })
}

/// Of all threads of this process.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on Linux, and the structure is there to be written to.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
