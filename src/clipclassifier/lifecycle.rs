// SPDX-License-Identifier: MPL-2.0

//! From NULL to PAUSED and back: the model, the settings checked against it, the report file.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gst::subclass::prelude::*;

use super::gather::Gather;
use super::imp::{ClipClassifier, Gathering, Loaded, Results};
use super::reference::AttackReport;
use crate::element::lock;
use crate::element::model::load_model;
use crate::element::report_file::ReportFile;
use crate::provenance::Provenance;

impl ClipClassifier {
    /// Loads the model and checks the settings against it.
    pub(super) fn load(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings.snapshot();
        let wrong = |text: String| gst::error_msg!(gst::LibraryError::Settings, ("{text}"));
        let options = settings.common.model_options().map_err(wrong)?;
        let model = load_model(&options)?;
        for warning in model.warnings() {
            gst::element_imp_warning!(self, gst::LibraryError::Settings, ("{warning}"));
        }
        settings.common.true_label(model.metadata(), model.classes()).map_err(wrong)?;
        *lock(&self.loaded) = Some(Loaded { model, path: options.path });
        Ok(())
    }

    /// Begins a stream: everything but the model is new.
    pub(super) fn begin(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings.snapshot();
        let mut loaded = lock(&self.loaded);
        let Some(Loaded { model, path }) = loaded.as_mut() else {
            return Ok(());
        };
        let wrong = |text: String| gst::error_msg!(gst::LibraryError::Settings, ("{text}"));
        let true_label = settings.common.true_label(model.metadata(), model.classes()).map_err(wrong)?;
        let mut results = lock(&self.results);
        // The report of the last stream is still locked.
        *results = Results::default();
        if let Some(location) = &settings.common.report_location {
            let reference = settings.reference.as_deref();
            let reference = reference.map(|path| ("reference-location", path));
            results.report = Some(ReportFile::open(&*self.obj(), location, path, reference.as_slice())?);
        }
        results.true_label = true_label;
        results.reference = settings.reference.as_deref().map(AttackReport::open);
        *lock(&self.gathering) = Some(Gathering {
            gather: Gather::new(settings.common.windowing(model.metadata()), settings.offset.into()),
            metadata: model.metadata().clone(),
            stream: None,
            tail: settings.common.tail,
            next_frame: 0,
            next_window: 0,
            flushes: self.flushes.load(Ordering::SeqCst),
            from_the_start: true,
            provenance: Arc::new(Provenance::of(&*self.obj(), path, model.sha256())),
        });
        for flag in [&self.live, &self.failed] {
            flag.store(false, Ordering::SeqCst);
        }
        Ok(())
    }

    /// At the end of the stream: the report gets its name, and a reference that was of no use is said.
    pub(super) fn publish(&self) {
        let mut results = lock(&self.results);
        let published = results.report.as_mut().map(ReportFile::publish);
        let (windows, missed) = (results.stats.classified(), results.missed);
        let complaint = results.reference.as_ref().and_then(|r| r.complaint(windows, missed));
        drop(results);
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
        let report = lock(&self.results).report.take();
        if let Some(text) = report.and_then(ReportFile::abandon) {
            gst::element_imp_warning!(self, gst::ResourceError::Write, ("{text}"));
        }
    }
}
