// SPDX-License-Identifier: MPL-2.0

//! A window on its way out: it is decided on, its keyframes are rendered as they leave, and it is reported.

use std::sync::{Arc, MutexGuard};

use gst::subclass::prelude::*;

use super::imp::{CAT, SparseAdv};
use super::state::{Decision, Frame, Seen, State};
use crate::attack::Progress;
use crate::element::meta::{self, FrameInfo};
use crate::element::{lock, message};
use crate::universal::Universal;
use crate::video::view::Samples;
use crate::window::report::WindowReport;

impl Decision {
    /// Takes over what an attack under way has found.
    pub fn improve(&mut self, news: Progress) {
        let report = &mut self.report;
        match news {
            Progress::CleanLabel(label, probability) => {
                (report.clean_label, report.final_label) = (Some(label), Some(label));
                (report.clean_probability, report.final_probability) = (Some(probability), Some(probability));
                report.already_fooled = report.labels().already_fooled();
                report.success = (!report.already_fooled).then_some(false);
            }
            Progress::Made(calls, iterations) => (report.calls, report.iterations) = (calls, iterations),
            Progress::Improved(best) => {
                report.set_best(best);
                self.perturbation = best.perturbation.clone();
            }
        }
    }
}

impl SparseAdv {
    /// Decides on the front window.
    pub(super) fn decide(&self, state: &mut State, mut decision: Decision) {
        let windowing = state.schedule.windowing();
        let report = &mut decision.report;
        let offsets: Vec<usize> = windowing.offsets(state.schedule.window_frames().count()).collect();
        for (place, (number, frame)) in state.schedule.window_frames_mut().enumerate() {
            let Ok(k) = offsets.binary_search(&place) else {
                continue;
            };
            if place == 0 {
                report.first_frame = number;
                report.start_pts = frame.buffer.pts().map(|t| t.nseconds());
                report.start_time = frame.running_time.map(|t| t.nseconds());
            }
            let end = |b: &gst::Buffer| b.pts().map(|t| t + b.duration().unwrap_or_default());
            report.end_pts = end(&frame.buffer).map(|t| t.nseconds());
            if let Some((_, delta)) = decision.perturbation.iter().find(|(n, _)| *n == k) {
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
        gst::debug!(
            CAT,
            imp = self,
            "Window {} is decided: {} frames, keyframes {:?}, success {:?}, overrun {}",
            report.window,
            report.frames,
            report.perturbed.keyframes,
            report.success,
            report.overrun
        );
        let judged = windowing.overlaps() && report.clean_label.is_some();
        state.schedule.decide(decision, judged);
    }

    /// Lets the front window go, whose deadline has passed, with the best found so far; clean if there is none.
    pub(super) fn expire(&self, mut state: MutexGuard<State>, found: Option<Decision>) {
        let begun = found.is_some();
        let stream = state.schedule.window_frames().next().map(|(_, frame)| frame.stream.clone());
        let Some(mut decision) = found.or_else(|| Some(state.undecided(0, stream?))) else {
            return;
        };
        decision.report.overrun = true;
        if begun {
            decision.report.seconds = decision.began.elapsed().as_secs_f64();
        }
        gst::debug!(CAT, imp = self, "Window {} leaves at its deadline", decision.report.window);
        self.decide(&mut state, decision);
        drop(state);
        self.tell();
    }

    /// Makes a frame what it leaves as. Returns its buffer.
    pub(super) fn leave(&self, frame: Frame, sampled: bool) -> gst::Buffer {
        let universal = self.state().universal();
        if let Some(universal) = universal {
            return self.pass(frame, &universal);
        }
        let (buffer, samples, whole) = self.finish(frame, sampled);
        self.state().schedule.left(samples.map(Arc::new), whole);
        self.publish_closed();
        buffer
    }

    /// Puts a universal perturbation into a frame, unless the element is disabled, and notes what a model sees of it.
    fn pass(&self, frame: Frame, universal: &Universal) -> gst::Buffer {
        let Frame { mut buffer, stream, number, running_time, .. } = frame;
        let watched = self.state().watch.is_some();
        let clean = if watched { stream.sample(&buffer).ok() } else { None };
        if self.settings().enabled
            && let Err(error) = stream.change(buffer.make_mut(), universal.phase(number))
        {
            gst::warning!(CAT, imp = self, "A frame leaves clean: {error}");
        }
        let left = if watched { stream.sample(&buffer).ok() } else { None };
        let mut state = self.state();
        state.schedule.left(None, true);
        let State { watch, cuts, .. } = &mut *state;
        if let (Some(watch), Some(clean), Some(left)) = (watch, clean, left) {
            let before = watch.last().filter(|before| Arc::ptr_eq(&before.stream, &stream));
            match before.map(|before| cuts.is_cut(clean.difference(&before.clean))) {
                _ if buffer.flags().contains(gst::BufferFlags::DISCONT) => watch.bar(),
                None => watch.bar(),
                Some(true) => watch.cut(),
                Some(false) => {}
            }
            let (pts, end) = (buffer.pts(), buffer.pts().map(|t| t + buffer.duration().unwrap_or_default()));
            let (clean, left) = (Arc::new(clean), Arc::new(left));
            if let Some(window) = watch.note(Seen { clean, left, stream, pts, end, running_time }) {
                gst::debug!(CAT, imp = self, "Window {window} is not classified: the model is too slow");
                let report = state.missed(window);
                state.stats.add(&report);
            }
        }
        drop(state);
        self.tell();
        buffer
    }

    /// Renders a frame's perturbation and adds the meta. Returns the buffer, what the model sees of it if wanted, and
    /// whether it is as it should be.
    fn finish(&self, frame: Frame, sampled: bool) -> (gst::Buffer, Option<Samples>, bool) {
        let Frame { mut buffer, stream, delta, mut info, .. } = frame;
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
        if sampled && seen.is_none() {
            seen = stream.sample(&buffer).ok();
        }
        if let Some(info) = info
            && let Err(error) = meta::add(buffer.make_mut(), &info)
        {
            gst::warning!(CAT, imp = self, "A frame leaves without meta: {error}");
        }
        (buffer, seen.filter(|_| sampled), rendered)
    }

    /// Reports the windows whose frames have left, as far as none before them is still to be judged. Only the source
    /// pad's thread does, so that reports keep their order.
    pub(super) fn publish_closed(&self) {
        loop {
            let closed = self.state().schedule.closed();
            let Some((Decision { mut report, .. }, whole)) = closed else { return };
            if !whole {
                // What could not be rendered cannot fool anyone.
                report.set_not_fooled();
            }
            self.publish(report);
        }
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
        let mut file = lock(&self.report);
        let Some(Err(error)) = file.as_mut().map(|file| file.write(json)) else {
            return;
        };
        // Once is enough; a full disk stays full.
        *file = None;
        drop(file);
        gst::element_imp_warning!(self, gst::ResourceError::Write, ("The report cannot be written any more: {error}"));
    }
}
