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
 * first window, and again wherever windows begin anew: after a seek, a gap or other caps. With it, and with another
 * `stride`, the element looks at windows that do not line up with the attacker's.
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
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::BaseTransformExtManual;
use gst_base::subclass::prelude::*;
use once_cell::sync::Lazy;

use super::gather::Gather;
use super::meta;
use super::reference::AttackReport;
use super::reference::unreadable;
use super::stats::Stats;
use super::worker::Worker;
use crate::element::format;
use crate::element::lock;
use crate::element::pads::{self, ends_window};
use crate::element::report_file::ReportFile;
use crate::element::settings::{AUTO, Common, Shared, get, set, with_stats};
use crate::element::stream::Stream;
use crate::model::{Metadata, Model};
use crate::provenance::Provenance;
use crate::window::Tail;

pub(super) static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new("clipclassifier", gst::DebugColorFlags::empty(), Some("Classification of clips"))
});

/// From READY on. Locked for as long as a pass takes: no frame of a live stream waits for it.
pub(super) struct Loaded {
    pub model: Model,
    pub path: PathBuf,
}

/// What the thread of the stream makes windows of.
pub(super) struct Gathering {
    pub metadata: Metadata,
    pub stream: Option<Arc<Stream>>,
    pub gather: Gather,
    pub tail: Tail,
    pub next_frame: u64,
    pub next_window: u64,
    /// Those before the first of its frames.
    pub flushes: u64,
    /// No seek or gap so far: frame n is the n-th of the stream that was attacked.
    pub from_the_start: bool,
    pub provenance: Arc<Provenance>,
}

/// What windows are compared with, and what comes of it.
#[derive(Default)]
pub(super) struct Results {
    pub true_label: Option<usize>,
    pub reference: Option<AttackReport>,
    /// Windows that the reference does not have.
    pub missed: u64,
    pub report: Option<ReportFile>,
    pub stats: Stats,
}

/// The properties.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub common: Common,
    pub offset: u32,
    pub reference: Option<PathBuf>,
}

#[derive(Default, glib::Properties)]
#[properties(wrapper_type = super::ClipClassifier)]
pub struct ClipClassifier {
    #[property(name = "model", type = Option<PathBuf>, get = get!(common.model), set = set!(common.model),
        mutable_ready, nick = "Model",
        blurb = "TorchScript classifier. It is a program and runs as one: load only files you trust")]
    #[property(name = "model-sha256", type = Option<String>, get = get!(common.model_sha256), set = set!(common.model_sha256),
        mutable_ready, nick = "SHA-256 of the model",
        blurb = "SHA-256 that the model's file must have: any other is refused before it is loaded")]
    #[property(name = "device", type = Option<String>, default = Some(AUTO), set = set!(common.device), mutable_ready,
        get = |this: &Self| this.settings.snapshot().common.device.clone().or(Some(AUTO.into())),
        nick = "Device", blurb = "Device the model runs on: auto, cpu, cuda or cuda:N")]
    #[property(name = "window-size", type = u32, maximum = 65536, mutable_ready,
        get = get!(common.window_size), set = set!(common.window_size),
        nick = "Window size", blurb = "Frames the model sees at once (0 = the model's own, 16 if it does not say)")]
    #[property(name = "stride", type = u32, maximum = 65536, mutable_ready,
        get = get!(common.stride), set = set!(common.stride), nick = "Stride",
        blurb = "Frames from one window to the next (0 = window-size * frame-step: windows side by side)")]
    #[property(name = "frame-step", type = u32, maximum = 65536, mutable_ready,
        get = get!(common.frame_step), set = set!(common.frame_step), nick = "Frame step",
        blurb = "Frames of the stream from one frame of a window to the next (0 = the model's own, 1 if it does not \
            say)")]
    #[property(name = "offset", type = u32, maximum = 65536, get = get!(offset), set = set!(offset), mutable_ready,
        nick = "Offset",
        blurb = "Frames before the first window, and again after a seek or a gap: windows then do not line up with an \
            attacker's")]
    #[property(name = "tail", type = Tail, default, get = get!(common.tail), set = set!(common.tail), mutable_ready,
        nick = "Tail",
        blurb = "What becomes of frames at the end of a stream that fill no window: classified with the last one \
            repeated, or not")]
    #[property(name = "label", type = Option<String>, get = get!(common.label), set = set!(common.label), mutable_ready,
        nick = "Label", blurb = "True label by name or index, for the accuracy")]
    #[property(name = "reference-location", type = Option<PathBuf>, get = get!(reference), set = set!(reference),
        mutable_ready, nick = "Reference location",
        blurb = "Report of the sparseadv that attacked this video (its report-location), for the fooling rate; without \
            it, the metas of an upstream sparseadv are used where they are")]
    #[property(name = "report-location", type = Option<PathBuf>, mutable_ready,
        get = get!(common.report_location), set = set!(common.report_location),
        nick = "Report location", blurb = "File that gets one JSON line a window; an older one is replaced")]
    pub(super) settings: Shared<Settings>,
    pub(super) loaded: Mutex<Option<Loaded>>,
    pub(super) gathering: Mutex<Option<Gathering>>,
    pub(super) results: Mutex<Results>,
    /// Upstream is live, as far as it has said.
    pub(super) live: AtomicBool,
    /// In a live pipeline, from the first window on.
    pub(super) worker: Mutex<Option<Worker>>,
    /// How often the stream was flushed or left: what waits for the worker from before is of no use any more.
    pub(super) flushes: AtomicU64,
    /// The worker could not classify a window.
    pub(super) failed: AtomicBool,
}

#[glib::object_subclass]
impl ObjectSubclass for ClipClassifier {
    const NAME: &'static str = "GstClipClassifier";
    type Type = super::ClipClassifier;
    type ParentType = gst_base::BaseTransform;
}

#[glib::derived_properties]
impl ObjectImpl for ClipClassifier {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: Lazy<Vec<glib::ParamSpec>> = Lazy::new(|| {
            with_stats(
                ClipClassifier::derived_properties(),
                "Accuracy, fooling rate, mean probability and counts so far",
            )
        });
        &PROPERTIES
    }

    fn property(&self, id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => lock(&self.results).stats.structure().to_value(),
            _ => self.derived_property(id, pspec),
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
        if transition == gst::StateChange::PausedToReady {
            // Before the pads are deactivated, which waits for the thread of the stream.
            self.flushes.fetch_add(1, Ordering::SeqCst);
        }
        let result = self.parent_change_state(transition);
        match transition {
            gst::StateChange::PausedToReady => {
                self.end_worker();
                self.close_report();
                *lock(&self.gathering) = None;
            }
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
        self.barrier();
        let sink = self.obj().sink_pad().clone();
        self.note_live(pads::is_live(&sink));
        let input = pads::input_uri(&sink);
        let mut results = lock(&self.results);
        let checked = results.report.as_ref().map(|r| r.check_input(input.as_deref()));
        // Now, and not when the first window is whole: the wrong path is to be heard of at once.
        let read = results.reference.as_mut().map(|reference| {
            let read = reference.read();
            read.map_err(|e| unreadable(reference, &e))
        });
        drop(results);
        if let Some(Err(message)) = checked.or(read) {
            self.post_error_message(message);
            return Err(gst::loggable_error!(CAT, "The report or the reference cannot be used"));
        }
        if let Some(gathering) = lock(&self.gathering).as_mut() {
            gathering.stream = Some(Arc::new(Stream::new(info, &gathering.metadata)));
            Arc::make_mut(&mut gathering.provenance).input = input;
        }
        Ok(())
    }

    fn query(&self, direction: gst::PadDirection, query: &mut gst::QueryRef) -> bool {
        if let (gst::PadDirection::Sink, gst::QueryView::AcceptCaps(asked)) = (direction, query.view()) {
            let obj = self.obj();
            format::tell_refused_caps(obj.upcast_ref(), obj.sink_pad(), asked.caps());
        }
        let answered = BaseTransformImplExt::parent_query(self, direction, query);
        if let (gst::PadDirection::Src, true, gst::QueryView::Latency(latency)) = (direction, answered, query.view()) {
            self.note_live(Some(latency.result().0));
        }
        answered
    }

    fn src_event(&self, event: gst::Event) -> bool {
        // A decoder would drop frames for a late sink, and windows would be of other frames than the file's.
        event.type_() == gst::EventType::Qos || self.parent_src_event(event)
    }

    fn transform_ip(&self, buffer: &mut gst::BufferRef) -> Result<gst::FlowSuccess, gst::FlowError> {
        if buffer.flags().contains(gst::BufferFlags::DISCONT) {
            self.barrier();
            if let Some(gathering) = lock(&self.gathering).as_mut() {
                gathering.from_the_start &= gathering.next_frame == 0;
            }
        }
        let window = self.gather(buffer).map_err(|message| {
            self.post_error_message(message);
            gst::FlowError::Error
        })?;
        let report = window.map(|window| self.judge(window)).transpose()?.flatten();
        if let Some(Err(error)) = report.map(|report| meta::add(buffer, &report)) {
            gst::warning!(CAT, imp = self, "A window leaves without meta: {error}");
        }
        Ok(gst::FlowSuccess::Ok)
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        match event.type_() {
            gst::EventType::Eos => {
                self.finish();
                let stats = lock(&self.results).stats.structure();
                gst::info!(CAT, imp = self, "{stats}");
                self.post(stats);
            }
            gst::EventType::FlushStart => {
                self.flushes.fetch_add(1, Ordering::SeqCst);
            }
            gst::EventType::FlushStop => {
                if let Some(gathering) = lock(&self.gathering).as_mut() {
                    gathering.gather.end();
                    gathering.flushes = self.flushes.load(Ordering::SeqCst);
                    // What follows need not be what followed in the attacker's stream.
                    gathering.from_the_start = false;
                }
            }
            event if ends_window(event) => self.barrier(),
            _ => {}
        }
        self.parent_sink_event(event)
    }
}

impl ClipClassifier {
    fn note_live(&self, live: Option<bool>) {
        let Some(live) = live else {
            return;
        };
        if self.live.swap(live, Ordering::SeqCst) != live {
            gst::info!(CAT, imp = self, "Upstream is {}live", if live { "" } else { "not " });
        }
    }

    pub(super) fn post(&self, structure: gst::Structure) {
        let message = gst::message::Element::builder(structure).src(&*self.obj());
        let _ = self.obj().post_message(message.build());
    }
}
