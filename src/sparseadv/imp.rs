// SPDX-License-Identifier: MPL-2.0

/**
 * SECTION:element-sparseadv
 *
 * sparseadv attacks a video classifier with the video that passes through it: of every window of frames it perturbs a few keyframes, chosen
 * by the classifier's gradient, by as little as makes the classifier give another label. All other frames pass untouched.
 *
 * ## Example launch line
 * |[
 * gst-launch-1.0 filesrc location=a.mp4 ! decodebin ! sparseadv model=c3d.pt ! x264enc ! mp4mux ! filesink location=b.mp4
 * ]|
 *
 * ## Limits
 *
 * The window under attack and the next one wait inside: with the properties' names, twice (window-size - 1) * frame-step + 1 frames, or
 * fewer where `stride` is shorter than that. A live stream holds as many frames as arrive within the latency, and a window more for a sink
 * that waits. The element asks for that many buffers in ALLOCATION, and copies the frames of a pool that has fewer. Frames may lie in their
 * buffers as a GstVideoMeta says, bottom-up included; a layout that reaches out of its buffer, rows shorter than the picture, and planes
 * that share bytes are errors. A GstVideoCropMeta is passed on and otherwise ignored: the attack is on the frame that the caps describe.
 * QoS events go no further upstream, since a decoder that drops late frames would change the windows.
 *
 * Each window is reported by an element message `sparseadv-window` (see it with `gst-launch-1.0 -m`), and as a JSON line in the file
 * `report-location`. At the end of the stream a message `sparseadv-stats` carries the totals of the `stats` property.
 */
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use gst::prelude::*;
use gst::subclass::prelude::*;
use once_cell::sync::Lazy;

use super::properties;
use super::settings::Settings;
use super::state::State;
use super::stats::Stats;
use super::survive::Codecs;
use crate::element::bell::Bell;
use crate::element::format;
use crate::element::lock;
use crate::element::report_file::ReportFile;
use crate::model::{self, Metadata, Model};
use crate::provenance::settings_of;

pub(super) static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new("sparseadv", gst::DebugColorFlags::empty(), Some("Sparse adversarial attack"))
});

/// A loaded model and what it was loaded by.
pub(super) struct Loaded {
    pub model: Model,
    pub options: model::Options,
    pub codecs: Codecs,
}

pub struct SparseAdv {
    pub(super) sinkpad: gst::Pad,
    pub(super) srcpad: gst::Pad,
    /// Swapped whole where a property changes.
    settings: Mutex<Arc<Settings>>,
    state: Mutex<State>,
    /// For threads that wait in the middle of something, and for those that have nothing to do.
    changed: Condvar,
    pub(super) bell: Arc<Bell>,
    /// Here between READY and PAUSED, with the worker while it runs.
    pub(super) loaded: Mutex<Option<Loaded>>,
    pub(super) worker: Mutex<Option<JoinHandle<Option<Loaded>>>>,
    pub(super) model_metadata: Mutex<Option<Arc<Metadata>>>,
    pub(super) report: Mutex<Option<ReportFile>>,
}

impl SparseAdv {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        lock(&self.settings).clone()
    }

    /// The metadata of the model in use.
    pub(super) fn metadata(&self) -> Option<Arc<Metadata>> {
        lock(&self.model_metadata).clone()
    }

    /// Takes over what a property has changed.
    fn settings_changed(&self) {
        // What a window is reported with is what was in force when it was decided.
        let told = settings_of(&*self.obj());
        let settings = self.settings();
        let mut state = self.state();
        state.provenance_mut().settings = told;
        // Frames shall not wait for an attack that nobody wants any more.
        state.apply(&settings);
        drop(state);
        gst::debug!(CAT, imp = self, "Enabled {}, time budget {:?}", settings.enabled, settings.time_budget);
        self.tell();
        self.tell_latency();
    }

    /// Tells every thread of a change of the state.
    pub(super) fn tell(&self) {
        self.changed.notify_all();
        self.bell.ring();
    }

    /// Waits for a change of the state.
    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let result = self.changed.wait(state);
        result.unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn post(&self, structure: gst::Structure) {
        let message = gst::message::Element::builder(structure).src(&*self.obj());
        let _ = self.obj().post_message(message.build());
    }
}

#[glib::object_subclass]
impl ObjectSubclass for SparseAdv {
    const NAME: &'static str = "GstSparseAdv";
    type Type = super::SparseAdv;
    type ParentType = gst::Element;

    fn with_class(klass: &Self::Class) -> Self {
        let pad = |name: &str| {
            let template = klass.pad_template(name);
            gst::Pad::builder_from_template(&template.unwrap_or_else(|| unreachable!("{name}")))
        };
        let sinkpad = pad("sink")
            .chain_function(|_, parent, buffer| {
                Self::catch_panic_pad_function(parent, || Err(gst::FlowError::Error), |this| this.sink_chain(buffer))
            })
            .event_full_function(|pad, parent, event| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |this| this.sink_event(pad, event),
                )
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |this| this.sink_query(pad, query))
            })
            .flags(gst::PadFlags::PROXY_CAPS)
            .build();
        let srcpad = pad("src")
            .event_function(|pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |this| this.src_event(pad, event))
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |this| this.src_query(pad, query))
            })
            .activatemode_function(|pad, parent, mode, active| {
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::loggable_error!(CAT, "Panic")),
                    |this| match mode {
                        gst::PadMode::Push => this.src_activate(pad, active),
                        _ => Err(gst::loggable_error!(CAT, "Only push mode is supported")),
                    },
                )
            })
            .flags(gst::PadFlags::PROXY_CAPS | gst::PadFlags::FIXED_CAPS)
            .build();
        Self {
            sinkpad,
            srcpad,
            settings: Mutex::default(),
            state: Mutex::new(State::stopped(Stats::default())),
            changed: Condvar::new(),
            bell: Arc::default(),
            loaded: Mutex::new(None),
            worker: Mutex::new(None),
            model_metadata: Mutex::new(None),
            report: Mutex::new(None),
        }
    }
}

impl ObjectImpl for SparseAdv {
    fn properties() -> &'static [glib::ParamSpec] {
        &properties::PROPERTIES
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        // Nothing here can fail: the pads are new and have no parent.
        let _ = obj.add_pad(&self.sinkpad);
        let _ = obj.add_pad(&self.srcpad);
    }

    fn dispose(&self) {
        self.stop_worker();
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        properties::set(Arc::make_mut(&mut lock(&self.settings)), pspec.name(), value);
        self.settings_changed();
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => self.state().stats.structure().to_value(),
            name => properties::get(&lock(&self.settings), name),
        }
    }
}

impl GstObjectImpl for SparseAdv {}

impl ElementImpl for SparseAdv {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new(
                "Sparse adversarial attack",
                "Filter/Effect/Video",
                "Perturbs keyframes so that a video classifier errs, to test its robustness",
                "The sparseadv developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(format::pad_templates);
        &TEMPLATES
    }

    fn change_state(&self, transition: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::ReadyToPaused {
            format::forget_refused_caps(self.obj().upcast_ref());
        }
        let prepared = match transition {
            gst::StateChange::NullToReady => self.prepare().and_then(|_| self.open_report()),
            // Anew, as the totals are, and where the property says by now.
            gst::StateChange::ReadyToPaused => self.open_report().and_then(|()| self.start_worker()),
            _ => Ok(()),
        };
        if let Err(message) = prepared {
            self.post_error_message(message);
            return Err(gst::StateChangeError);
        }
        if transition == gst::StateChange::PausedToReady {
            // Before the pads are deactivated, which waits for their threads.
            self.state().stop_working();
            self.stop_flow();
        }
        let result = self.parent_change_state(transition);
        match transition {
            gst::StateChange::ReadyToPaused if result.is_err() => {
                self.stop_worker();
                *lock(&self.report) = None;
            }
            gst::StateChange::PausedToReady => {
                self.stop_worker();
                self.close_report();
            }
            gst::StateChange::ReadyToNull => {
                *lock(&self.loaded) = None;
                *lock(&self.model_metadata) = None;
                *lock(&self.report) = None;
            }
            _ => {}
        }
        result
    }
}
