// SPDX-License-Identifier: MPL-2.0

//! The worker thread: attacks windows, and judges those whose frames may have changed since.

use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use gst::subclass::prelude::*;

use super::attack::{AttackTask, Last, judge};
use super::imp::{CAT, Loaded, SparseAdv};
use super::settings::Settings;
use super::state::{Decision, Frame, Seen, State};
use crate::attack::criterion::{argmax, softmax};
use crate::attack::{self, Outcome, Progress, Purpose};
use crate::element::bell::Bell;
use crate::element::lock;
use crate::element::survive::Codecs;
use crate::model::{Model, together};
use crate::threads::home;
use crate::universal::pursuit::Pursuit;
use crate::video::view::Samples;
use crate::window::report::WindowReport;
use crate::window::schedule::{Claim, Task};
use crate::window::watch::{Watch, Watched};

/// What the attack of a window needs of the frames.
struct Attack {
    claim: Claim,
    task: AttackTask,
    /// The last frames before the window, whether they have left or not.
    context: Vec<Frame>,
    /// Its passes may wait for those of others.
    sits: bool,
}

enum Work {
    Attack(Vec<Attack>),
    /// A window whose last frame has left, with what the model sees of its frames.
    Judge(Claim, Box<Decision>, Vec<Arc<Samples>>),
    /// A window of frames that passed perturbed.
    Watch(Box<WindowReport>, Watched<Seen>),
    Wait(Option<Instant>),
    Stop,
}

/// An attack that is over, and something is to be told of it.
struct Ended {
    claim: Claim,
    task: AttackTask,
    result: Result<Outcome, attack::Error>,
}

/// What became of a round of the worker.
enum Round {
    Worked,
    /// There was nothing to do, and there will not be before this time unless something changes.
    Idle(Option<Instant>),
    Over,
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
            Ok(Round::Worked) => {}
            Ok(Round::Idle(until)) => {
                drop(element);
                bell.wait(seen, until.map(|until| until.saturating_duration_since(Instant::now())));
            }
            Ok(Round::Over) => return Some(loaded),
            Err(_) => {
                this.tell_panic();
                return None;
            }
        }
    }
}

impl SparseAdv {
    /// One round of the worker.
    fn work(&self, loaded: &mut Loaded) -> Round {
        let goes_first = loaded.pursuit.as_ref().is_some_and(Pursuit::goes_first);
        if goes_first && self.pursue(loaded) {
            return Round::Worked;
        }
        match self.next_work() {
            Work::Attack(attacks) => self.attack_together(loaded, attacks),
            Work::Judge(claim, window, samples) => self.judge(&mut loaded.model, &claim, *window, samples),
            Work::Watch(report, window) => {
                let fooled = self.watch(&mut loaded.model, *report, &window);
                if let Some(pursuit) = &mut loaded.pursuit {
                    pursuit.judged(fooled);
                }
            }
            Work::Wait(_) if self.pursue(loaded) => {}
            Work::Wait(until) => return Round::Idle(until),
            Work::Stop => return Round::Over,
        }
        Round::Worked
    }

    fn next_work(&self) -> Work {
        let mut state = self.state();
        if !state.is_working() {
            return Work::Stop;
        }
        if state.downstream.flow().is_err() {
            return Work::Wait(None);
        }
        if let Some(window) = state.watch.as_mut().and_then(Watch::take) {
            let report = state.watched(&window);
            return Work::Watch(Box::new(report), window);
        }
        match state.schedule.next_task(Instant::now()) {
            Task::Attack(windows) => {
                // The same for all of them, whatever is set meanwhile.
                let settings = self.settings();
                let begun = (0..windows as u64).map_while(|n| self.begin(&mut state, &settings, n));
                Work::Attack(begun.collect())
            }
            Task::Judge { claim, report, samples } => Work::Judge(claim, Box::new(report), samples),
            Task::Wait(until) => Work::Wait(until),
        }
    }

    /// Begins the attack of a window so many behind the front one.
    fn begin(&self, state: &mut State, settings: &Arc<Settings>, ahead: u64) -> Option<Attack> {
        let schedule = &state.schedule;
        let stream = schedule.frames_ahead(ahead).next()?.1.stream.clone();
        let (buffers, deltas): (Vec<_>, Vec<_>) =
            schedule.frames_ahead(ahead).map(|(_, frame)| (frame.buffer.clone(), frame.delta.clone())).unzip();
        let offsets: Vec<usize> = schedule.windowing().offsets(buffers.len()).collect();
        let start = offsets.iter().enumerate().filter_map(|(k, place)| Some((k, deltas[*place].as_ref()?.to_vec())));
        let start = start.collect();
        let context = schedule.context_frames().filter(|frame| Arc::ptr_eq(&frame.stream, &stream)).cloned().collect();
        let (window, deadline) = (schedule.window() + ahead, schedule.deadline());
        let undecided = state.undecided(ahead, stream.clone());
        let claim = state.schedule.begin(undecided);
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        gst::debug!(CAT, imp = self, "Window {window} of {} frames is attacked, time left {left:?}", buffers.len());
        let settings = settings.clone();
        let task = AttackTask {
            window,
            stream,
            buffers,
            offsets,
            context: Vec::new(),
            start,
            tried: None,
            settings,
            aids: lock(&self.aids).clone(),
            deadline,
        };
        let sits = !state.is_hurried(&task.settings);
        Some(Attack { claim, task, context, sits })
    }

    /// Attacks windows, each on a thread of its own, with passes that are made together, and together with those of other
    /// elements that share the model.
    fn attack_together(&self, loaded: &mut Loaded, attacks: Vec<Attack>) {
        let Loaded { model, others, codecs, last, .. } = loaded;
        if attacks.iter().any(|attack| !attack.sits) {
            for mut attack in attacks {
                let task = &mut attack.task;
                task.tried = last.take().filter(|_| task.settings.warm_start).and_then(|last| last.of_scene(task));
                let ended = self.attack(model, codecs, attack, last);
                self.end(ended);
            }
            return;
        }
        others.resize_with(attacks.len().saturating_sub(1).max(others.len()), || model.share());
        // Codecs take windows one by one: one attack has those that are kept.
        let mut codecs = Some(codecs);
        let attacks = attacks.into_iter().map(|attack| (attack, codecs.take()));
        let models = std::iter::once(model).chain(others);
        let ended = together(models, attacks, |model, (attack, codecs)| {
            self.attack(model, codecs.unwrap_or(&mut Codecs::default()), attack, &mut None)
        });
        ended.into_iter().for_each(|ended| self.end(ended));
    }

    /// Attacks a window. Returns it where something is to be told before it ends, on this element's own thread: who hears
    /// of it may stop the element, which waits for that thread.
    /// What the next window may try goes into `last`.
    fn attack(&self, model: &mut Model, codecs: &mut Codecs, attack: Attack, last: &mut Option<Last>) -> Option<Ended> {
        let Attack { claim, mut task, context, .. } = attack;
        task.context = context.into_iter().map(rendered).collect();
        let mut progress = |news: Progress| {
            if let Progress::Improved(best) = &news {
                gst::debug!(CAT, imp = self, "Window {} has a success: {:?}", task.window, best.size);
            }
            if let Some(decision) = self.state().schedule.found(&claim) {
                decision.improve(news);
            }
        };
        let result = task.run(model, codecs, &|| claim.is_void(), &mut progress);
        // Nobody shall wait for what is done with the result.
        model.leave();
        *last = result.as_ref().ok().and_then(|outcome| Last::of(&task, outcome));
        match result {
            Err(attack::Error::Canceled) => gst::debug!(CAT, imp = self, "Window {} is given up", task.window),
            Err(error) if claim.is_void() => gst::debug!(CAT, imp = self, "Of no use any more: {error}"),
            Ok(outcome) if !self.is_news(&claim, &outcome) => self.finish_attack(&claim, outcome),
            result => return Some(Ended { claim, task, result }),
        }
        None
    }

    /// Whether the window is the first without a gradient.
    fn is_news(&self, claim: &Claim, outcome: &Outcome) -> bool {
        outcome.zero_gradient && !claim.is_void() && self.state().note_zero_gradient()
    }

    /// Tells of what has come of an attack, and ends it.
    fn end(&self, ended: Option<Ended>) {
        let Some(Ended { claim, task, result }) = ended else { return };
        match result {
            Ok(outcome) => {
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
                self.finish_attack(&claim, outcome);
            }
            Err(error) => {
                if !self.fail(&format!("The attack of window {} failed. {error}", task.window)) {
                    return;
                }
                let mut state = self.state();
                // What it had found by then is nothing that anybody has confirmed.
                let clean = state.clean(task.window, task.offsets.len(), task.stream.clone());
                if let Some(found) = state.schedule.found(&claim) {
                    *found = clean;
                }
                self.let_go(state, &claim);
            }
        }
    }

    fn finish_attack(&self, claim: &Claim, outcome: Outcome) {
        let mut state = self.state();
        // Its provenance is that of its beginning, whatever has been set since.
        let Some(found) = state.schedule.found(claim) else { return };
        found.report.set_outcome(&outcome);
        found.perturbation = outcome.perturbation;
        self.let_go(state, claim);
        self.note_duration(outcome.duration);
    }

    /// A window is as it will be, and leaves in its turn.
    fn let_go(&self, mut state: MutexGuard<State>, claim: &Claim) {
        state.schedule.finish(claim);
        while let Some(decision) = state.schedule.finished() {
            self.decide(&mut state, decision);
        }
        drop(state);
        self.tell();
    }

    /// Classifies an overlapping window as its frames really left, and reports it.
    fn judge(&self, model: &mut Model, claim: &Claim, window: Decision, samples: Vec<Arc<Samples>>) {
        let Decision { mut report, stream, .. } = window;
        let samples: Vec<Samples> = samples.into_iter().map(Arc::unwrap_or_clone).collect();
        let complete = samples.len() == report.frames && !samples.is_empty();
        report.calls.note_forwards(1, Purpose::Confirmation);
        match judge(model, &stream, &samples) {
            Ok(logits) if complete => {
                report.final_label = Some(argmax(&logits));
                report.success = report.labels().fooled();
                let probability = softmax(&logits)[argmax(&logits)];
                report.final_probability = Some(probability);
            }
            judged => {
                // A flush may have come meanwhile, and nobody wants to know.
                if let Err(error) = judged
                    && !claim.is_void()
                {
                    let text =
                        format!("What became of window {} is not known: it counts as not fooled.", report.window);
                    self.fail(&format!("{text} {error}"));
                }
                report.set_not_fooled();
            }
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
