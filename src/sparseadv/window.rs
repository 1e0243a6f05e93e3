// SPDX-License-Identifier: MPL-2.0

//! A window on its way out: perturbations are rendered into its keyframes, its frames are handed to the source pad, and
//! it is reported.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::imp::{CAT, SparseAdv};
use super::queue::{Frame, Item, Output};
use super::state::State;
use super::survive;
use crate::attack::{Best, Calls, Perturbation};
use crate::element::message;
use crate::element::meta::{self, FrameInfo};
use crate::element::stream::Stream;
use crate::video::view::Samples;
use crate::window::report::WindowReport;

/// The window under attack, and the best that is known of it so far.
pub struct Job {
    pub window: u64,
    pub began: Instant,
    pub clean_label: Option<usize>,
    pub best: Option<(Best, Calls)>,
}

/// What is to be done to the window at the front of the queue.
pub struct Decision {
    pub report: WindowReport,
    /// Perturbations by frame of the window.
    pub perturbation: Perturbation,
}

/// A window that overlaps the next one: its frames may still change, so that it can only be judged when its last one
/// has left.
pub struct OpenWindow {
    pub report: WindowReport,
    /// Stream numbers of the frames the model sees.
    pub indices: Vec<u64>,
}

impl SparseAdv {
    /// Carries out a decision on the first `frames` frames in the queue and lets go of those that no later window can
    /// hold.
    pub(super) fn decide(&self, mut state: MutexGuard<State>, frames: usize, decision: Decision) {
        let windowing = state.windowing;
        let full = frames == windowing.span;
        let leaving = if full { windowing.stride.min(frames) } else { frames };
        let Decision { mut report, perturbation } = decision;
        let places: Vec<usize> = windowing.offsets(frames).collect();
        let overlapping = windowing.overlaps();
        let mut indices = Vec::new();
        for (place, frame) in state.queue.frames_mut().take(frames).enumerate() {
            frame.seen = true;
            let Ok(k) = places.binary_search(&place) else {
                continue;
            };
            indices.push(frame.index);
            if place == 0 {
                report.first_frame = frame.index;
                report.start_pts = frame.buffer.pts().map(|t| t.nseconds());
                report.start_time = frame.running_time.map(|t| t.nseconds());
            }
            let end = |b: &gst::Buffer| b.pts().map(|t| t + b.duration().unwrap_or_default());
            report.end_pts = end(&frame.buffer).map(|t| t.nseconds());
            if let Some((_, delta)) = perturbation.iter().find(|(n, _)| *n == k) {
                frame.delta = Some(Arc::new(delta.clone()));
            }
            frame.info = Some(FrameInfo {
                window: report.window,
                frame: k as u32,
                keyframe: frame.delta.is_some(),
                weight: report.weights.get(k).copied().unwrap_or(0.0),
                success: report.success == Some(true),
                labels: report.labels(),
            });
        }
        if full {
            state.skip = windowing.stride.saturating_sub(frames);
        }
        state.next_window += 1;
        state.job = None;
        let judged_later = overlapping && report.clean_label.is_some();
        if judged_later {
            state.open.push_back(OpenWindow { report, indices });
            self.release(state, leaving);
        } else {
            let rendered = self.release(state, leaving);
            if !rendered {
                // What could not be rendered cannot fool anyone.
                report.success = report.success.map(|_| false);
                report.final_label = report.clean_label;
                report.final_probability = report.clean_probability;
            }
            self.publish(report);
        }
    }

    /// Lets the first `frames` frames go, rendered. Returns whether all perturbations got into their frames.
    pub(super) fn release(&self, mut state: MutexGuard<State>, frames: usize) -> bool {
        let epoch = self.epoch.fetch_add(1, Ordering::SeqCst) + 1;
        state.releasing = true;
        let items = state.queue.take(frames);
        let stream = state.stream.clone();
        let remember = state.windowing.overlaps();
        drop(state);
        let survives = self.settings().survive().is_some();

        let mut all = true;
        let mut outputs = Vec::with_capacity(items.len());
        let mut samples = Vec::new();
        for item in items {
            match item {
                Item::Frame(frame) => {
                    let index = frame.index;
                    let (buffer, seen, rendered) = self.finish(frame, stream.as_deref(), remember);
                    all &= rendered;
                    samples.extend(seen.map(|s| (index, s)));
                    outputs.push(Output::Frame(buffer));
                }
                Item::Event(event, _) | Item::Caps(event, _) => outputs.push(Output::Event(event)),
                Item::Drain => {}
            }
        }

        let mut state = self.state();
        state.releasing = false;
        // A flush meanwhile has made these frames the past.
        if self.epoch.load(Ordering::SeqCst) != epoch {
            for output in outputs {
                match output {
                    // Upstream will not send these again.
                    Output::Event(event) if event.is_sticky() => {
                        let _ = self.srcpad.store_sticky_event(&event);
                    }
                    _ => {}
                }
            }
        } else {
            for output in outputs {
                if let (Output::Frame(buffer), true) = (&output, survives) {
                    state.context.push_back(buffer.clone());
                }
                state.queue.push_ready(output);
            }
            let old = state.context.len().saturating_sub(survive::CONTEXT);
            state.context.drain(..old);
            state.released.extend(samples);
            // Those of windows still to be judged; more than a stride may have left at once.
            let oldest = state.open.front().and_then(|w| w.indices.first().copied());
            let wanted = |index: u64| oldest.is_some_and(|oldest| index >= oldest);
            while state.released.front().is_some_and(|(i, _)| !wanted(*i)) {
                state.released.pop_front();
            }
        }
        drop(state);
        self.tell();
        all
    }

    /// Renders a frame's perturbation and adds the meta. Returns the buffer, what the model sees of it if wanted, and
    /// whether it is as it should be.
    fn finish(&self, frame: Frame, stream: Option<&Stream>, sample: bool) -> (gst::Buffer, Option<Samples>, bool) {
        let Frame { mut buffer, delta, mut info, .. } = frame;
        let Some(stream) = stream else {
            return (buffer, None, true);
        };
        let mut seen = None;
        let mut rendered = true;
        if let Some(delta) = delta {
            let clean = buffer.clone();
            match stream.render(buffer.make_mut(), &delta) {
                Ok(samples) => seen = Some(samples),
                Err(error) => {
                    gst::warning!(CAT, imp = self, "A frame leaves clean: {error}");
                    buffer = clean;
                    rendered = false;
                    if let Some(info) = &mut info {
                        info.keyframe = false;
                        info.success = false;
                    }
                }
            }
        }
        if sample && seen.is_none() {
            seen = stream.sample(&buffer).ok();
        }
        if let Some(info) = info {
            if let Err(error) = meta::add(buffer.make_mut(), &info) {
                gst::warning!(CAT, imp = self, "A frame leaves without meta: {error}");
            }
        }
        (buffer, seen, rendered)
    }

    /// Lets a window go whose deadline has passed: with the best found so far, clean if there is none.
    pub(super) fn release_expired(&self, mut state: MutexGuard<State>) {
        let windowing = state.windowing;
        let frames = state.queue.front(windowing.span).frames;
        let job = state.job.take();
        let real = windowing.offsets(frames).count();
        let goal = state.goal;
        let mut report = WindowReport::clean(state.next_window, real, goal, state.provenance.clone());
        report.overrun = true;
        let mut perturbation = Vec::new();
        if let Some(job) = job.filter(|j| j.window == report.window) {
            report.seconds = job.began.elapsed().as_secs_f64();
            if let Some(label) = job.clean_label {
                (report.clean_label, report.final_label) = (Some(label), Some(label));
                report.already_fooled = goal.already_fooled(label);
                report.success = (!report.already_fooled).then_some(false);
            }
            if let Some((best, calls)) = job.best {
                report.set_best(&best, calls);
                perturbation = best.perturbation;
            }
        }
        gst::debug!(CAT, imp = self, "Window {} leaves at its deadline", report.window);
        let decision = Decision { report, perturbation };
        self.decide(state, frames, decision);
    }

    /// Makes a window's result known.
    pub(super) fn publish(&self, mut report: WindowReport) {
        if let Some(metadata) = self.metadata() {
            report.name_labels(&metadata);
        }
        self.state().stats.add(&report);
        let json = message::json(&report);
        gst::debug!(CAT, imp = self, "{json}");
        self.write_report(&json);
        self.post(message::of_window("sparseadv-window", &report));
    }

    fn write_report(&self, json: &str) {
        let mut file = self.report.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(Err(error)) = file.as_mut().map(|file| file.write(json)) else {
            return;
        };
        // Once is enough; a full disk stays full.
        *file = None;
        drop(file);
        gst::element_imp_warning!(self, gst::ResourceError::Write, ("The report cannot be written any more: {error}"));
    }
}
