// SPDX-License-Identifier: MPL-2.0

//! From NULL to PAUSED and back: loading and checking, the report file, the worker's thread.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use gst::subclass::prelude::*;

use super::choice::Choice;
use super::imp::{CAT, Loaded, SparseAdv};
use super::settings::Settings;
use super::state::{Plan, State};
use super::{pursue, worker};
use crate::element::codec;
use crate::element::lock;
use crate::element::model::load_model;
use crate::element::report_file::ReportFile;
use crate::element::survive::Codecs;
use crate::model::{self, Metadata};
use crate::provenance::Provenance;
use crate::universal::Universal;
use crate::window::{Mode, Windowing};

impl SparseAdv {
    /// Loads the model and checks every setting against it. Returns what holds for a stream; nothing while the model is
    /// with a worker.
    pub(super) fn prepare(&self) -> Result<Option<Plan>, gst::ErrorMessage> {
        let settings = self.settings();
        let wrong = |text: String| gst::error_msg!(gst::LibraryError::Settings, ("{text}"));
        let read = settings.perturbation.as_deref().map(Universal::load_hashed).transpose();
        let (universal, perturbation_sha256) = read.map_err(|e| wrong(e.to_string()))?.unzip();
        let universal = universal.map(Arc::new);
        let auto = settings.mode == Mode::Auto;
        if auto && universal.is_some() {
            return Err(wrong("Expected mode=window or mode=causal beside a perturbation, found mode=auto.".into()));
        }
        let alone = settings.common.model.is_none() && settings.mode == Mode::Window;
        if let Some(universal) = universal.as_ref().filter(|_| alone) {
            return Ok(Some(self.prepare_alone(universal.clone(), &settings)));
        }
        let options = settings.common.model_options().map_err(wrong)?;
        let options = model::Options { precision: settings.precision, ..options };
        let mut loaded = lock(&self.loaded);
        self.load(&mut loaded, options, &settings)?;
        let Some(loaded) = loaded.as_mut() else {
            return Ok(None);
        };
        let causal = settings.mode == Mode::Causal;
        let nothing = || {
            let view = loaded.model.metadata().clone();
            let frame_step = settings.common.windowing(&view).step;
            Universal::nothing(Metadata { frame_step, ..view }, loaded.model.sha256())
        };
        let begins_with = universal.clone().or_else(|| (causal || auto).then(nothing).map(Arc::new));
        let universal = if auto { None } else { begins_with.clone() };
        let metadata = loaded.model.metadata();
        let config = settings.attack_config(metadata, loaded.model.classes()).map_err(wrong)?;
        if config.selection.needs_features() && loaded.model.feature_shape().is_none() {
            let why = loaded.model.features_unused().unwrap_or("the model returns logits alone");
            return Err(wrong(format!(
                "Expected a model with a feature map to weigh keyframes by (keyframes={}), but {why}. Use keyframes=gradient.",
                config.selection
            )));
        }
        if config.is_black_box() && (causal || auto) {
            return Err(wrong(
                "Expected mode=window beside a black box, found another: what is learned on the way needs gradients. Set mode=window or \
                 access=gradient with a search that uses it."
                    .into(),
            ));
        }
        if let Some(survive) = settings.survive() {
            codec::check(survive).map_err(wrong)?;
        }
        let (path, sha256) = (&loaded.options.path, loaded.model.sha256());
        let mut provenance = Provenance::of(&*self.obj(), path, sha256);
        provenance.perturbation_sha256 = perturbation_sha256;
        if loaded.model.reduces() {
            // What was found to be faster when the model was loaded.
            provenance.settings.insert("precision".into(), "bf16".into());
        }
        let windowing = settings.common.windowing(metadata);
        let mut aids = lock(&self.aids);
        aids.read(&settings, &config, loaded, windowing).map_err(wrong)?;
        aids.note(&mut provenance);
        drop(aids);
        let together = loaded.model.windows_a_pass();
        loaded.pursuit = match &begins_with {
            Some(universal) if causal || auto => {
                Some(pursue::begin(universal, &config, metadata, windowing).map_err(wrong)?)
            }
            _ => None,
        };
        let watched = universal.as_ref().map(|_| windowing);
        let windowing = if universal.is_some() { Windowing::FRAME_BY_FRAME } else { windowing };
        let provenance = Arc::new(provenance);
        *lock(&self.model_metadata) = Some(Arc::new(metadata.clone()));
        let choice = begins_with.filter(|_| auto).map(|universal| Choice::of(loaded, &config, universal));
        let choice = choice.transpose().map_err(|e| wrong(e.to_string()))?;
        Ok(Some(Plan { windowing, together, goal: config.goal, provenance, universal, watched, choice }))
    }

    /// Loads the model, unless it is there already as these options have it.
    fn load(
        &self,
        loaded: &mut Option<Loaded>,
        options: model::Options,
        settings: &Settings,
    ) -> Result<(), gst::ErrorMessage> {
        if loaded.as_ref().is_some_and(|l| l.options == options && l.model.is_of_the_files(&options)) {
            return Ok(());
        }
        *loaded = None;
        let started = Instant::now();
        let model = load_model(&options)?;
        gst::info!(
            CAT,
            imp = self,
            "Loaded {} on {:?} in {:?}, gradients in bfloat16: {}, metadata from {:?}: {:?}",
            options.path.display(),
            model.device(),
            started.elapsed(),
            model.reduces(),
            model.metadata_origin(),
            model.metadata()
        );
        for warning in model.warnings().into_iter().chain(settings.without_effect()) {
            gst::element_imp_warning!(self, gst::LibraryError::Settings, ("{warning}"));
        }
        *loaded = Some(Loaded {
            model,
            others: Vec::new(),
            options,
            forward: None,
            codecs: Codecs::default(),
            pursuit: None,
            published: None,
            last: None,
        });
        Ok(())
    }

    /// What holds for a stream of frames that get a universal perturbation and are judged by no model.
    fn prepare_alone(&self, universal: Arc<Universal>, settings: &Settings) -> Plan {
        if settings.common.report_location.is_some() {
            let text =
                "The property report-location has no effect without a model. Set model=FILE.pt, or leave it out.";
            gst::element_imp_warning!(self, gst::LibraryError::Settings, ("{text}"));
        }
        *lock(&self.loaded) = None;
        *lock(&self.model_metadata) = Some(Arc::new(universal.header.view.clone()));
        Plan { universal: Some(universal), ..Plan::default() }
    }

    pub(super) fn open_report(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings();
        let mut report = lock(&self.report);
        // The one of the last stream is still locked.
        *report = None;
        if let (Some(path), Some(model)) = (&settings.common.report_location, &settings.common.model) {
            *report = Some(ReportFile::open(&*self.obj(), path, model, &[])?);
        }
        Ok(())
    }

    /// Gives the report its name at the end of the stream.
    pub(super) fn publish_report(&self) {
        // What an attack that failed has left is not whole.
        if self.state().has_failed() {
            return;
        }
        let published = lock(&self.report).as_mut().map(ReportFile::publish);
        if let Some(Err(error)) = published {
            gst::element_imp_warning!(
                self,
                gst::ResourceError::Write,
                ("The report cannot be given its name: {error}")
            );
        }
    }

    /// Lets go of the report when the element stops; one that is not whole is kept apart, and said.
    pub(super) fn close_report(&self) {
        let report = lock(&self.report).take();
        if let Some(text) = report.and_then(ReportFile::abandon) {
            gst::element_imp_warning!(self, gst::ResourceError::Write, ("{text}"));
        }
    }

    pub(super) fn start_worker(&self) -> Result<(), gst::ErrorMessage> {
        let plan = self.prepare()?;
        let loaded = lock(&self.loaded).take();
        let Some(plan) = plan else { return Ok(()) };
        *self.state() = State::started(plan, &self.settings());
        let Some(loaded) = loaded else { return Ok(()) };
        let (this, bell) = (self.obj().downgrade(), self.bell.clone());
        let thread = std::thread::Builder::new()
            .name("sparseadv".into())
            .spawn(move || worker::run(&this, &bell, loaded))
            .map_err(|e| gst::error_msg!(gst::CoreError::Thread, ("Cannot start the worker: {e}")))?;
        *lock(&self.worker) = Some(thread);
        Ok(())
    }

    /// Ends the worker and gets the model back. A thread inside libtorch at the process's exit would crash it.
    pub(super) fn stop_worker(&self) {
        self.state().stop_working();
        self.stop_flow();
        let worker = lock(&self.worker).take();
        // It ends by itself where it is the one that lets go of the element.
        let this = std::thread::current().id();
        let worker = worker.filter(|worker| worker.thread().id() != this);
        if let Some(Ok(Some(loaded))) = worker.map(JoinHandle::join) {
            *lock(&self.loaded) = Some(loaded);
        }
        self.flush();
        let mut state = self.state();
        // The totals stay readable after the pipeline has stopped.
        *state = State::stopped(std::mem::take(&mut state.stats));
    }
}
