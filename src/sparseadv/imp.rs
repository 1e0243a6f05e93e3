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
 * Each window is reported by an element message `sparseadv-window` (see it with `gst-launch-1.0 -m`), and as a JSON line in the file
 * `report-location`. At the end of the stream a message `sparseadv-stats` carries the totals of the `stats` property.
 */
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use gst::prelude::*;
use gst::subclass::prelude::*;
use once_cell::sync::Lazy;

use super::queue::{Frame, Item, Output, Queue};
use super::report::ReportFile;
use super::settings::{Settings, Windowing};
use super::stats::Stats;
use super::stream::Stream;
use super::window::{Job, OpenWindow};
use super::{format, properties};
use crate::model::{self, Metadata, Model};
use crate::video::view::Samples;

pub(super) static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "sparseadv",
        gst::DebugColorFlags::empty(),
        Some("Sparse adversarial attack"),
    )
});

/// What the threads share. `epoch` names the state of the queue's front: a result that was computed for an older one is void.
pub(super) struct State {
    pub flow: Result<gst::FlowSuccess, gst::FlowError>,
    /// The worker shall go on.
    pub working: bool,
    pub queue: Queue,
    /// Frames are on their way from the waiting to the ready part, outside the lock.
    pub releasing: bool,
    /// The source pad's task is pushing.
    pub pushing: bool,
    /// Downstream wants no more frames before a new segment or stream.
    pub ended: bool,
    /// The attack failed for good: frames pass, and upstream is told.
    pub failed: bool,
    /// The format of the frames at the front of the queue, and of those that arrive.
    pub stream: Option<Arc<Stream>>,
    pub incoming: Option<Arc<Stream>>,
    /// Frames between windows that still have to pass.
    pub skip: usize,
    pub next_window: u64,
    pub next_frame: u64,
    pub live: Option<bool>,
    pub windowing: Windowing,
    /// The window under attack.
    pub job: Option<Job>,
    /// Overlapping windows that have not left whole, and what the model sees of the frames that left.
    pub open: VecDeque<OpenWindow>,
    pub released: VecDeque<(u64, Samples)>,
    pub stats: Stats,
    /// The latency last told, and the longest attack in a live pipeline without a budget.
    pub told_latency: Option<gst::ClockTime>,
    pub slowest: gst::ClockTime,
}

impl State {
    fn new() -> Self {
        Self {
            flow: Err(gst::FlowError::Flushing),
            working: false,
            queue: Queue::default(),
            releasing: false,
            pushing: false,
            ended: false,
            failed: false,
            stream: None,
            incoming: None,
            skip: 0,
            next_window: 0,
            next_frame: 0,
            live: None,
            windowing: Windowing {
                frames: 1,
                step: 1,
                span: 1,
                stride: 1,
            },
            job: None,
            open: VecDeque::new(),
            released: VecDeque::new(),
            stats: Stats::default(),
            told_latency: None,
            slowest: gst::ClockTime::ZERO,
        }
    }
}

/// A loaded model and what it was loaded by.
pub(super) struct Loaded {
    pub model: Model,
    pub options: model::Options,
}

pub struct SparseAdv {
    pub(super) sinkpad: gst::Pad,
    pub(super) srcpad: gst::Pad,
    settings: Mutex<Settings>,
    state: Mutex<State>,
    pub(super) changed: Condvar,
    pub(super) epoch: AtomicU64,
    /// Here between READY and PAUSED, with the worker while it runs.
    loaded: Mutex<Option<Loaded>>,
    worker: Mutex<Option<JoinHandle<Loaded>>>,
    metadata: Mutex<Option<Arc<Metadata>>>,
    pub(super) report: Mutex<Option<ReportFile>>,
}

/// Whether frames are wanted again from this event on.
pub(super) fn begins(event: &gst::Event) -> bool {
    matches!(
        event.type_(),
        gst::EventType::Segment | gst::EventType::StreamStart
    )
}

/// A lock that a panic elsewhere does not poison: the data are consistent between statements, and pad functions must not panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SparseAdv {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn settings(&self) -> Settings {
        lock(&self.settings).clone()
    }

    /// The metadata of the model in use.
    pub(super) fn metadata(&self) -> Option<Arc<Metadata>> {
        lock(&self.metadata).clone()
    }

    /// Waits for a change of the state, for `timeout` at the most.
    pub(super) fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        timeout: Option<std::time::Duration>,
    ) -> MutexGuard<'a, State> {
        match timeout {
            Some(timeout) => {
                let result = self.changed.wait_timeout(state, timeout);
                result.unwrap_or_else(PoisonError::into_inner).0
            }
            None => {
                let result = self.changed.wait(state);
                result.unwrap_or_else(PoisonError::into_inner)
            }
        }
    }

    fn sink_chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut state = self.state();
        let Some(stream) = state.incoming.clone() else {
            return Err(gst::FlowError::NotNegotiated);
        };
        // The worker needs one window, the next may gather meanwhile.
        let capacity = state.windowing.span + state.windowing.stride;
        loop {
            state.flow?;
            if state.ended {
                return Err(gst::FlowError::Eos);
            }
            if state.failed {
                return Err(gst::FlowError::Error);
            }
            if state.queue.waiting_frames() < capacity {
                break;
            }
            state = self.wait(state, None);
        }
        if let Err(error) = stream.sample(&buffer) {
            drop(state);
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                (
                    "Expected a frame of {} bytes as the caps say, found {} bytes: {error}",
                    stream.info.size(),
                    buffer.size()
                )
            );
            return Err(gst::FlowError::Error);
        }
        if buffer.flags().contains(gst::BufferFlags::DISCONT) {
            state.queue.push(Item::Drain);
        }
        let index = state.next_frame;
        state.next_frame += 1;
        state.stats.frame_in();
        state.queue.push(Item::Frame(Frame {
            buffer,
            index,
            arrived: Instant::now(),
            seen: false,
            delta: None,
            info: None,
        }));
        drop(state);
        self.changed.notify_all();
        Ok(gst::FlowSuccess::Ok)
    }

    fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        use gst::EventView;

        gst::log!(CAT, obj = pad, "Event {event:?}");
        match event.view() {
            EventView::FlushStart(_) => {
                let result = self.srcpad.push_event(event);
                self.stop_flow();
                let _ = self.srcpad.pause_task();
                result
            }
            EventView::FlushStop(_) => {
                self.flush();
                let result = self.srcpad.push_event(event);
                self.state().flow = Ok(gst::FlowSuccess::Ok);
                self.start_task().is_ok() && result
            }
            EventView::Caps(caps) => match self.new_caps(caps.caps()) {
                Some(stream) => self.enqueue(Item::Caps(event, stream)),
                None => false,
            },
            EventView::Segment(_)
            | EventView::StreamStart(_)
            | EventView::SegmentDone(_)
            | EventView::StreamGroupDone(_)
            | EventView::Eos(_) => self.enqueue(Item::Event(event, true)),
            _ if event.is_serialized() => self.enqueue(Item::Event(event, false)),
            _ => gst::Pad::event_default(pad, Some(&*self.obj()), event),
        }
    }

    fn enqueue(&self, item: Item) -> bool {
        let mut state = self.state();
        if let Item::Event(event, _) = &item {
            if begins(event) {
                state.ended = false;
            }
        }
        let eos = matches!(&item, Item::Event(e, _) if e.type_() == gst::EventType::Eos);
        if let (Err(error), false) = (state.flow, state.failed) {
            drop(state);
            // Upstream learns of an error by its next buffer, but after EOS there is none.
            if eos && !matches!(error, gst::FlowError::Flushing | gst::FlowError::Eos) {
                gst::element_imp_error!(
                    self,
                    gst::StreamError::Failed,
                    ("Pushing downstream failed: {error}")
                );
            }
            return false;
        }
        state.queue.push(item);
        drop(state);
        self.changed.notify_all();
        true
    }

    /// The stream that caps describe; posts an error for caps that cannot be used.
    fn new_caps(&self, caps: &gst::CapsRef) -> Option<Arc<Stream>> {
        let Some(metadata) = self.metadata() else {
            return None;
        };
        let info = gst_video::VideoInfo::from_caps(caps).ok().filter(|info| {
            format::FORMATS.contains(&info.format())
                && info.width() as i32 >= format::MIN_SIZE
                && info.height() as i32 >= format::MIN_SIZE
        });
        let Some(info) = info else {
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                (
                    "Expected 8-bit raw video of at least {0}x{0}, found {caps}. Put a videoconvert in front of sparseadv.",
                    format::MIN_SIZE
                )
            );
            return None;
        };
        let stream = Arc::new(Stream::new(info, &metadata));
        self.state().incoming = Some(stream.clone());
        self.ask_whether_live();
        self.tell_latency();
        Some(stream)
    }

    /// Makes every thread let go of what it waits for or works on.
    fn stop_flow(&self) {
        let mut state = self.state();
        state.flow = Err(gst::FlowError::Flushing);
        self.epoch.fetch_add(1, Ordering::SeqCst);
        drop(state);
        self.changed.notify_all();
    }

    /// Drops what is queued.
    fn flush(&self) {
        let mut state = self.state();
        self.epoch.fetch_add(1, Ordering::SeqCst);
        let (sticky, stream) = state.queue.flush();
        if stream.is_some() {
            state.stream = stream;
        }
        state.ended = false;
        state.skip = 0;
        state.job = None;
        state.open.clear();
        state.released.clear();
        drop(state);
        for event in sticky {
            // Upstream will not send these again.
            let _ = self.srcpad.store_sticky_event(&event);
        }
    }

    fn start_task(&self) -> Result<(), gst::LoggableError> {
        let this = self.obj().downgrade();
        self.srcpad
            .start_task(move || {
                if let Some(this) = this.upgrade() {
                    this.imp().src_task();
                }
            })
            .map_err(|e| gst::loggable_error!(CAT, "Cannot start the source pad's task: {e}"))
    }

    fn src_activate(&self, pad: &gst::Pad, active: bool) -> Result<(), gst::LoggableError> {
        if active {
            self.state().flow = Ok(gst::FlowSuccess::Ok);
            self.start_task()
        } else {
            self.stop_flow();
            pad.stop_task()
                .map_err(|e| gst::loggable_error!(CAT, "Cannot stop the source pad's task: {e}"))
        }
    }

    /// One round of the source pad's task: pushes what is ready, or lets go of a window whose deadline has passed.
    fn src_task(&self) {
        let mut state = self.state();
        loop {
            if state.flow.is_err() {
                drop(state);
                let _ = self.srcpad.pause_task();
                return;
            }
            if let Some(output) = state.queue.pop_ready() {
                state.pushing = true;
                drop(state);
                self.changed.notify_all();
                self.push(output);
                return;
            }
            let left = match self.deadline(&state) {
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        self.release_expired(state);
                        return;
                    }
                    Some(left)
                }
                None => None,
            };
            state = self.wait(state, left);
        }
    }

    fn push(&self, output: Output) {
        let result = match output {
            Output::Frame(buffer) => {
                let result = self.srcpad.push(buffer);
                if result.is_ok() {
                    self.state().stats.frame_out();
                }
                result
            }
            Output::Event(event) => {
                if event.type_() == gst::EventType::Eos {
                    let stats = self.state().stats.structure();
                    gst::info!(CAT, imp = self, "{stats}");
                    self.post(stats);
                }
                gst::log!(CAT, imp = self, "Pushing {event:?}");
                self.srcpad.push_event(event);
                Ok(gst::FlowSuccess::Ok)
            }
        };
        let mut state = self.state();
        state.pushing = false;
        // Upstream learns of an error by its next buffer; behind EOS there is none.
        let mut unheard = None;
        if let Err(error) = result {
            gst::debug!(CAT, imp = self, "Downstream returned {error:?}");
            if state.flow.is_ok() {
                self.epoch.fetch_add(1, Ordering::SeqCst);
                if error == gst::FlowError::Eos {
                    // No more frames, but EOS, a new segment and a new stream still pass.
                    state.ended = !state.queue.drop_frames();
                    state.skip = 0;
                    state.job = None;
                    state.open.clear();
                    state.released.clear();
                } else {
                    state.flow = Err(error);
                    let fatal = error != gst::FlowError::Flushing;
                    unheard = Some(error).filter(|_| fatal && state.queue.holds_eos());
                }
            }
        }
        drop(state);
        self.changed.notify_all();
        if let Some(error) = unheard {
            gst::element_imp_error!(
                self,
                gst::StreamError::Failed,
                ("Pushing downstream failed: {error}")
            );
        }
    }

    pub(super) fn post(&self, structure: gst::Structure) {
        let message = gst::message::Element::builder(structure).src(&*self.obj());
        let _ = self.obj().post_message(message.build());
    }

    fn sink_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Allocation(query) => self.answer_allocation(query),
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }

    /// Asks downstream, and adds room for the frames held here: a pool of a few buffers would run dry.
    fn answer_allocation(&self, query: &mut gst::query::Allocation) -> bool {
        let mut state = self.state();
        // Downstream has to have the caps first. Frames that wait for a window would be waited for in vain.
        while state.flow.is_ok() && state.queue.waiting_frames() == 0 {
            if state.queue.is_empty() && !state.pushing && !state.releasing {
                break;
            }
            state = self.wait(state, None);
        }
        let ask = state.flow.is_ok() && state.queue.waiting_frames() == 0;
        let held = (state.windowing.span + state.windowing.stride) as u32;
        drop(state);
        if !ask || !self.srcpad.peer_query(query.query_mut()) {
            return false;
        }
        let pools: Vec<_> = query.allocation_pools().map(|p| (p.1, p.2)).collect();
        if let Some(&(size, min)) = pools.first() {
            // A pool of downstream's own may be bounded, and its buffers may be scarce.
            for _ in 0..pools.len() {
                query.remove_nth_allocation_pool(0);
            }
            query.add_allocation_pool(None::<&gst::BufferPool>, size, min + held, 0);
        }
        true
    }

    fn src_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Latency(query) => self.answer_latency(query),
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }

    /// Loads the model and checks every setting against it.
    fn prepare(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings();
        let wrong = |text: String| gst::error_msg!(gst::LibraryError::Settings, ("{text}"));
        let options = settings.model_options().map_err(wrong)?;
        let mut loaded = lock(&self.loaded);
        if loaded.as_ref().is_none_or(|l| l.options != options) {
            *loaded = None;
            let started = Instant::now();
            let model = Model::load(&options).map_err(|e| match e {
                model::Error::Unreadable { .. } => {
                    gst::error_msg!(gst::ResourceError::NotFound, ("{e}"))
                }
                model::Error::DeviceName { .. } | model::Error::DeviceMissing { .. } => {
                    gst::error_msg!(gst::LibraryError::Settings, ("{e}"))
                }
                e => gst::error_msg!(gst::ResourceError::OpenRead, ("{e}")),
            })?;
            gst::info!(
                CAT,
                imp = self,
                "Loaded {} on {:?} in {:?}, metadata from {:?}: {:?}",
                options.path.display(),
                model.device(),
                started.elapsed(),
                model.metadata_origin(),
                model.metadata()
            );
            if *model.metadata_origin() == model::Origin::Defaults {
                gst::warning!(
                    CAT,
                    imp = self,
                    "The model has no metadata (extra/sparseadv.json or {}.json): C3D's usual values are taken",
                    options.path.display()
                );
            }
            if let Some(reason) = model.features_unused() {
                gst::warning!(CAT, imp = self, "{reason}");
            }
            *loaded = Some(Loaded { model, options });
        }
        let Some(loaded) = loaded.as_ref() else {
            return Ok(());
        };
        let metadata = loaded.model.metadata();
        let config = settings
            .attack_config(metadata, loaded.model.classes())
            .map_err(wrong)?;
        let features = crate::attack::keyframes::Source::Features;
        if config.selection == crate::attack::Selection::Gradient(features)
            && loaded.model.feature_shape().is_none()
        {
            let why = loaded
                .model
                .features_unused()
                .unwrap_or("the model returns logits alone");
            return Err(wrong(format!(
                "Expected a model with a feature map to weigh keyframes by (keyframes=gradient:features), but {why}. Use keyframes=gradient."
            )));
        }
        self.state().windowing = settings.windowing(metadata);
        *lock(&self.metadata) = Some(Arc::new(metadata.clone()));
        Ok(())
    }

    fn open_report(&self) -> Result<(), gst::ErrorMessage> {
        let Some(path) = self.settings().report_location else {
            *lock(&self.report) = None;
            return Ok(());
        };
        let file = ReportFile::create(&path).map_err(|e| {
            gst::error_msg!(
                gst::ResourceError::OpenWrite,
                (
                    "Expected a file that can be written as report-location, found {}: {e}. Choose another place.",
                    path.display()
                )
            )
        })?;
        *lock(&self.report) = Some(file);
        Ok(())
    }

    fn start_worker(&self) -> Result<(), gst::ErrorMessage> {
        self.prepare()?;
        let Some(loaded) = lock(&self.loaded).take() else {
            return Ok(());
        };
        let mut state = self.state();
        *state = State {
            windowing: state.windowing,
            working: true,
            ..State::new()
        };
        drop(state);
        let this = self.obj().clone();
        let thread = std::thread::Builder::new()
            .name("sparseadv".into())
            .spawn(move || this.imp().work(loaded))
            .map_err(|e| {
                gst::error_msg!(gst::CoreError::Thread, ("Cannot start the worker: {e}"))
            })?;
        *lock(&self.worker) = Some(thread);
        Ok(())
    }

    /// Ends the worker and gets the model back. A thread inside libtorch at the process's exit would crash it.
    fn stop_worker(&self) {
        self.state().working = false;
        self.stop_flow();
        let worker = lock(&self.worker).take();
        if let Some(Ok(loaded)) = worker.map(JoinHandle::join) {
            *lock(&self.loaded) = Some(loaded);
        }
        self.flush();
        let mut state = self.state();
        // The totals stay readable after the pipeline has stopped.
        *state = State {
            stats: std::mem::take(&mut state.stats),
            windowing: state.windowing,
            ..State::new()
        };
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
                Self::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |this| this.sink_chain(buffer),
                )
            })
            .event_function(|pad, parent, event| {
                Self::catch_panic_pad_function(parent, || false, |this| this.sink_event(pad, event))
            })
            .query_function(|pad, parent, query| {
                Self::catch_panic_pad_function(parent, || false, |this| this.sink_query(pad, query))
            })
            .flags(gst::PadFlags::PROXY_CAPS)
            .build();
        let srcpad = pad("src")
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
            state: Mutex::new(State::new()),
            changed: Condvar::new(),
            epoch: AtomicU64::new(0),
            loaded: Mutex::new(None),
            worker: Mutex::new(None),
            metadata: Mutex::new(None),
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
        properties::set(&mut lock(&self.settings), pspec.name(), value);
        if matches!(pspec.name(), "enabled" | "time-budget") {
            // Locked: not between a thread's look at the settings and its going to sleep.
            let mut state = self.state();
            // Frames shall not wait for an attack that nobody wants any more; a release under way is none, and must not be void.
            if !self.settings().enabled && !state.releasing {
                self.epoch.fetch_add(1, Ordering::SeqCst);
                state.job = None;
            }
            drop(state);
            self.changed.notify_all();
            self.tell_latency();
        }
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
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
            let size = gst::IntRange::new(format::MIN_SIZE, i32::MAX);
            let caps = gst_video::VideoCapsBuilder::new()
                .format_list(format::FORMATS)
                .width_range(size.min()..=size.max())
                .height_range(size.min()..=size.max())
                .build();
            let template = |name, direction| {
                gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps)
            };
            [
                ("sink", gst::PadDirection::Sink),
                ("src", gst::PadDirection::Src),
            ]
            .into_iter()
            .map(|(name, direction)| {
                template(name, direction).unwrap_or_else(|e| unreachable!("{e}"))
            })
            .collect()
        });
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        let prepared = match transition {
            gst::StateChange::NullToReady => self.prepare().and_then(|()| self.open_report()),
            // Anew, as the totals are, and where the property says by now.
            gst::StateChange::ReadyToPaused => {
                self.open_report().and_then(|()| self.start_worker())
            }
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
            gst::StateChange::PausedToReady => self.stop_worker(),
            gst::StateChange::ReadyToNull => {
                *lock(&self.loaded) = None;
                *lock(&self.metadata) = None;
                *lock(&self.report) = None;
            }
            _ => {}
        }
        result
    }
}
