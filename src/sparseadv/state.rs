// SPDX-License-Identifier: MPL-2.0

//! What the element's threads share.

use std::sync::Arc;
use std::time::Instant;

use super::choice::Choice;
use super::downstream::Downstream;
use super::settings::Settings;
use super::stats::Stats;
use super::timing::Latency;
use crate::attack::{Goal, Perturbation};
use crate::element::meta::FrameInfo;
use crate::element::stream::Stream;
use crate::element::survive;
use crate::provenance::Provenance;
use crate::universal::Universal;
use crate::video::view::Samples;
use crate::window::Windowing;
use crate::window::pace::Pace;
use crate::window::report::WindowReport;
use crate::window::scene::Cuts;
use crate::window::schedule;
use crate::window::watch::{Watch, Watched};

/// A frame inside.
#[derive(Clone)]
pub(super) struct Frame {
    pub buffer: gst::Buffer,
    pub stream: Arc<Stream>,
    /// How many frames came before it since the element started.
    pub number: u64,
    pub running_time: Option<gst::ClockTime>,
    /// The perturbation decided on so far.
    pub delta: Option<Arc<Vec<f32>>>,
    pub info: Option<FrameInfo>,
}

/// What is known of a window, and what is to be done to its frames.
pub(super) struct Decision {
    pub report: WindowReport,
    pub perturbation: Perturbation,
    pub stream: Arc<Stream>,
    pub began: Instant,
}

pub(super) type Schedule = schedule::Schedule<Frame, gst::Event, Decision, Arc<Samples>>;

/// What holds for a whole stream, by the properties and the model.
#[derive(Clone)]
pub(super) struct Plan {
    pub windowing: Windowing,
    /// Windows that a pass of the model gains by.
    pub together: usize,
    pub goal: Goal,
    pub provenance: Arc<Provenance>,
    /// Frames pass, and get this on the way.
    pub universal: Option<Arc<Universal>>,
    /// The windows that are judged then.
    pub watched: Option<Windowing>,
    /// Where the mode is still to be chosen.
    pub choice: Option<Choice>,
}

impl Default for Plan {
    /// Frame by frame, and without a model.
    fn default() -> Self {
        Self {
            windowing: Windowing::FRAME_BY_FRAME,
            together: 1,
            goal: Goal::new(None, None),
            provenance: Arc::default(),
            universal: None,
            watched: None,
            choice: None,
        }
    }
}

pub(super) struct State {
    pub schedule: Schedule,
    pub downstream: Downstream,
    pub latency: Latency,
    pub stats: Stats,
    plan: Plan,
    /// The worker shall go on.
    working: bool,
    /// The attack failed for good: frames pass, and upstream is told.
    failed: bool,
    /// There is nobody left to attack: frames pass.
    gave_up: bool,
    /// A failure that is no reason to stop was told of, or is about to be.
    told_failure: bool,
    /// A window without a gradient was met, and that was said.
    told_zero_gradient: bool,
    /// The format of the frames that arrive.
    incoming: Option<Arc<Stream>>,
    /// Frames that came since the element started.
    arrived: u64,
    /// What became of frames that pass perturbed.
    pub watch: Option<Watch<Seen>>,
    /// Where scenes of them begin.
    pub cuts: Cuts,
}

/// What a model sees of a frame as it came, and as it left.
#[derive(Clone)]
pub(super) struct Seen {
    pub clean: Arc<Samples>,
    pub left: Arc<Samples>,
    pub stream: Arc<Stream>,
    pub pts: Option<gst::ClockTime>,
    pub end: Option<gst::ClockTime>,
    pub running_time: Option<gst::ClockTime>,
}

/// Those of frames that pass perturbed. Four wait to be judged at the most.
fn watch_windows(windowing: Windowing) -> Watch<Seen> {
    Watch::new(windowing, 4)
}

impl State {
    /// Before the element starts, and after it has stopped.
    pub fn stopped(stats: Stats) -> Self {
        Self { stats, working: false, ..Self::started(Plan::default(), &Settings::default()) }
    }

    pub fn started(plan: Plan, settings: &Settings) -> Self {
        let context = if settings.survive().is_some() { survive::CONTEXT } else { 0 };
        let watch = plan.watched.map(watch_windows);
        let mut state = Self {
            schedule: Schedule::new(plan.windowing, settings.common.tail, context),
            downstream: Downstream::default(),
            latency: Latency::default(),
            stats: Stats::default(),
            plan,
            working: true,
            failed: false,
            gave_up: false,
            told_failure: false,
            told_zero_gradient: false,
            incoming: None,
            arrived: 0,
            watch,
            cuts: Cuts::default(),
        };
        state.apply(settings);
        state
    }

    pub fn is_working(&self) -> bool {
        self.working
    }

    pub fn stop_working(&mut self) {
        self.working = false;
    }

    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// From now on frames pass.
    pub fn fail(&mut self) {
        self.failed = true;
        self.schedule.set_passing(true);
    }

    /// From now on frames pass, and nobody need hear of it.
    pub fn give_up(&mut self) {
        self.gave_up = true;
        self.watch = None;
        self.schedule.give_up();
    }

    pub fn incoming(&self) -> Option<Arc<Stream>> {
        self.incoming.clone()
    }

    /// The number of a frame that arrives now.
    pub fn number(&mut self) -> u64 {
        self.arrived += 1;
        self.arrived - 1
    }

    /// The universal perturbation that frames get as they pass.
    pub fn universal(&self) -> Option<Arc<Universal>> {
        self.plan.universal.clone()
    }

    /// From now on frames get this.
    pub fn set_universal(&mut self, universal: Arc<Universal>) {
        self.plan.universal = Some(universal);
    }

    pub fn has_choice(&self) -> bool {
        self.plan.choice.is_some()
    }

    /// What the mode is chosen by, once, and the windows that an attack is of.
    pub fn take_choice(&mut self) -> Option<(Choice, Windowing)> {
        Some((self.plan.choice.take()?, self.plan.windowing))
    }

    /// From now on no frame waits. None has come yet.
    pub fn go_causal(&mut self, universal: Arc<Universal>, settings: &Settings) {
        self.watch = Some(watch_windows(self.plan.windowing));
        self.plan.watched = Some(self.plan.windowing);
        self.plan.windowing = Windowing::FRAME_BY_FRAME;
        self.plan.universal = Some(universal);
        self.schedule.set_windowing(self.plan.windowing, settings.common.tail);
        self.apply(settings);
    }

    /// Whether the stream is to wait until windows that left are judged: all of them at its end.
    pub fn waits_for_judge(&self, at_end: bool) -> bool {
        self.watch.as_ref().is_some_and(|watch| match at_end {
            true => !watch.is_done(),
            false => watch.is_full() && !self.latency.is_live(),
        })
    }

    /// Whether frames come with these caps already: the same caps once more begin nothing.
    pub fn knows(&self, info: &gst_video::VideoInfo) -> bool {
        self.incoming.as_ref().is_some_and(|stream| stream.info == *info)
    }

    pub fn set_incoming(&mut self, stream: Arc<Stream>) {
        self.incoming = Some(stream);
    }

    /// What this stream's reports are the results of.
    pub fn provenance_mut(&mut self) -> &mut Provenance {
        Arc::make_mut(&mut self.plan.provenance)
    }

    /// Whether a failure that is no reason to stop is news.
    pub fn note_failure(&mut self) -> bool {
        !std::mem::replace(&mut self.told_failure, true)
    }

    /// Whether a window without a gradient is news.
    pub fn note_zero_gradient(&mut self) -> bool {
        !std::mem::replace(&mut self.told_zero_gradient, true)
    }

    /// Nothing is known of a window yet, so many behind the front one: it leaves clean.
    pub fn undecided(&self, ahead: u64, stream: Arc<Stream>) -> Decision {
        let windowing = self.plan.windowing;
        let frames = windowing.offsets(self.schedule.frames_ahead(ahead).count()).count();
        self.clean(self.schedule.window() + ahead, frames, stream)
    }

    /// A window that leaves clean, by its number and how many frames of it the model sees.
    pub fn clean(&self, window: u64, frames: usize, stream: Arc<Stream>) -> Decision {
        let Plan { goal, provenance, .. } = self.plan.clone();
        let report = WindowReport::clean(window, frames, goal, provenance);
        Decision { report, perturbation: Perturbation::default(), stream, began: Instant::now() }
    }

    /// The report of a window that passed while the model was busy.
    pub fn missed(&self, window: u64) -> WindowReport {
        WindowReport::clean(window, 0, self.plan.goal, self.plan.provenance.clone())
    }

    /// The report of a window whose frames passed perturbed, before it is judged.
    pub fn watched(&self, window: &Watched<Seen>) -> WindowReport {
        let Plan { goal, provenance, .. } = self.plan.clone();
        let (first, last) = (window.seen.first(), window.seen.last());
        let nseconds = |time: Option<gst::ClockTime>| time.map(gst::ClockTime::nseconds);
        WindowReport {
            first_frame: window.first_frame,
            start_pts: nseconds(first.and_then(|seen| seen.pts)),
            end_pts: nseconds(last.and_then(|seen| seen.end)),
            start_time: nseconds(first.and_then(|seen| seen.running_time)),
            ..WindowReport::clean(window.window, window.seen.len(), goal, provenance)
        }
    }

    /// Takes over what settings, caps or the pipeline have changed.
    pub fn apply(&mut self, settings: &Settings) {
        let pace = self.pace(settings);
        self.schedule.set_pace(pace.filter(|_| self.latency.is_live()));
        self.schedule.set_together(self.together(settings));
        self.schedule.set_passing(!settings.enabled || self.failed || self.gave_up || self.plan.universal.is_some());
    }

    /// How many windows are attacked together at the most: as many as are asked for, or else as a pass gains by and as
    /// have room in memory as raw frames.
    fn together(&self, settings: &Settings) -> usize {
        const ROOM: usize = 256 << 20;
        let frame = self.incoming.as_ref().map_or(0, |stream| stream.info.size());
        match settings.batch_windows {
            _ if self.is_hurried(settings) => 1,
            0 => self.plan.together.min(ROOM / (self.plan.windowing.stride * frame).max(1)).max(1),
            set => set as usize,
        }
    }

    /// Whether no window may wait for another one. A window that is to survive codecs needs what became of the one before,
    /// and its codecs take so long that others would wait for them. One that tries what the one before has got needs that.
    pub fn is_hurried(&self, settings: &Settings) -> bool {
        let budget = settings.time_budget.is_some_and(|budget| !budget.is_zero());
        self.latency.is_live() || budget || settings.survive().is_some() || settings.warm_start
    }

    /// The times of the stream's windows.
    fn pace(&self, settings: &Settings) -> Option<Pace> {
        let frame = self.incoming.as_ref()?.frame_duration;
        let budget = settings.budget(self.latency.is_live(), frame, self.plan.windowing);
        Some(Pace::new(self.plan.windowing, frame.into(), budget, self.latency.slowest()))
    }

    /// The latency the element adds, and how long the frames last that it can hold. A disabled element keeps the latency
    /// it has told: a sink that waits less would be late for frames on their way.
    pub fn own_latency(&self, settings: &Settings) -> (gst::ClockTime, gst::ClockTime) {
        let time = |duration| gst::ClockTime::try_from(duration).unwrap_or(gst::ClockTime::MAX);
        let pace = self.pace(settings);
        let own = match (pace, settings.enabled) {
            _ if self.plan.universal.is_some() => gst::ClockTime::ZERO,
            (Some(pace), true) => time(pace.latency()),
            (Some(_), false) => self.latency.told().unwrap_or(gst::ClockTime::ZERO),
            (None, _) => gst::ClockTime::ZERO,
        };
        (own, pace.map_or(own, |pace| own.max(time(pace.lasting(self.schedule.capacity())))))
    }
}
