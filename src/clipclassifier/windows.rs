// SPDX-License-Identifier: MPL-2.0

//! From frames to windows, from windows to reports.

use std::time::Instant;

use gst::subclass::prelude::*;
use gst_base::prelude::BaseTransformExtManual;

use super::gather::Seen;
use super::imp::{CAT, ClipClassifier, Loaded};
use super::reference::{self, AttackReport, Place};
use super::report::WindowReport;
use crate::attack::criterion::{argmax, softmax};
use crate::element::lock;
use crate::element::pads::running_time;
use crate::element::report_file::ReportFile;
use crate::tally::Labels;
use crate::video::view::Samples;
use crate::window::Tail;

impl ClipClassifier {
    /// Takes a frame; returns the window it completes, if any.
    pub(super) fn gather(&self, buffer: &mut gst::BufferRef) -> Result<Option<Vec<Seen>>, gst::ErrorMessage> {
        let mut loaded = lock(&self.loaded);
        let Some(loaded) = loaded.as_mut() else {
            return Ok(None);
        };
        let Some(stream) = &loaded.stream else {
            return Err(gst::error_msg!(gst::CoreError::Negotiation, ("Expected caps before frames, found none.")));
        };
        let samples = stream.sample(buffer).map_err(|error| gst::error_msg!(gst::StreamError::Format, ("{error}")))?;
        let seen = Seen {
            index: loaded.next_frame,
            pts: buffer.pts(),
            running_time: running_time(self.obj().sink_pad(), buffer),
            samples,
            reference: reference::of_meta(buffer),
        };
        loaded.next_frame += 1;
        Ok(loaded.gather.push(seen, loaded.windowing))
    }

    /// Classifies the frames at the end of a stream that fill no window.
    pub(super) fn finish_windows(&self) {
        let rest = {
            let mut loaded = lock(&self.loaded);
            let Some(loaded) = loaded.as_mut() else {
                return;
            };
            let rest = loaded.gather.rest(loaded.windowing);
            rest.filter(|_| loaded.tail == Tail::Pad)
        };
        if let Some(window) = rest {
            // An error is on the bus; the event goes on all the same.
            let _ = self.classify(&window);
        }
    }

    pub(super) fn classify(&self, window: &[Seen]) -> Result<WindowReport, gst::FlowError> {
        let report = self.run(window).map_err(|message| {
            self.post_error_message(message);
            gst::FlowError::Error
        })?;
        lock(&self.stats).add(&report);
        gst::debug!(CAT, imp = self, "{}", report.json());
        self.write(&report);
        self.post(report.structure());
        Ok(report)
    }

    fn run(&self, window: &[Seen]) -> Result<WindowReport, gst::ErrorMessage> {
        let began = Instant::now();
        let mut loaded = lock(&self.loaded);
        let (Some(loaded), Some(first), Some(last)) = (loaded.as_mut(), window.first(), window.last()) else {
            return Err(gst::error_msg!(gst::CoreError::Failed, ("No model is loaded.")));
        };
        let Some(stream) = &loaded.stream else {
            return Err(gst::error_msg!(gst::CoreError::Failed, ("There are no caps.")));
        };
        let failed = |e: &dyn std::fmt::Display| gst::error_msg!(gst::LibraryError::Failed, ("{e}"));
        // Per thread; without it every module's second call takes ten times as long.
        tch::jit::f_set_graph_executor_optimize(false).map_err(|e| failed(&e))?;
        let samples: Vec<&Samples> = window.iter().map(|seen| &seen.samples).collect();
        let view = stream.view.observe_window(&samples, loaded.model.metadata().window);
        let logits = loaded.model.classify(&view).map_err(|e| failed(&e))?;
        if logits.iter().any(|z| !z.is_finite()) {
            return Err(failed(&format!(
                "The model's output is not finite: {logits:?}. Its weights or its metadata (mean, std, range) do not fit this input."
            )));
        }
        let label = argmax(&logits);
        let probabilities = softmax(&logits);
        // By what shows in the middle: windows need not line up.
        let times = first.running_time.zip(last.running_time);
        let place = Place {
            first_frame: loaded.from_the_start.then_some(first.index),
            span: last.index - first.index + 1,
            time: times.map(|(a, b)| (a.nseconds() + b.nseconds()) / 2),
        };
        let of_report = match &mut loaded.reference {
            Some(report) => {
                let found = report.at(place).map_err(|e| unreadable(report, &e))?;
                loaded.missed += u64::from(found.is_none());
                found
            }
            None => None,
        };
        let reference = of_report.or_else(|| by_metas(window));
        let truth = loaded.true_label.or(reference.and_then(|r| r.truth));
        let labels = Labels { truth, last: Some(label), ..reference.unwrap_or_default() };
        let report = WindowReport {
            window: loaded.next_window,
            start_pts: first.pts.map(|t| t.nseconds()),
            start_time: first.running_time.map(|t| t.nseconds()),
            first_frame: first.index,
            frames: window.len(),
            label,
            label_name: loaded.model.metadata().label_name(label),
            probability: probabilities[label],
            probabilities,
            true_label: truth,
            correct: truth.map(|l| l == label),
            clean_label: labels.clean,
            target_label: labels.target,
            already_fooled: labels.already_fooled(),
            fooled: labels.fooled(),
            seconds: began.elapsed().as_secs_f64(),
            provenance: loaded.provenance.clone(),
        };
        loaded.next_window += 1;
        Ok(report)
    }

    /// At the end of the stream: the report gets its name, and a reference that was of no use is said.
    pub(super) fn publish(&self) {
        let mut loaded = lock(&self.loaded);
        let Some(Loaded { report, reference, next_window, missed, .. }) = loaded.as_mut() else {
            return;
        };
        let published = report.as_mut().map(ReportFile::publish);
        let complaint = reference.as_ref().and_then(|r| r.complaint(*next_window, *missed));
        drop(loaded);
        if let Some(Err(error)) = published {
            gst::element_imp_warning!(
                self,
                gst::ResourceError::Write,
                ("The report cannot be given its name: {error}")
            );
        }
        if let Some(text) = complaint {
            gst::element_imp_warning!(self, gst::ResourceError::Read, ("{text}"));
        }
    }

    /// Lets go of the report when the element stops; one that is not whole is kept apart, and said.
    pub(super) fn close_report(&self) {
        let report = lock(&self.loaded).as_mut().and_then(|l| l.report.take());
        if let Some(text) = report.and_then(ReportFile::abandon) {
            gst::element_imp_warning!(self, gst::ResourceError::Write, ("{text}"));
        }
    }

    fn write(&self, report: &WindowReport) {
        let mut loaded = lock(&self.loaded);
        let Some(file) = loaded.as_mut().map(|l| &mut l.report) else {
            return;
        };
        let written = file.as_mut().map(|f| f.write(&report.json()));
        if let Some(Err(error)) = written {
            // Once is enough; a full disk stays full.
            *file = None;
            drop(loaded);
            gst::element_imp_warning!(
                self,
                gst::ResourceError::Write,
                ("The report cannot be written any more: {error}")
            );
        }
    }
}

/// The attacker's window that this one is, or lies in. Where windows overlap, the last frames tell of the next one: a
/// frame at the place that it has here tells of this one.
fn by_metas(window: &[Seen]) -> Option<Labels> {
    let references = window.iter().enumerate();
    let mut aligned = references.filter_map(|(place, seen)| {
        let (there, labels) = seen.reference?;
        (there == place).then_some(labels)
    });
    let middle = || window[window.len() / 2].reference.map(|(_, labels)| labels);
    aligned.next().or_else(middle)
}

pub(super) fn unreadable(report: &AttackReport, error: &std::io::Error) -> gst::ErrorMessage {
    gst::error_msg!(
        gst::ResourceError::OpenRead,
        (
            "Expected the report of a sparseadv as reference-location, but {} cannot be read: {error}. Check the path.",
            report.path().display()
        )
    )
}
