// SPDX-License-Identifier: MPL-2.0

//! The worker thread: takes windows from the front of the queue, attacks them, and decides on their frames.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use gst::subclass::prelude::*;

use super::attack::{AttackTask, judge};
use super::imp::{CAT, Loaded, SparseAdv};
use super::queue::{Item, Output};
use super::state::State;
use super::window::{Decision, Job, OpenWindow};
use crate::attack::criterion::{argmax, softmax};
use crate::attack::{self, Progress};
use crate::element::bell::Bell;
use crate::element::stream::Stream;
use crate::model::Model;
use crate::video::view::Samples;
use crate::window::Tail;
use crate::window::report::WindowReport;

/// A window to be attacked.
struct Task {
    epoch: u64,
    /// Stream frames in the window.
    frames: usize,
    attack: AttackTask,
}

enum Work {
    Attack(Box<Task>),
    /// A window whose last frame has left, with what the model sees of its frames.
    Judge(Box<OpenWindow>, Vec<Samples>, Arc<Stream>),
    Wait,
    Stop,
}

/// The worker's life. Returns the model, which is lost where a pass panics. While it waits it holds no reference to the
/// element.
pub(super) fn run(element: &glib::WeakRef<super::SparseAdv>, bell: &Bell, mut loaded: Loaded) -> Option<Loaded> {
    // Per thread; without it every module's second call takes ten times as long.
    if let Err(error) = tch::jit::f_set_graph_executor_optimize(false) {
        gst::warning!(CAT, "{error}");
    }
    loop {
        let seen = bell.count();
        let element = element.upgrade()?;
        let this = element.imp();
        let round = std::panic::AssertUnwindSafe(|| this.work(&mut loaded));
        match std::panic::catch_unwind(round) {
            Ok(Some(true)) => {}
            Ok(Some(false)) => {
                drop(element);
                bell.wait(seen, None);
            }
            Ok(None) => return Some(loaded),
            Err(_) => {
                this.tell_panic();
                return None;
            }
        }
    }
}

impl SparseAdv {
    /// One round of the worker. Returns whether there was anything to do, and nothing when it is to end.
    fn work(&self, loaded: &mut Loaded) -> Option<bool> {
        match self.next_work() {
            Work::Attack(task) => self.attack(loaded, *task),
            Work::Judge(window, samples, stream) => self.judge(&mut loaded.model, *window, &samples, &stream),
            Work::Wait => return Some(false),
            Work::Stop => return None,
        }
        Some(true)
    }

    /// The pipeline must hear of a panic instead of waiting for ever.
    fn tell_panic(&self) {
        let mut state = self.state();
        state.flow = Err(gst::FlowError::Error);
        state.releasing = false;
        drop(state);
        self.tell();
        gst::element_imp_error!(
            self,
            gst::LibraryError::Failed,
            ("The attack's thread panicked, which is an error of this plugin. Please report it.")
        );
    }

    fn next_work(&self) -> Work {
        loop {
            let mut state = self.state();
            if !state.working {
                return Work::Stop;
            }
            if state.flow.is_err() || state.releasing {
                return Work::Wait;
            }
            if let Some(work) = self.judgment(&mut state) {
                return work;
            }
            if let Some(work) = self.look(state) {
                return work;
            }
        }
    }

    /// The next overlapping window that has left whole.
    fn judgment(&self, state: &mut State) -> Option<Work> {
        let last = *state.open.front()?.indices.last()?;
        let newest = state.released.back()?.0;
        let stream = state.stream.clone()?;
        if newest < last {
            return None;
        }
        let window = state.open.pop_front()?;
        let wanted = |index: &u64| {
            let found = state.released.iter().find(|(i, _)| i == index);
            found.map(|(_, samples)| samples.clone())
        };
        let samples: Vec<Samples> = window.indices.iter().filter_map(wanted).collect();
        Some(Work::Judge(Box::new(window), samples, stream))
    }

    /// Deals with the front of the queue. Nothing where something moved, and there may be more.
    fn look(&self, mut state: MutexGuard<State>) -> Option<Work> {
        let settings = self.settings();
        match state.queue.pop_event() {
            Some(item) => {
                if !matches!(item, Item::Event(_, false)) {
                    // Windows start anew behind a barrier.
                    state.skip = 0;
                }
                if let Item::Caps(_, stream) = &item {
                    state.stream = Some(stream.clone());
                    state.released.clear();
                    state.context.clear();
                }
                if let Item::Event(event, _) | Item::Caps(event, _) = item {
                    state.queue.push_ready(Output::Event(event));
                }
                drop(state);
                self.tell();
                return None;
            }
            None if state.queue.waiting_frames() == 0 => return Some(Work::Wait),
            None => {}
        }
        let windowing = state.windowing;
        // What is ready to leave and does not must not pile up.
        if state.queue.ready_frames() > windowing.span {
            return Some(Work::Wait);
        }
        let front = state.queue.front(windowing.span);
        if !settings.enabled || state.failed || state.skip > 0 {
            let frames = if settings.enabled && !state.failed { front.frames.min(state.skip) } else { front.frames };
            state.skip = state.skip.saturating_sub(frames);
            self.release(state, frames);
            return None;
        }
        let full = front.frames == windowing.span;
        if !full && !front.barrier {
            return Some(Work::Wait);
        }
        if !full && (settings.tail == Tail::Passthrough || front.fresh == 0) {
            self.release(state, front.frames);
            return None;
        }
        let Some(stream) = state.stream.clone() else {
            return Some(Work::Wait);
        };
        let places: Vec<usize> = windowing.offsets(front.frames).collect();
        let mut buffers = Vec::with_capacity(front.frames);
        let mut start = Vec::new();
        for (place, frame) in state.queue.frames_mut().take(front.frames).enumerate() {
            buffers.push(frame.buffer.clone());
            if let Ok(k) = places.binary_search(&place) {
                if let Some(delta) = &frame.delta {
                    start.push((k, delta.to_vec()));
                }
            }
        }
        let deadline = self.deadline(&state);
        state.job = Some(Job { window: state.next_window, began: Instant::now(), clean_label: None, best: None });
        let task = Task {
            epoch: self.epoch.load(Ordering::SeqCst),
            frames: front.frames,
            attack: AttackTask {
                window: state.next_window,
                stream,
                buffers,
                offsets: places,
                context: state.context.iter().cloned().collect(),
                start,
                settings,
                deadline,
            },
        };
        Some(Work::Attack(Box::new(task)))
    }

    fn attack(&self, loaded: &mut Loaded, task: Task) {
        let Loaded { model, codecs, .. } = loaded;
        let canceled = || self.epoch.load(Ordering::SeqCst) != task.epoch;
        let mut progress = |news: Progress| {
            let mut state = self.state();
            // Not that of a window that took this one's place.
            if canceled() {
                return;
            }
            if let Some(job) = &mut state.job {
                match news {
                    Progress::CleanLabel(label) => job.clean_label = Some(label),
                    Progress::Improved(best, calls) => job.best = Some((best.clone(), calls)),
                }
            }
        };
        let result = task.attack.run(model, codecs, &canceled, &mut progress);
        let mut state = self.state();
        if self.epoch.load(Ordering::SeqCst) != task.epoch {
            return;
        }
        let real = task.attack.offsets.len();
        let mut report = WindowReport::clean(state.next_window, real, state.provenance.clone());
        match result {
            Ok(outcome) => {
                let news = outcome.zero_gradient && !state.zero_gradient;
                state.zero_gradient |= outcome.zero_gradient;
                report.set_outcome(&outcome, model.metadata());
                report.set_goal(state.goal);
                let decision = Decision { report, perturbation: outcome.perturbation };
                self.decide(state, task.frames, decision);
                self.note_duration(outcome.duration);
                if news {
                    gst::element_imp_warning!(
                        self,
                        gst::LibraryError::Failed,
                        (
                            "The model gives no gradient for window {}: every one the attack took is zero, so it could not move. That is no \
                             robustness; such windows say zero_gradient in the report. Take saturating or rounding operations (a softmax, a \
                             threshold) out of the model.",
                            task.attack.window
                        )
                    );
                }
            }
            Err(attack::Error::Canceled) => {}
            Err(error) => {
                drop(state);
                // Told before upstream hears of it, or its own error would be the first on the bus.
                gst::element_imp_error!(self, gst::LibraryError::Failed, ("{error}"));
                // The frames are not lost for it: they pass.
                let mut state = self.state();
                state.failed = true;
                state.job = None;
                drop(state);
                self.tell();
            }
        }
    }

    /// Classifies an overlapping window as its frames really left, and reports it.
    fn judge(&self, model: &mut Model, window: OpenWindow, samples: &[Samples], stream: &Stream) {
        let OpenWindow { mut report, .. } = window;
        let complete = samples.len() == report.frames && !samples.is_empty();
        report.queries += 1;
        report.forwards += 1;
        match judge(model, stream, samples) {
            Ok(logits) if complete => {
                report.set_final_label(argmax(&logits), model.metadata());
                report.success = report.labels().fooled();
                let probability = softmax(&logits)[argmax(&logits)];
                report.final_probability = Some(probability);
            }
            _ => report.success = report.success.map(|_| false),
        }
        self.publish(report);
    }
}
