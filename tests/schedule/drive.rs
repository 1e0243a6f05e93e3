// SPDX-License-Identifier: MPL-2.0

//! A schedule driven by a case in a time of its own: what the threads around one do.

use std::time::{Duration, Instant};

use gstsparseadv::window::pace::Pace;
use gstsparseadv::window::schedule::{Claim, Item, Output, Schedule, Task};
use gstsparseadv::window::{Tail, Windowing};

use crate::common::oracle::Cut;

/// How long a frame lasts by the caps, in milliseconds.
pub const FRAME: u64 = 10;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    Frame,
    Event,
    Barrier,
    Drain,
    Enabled(bool),
    Flush,
    /// Downstream wants no frames before the next stream.
    DropFrames,
    End,
}

#[derive(Clone, Debug)]
pub struct Case {
    pub cut: Cut,
    /// Milliseconds after the step before, and what comes.
    pub steps: Vec<(u64, Step)>,
    /// How long attacks, judgments and pushes take, one after the other, round and round.
    pub attacks: Vec<u64>,
    pub judgments: Vec<u64>,
    pub pushes: Vec<u64>,
    /// The time budget of a live stream in milliseconds.
    pub live: Option<u64>,
    /// Windows that are attacked together at the most.
    pub together: usize,
}

impl Case {
    pub fn windowing(&self) -> Windowing {
        let Cut { window: frames, step, stride, .. } = self.cut;
        Windowing { frames, step, span: (frames - 1) * step + 1, stride }
    }

    pub fn pace(&self) -> Option<Pace> {
        let budget = Duration::from_millis(self.live?);
        Some(Pace::new(self.windowing(), Duration::from_millis(FRAME), Some(budget), Duration::ZERO))
    }

    pub fn sections(&self) -> Vec<usize> {
        let ends = |step: &(u64, Step)| matches!(step.1, Step::Barrier | Step::Drain | Step::End);
        let frames = |steps: &[(u64, Step)]| steps.iter().filter(|step| step.1 == Step::Frame).count();
        self.steps.split(ends).map(frames).collect()
    }
}

/// What came out: frames by their number, events from a thousand on.
#[derive(Debug, Default)]
pub struct Told {
    pub came: Vec<u64>,
    /// Of each frame, by its number.
    pub arrived: Vec<u64>,
    pub left: Vec<Option<u64>>,
    /// The frames that the model sees of each window decided on, and whether its attack was let finish.
    pub windows: Vec<(Vec<u64>, bool)>,
    pub reports: Vec<Vec<u64>>,
    pub most_held: usize,
    pub blocked: bool,
}

/// The frames that a window's model sees.
type Report = Vec<u64>;

struct Run<'a> {
    case: &'a Case,
    schedule: Schedule<u64, u64, Report, u64>,
    start: Instant,
    now: u64,
    /// What the worker is at, and until when.
    work: Vec<(u64, Claim, Option<Report>)>,
    /// Until when the last push takes.
    pushing: Option<u64>,
    wake: Option<u64>,
    wake_worker: Option<u64>,
    attacks: usize,
    judgments: usize,
    pushes: usize,
    expected: Vec<u64>,
    /// Frames before this one are forgotten.
    forgotten: u64,
    told: Told,
}

const CONTEXT: usize = 3;

impl<'a> Run<'a> {
    fn new(case: &'a Case) -> Self {
        let tail = if case.cut.pad { Tail::Pad } else { Tail::Passthrough };
        let mut schedule = Schedule::new(case.windowing(), tail, CONTEXT);
        schedule.set_pace(case.pace());
        schedule.set_together(case.together);
        let (told, expected) = (Told::default(), Vec::new());
        let (attacks, judgments, pushes, forgotten) = (0, 0, 0, 0);
        let start = Instant::now();
        Self {
            case,
            schedule,
            start,
            now: 0,
            work: Vec::new(),
            pushing: None,
            wake: None,
            wake_worker: None,
            attacks,
            judgments,
            pushes,
            expected,
            forgotten,
            told,
        }
    }

    fn time(&self) -> Instant {
        self.start + Duration::from_millis(self.now)
    }

    fn millis(&self, until: Option<Instant>) -> Option<u64> {
        until.map(|until| (until - self.start).as_nanos().div_ceil(1_000_000) as u64)
    }

    /// When something happens next.
    fn next(&self) -> Option<u64> {
        let work = self.work.iter().map(|work| work.0).min();
        [work, self.pushing, self.wake, self.wake_worker].into_iter().flatten().min()
    }

    fn seen(&self, ahead: u64) -> Report {
        let windowing = self.case.windowing();
        let frames: Vec<u64> = self
            .schedule
            .frames_ahead(ahead)
            .map(|(number, frame)| {
                assert_eq!(number, *frame);
                *frame
            })
            .collect();
        windowing.offsets(frames.len()).map(|offset| frames[offset]).collect()
    }

    fn decide(&mut self, report: Report, finished: bool) {
        let seen = self.seen(0);
        assert!(!seen.is_empty());
        if finished {
            assert_eq!(report, seen, "another window than the one attacked");
        }
        self.told.windows.push((seen.clone(), finished));
        let windowing = self.case.windowing();
        self.schedule.decide(seen, windowing.overlaps() && finished);
    }

    fn publish(&mut self) {
        while let Some((report, whole)) = self.schedule.closed() {
            assert!(whole);
            self.told.reports.push(report);
        }
    }

    /// Whether the worker had anything to do.
    fn worker(&mut self) -> bool {
        if let Some(done) = self.work.iter().position(|(until, ..)| *until <= self.now) {
            let (_, claim, judgment) = self.work.swap_remove(done);
            match judgment {
                Some(report) => {
                    if self.schedule.judged(&claim) {
                        self.told.reports.push(report);
                    }
                    self.publish();
                }
                None => {
                    self.schedule.finish(&claim);
                    while let Some(report) = self.schedule.finished() {
                        self.decide(report, true);
                    }
                }
            }
            return true;
        }
        self.wake_worker = None;
        if !self.work.is_empty() {
            return false;
        }
        match self.schedule.next_task(self.time()) {
            Task::Attack(windows) => {
                let seen = self.seen(0);
                let context: Vec<u64> = self.schedule.context_frames().copied().collect();
                let before: Vec<u64> =
                    self.expected.iter().copied().filter(|n| (self.forgotten..seen[0]).contains(n)).collect();
                let last = &before[before.len().saturating_sub(CONTEXT)..];
                assert_eq!(context, last, "before {seen:?}");
                assert!(windows == 1 || windows <= self.case.together && self.case.live.is_none());
                for ahead in 0..windows as u64 {
                    let claim = self.schedule.begin(self.seen(ahead));
                    let time = self.case.attacks[self.attacks % self.case.attacks.len()];
                    self.attacks += 1;
                    self.work.push((self.now + time, claim, None));
                }
            }
            Task::Judge { claim, report, samples } => {
                assert_eq!(report, samples, "judged by other frames");
                let time = self.case.judgments[self.judgments % self.case.judgments.len()];
                self.judgments += 1;
                self.work.push((self.now + time, claim, Some(report)));
            }
            Task::Wait(until) => {
                self.wake_worker = self.millis(until);
                return false;
            }
        }
        true
    }

    /// Whether the thread that pushes had anything to do.
    fn pusher(&mut self) -> bool {
        if self.pushing.take_if(|until| *until <= self.now).is_some() {
            self.schedule.pushed();
        }
        if self.pushing.is_some() {
            return false;
        }
        self.wake = None;
        match self.schedule.next_output(self.time()) {
            Output::Frame { frame, sampled } => {
                self.told.came.push(frame);
                self.told.left[frame as usize] = Some(self.now);
                self.schedule.left(sampled.then_some(frame), true);
                self.publish();
                self.pushing = Some(self.now + self.case.pushes[self.pushes % self.case.pushes.len()]);
                self.pushes += 1;
            }
            Output::Event(event) => {
                self.told.came.push(event);
                self.schedule.pushed();
            }
            Output::Due(found) => self.decide(found.unwrap_or_default(), false),
            Output::Cut => {}
            Output::Wait(until) => {
                self.wake = self.millis(until);
                return false;
            }
        }
        true
    }

    /// Lets the threads work until none has anything to do.
    fn settle(&mut self) {
        for n in 0.. {
            assert!(n < 100_000, "the threads never rest");
            let worked = self.worker();
            if !self.pusher() && !worked {
                return;
            }
        }
    }

    fn pass_time(&mut self, until: u64) {
        loop {
            self.settle();
            match self.next() {
                Some(next) if next <= until => self.now = next,
                _ => break,
            }
        }
        self.now = self.now.max(until);
    }

    fn step(&mut self, n: u64, step: Step) {
        let now = self.time();
        let event = 1000 + n;
        match step {
            Step::Frame => {
                let number = self.told.arrived.len() as u64;
                // As the pad's thread waits.
                while !self.schedule.has_room(self.time()) {
                    self.told.blocked = true;
                    let next = self.next().expect("no room, and nothing will ever happen");
                    self.pass_time(next.max(self.now));
                }
                self.told.arrived.push(self.now);
                self.told.left.push(None);
                self.expected.push(number);
                self.schedule.push(Item::Frame(number), now);
            }
            Step::Event => self.push(Item::Event(event), event),
            Step::Barrier => self.push(Item::Barrier(Some(event)), event),
            Step::End => self.push(Item::End(event), event),
            Step::Drain => self.schedule.push(Item::Barrier(None), now),
            Step::Enabled(enabled) => self.schedule.set_passing(!enabled),
            Step::Flush => {
                let events = self.schedule.flush();
                let came: Vec<u64> = self.told.came.iter().chain(&events).copied().collect();
                let events = came.iter().filter(|e| **e >= 1000);
                let expected: Vec<&u64> = self.expected.iter().filter(|e| **e >= 1000).collect();
                assert_eq!(events.collect::<Vec<_>>(), expected, "an event lost by a flush");
                assert!(self.schedule.events().next().is_none() && self.schedule.has_room(now));
                assert!(self.work.iter().all(|work| work.1.is_void()), "work that outlives a flush");
                self.expected = Vec::new();
                self.told.came.clear();
                self.told.windows.clear();
                self.told.reports.clear();
            }
            Step::DropFrames => {
                self.schedule.drop_frames(|_| false);
                self.forgotten = self.told.arrived.len() as u64;
                let came = self.told.came.clone();
                self.expected.retain(|n| *n >= 1000 || came.contains(n));
                self.told.windows.clear();
                self.told.reports.clear();
            }
        }
        self.told.most_held =
            self.told.most_held.max(self.told.arrived.len() - self.told.left.iter().flatten().count());
    }

    fn push(&mut self, item: Item<u64, u64>, event: u64) {
        self.expected.push(event);
        let now = self.time();
        self.schedule.push(item, now);
    }
}

pub fn run(case: &Case) -> Told {
    let mut run = Run::new(case);
    for (n, (after, step)) in case.steps.iter().enumerate() {
        let until = run.now + after;
        run.pass_time(until);
        run.step(n as u64, *step);
    }
    run.pass_time(u64::MAX / 2);
    assert_eq!(run.told.came, run.expected, "what goes in comes out, in order");
    assert!(run.schedule.is_idle() && run.work.is_empty());
    let decided: Vec<Vec<u64>> = run.told.windows.iter().map(|window| window.0.clone()).collect();
    if !case.steps.iter().any(|step| step.1 == Step::DropFrames) {
        assert_eq!(run.told.reports, decided, "each window is reported, in order");
    }
    run.told
}
