// SPDX-License-Identifier: MPL-2.0

//! Beside a stream that waits for nobody: what became of windows whose frames have left perturbed.

use std::time::Instant;

use super::imp::SparseAdv;
use super::state::Seen;
use crate::attack::criterion::{argmax, softmax};
use crate::attack::{self, Purpose};
use crate::model::Model;
use crate::video::view::Samples;
use crate::window::report::WindowReport;
use crate::window::watch::Watched;

impl SparseAdv {
    /// Classifies a window as its frames came and as they left, and reports it. Returns whether it is fooled.
    pub(super) fn watch(&self, model: &mut Model, mut report: WindowReport, window: &Watched<Seen>) -> bool {
        let began = Instant::now();
        report.calls.note_forwards(1, Purpose::Clean);
        report.calls.note_forwards(1, Purpose::Confirmation);
        if let Err(error) = classify(model, &mut report, &window.seen) {
            self.fail(&format!("Window {} is not classified. {error}", report.window));
        }
        report.seconds = began.elapsed().as_secs_f64();
        let fooled = report.success.unwrap_or(report.already_fooled);
        self.publish(report);
        if let Some(watch) = &mut self.state().watch {
            watch.judged();
        }
        self.tell();
        fooled
    }
}

/// Puts labels, probabilities, the verdict and the size of the change into a report.
fn classify(model: &mut Model, report: &mut WindowReport, seen: &[Seen]) -> Result<(), attack::Error> {
    let Some(Seen { stream, .. }) = seen.first() else { return Ok(()) };
    let frames = report.frames;
    let view = |of: fn(&Seen) -> &Samples| {
        let samples: Vec<&Samples> = seen.iter().map(of).collect();
        stream.view.observe_window(&samples, frames)
    };
    let (clean, left) = (view(|seen| &seen.clean), view(|seen| &seen.left));
    report.set_size(&clean, &left);
    let mut said = |view: &[f32]| -> Result<_, attack::Error> {
        let logits = model.classify(view)?;
        let label = argmax(&logits);
        Ok((Some(label), Some(softmax(&logits)[label])))
    };
    let (clean, left) = (said(&clean)?, said(&left)?);
    (report.clean_label, report.clean_probability) = clean;
    (report.final_label, report.final_probability) = left;
    report.already_fooled = report.labels().already_fooled();
    report.success = report.labels().fooled().filter(|_| !report.already_fooled);
    Ok(())
}
