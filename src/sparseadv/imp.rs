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
 * At most a window and a stride of frames wait inside, and a window more on its way out: with the properties' names, about
 * 2 * ((window-size - 1) * frame-step + 1) + stride frames, so a stride of thousands of frames holds thousands of raw frames. The element
 * asks for that many buffers in ALLOCATION, and copies the frames of a pool that has fewer. Frames may lie in their buffers as a
 * GstVideoMeta says, bottom-up included; a layout that reaches out of its buffer, rows shorter than the picture, and planes that share
 * bytes are errors. A GstVideoCropMeta is passed on and otherwise ignored: the attack is on the frame that the caps describe. QoS events go
 * no further upstream, since a decoder that drops late frames would change the windows.
 *
 * Each window is reported by an element message `sparseadv-window` (see it with `gst-launch-1.0 -m`), and as a JSON line in the file
 * `report-location`. At the end of the stream a message `sparseadv-stats` carries the totals of the `stats` property.
 */
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use gst::prelude::*;
use gst::subclass::prelude::*;
use once_cell::sync::Lazy;

use super::settings::Settings;
use super::state::State;
use super::survive::Codecs;
use crate::attack::{Loss, Objective, Selection, optimizer};
use crate::element::bell::Bell;
use crate::element::format;
use crate::element::lock;
use crate::element::report_file::ReportFile;
use crate::element::settings::{AUTO, Shared, get, set, with_stats};
use crate::model::{self, Metadata, Model};
use crate::provenance::settings_of;
use crate::window::Tail;

pub(super) static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new("sparseadv", gst::DebugColorFlags::empty(), Some("Sparse adversarial attack"))
});

/// A loaded model and what it was loaded by.
pub(super) struct Loaded {
    pub model: Model,
    pub options: model::Options,
    pub codecs: Codecs,
}

#[derive(glib::Properties)]
#[properties(wrapper_type = super::SparseAdv)]
pub struct SparseAdv {
    pub(super) sinkpad: gst::Pad,
    pub(super) srcpad: gst::Pad,
    #[property(name = "model", type = Option<PathBuf>, get = get!(common.model), set = set!(common.model),
        mutable_ready, nick = "Model",
        blurb = "TorchScript classifier to attack. It is a program and runs as one: load only files you trust")]
    #[property(name = "device", type = Option<String>, default = Some(AUTO), set = set!(common.device), mutable_ready,
        get = |this: &Self| this.settings.snapshot().common.device.clone().or(Some(AUTO.into())),
        nick = "Device", blurb = "Device the model runs on: auto, cpu, cuda or cuda:N")]
    #[property(name = "window-size", type = u32, maximum = 1024, mutable_ready,
        get = get!(common.window_size), set = set!(common.window_size),
        nick = "Window size", blurb = "Frames the model sees at once (0 = the model's own, 16 if it does not say)")]
    #[property(name = "stride", type = u32, maximum = 65536, mutable_ready,
        get = get!(common.stride), set = set!(common.stride), nick = "Stride",
        blurb = "Frames from one window to the next (0 = window-size * frame-step: windows side by side)")]
    #[property(name = "frame-step", type = u32, maximum = 256, mutable_ready,
        get = get!(common.frame_step), set = set!(common.frame_step), nick = "Frame step",
        blurb = "Frames of the stream from one frame of a window to the next (0 = the model's own, 1 if it does not \
            say)")]
    #[property(name = "keyframes", type = Option<String>, set = set!(keyframes), mutable_ready,
        get = |this: &Self| this.settings.snapshot().keyframes.clone().or(Some(Selection::default().to_string())),
        default = Some(Selection::default().to_string().as_str()), nick = "Keyframes",
        blurb = "Which frames to perturb: gradient, gradient:features, gradient:signed, gradient:input, gradient:loss, \
            fixed[:N], ifd[:N], heuristic[:N], random[:N], all, or frame numbers such as 0,5,7")]
    #[property(name = "boundary", type = f64, minimum = 0.0, maximum = 1.0, mutable_ready,
        get = get!(boundary), set = set!(boundary), nick = "Boundary",
        blurb = "Share of the gradient's weight that the keyframes reach together (0 = 0.3 untargeted, 0.4 targeted)")]
    #[property(name = "max-iterations", type = i32, minimum = -1, default = -1, mutable_playing,
        get = get!(max_iterations), set = set!(max_iterations), nick = "Maximum iterations",
        blurb = "Updates of a window's perturbation at the most (-1 = 500 untargeted, 1000 targeted)")]
    #[property(name = "patience", type = u32, default = Settings::default().attack.patience, mutable_playing,
        get = get!(attack.patience), set = set!(attack.patience), nick = "Patience",
        blurb = "The attack of a fooled window ends after this many iterations without a smaller success (0 = use all \
            iterations)")]
    #[property(name = "stop-early", type = bool, default = Settings::default().attack.stop_early, mutable_playing,
        get = get!(attack.stop_early), set = set!(attack.stop_early), nick = "Stop early",
        blurb = "Take the first success: fewest calls of the model, larger perturbation")]
    #[property(name = "grow-after", type = u32, default = Settings::default().attack.grow_after, mutable_playing,
        get = get!(attack.grow_after), set = set!(attack.grow_after), nick = "Grow after",
        blurb = "Iterations without success after which more frames become keyframes (0 = never)")]
    #[property(name = "grow-by", type = u32, minimum = 1, default = Settings::default().attack.grow_by, mutable_playing,
        get = get!(attack.grow_by), set = set!(attack.grow_by), nick = "Grow by",
        blurb = "Frames that become keyframes then: those of the next largest weight. A selection by gradient weighs \
            the frames anew")]
    #[property(name = "time-budget", type = Option<gst::ClockTime>, default = u64::MAX, mutable_playing,
        get = get!(time_budget), set = set!(time_budget), nick = "Time budget",
        blurb = "Time for a window's attack in ns; at its end the window leaves with the best result so far (0 = no \
            limit, -1 = automatic: what keeps up with a live stream, no limit elsewhere)")]
    #[property(name = "learning-rate", type = f32, default = Settings::default().attack.learning_rate, mutable_playing,
        minimum = 1e-6, maximum = 255.0, get = get!(attack.learning_rate), set = set!(attack.learning_rate),
        nick = "Learning rate", blurb = "Step of the optimizer in gray levels")]
    #[property(name = "learning-rate-decay", type = f32, default = Settings::default().attack.learning_rate_decay,
        minimum = 0.01, maximum = 1.0, mutable_playing,
        get = get!(attack.learning_rate_decay), set = set!(attack.learning_rate_decay), nick = "Learning rate decay",
        blurb = "Factor of the step each time a fooled window gets its label back (1 = constant)")]
    #[property(name = "optimizer", type = optimizer::Kind, default, mutable_playing,
        get = get!(attack.optimizer), set = set!(attack.optimizer),
        nick = "Optimizer", blurb = "How the perturbation is updated")]
    #[property(name = "objective", type = Objective, default, mutable_playing,
        get = get!(attack.objective), set = set!(attack.objective), nick = "Objective",
        blurb = "What is descended: the two-stage loss, or SA's sum of class term and norm for comparison")]
    #[property(name = "loss", type = Loss, default, mutable_playing,
        get = get!(attack.loss), set = set!(attack.loss),
        nick = "Loss", blurb = "The class term, which is descended while the label holds")]
    #[property(name = "epsilon", type = f32, default = Settings::default().attack.epsilon, mutable_playing,
        minimum = 0.0, maximum = 255.0, get = get!(attack.epsilon), set = set!(attack.epsilon), nick = "Epsilon",
        blurb = "Bound on the perturbation of any value of the model's view in gray levels (0 = none)")]
    #[property(name = "confidence", type = f32, default = -1.0, minimum = -1.0, maximum = 1000.0, mutable_playing,
        get = get!(confidence), set = set!(confidence), nick = "Confidence",
        blurb = "Margin that counts as success: the logit of the wrong (or target) label leads by this much. A margin \
            outlasts the rounding of other decoders, a larger one what an encoder of the whole file does (-1 = 0.5, or \
            2 with survive)")]
    #[property(name = "survive", type = Option<String>, mutable_ready, get = get!(survive), set = set!(survive),
        nick = "Survive",
        blurb = "Bins that take and give raw video, such as \"x264enc ! avdec_h264\", with | between: the attack \
            succeeds when the window is fooled behind each of them")]
    #[property(name = "label", type = Option<String>, get = get!(common.label), set = set!(common.label), mutable_ready,
        nick = "Label",
        blurb = "True label by name or index, which all rates are against; windows that the model gets wrong before \
            the attack are left alone (unset = the model's own label of the clean window)")]
    #[property(name = "target-label", type = Option<String>, get = get!(target_label), set = set!(target_label),
        mutable_ready, nick = "Target label",
        blurb = "Label by name or index that the model shall give, beside the true label or without it (unset = \
            untargeted)")]
    #[property(name = "seed", type = u64, default = Settings::default().attack.seed, mutable_ready,
        get = get!(attack.seed), set = set!(attack.seed),
        nick = "Seed", blurb = "Seed of keyframes=random, the only chance in an attack")]
    #[property(name = "tail", type = Tail, default, get = get!(common.tail), set = set!(common.tail), mutable_ready,
        nick = "Tail", blurb = "What becomes of frames at the end of a stream that fill no window")]
    #[property(name = "enabled", type = bool, default = true, get = get!(enabled), set = set!(enabled), mutable_playing,
        nick = "Enabled", blurb = "Attack; pass frames through at once when false")]
    #[property(name = "report-location", type = Option<PathBuf>, mutable_ready,
        get = get!(common.report_location), set = set!(common.report_location),
        nick = "Report location", blurb = "File that gets one JSON line a window; an older one is replaced")]
    settings: Shared<Settings>,
    state: Mutex<State>,
    /// For threads that wait in the middle of something, and for those that have nothing to do.
    changed: Condvar,
    pub(super) bell: Arc<Bell>,
    pub(super) epoch: AtomicU64,
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

    /// The settings in force. They stay as they are for whoever holds them.
    pub(super) fn settings(&self) -> Arc<Settings> {
        self.settings.snapshot()
    }

    /// The metadata of the model in use.
    pub(super) fn metadata(&self) -> Option<Arc<Metadata>> {
        lock(&self.model_metadata).clone()
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
            settings: Shared::default(),
            state: Mutex::new(State::new()),
            changed: Condvar::new(),
            bell: Arc::default(),
            epoch: AtomicU64::new(0),
            loaded: Mutex::new(None),
            worker: Mutex::new(None),
            model_metadata: Mutex::new(None),
            report: Mutex::new(None),
        }
    }
}

#[glib::derived_properties]
impl ObjectImpl for SparseAdv {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: Lazy<Vec<glib::ParamSpec>> = Lazy::new(|| {
            with_stats(
                SparseAdv::derived_properties(),
                "Fooling rate, mean queries, mean absolute perturbation, sparse rate and counts so far",
            )
        });
        &PROPERTIES
    }

    fn property(&self, id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => self.state().stats.structure().to_value(),
            _ => self.derived_property(id, pspec),
        }
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

    fn set_property(&self, id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        self.derived_set_property(id, value, pspec);
        // What a window is reported with is what was in force when it was decided.
        if self.state().working {
            let settings = settings_of(&*self.obj());
            Arc::make_mut(&mut self.state().provenance).settings = settings;
        }
        if matches!(pspec.name(), "enabled" | "time-budget") {
            // Locked: not between a thread's look at the settings and its going to sleep.
            let mut state = self.state();
            // Frames shall not wait for an attack that nobody wants any more; a release under way is none, and must not
            // be void.
            if !self.settings().enabled && !state.releasing {
                self.epoch.fetch_add(1, Ordering::SeqCst);
                state.job = None;
            }
            drop(state);
            self.tell();
            self.tell_latency();
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
            gst::StateChange::NullToReady => self.prepare().and_then(|()| self.open_report()),
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
            self.state().working = false;
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
