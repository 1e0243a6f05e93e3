// SPDX-License-Identifier: MPL-2.0

/**
 * SECTION:element-clipclassifier
 * @see_also: sparseadv
 *
 * `clipclassifier` classifies windows of a video with a TorchScript model, and lets the frames pass untouched. Behind a
 * codec it says what is left of an attack: a fooling rate by the report of `sparseadv`, an accuracy by a true label.
 *
 * A TorchScript file is a program and runs as one, so load only files you trust.
 *
 * ## Example launch line
 * |[
 * gst-launch-1.0 -m filesrc location=b.mp4 ! decodebin ! clipclassifier model=c3d.pt reference-location=b.jsonl ! fakesink
 * ]|
 *
 * ## Windows
 *
 * `window-size`, `frame-step`, `stride` and `tail` mean what they mean in `sparseadv`. `offset` skips frames before the
 * first window. With it, and with another `stride`, the element looks at windows that do not line up with the
 * attacker's.
 *
 * ## Labels and rates
 *
 * `label` is the true label, and `accuracy` the share of windows that the model gets right. Where the label is not set,
 * the true label in the attacker's report serves.
 *
 * `reference-location` is the report that `sparseadv` wrote (its `report-location`). Windows are found in it by the
 * number of their first frame, or by running time after a seek or a gap. A report without any use is a warning. Where
 * there is no report, the metas of an upstream `sparseadv` serve, as far as the frames still carry them.
 *
 * `fooling-rate` is the share of attacked windows on which the attack's goal holds here. A window that was fooled
 * before the attack is in no rate.
 *
 * ## Live pipelines
 *
 * In a live pipeline the frames pass at once, and windows are classified beside the stream. No frame waits for the
 * model, so the element adds no latency. A result comes when its pass has ended, and no frame carries it. While one
 * window is classified, one more waits. Further windows pass unclassified: `stats` counts them as `unclassified`, and a
 * warning tells of the first. At the end of the stream the element classifies what still waits.
 *
 * ## Reports
 *
 * Each window is an element message `clipclassifier-window`, a JSON line in the file `report-location`, and the custom
 * meta `GstClipClassifierMeta` on the window's last frame. The line has the window's place in the stream, the label,
 * and the probabilities of all classes. It also has the reference's labels, whether the window is `correct` and
 * `fooled`, and the provenance. The file grows as `FILE.part`. It takes its name at the end of the stream, as the
 * report of `sparseadv` does.
 *
 * The property `stats` has the totals, and the message `clipclassifier-stats` carries them at the end of the stream.
 *
 * Built with the feature `analytics` (GStreamer 1.24 or newer), the window's last frame also carries the label as a
 * classification of GstAnalytics.
 *
 * ## Limits
 *
 * * The element holds no frames, only what the model sees of a window. In a live pipeline these are three windows.
 * * Frames may lie in their buffers as a GstVideoMeta says, bottom-up included. A layout that reaches out of its buffer
 *   is an error. A GstVideoCropMeta is ignored.
 * * QoS events go no further upstream: a decoder would drop late frames by them, and the windows would change.
 *
 * Since: 0.1
 */
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::BaseTransformExtManual;
use gst_base::subclass::prelude::*;
use once_cell::sync::Lazy;

use super::gather::Gather;
use super::meta;
use super::properties::{self, Settings};
use super::reference::AttackReport;
use super::stats::Stats;
use super::windows::unreadable;
use crate::element::format;
use crate::element::lock;
use crate::element::model::find_label;
use crate::element::model::load_model;
use crate::element::pads::ends_window;
use crate::element::pads::input_uri;
use crate::element::report_file::ReportFile;
use crate::element::stream::Stream;
use crate::model::Model;
use crate::provenance::Provenance;
use crate::window::{Tail, Windowing};

pub(super) static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new("clipclassifier", gst::DebugColorFlags::empty(), Some("Classification of clips"))
});

/// From READY on.
pub(super) struct Loaded {
    pub model: Model,
    pub path: PathBuf,
    pub windowing: Windowing,
    pub tail: Tail,
    pub true_label: Option<usize>,
    pub reference: Option<AttackReport>,
    pub report: Option<ReportFile>,
    pub stream: Option<Stream>,
    pub gather: Gather,
    pub next_frame: u64,
    pub next_window: u64,
    /// No seek or gap so far: frame n is the n-th of the stream that was attacked.
    pub from_the_start: bool,
    /// Windows that the reference does not have.
    pub missed: u64,
    pub provenance: Arc<Provenance>,
}

#[derive(Default)]
pub struct ClipClassifier {
    settings: Mutex<Settings>,
    pub(super) loaded: Mutex<Option<Loaded>>,
    pub(super) stats: Mutex<Stats>,
}

#[glib::object_subclass]
impl ObjectSubclass for ClipClassifier {
    const NAME: &'static str = "GstClipClassifier";
    type Type = super::ClipClassifier;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for ClipClassifier {
    fn properties() -> &'static [glib::ParamSpec] {
        &properties::PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        properties::set(&mut lock(&self.settings), pspec.name(), value);
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => lock(&self.stats).structure().to_value(),
            name => properties::get(&lock(&self.settings), name),
        }
    }
}

impl GstObjectImpl for ClipClassifier {}

impl ElementImpl for ClipClassifier {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new(
                "Clip classifier",
                "Filter/Analyzer/Video",
                "Classifies windows of frames with a TorchScript model, and passes the frames",
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
            gst::StateChange::NullToReady => self.load(),
            gst::StateChange::ReadyToPaused => self.begin(),
            _ => Ok(()),
        };
        if let Err(message) = prepared {
            self.post_error_message(message);
            return Err(gst::StateChangeError);
        }
        let result = self.parent_change_state(transition);
        match transition {
            gst::StateChange::PausedToReady => self.close_report(),
            gst::StateChange::ReadyToNull => *lock(&self.loaded) = None,
            _ => {}
        }
        result
    }
}

impl BaseTransformImpl for ClipClassifier {
    const MODE: gst_base::subclass::BaseTransformMode = gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn set_caps(&self, incaps: &gst::Caps, _outcaps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let info = gst_video::VideoInfo::from_caps(incaps)
            .map_err(|e| gst::loggable_error!(CAT, "Expected raw video, found {incaps}: {e}"))?;
        self.finish_windows();
        let input = input_uri(self.obj().sink_pad());
        let Some(loaded) = &mut *lock(&self.loaded) else {
            return Ok(());
        };
        let checked = loaded.report.as_ref().map(|r| r.check_input(input.as_deref()));
        // Now, and not when the first window is whole: the wrong path is to be heard of at once.
        let read = loaded.reference.as_mut().map(|reference| {
            let read = reference.read();
            read.map_err(|e| unreadable(reference, &e))
        });
        if let Some(Err(message)) = checked.or(read) {
            self.post_error_message(message);
            return Err(gst::loggable_error!(CAT, "The report or the reference cannot be used"));
        }
        loaded.stream = Some(Stream::new(info, loaded.model.metadata()));
        Arc::make_mut(&mut loaded.provenance).input = input;
        Ok(())
    }

    fn query(&self, direction: gst::PadDirection, query: &mut gst::QueryRef) -> bool {
        if let (gst::PadDirection::Sink, gst::QueryView::AcceptCaps(asked)) = (direction, query.view()) {
            let obj = self.obj();
            format::tell_refused_caps(obj.upcast_ref(), obj.sink_pad(), asked.caps());
        }
        BaseTransformImplExt::parent_query(self, direction, query)
    }

    fn src_event(&self, event: gst::Event) -> bool {
        // A decoder would drop frames for a late sink, and windows would be of other frames than the file's.
        event.type_() == gst::EventType::Qos || self.parent_src_event(event)
    }

    fn transform_ip(&self, buffer: &mut gst::BufferRef) -> Result<gst::FlowSuccess, gst::FlowError> {
        if buffer.flags().contains(gst::BufferFlags::DISCONT) {
            self.finish_windows();
            if let Some(loaded) = lock(&self.loaded).as_mut() {
                loaded.from_the_start &= loaded.next_frame == 0;
            }
        }
        let window = self.gather(buffer).map_err(|message| {
            self.post_error_message(message);
            gst::FlowError::Error
        })?;
        let Some(window) = window else {
            return Ok(gst::FlowSuccess::Ok);
        };
        let report = self.classify(&window)?;
        if let Err(error) = meta::add(buffer, &report) {
            gst::warning!(CAT, imp = self, "A window leaves without meta: {error}");
        }
        Ok(gst::FlowSuccess::Ok)
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        match event.type_() {
            gst::EventType::Eos => {
                self.finish_windows();
                self.publish();
                let stats = lock(&self.stats).structure();
                gst::info!(CAT, imp = self, "{stats}");
                self.post(stats);
            }
            gst::EventType::FlushStop => {
                let offset = lock(&self.settings).offset;
                if let Some(loaded) = lock(&self.loaded).as_mut() {
                    loaded.gather = Gather::new(offset as usize);
                    // What follows need not be what followed in the attacker's stream.
                    loaded.from_the_start = false;
                }
            }
            event if ends_window(event) => self.finish_windows(),
            _ => {}
        }
        self.parent_sink_event(event)
    }
}

impl ClipClassifier {
    pub(super) fn post(&self, structure: gst::Structure) {
        let message = gst::message::Element::builder(structure).src(&*self.obj());
        let _ = self.obj().post_message(message.build());
    }

    /// Loads the model and checks the settings against it.
    fn load(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        let wrong = |text: String| gst::error_msg!(gst::LibraryError::Settings, ("{text}"));
        let options = settings.windows.model_options().map_err(wrong)?;
        let model = load_model(&options)?;
        for warning in model.warnings() {
            gst::element_imp_warning!(self, gst::LibraryError::Settings, ("{warning}"));
        }
        let (metadata, classes) = (model.metadata(), model.classes());
        let label = settings.windows.label.as_deref();
        let true_label = label.map(|text| find_label("label", text, metadata, classes)).transpose().map_err(wrong)?;
        *lock(&self.loaded) = Some(Loaded {
            windowing: settings.windows.windowing(metadata),
            tail: settings.windows.tail,
            true_label,
            path: options.path,
            model,
            reference: None,
            report: None,
            stream: None,
            gather: Gather::default(),
            next_frame: 0,
            next_window: 0,
            from_the_start: true,
            missed: 0,
            provenance: Arc::default(),
        });
        Ok(())
    }

    /// Begins a stream: everything but the model is new.
    fn begin(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        let mut loaded = lock(&self.loaded);
        let Some(loaded) = loaded.as_mut() else {
            return Ok(());
        };
        loaded.reference = settings.reference.as_deref().map(AttackReport::open);
        // The one of the last stream is still locked.
        loaded.report = None;
        if let Some(path) = &settings.windows.report_location {
            let reference = settings.reference.as_deref();
            let reference = reference.map(|path| ("reference-location", path));
            let (element, inputs) = (&*self.obj(), reference.as_slice());
            loaded.report = Some(ReportFile::open(element, path, &loaded.path, inputs)?);
        }
        loaded.from_the_start = true;
        loaded.missed = 0;
        loaded.windowing = settings.windows.windowing(loaded.model.metadata());
        loaded.gather = Gather::new(settings.offset as usize);
        loaded.next_frame = 0;
        loaded.next_window = 0;
        loaded.provenance = Arc::new(Provenance::of(&*self.obj(), &loaded.path, loaded.model.sha256()));
        *lock(&self.stats) = Stats::default();
        Ok(())
    }
}
