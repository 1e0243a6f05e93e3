// SPDX-License-Identifier: MPL-2.0

/**
 * SECTION:element-clipclassifier
 *
 * clipclassifier classifies windows of a video with a TorchScript model and lets the frames pass untouched. Behind a codec it says what is
 * left of an attack: with sparseadv's report it keeps the fooling rate, with a label the accuracy. `offset` and `stride` let it look at
 * windows that do not line up with the attacker's.
 *
 * ## Example launch line
 * |[
 * gst-launch-1.0 -m filesrc location=b.mp4 ! decodebin ! clipclassifier model=c3d.pt reference-location=b.jsonl ! fakesink
 * ]|
 *
 * Each window is reported by an element message `clipclassifier-window`, by a JSON line in the file `report-location`, and by a
 * `GstClipClassifierMeta` on its last frame. At the end of the stream a message `clipclassifier-stats` carries the totals.
 */
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::BaseTransformExtManual;
use gst_base::subclass::prelude::*;
use once_cell::sync::Lazy;

use super::gather::{Gather, Seen};
use super::meta;
use super::properties::{self, Settings};
use super::reference::{self, AttackReport};
use super::report::WindowReport;
use super::stats::Stats;
use crate::attack::{loss, Classifier as _};
use crate::model::Model;
use crate::provenance::{self, settings_of, Provenance, Versions, FORMAT};
use crate::sparseadv::format;
use crate::sparseadv::imp::lock;
use crate::sparseadv::lifecycle::load_model;
use crate::sparseadv::pads::{input_uri, running_time};
use crate::sparseadv::report_file::{sidecar, ReportFile};
use crate::sparseadv::settings::{find_label, Tail, Windowing};
use crate::sparseadv::stream::Stream;
use crate::tally::Labels;
use crate::video::view::Samples;

static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "clipclassifier",
        gst::DebugColorFlags::empty(),
        Some("Classification of clips"),
    )
});

/// From READY on.
struct Loaded {
    model: Model,
    path: PathBuf,
    sha256: String,
    windowing: Windowing,
    tail: Tail,
    true_label: Option<usize>,
    reference: Option<AttackReport>,
    report: Option<ReportFile>,
    stream: Option<Stream>,
    offset: usize,
    gather: Gather,
    /// Windows of which no line of the reference tells.
    unmatched: u64,
    /// The running time and presentation time of the stream's first frame, and whether a flush has moved the running time since.
    first: Option<(gst::ClockTime, gst::ClockTime)>,
    flushed: bool,
    next_frame: u64,
    next_window: u64,
    provenance: Arc<Provenance>,
}

#[derive(Default)]
pub struct ClipClassifier {
    settings: Mutex<Settings>,
    loaded: Mutex<Option<Loaded>>,
    stats: Mutex<Stats>,
}

#[glib::object_subclass]
impl ObjectSubclass for ClipClassifier {
    const NAME: &'static str = "GstClipClassifier";
    type Type = super::ClipClassifier;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for ClipClassifier {
    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        format::tell_refused_caps(obj.upcast_ref(), obj.sink_pad());
    }

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

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
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
        if transition == gst::StateChange::PausedToReady {
            let report = lock(&self.loaded).as_mut().and_then(|l| l.report.take());
            if let Some(text) = report.and_then(ReportFile::abandon) {
                gst::element_imp_warning!(self, gst::ResourceError::Write, ("{text}"));
            }
        }
        if transition == gst::StateChange::ReadyToNull {
            *lock(&self.loaded) = None;
        }
        result
    }
}

impl BaseTransformImpl for ClipClassifier {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn set_caps(&self, incaps: &gst::Caps, _outcaps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let info = gst_video::VideoInfo::from_caps(incaps)
            .map_err(|e| gst::loggable_error!(CAT, "Expected raw video, found {incaps}: {e}"))?;
        self.finish_windows();
        let input = input_uri(self.obj().sink_pad());
        let mut loaded = lock(&self.loaded);
        if let Some(loaded) = loaded.as_mut() {
            if let Some(report) = &loaded.report {
                report.check_input(input.as_deref()).map_err(|message| {
                    self.post_error_message(message);
                    gst::loggable_error!(CAT, "report-location is the input")
                })?;
            }
            loaded.stream = Some(Stream::new(info, loaded.model.metadata()));
            Arc::make_mut(&mut loaded.provenance).input = input;
        }
        Ok(())
    }

    fn transform_ip(
        &self,
        buffer: &mut gst::BufferRef,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        if buffer.flags().contains(gst::BufferFlags::DISCONT) {
            self.finish_windows();
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
                self.finish_files();
                let stats = lock(&self.stats).structure();
                gst::info!(CAT, imp = self, "{stats}");
                self.post(stats);
            }
            // Where sparseadv's windows end.
            gst::EventType::Segment
            | gst::EventType::StreamStart
            | gst::EventType::SegmentDone
            | gst::EventType::StreamGroupDone => self.finish_windows(),
            gst::EventType::FlushStop => {
                if let Some(loaded) = lock(&self.loaded).as_mut() {
                    loaded.gather = Gather::new(loaded.offset);
                    loaded.flushed = true;
                }
            }
            _ => {}
        }
        self.parent_sink_event(event)
    }

    fn src_event(&self, event: gst::Event) -> bool {
        // A decoder would leave out frames, and the windows would be of others than the file's.
        if event.type_() == gst::EventType::Qos {
            return true;
        }
        self.parent_src_event(event)
    }
}

impl ClipClassifier {
    fn post(&self, structure: gst::Structure) {
        let message = gst::message::Element::builder(structure).src(&*self.obj());
        let _ = self.obj().post_message(message.build());
    }

    /// Loads the model and checks the settings against it.
    fn load(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        let wrong = |text: String| gst::error_msg!(gst::LibraryError::Settings, ("{text}"));
        let options = settings.windows.model_options().map_err(wrong)?;
        let model = load_model(&options)?;
        let (metadata, classes) = (model.metadata(), model.classes());
        let label = settings.windows.label.as_deref();
        let true_label = label
            .map(|text| find_label("label", text, metadata, classes))
            .transpose()
            .map_err(wrong)?;
        *lock(&self.loaded) = Some(Loaded {
            windowing: settings.windows.windowing(metadata),
            tail: settings.windows.tail,
            true_label,
            sha256: provenance::sha256(&options.path).map_err(|e| {
                let path = options.path.display();
                wrong(format!("The model {path} cannot be read: {e}."))
            })?,
            path: options.path,
            model,
            reference: None,
            report: None,
            stream: None,
            offset: 0,
            gather: Gather::default(),
            unmatched: 0,
            first: None,
            flushed: false,
            next_frame: 0,
            next_window: 0,
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
        loaded.reference = settings.reference.as_deref().map(AttackReport::at_path);
        loaded.report = None;
        if let Some(path) = &settings.windows.report_location {
            let sidecar = sidecar(&loaded.path);
            let mut inputs = vec![
                ("the model", loaded.path.as_path()),
                ("the model's metadata", &sidecar),
            ];
            inputs.extend(
                settings
                    .reference
                    .as_deref()
                    .map(|path| ("reference-location", path)),
            );
            loaded.report = Some(ReportFile::open(path, &inputs)?);
        }
        loaded.offset = settings.offset as usize;
        loaded.unmatched = 0;
        loaded.first = None;
        loaded.flushed = false;
        loaded.windowing = settings.windows.windowing(loaded.model.metadata());
        loaded.gather = Gather::new(settings.offset as usize);
        loaded.next_frame = 0;
        loaded.next_window = 0;
        loaded.provenance = Arc::new(Provenance {
            format: FORMAT,
            model: loaded.path.display().to_string(),
            model_sha256: loaded.sha256.clone(),
            input: None,
            settings: settings_of(&*self.obj(), &["model", "report-location"]),
            versions: Versions::here(),
        });
        *lock(&self.stats) = Stats::default();
        Ok(())
    }

    /// Takes a frame; returns the window it completes, if any.
    fn gather(&self, buffer: &mut gst::BufferRef) -> Result<Option<Vec<Seen>>, gst::ErrorMessage> {
        let mut loaded = lock(&self.loaded);
        let Some(loaded) = loaded.as_mut() else {
            return Ok(None);
        };
        let Some(stream) = &loaded.stream else {
            return Err(gst::error_msg!(
                gst::CoreError::Negotiation,
                ("Expected caps before frames, found none.")
            ));
        };
        let samples = stream
            .sample(buffer)
            .map_err(|error| gst::error_msg!(gst::StreamError::Format, ("{error}")))?;
        let running_time = running_time(self.obj().sink_pad(), buffer);
        if loaded.next_frame == 0 {
            loaded.first = running_time.zip(buffer.pts());
            if let Some(reference) = &mut loaded.reference {
                reference.open().map_err(|e| {
                    gst::error_msg!(
                        gst::ResourceError::OpenRead,
                        (
                            "Expected a report of sparseadv as reference-location, found {}: {e}. Name the attack's report-location.",
                            reference.path().display()
                        )
                    )
                })?;
            }
        }
        let seen = Seen {
            index: loaded.next_frame,
            pts: buffer.pts(),
            running_time,
            samples,
            reference: reference::of_meta(buffer),
        };
        loaded.next_frame += 1;
        Ok(loaded.gather.push(seen, loaded.windowing))
    }

    /// Classifies the frames at the end of a stream that fill no window.
    fn finish_windows(&self) {
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

    fn classify(&self, window: &[Seen]) -> Result<WindowReport, gst::FlowError> {
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
        let (Some(loaded), Some(first), Some(last)) =
            (loaded.as_mut(), window.first(), window.last())
        else {
            return Err(gst::error_msg!(
                gst::CoreError::Failed,
                ("No model is loaded.")
            ));
        };
        let Some(stream) = &loaded.stream else {
            return Err(gst::error_msg!(
                gst::CoreError::Failed,
                ("There are no caps.")
            ));
        };
        let failed =
            |e: &dyn std::fmt::Display| gst::error_msg!(gst::LibraryError::Failed, ("{e}"));
        // Per thread; without it every module's second call takes ten times as long.
        tch::jit::f_set_graph_executor_optimize(false).map_err(|e| failed(&e))?;
        let samples: Vec<&Samples> = window.iter().map(|seen| &seen.samples).collect();
        let view = stream
            .view
            .observe_window(&samples, loaded.model.metadata().window);
        let logits = loaded.model.forward(&view).map_err(|e| failed(&e))?;
        if logits.iter().any(|z| !z.is_finite()) {
            return Err(failed(&format!(
                "The model's output is not finite: {logits:?}. Its weights or its metadata (mean, std, range) do not fit this input."
            )));
        }
        let label = loss::top(&logits);
        let probabilities = loss::probabilities(&logits);
        // By what shows in the middle: windows need not line up.
        let (begin, flushed) = (loaded.first, loaded.flushed);
        let time = |seen: &Seen| match begin {
            // A seek begins the running time anew, and the frames keep their presentation times.
            Some((running, pts)) if flushed => {
                Some((seen.pts? + running).saturating_sub(pts).nseconds())
            }
            _ => seen.running_time.map(|t| t.nseconds()),
        };
        let times = time(first).zip(time(last));
        let middle = times.map(|(a, b)| a / 2 + b / 2);
        let of_report = match (&mut loaded.reference, middle) {
            (Some(file), Some(time)) => {
                let begin = begin.map(|(running, _)| running.nseconds());
                file.at(time, begin).map_err(|e| {
                    failed(&format!(
                        "Expected a report of sparseadv as reference-location, but {} could not be read: {e}.",
                        file.path().display()
                    ))
                })?
            }
            _ => None,
        };
        loaded.unmatched += u64::from(loaded.reference.is_some() && of_report.is_none());
        let reference = of_report.or(window[window.len() / 2].reference);
        let truth = loaded.true_label.or(reference.and_then(|r| r.truth));
        let labels = Labels {
            truth,
            last: Some(label),
            ..reference.unwrap_or_default()
        };
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

    /// At the end of a stream: gives the report its name, and tells of a reference that was of no use.
    fn finish_files(&self) {
        let mut loaded = lock(&self.loaded);
        let Some(loaded) = loaded.as_mut() else {
            return;
        };
        let published = loaded.report.as_mut().map(ReportFile::publish);
        if let Some(Err(error)) = published {
            loaded.report = None;
            let text = format!("The report cannot be given its name: {error}");
            gst::element_imp_warning!(self, gst::ResourceError::Write, ("{text}"));
        }
        let (unmatched, windows) = (loaded.unmatched, loaded.next_window);
        if let (Some(reference), true) = (&loaded.reference, unmatched > 0) {
            let path = reference.path().display();
            let found = match reference.windows() {
                0 => "no window in it".into(),
                n => format!("{n} windows at other times"),
            };
            let what = match unmatched == windows {
                true => "compared with nothing".into(),
                false => format!("{unmatched} of {windows} windows are compared with nothing"),
            };
            gst::element_imp_warning!(
                self,
                gst::StreamError::Failed,
                ("{what}: expected the windows of this stream in {path} (reference-location), found {found}. Name the report of the attack on this video.")
            );
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
