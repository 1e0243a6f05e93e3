// SPDX-License-Identifier: MPL-2.0

//! From frames to windows, from windows to reports.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Instant;

use gst::subclass::prelude::*;
use gst_base::prelude::BaseTransformExtManual;

use super::gather::{GatheredFrame, Window};
use super::imp::{CAT, ClipClassifier, Gathering, Results};
use super::reference::{self, Place, unreadable};
use super::report::WindowReport;
use super::worker::Worker;
use crate::attack::criterion::{argmax, softmax};
use crate::element::pads::running_time;
use crate::element::{lock, message};
use crate::tally::Labels;
use crate::video::view::Samples;
use crate::window::Tail;

impl Gathering {
    /// The next window, of these frames, where there are caps.
    fn window(&mut self, frames: Vec<GatheredFrame>) -> Option<Window> {
        let window = Window {
            number: self.next_window,
            frames,
            stream: self.stream.clone()?,
            from_the_start: self.from_the_start,
            flushes: self.flushes,
            provenance: self.provenance.clone(),
        };
        self.next_window += 1;
        Some(window)
    }
}

impl ClipClassifier {
    /// Takes a frame; returns the window it completes, if any.
    pub(super) fn gather(&self, buffer: &gst::BufferRef) -> Result<Option<Window>, gst::ErrorMessage> {
        let mut gathering = lock(&self.gathering);
        let Some(gathering) = gathering.as_mut() else {
            return Ok(None);
        };
        let Some(stream) = &gathering.stream else {
            return Err(gst::error_msg!(gst::CoreError::Negotiation, ("Expected caps before frames, found none.")));
        };
        let samples = stream.sample(buffer).map_err(|error| gst::error_msg!(gst::StreamError::Format, ("{error}")))?;
        let frame = GatheredFrame {
            index: gathering.next_frame,
            pts: buffer.pts(),
            running_time: running_time(self.obj().sink_pad(), buffer),
            samples,
            reference: reference::of_meta(buffer),
        };
        gathering.next_frame += 1;
        let whole = gathering.gather.push(frame);
        Ok(whole.and_then(|frames| gathering.window(frames)))
    }

    /// Ends the window that is being gathered; returns it if it is to be classified as short as it is.
    fn end_window(&self) -> Option<Window> {
        let mut gathering = lock(&self.gathering);
        let gathering = gathering.as_mut()?;
        let rest = gathering.gather.end().filter(|_| gathering.tail == Tail::Pad)?;
        gathering.window(rest)
    }

    /// At an event that no window reaches across.
    pub(super) fn barrier(&self) {
        if let Some(window) = self.end_window() {
            // An error is on the bus; the event goes on all the same.
            let _ = self.judge(window);
        }
    }

    /// At the end of the stream: all that is left is classified, however long it takes.
    pub(super) fn finish(&self) {
        self.end_worker();
        let rest = self.end_window().filter(|_| !self.failed.load(Ordering::SeqCst));
        if let Some(window) = rest {
            // An error is on the bus.
            let _ = self.classify(&window);
        }
        self.publish();
    }

    /// Classifies a window at once, or in a live pipeline beside the stream: then there is no report yet.
    pub(super) fn judge(&self, window: Window) -> Result<Option<WindowReport>, gst::FlowError> {
        if !self.live.load(Ordering::SeqCst) {
            return self.classify(&window).map(Some);
        }
        if self.failed.load(Ordering::SeqCst) {
            return Err(gst::FlowError::Error);
        }
        let number = window.number;
        let taken = self.put_in_line(window).map_err(|error| {
            gst::element_imp_error!(self, gst::CoreError::Thread, ("Cannot start the worker: {error}"));
            gst::FlowError::Error
        })?;
        if !taken {
            self.skip(number);
        }
        Ok(None)
    }

    /// Hands a window to the worker, unless another is in line already.
    fn put_in_line(&self, window: Window) -> io::Result<bool> {
        let mut worker = lock(&self.worker);
        let worker = match &mut *worker {
            Some(worker) => worker,
            none => none.insert(Worker::start(self.obj().downgrade())?),
        };
        Ok(worker.take(window))
    }

    /// Lets a window pass unclassified.
    fn skip(&self, number: u64) {
        let skipped = lock(&self.results).stats.skip();
        gst::debug!(CAT, imp = self, "Window {number} passes unclassified, the model is busy; {skipped} so far");
        if skipped == 1 {
            gst::element_imp_warning!(
                self,
                gst::CoreError::Clock,
                ("A pass of the model takes longer than the stride of this live stream lasts: some windows pass \
                     unclassified. Use a larger stride, another device or a smaller model.")
            );
        }
    }

    /// What the worker does of a window.
    pub(super) fn classify_in_line(&self, window: &Window) {
        // Nobody wants to hear of frames that were flushed, of a stream that is left, or of one more error.
        let flushed = window.flushes != self.flushes.load(Ordering::SeqCst);
        if !flushed && !self.failed.load(Ordering::SeqCst) && self.classify(window).is_err() {
            self.failed.store(true, Ordering::SeqCst);
        }
    }

    /// Waits for the windows in line.
    pub(super) fn end_worker(&self) {
        let worker = lock(&self.worker).take();
        if let Some(worker) = worker {
            worker.end();
        }
    }

    pub(super) fn classify(&self, window: &Window) -> Result<WindowReport, gst::FlowError> {
        let report = self.run(window).map_err(|message| {
            self.post_error_message(message);
            gst::FlowError::Error
        })?;
        let json = message::json(&report);
        gst::debug!(CAT, imp = self, "{json}");
        self.write(&json);
        self.post(message::of_window("clipclassifier-window", &report));
        Ok(report)
    }

    /// What the model says of a window: the logits, and the name of the label.
    fn pass(&self, window: &Window) -> Result<(Vec<f32>, String), gst::ErrorMessage> {
        let failed = |e: &dyn std::fmt::Display| gst::error_msg!(gst::LibraryError::Failed, ("{e}"));
        let mut loaded = lock(&self.loaded);
        let Some(loaded) = loaded.as_mut() else {
            return Err(failed(&"No model is loaded."));
        };
        // Per thread; without it every module's second call takes ten times as long.
        tch::jit::f_set_graph_executor_optimize(false).map_err(|e| failed(&e))?;
        let samples: Vec<&Samples> = window.frames.iter().map(|frame| &frame.samples).collect();
        let view = window.stream.view.observe_window(&samples, loaded.model.metadata().window);
        let logits = loaded.model.classify(&view).map_err(|e| failed(&e))?;
        let name = loaded.model.metadata().label_name(argmax(&logits));
        Ok((logits, name))
    }

    fn run(&self, window: &Window) -> Result<WindowReport, gst::ErrorMessage> {
        let began = Instant::now();
        let (logits, label_name) = self.pass(window)?;
        let label = argmax(&logits);
        let probabilities = softmax(&logits);
        let frames = &window.frames;
        let first = frames.first();
        let mut results = lock(&self.results);
        let reference = results.reference_of(window)?.or_else(|| by_metas(frames));
        let truth = results.true_label.or(reference.and_then(|r| r.truth));
        let labels = Labels { truth, last: Some(label), ..reference.unwrap_or_default() };
        let report = WindowReport {
            window: window.number,
            start_pts: first.and_then(|f| f.pts).map(|t| t.nseconds()),
            start_time: first.and_then(|f| f.running_time).map(|t| t.nseconds()),
            first_frame: first.map_or(0, |f| f.index),
            frames: frames.len(),
            label,
            label_name,
            probability: probabilities[label],
            probabilities,
            true_label: truth,
            correct: truth.map(|l| l == label),
            clean_label: labels.clean,
            target_label: labels.target,
            already_fooled: labels.already_fooled(),
            fooled: labels.fooled(),
            seconds: began.elapsed().as_secs_f64(),
            provenance: window.provenance.clone(),
        };
        results.stats.add(&report);
        Ok(report)
    }

    fn write(&self, json: &str) {
        let mut results = lock(&self.results);
        let written = results.report.as_mut().map(|file| file.write(json));
        if let Some(Err(error)) = written {
            // Once is enough; a full disk stays full.
            results.report = None;
            drop(results);
            gst::element_imp_warning!(
                self,
                gst::ResourceError::Write,
                ("The report cannot be written any more: {error}")
            );
        }
    }
}

impl Results {
    /// What the attacker's report says of a window.
    fn reference_of(&mut self, window: &Window) -> Result<Option<Labels>, gst::ErrorMessage> {
        let (Some(report), Some(first), Some(last)) =
            (&mut self.reference, window.frames.first(), window.frames.last())
        else {
            return Ok(None);
        };
        // By what shows in the middle: windows need not line up.
        let times = first.running_time.zip(last.running_time);
        let place = Place {
            first_frame: window.from_the_start.then_some(first.index),
            span: last.index - first.index + 1,
            time: times.map(|(a, b)| (a.nseconds() + b.nseconds()) / 2),
        };
        let found = report.at(place).map_err(|e| unreadable(report, &e))?;
        self.missed += u64::from(found.is_none());
        Ok(found)
    }
}

/// The attacker's window that this one is, or lies in. Where windows overlap, the last frames tell of the next one: a
/// frame at the place that it has here tells of this one.
fn by_metas(window: &[GatheredFrame]) -> Option<Labels> {
    let references = window.iter().enumerate();
    let mut aligned = references.filter_map(|(place, frame)| {
        let (there, labels) = frame.reference?;
        (there == place).then_some(labels)
    });
    let middle = || window[window.len() / 2].reference.map(|(_, labels)| labels);
    aligned.next().or_else(middle)
}
