// SPDX-License-Identifier: MPL-2.0

//! The worker thread: attacks windows, and judges those whose frames may have changed since.

use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use gst::subclass::prelude::*;

use super::attack::{AttackTask, judge};
use super::imp::{CAT, Loaded, SparseAdv};
use super::state::{Decision, Frame, State};
use crate::attack::criterion::{argmax, softmax};
use crate::attack::{self, Outcome, Progress};
use crate::element::bell::Bell;
use crate::model::Model;
use crate::threads::home;
use crate::video::view::Samples;
use crate::window::schedule::{Claim, Task};

/// What the attack of a window needs of the frames.
struct Attack {
    claim: Claim,
    task: AttackTask,
    /// The last frames before the window, whether they have left or not.
    context: Vec<Frame>,
}

enum Work {
    Attack(Box<Attack>),
    /// A window whose last frame has left, with what the model sees of its frames.
    Judge(Claim, Box<Decision>, Vec<Arc<Samples>>),
    Wait,
    Stop,
}

/// The worker's life. Returns the model, which is lost where a pass panics. While it waits it holds no reference to the
/// element.
pub(super) fn run(element: &glib::WeakRef<super::SparseAdv>, bell: &Bell, mut loaded: Loaded) -> Option<Loaded> {
    home::move_in(loaded.model.home());
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
            Work::Attack(attack) => self.attack(loaded, *attack),
            Work::Judge(claim, window, samples) => self.judge(&mut loaded.model, &claim, *window, samples),
            Work::Wait => return Some(false),
            Work::Stop => return None,
        }
        Some(true)
    }

    /// The pipeline must hear of a panic instead of waiting for ever.
    fn tell_panic(&self) {
        let mut state = self.state();
        // After a flush, too, there is nobody to attack: frames pass, and upstream is told.
        state.fail();
        state.downstream.fail(gst::FlowError::Error);
        drop(state);
        self.tell();
        gst::element_imp_error!(
            self,
            gst::LibraryError::Failed,
            ("The attack's thread panicked, which is an error of this plugin. Please report it.")
        );
    }

    fn next_work(&self) -> Work {
        let mut state = self.state();
        if !state.is_working() {
            return Work::Stop;
        }
        if state.downstream.flow().is_err() {
            return Work::Wait;
        }
        match state.schedule.next_task() {
            Some(Task::Attack) => self.begin(state).map_or(Work::Wait, |attack| Work::Attack(Box::new(attack))),
            Some(Task::Judge { claim, report, samples }) => Work::Judge(claim, Box::new(report), samples),
            None => Work::Wait,
        }
    }

    /// Begins the attack of the front window.
    fn begin(&self, mut state: MutexGuard<State>) -> Option<Attack> {
        let schedule = &state.schedule;
        let stream = schedule.window_frames().next()?.1.stream.clone();
        let (buffers, deltas): (Vec<_>, Vec<_>) =
            schedule.window_frames().map(|(_, frame)| (frame.buffer.clone(), frame.delta.clone())).unzip();
        let offsets: Vec<usize> = schedule.windowing().offsets(buffers.len()).collect();
        let start = offsets.iter().enumerate().filter_map(|(k, place)| Some((k, deltas[*place].as_ref()?.to_vec())));
        let start = start.collect();
        let context = schedule.context_frames().filter(|frame| Arc::ptr_eq(&frame.stream, &stream)).cloned().collect();
        let (window, deadline) = (schedule.window(), schedule.deadline());
        let undecided = state.undecided(stream.clone());
        let claim = state.schedule.begin(undecided);
        drop(state);
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        gst::debug!(CAT, imp = self, "Window {window} of {} frames is attacked, time left {left:?}", buffers.len());
        let settings = self.settings();
        let task = AttackTask { window, stream, buffers, offsets, context: Vec::new(), start, settings, deadline };
        Some(Attack { claim, task, context })
    }

    fn attack(&self, loaded: &mut Loaded, attack: Attack) {
        let Loaded { model, codecs, .. } = loaded;
        let Attack { claim, mut task, context } = attack;
        task.context = context.into_iter().map(rendered).collect();
        let mut progress = |news: Progress| {
            if let Progress::Improved(_, calls) = &news {
                gst::debug!(CAT, imp = self, "Window {} has a success: {calls:?}", task.window);
            }
            if let Some(decision) = self.state().schedule.found(&claim) {
                decision.improve(news);
            }
        };
        let result = task.run(model, codecs, &|| claim.is_void(), &mut progress);
        match result {
            Ok(outcome) => self.finish_attack(&claim, &task, outcome),
            Err(attack::Error::Canceled) => gst::debug!(CAT, imp = self, "Window {} is given up", task.window),
            Err(error) if claim.is_void() => gst::debug!(CAT, imp = self, "Of no use any more: {error}"),
            Err(error) => {
                // Told before upstream hears of it, or its own error would be the first on the bus.
                gst::element_imp_error!(self, gst::LibraryError::Failed, ("{error}"));
                // The frames are not lost for it: they pass.
                self.state().fail();
                self.tell();
            }
        }
    }

    fn finish_attack(&self, claim: &Claim, task: &AttackTask, outcome: Outcome) {
        let mut state = self.state();
        if state.schedule.finish(claim).is_none() {
            return;
        }
        let news = state.note_zero_gradient(outcome.zero_gradient);
        let mut decision = state.undecided(task.stream.clone());
        decision.report.set_outcome(&outcome);
        decision.perturbation = outcome.perturbation;
        self.decide(state, decision);
        self.note_duration(outcome.duration);
        if news {
            gst::element_imp_warning!(
                self,
                gst::LibraryError::Failed,
                (
                    "The model gives no gradient for window {}: every one the attack took is zero, so it could not move. That is no \
                     robustness; such windows say zero_gradient in the report. Take saturating or rounding operations (a softmax, a \
                     threshold) out of the model.",
                    task.window
                )
            );
        }
    }

    /// Classifies an overlapping window as its frames really left, and reports it.
    fn judge(&self, model: &mut Model, claim: &Claim, window: Decision, samples: Vec<Arc<Samples>>) {
        let Decision { mut report, stream, .. } = window;
        let samples: Vec<Samples> = samples.into_iter().map(Arc::unwrap_or_clone).collect();
        let complete = samples.len() == report.frames && !samples.is_empty();
        report.calls.queries += 1;
        report.calls.forwards += 1;
        match judge(model, &stream, &samples) {
            Ok(logits) if complete => {
                report.final_label = Some(argmax(&logits));
                report.success = report.labels().fooled();
                let probability = softmax(&logits)[argmax(&logits)];
                report.final_probability = Some(probability);
            }
            _ => report.success = report.success.map(|_| false),
        }
        if !claim.is_void() {
            self.publish(report);
        }
        self.state().schedule.judged(claim);
        self.tell();
    }
}

/// A frame's buffer as it leaves.
fn rendered(frame: Frame) -> gst::Buffer {
    let Frame { buffer, stream, delta, .. } = frame;
    let mut changed = buffer.clone();
    match delta.map(|delta| stream.render(changed.make_mut(), &delta)) {
        Some(Ok(_)) => changed,
        Some(Err(_)) | None => buffer,
    }
}
