// SPDX-License-Identifier: MPL-2.0

//! What the picture and the page show: some windows, each finished as soon as all its frames have been seen at every
//! stage.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use gst::prelude::*;
use gstsparseadv::model::Metadata;
use gstsparseadv::window::Windowing;

use crate::picture::{self, Canvas, MOST};
use crate::print::Row;
use crate::seen::{Keep, Seen};

/// A window that is shown.
pub struct Window {
    pub row: Row,
    pub strip: Canvas,
    /// What the model sees of it at each stage, where it was seen.
    pub views: Vec<Option<Vec<f32>>>,
}

/// Shared by the threads of a pipeline.
#[derive(Clone)]
pub struct Shown(Arc<Mutex<State>>);

struct State {
    /// Clean, attacked, and behind each codec.
    stages: Vec<Seen>,
    pending: VecDeque<Row>,
    ready: Vec<Window>,
    /// Every n-th window.
    every: u64,
    chosen: usize,
    left_out: usize,
    failed: Option<anyhow::Error>,
}

impl Shown {
    /// Of a video of about so many frames; with `views` the model is to be asked about its windows.
    pub fn new(metadata: &Metadata, windowing: Windowing, frames: u64, codecs: usize, views: bool) -> Self {
        // The element holds a window and a stride that wait, one that is being let go and two that are ready to leave;
        // the window to be finished lies before all of them. A codec's encoder looks further ahead.
        let held = 6 * windowing.frames * windowing.step + 2 * windowing.stride + 16;
        let most = held + 256;
        let stages = (0..2 + codecs).map(|n| {
            let keep = Keep { samples: views, frames: n < 2, most: if n < 2 { held } else { most } };
            Seen::new(metadata.clone(), windowing, keep)
        });
        Self(Arc::new(Mutex::new(State {
            stages: stages.collect(),
            pending: VecDeque::new(),
            ready: Vec::new(),
            every: frames.div_ceil(windowing.stride as u64).div_ceil(MOST as u64).max(1),
            chosen: 0,
            left_out: 0,
            failed: None,
        })))
    }

    /// Sees the frames that go through a pad. They do so no faster than windows are finished.
    pub fn watch(&self, stage: usize, pad: &gst::Pad) -> Option<gst::PadProbeId> {
        let shown = self.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if let (Some(buffer), Some(caps)) = (info.buffer(), pad.current_caps()) {
                let mut state = shown.lock();
                let result = state.stages[stage].add(buffer, &caps);
                state.advance(result);
            }
            gst::PadProbeReturn::Ok
        })
    }

    /// A window of which the element has just reported.
    pub fn row(&self, row: Row) {
        let mut state = self.lock();
        state.pending.push_back(row);
        state.advance(Ok(()));
    }

    /// The windows finished since.
    pub fn ready(&self) -> anyhow::Result<Vec<Window>> {
        let mut state = self.lock();
        match state.failed.take() {
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut state.ready)),
        }
    }

    /// The last windows, whatever was seen of them, and how many were left out.
    pub fn end(&self) -> anyhow::Result<(Vec<Window>, usize)> {
        let mut state = self.lock();
        while let Some(row) = state.pending.pop_front() {
            let result = state.finish(row);
            state.note(result);
        }
        let left_out = state.left_out;
        drop(state);
        Ok((self.ready()?, left_out))
    }

    /// Frames seen behind a codec.
    pub fn frames(&self, stage: usize) -> usize {
        self.lock().stages[stage].end()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn advance(&mut self, mut result: anyhow::Result<()>) {
        while result.is_ok() {
            let Some(row) = self.pending.pop_front() else {
                break;
            };
            if !self.stages.iter().all(|stage| stage.has(row.place())) {
                self.pending.push_front(row);
                break;
            }
            result = self.finish(row);
        }
        self.note(result);
    }

    fn note(&mut self, result: anyhow::Result<()>) {
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
    }

    fn finish(&mut self, row: Row) -> anyhow::Result<()> {
        let first = row.first_frame;
        if row.window.is_multiple_of(self.every) && self.chosen < MOST {
            self.chosen += 1;
            let clip = |n: usize| self.stages[n].clip(row.place()).context("frames of a window were lost");
            let (clean, attacked) = (clip(0)?.to_rgb()?, clip(1)?.to_rgb()?);
            let strip = picture::strip(&clean, &attacked, &row)?;
            let views = self.stages.iter().map(|stage| stage.view(row.place())).collect();
            self.ready.push(Window { row, strip, views });
        } else {
            self.left_out += 1;
        }
        // The next window begins later.
        for stage in &mut self.stages {
            stage.forget(first + 1);
        }
        Ok(())
    }
}
