// SPDX-License-Identifier: MPL-2.0

//! The schedule of a stream: frames and events come in, and it says what is to be attacked, judged and pushed, and when.
//!
//! It is a state machine without threads, locks and clocks: time is an argument. It looks into no frame, event or report.
//! One thread puts [`Item`]s in with [`Schedule::push`]. A second asks [`Schedule::next_output`] what is to leave. A third
//! asks [`Schedule::next_task`] for windows to attack. What the second may let go of never waits for the third.
//!
//! Frames are numbered as they come. A frame may leave once it is before the front window: the first one not decided on.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub use super::action::{Claim, Item, Output, Task};
use super::cursor::Cursor;
use super::jobs::Jobs;
use super::open::{Open, OpenWindows};
use super::pace::Pace;
use super::{Tail, Windowing};

/// How many times faster than its caps say a live source may be.
const FASTER: usize = 8;

/// How long a window waits for others to be attacked together with.
const GATHERING: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Held<F> {
    frame: F,
    arrived: Instant,
}

/// Frames `F`, events `E`, reports of windows `R`, and what the model sees of a frame `S`.
#[derive(Debug)]
pub struct Schedule<F, E, R, S> {
    cursor: Cursor,
    /// How many frames that left are kept for the attack of the next window.
    context: usize,
    /// In a live stream.
    pace: Option<Pace>,
    /// No window is wanted.
    passing: bool,
    line: VecDeque<Item<Held<F>, E>>,
    /// Frames in the line, and the number of the first.
    frames: usize,
    head: u64,
    /// Windows decided on.
    decided: u64,
    /// Of the front window and those behind it.
    jobs: Jobs<R>,
    /// Windows that are attacked together at the most, where nothing is live.
    together: usize,
    /// Since when a window waits for others.
    gathering: Option<Instant>,
    open: OpenWindows<R, S>,
    kept: VecDeque<F>,
    /// Something was given out and is not pushed yet.
    pushing: bool,
}

impl<F: Clone, E, R, S: Clone> Schedule<F, E, R, S> {
    pub fn new(windowing: Windowing, tail: Tail, context: usize) -> Self {
        Self {
            cursor: Cursor::new(windowing, tail),
            context,
            pace: None,
            passing: false,
            line: VecDeque::new(),
            frames: 0,
            head: 0,
            decided: 0,
            jobs: Jobs::default(),
            together: 1,
            gathering: None,
            open: OpenWindows::default(),
            kept: VecDeque::new(),
            pushing: false,
        }
    }

    pub fn windowing(&self) -> Windowing {
        self.cursor.windowing()
    }

    /// Sets the windows of a stream that has no frame yet.
    pub fn set_windowing(&mut self, windowing: Windowing, tail: Tail) {
        debug_assert_eq!((self.frames, self.head), (0, 0));
        self.cursor = Cursor::new(windowing, tail);
    }

    /// Sets the times of a live stream; absent for one that is not live, where nothing is ever due.
    pub fn set_pace(&mut self, pace: Option<Pace>) {
        self.pace = pace;
    }

    /// Whether frames pass without windows. An attack under way is void then.
    pub fn set_passing(&mut self, passing: bool) {
        self.passing = passing;
        if passing {
            self.cancel();
        }
    }

    /// From now on nobody attacks or judges: frames pass, and windows that wait to be judged are reported as they are.
    pub fn give_up(&mut self) {
        self.set_passing(true);
        self.open.give_up();
    }

    /// Sets how many windows are attacked together at the most. One of a live stream, or that overlaps the next or is far
    /// from it, is attacked by itself.
    pub fn set_together(&mut self, windows: usize) {
        self.together = windows;
    }

    fn together(&self) -> usize {
        let Windowing { span, stride, .. } = self.windowing();
        // Frames between windows far apart would wait with them.
        let side_by_side = (span..2 * span).contains(&stride);
        if self.passing || self.pace.is_some() || !side_by_side { 1 } else { self.together.max(1) }
    }

    /// How many frames are taken in: the front window, those attacked together with it and the next one. In a live stream
    /// as many as arrive within the latency, with a window to spare for a sink that waits.
    pub fn capacity(&self) -> usize {
        let Windowing { span, stride, .. } = self.windowing();
        let live = self.pace.map_or(0, |pace| pace.frames().saturating_add(span));
        live.max((self.together() - 1) * stride + span + stride.min(span))
    }

    /// How many frames are inside at most: those in line, those kept, and one on its way out.
    pub fn held(&self) -> usize {
        self.capacity().saturating_add(self.context + 1)
    }

    /// Whether a frame may be pushed at `now`. One that is pushed all the same is taken. A live source that is faster than
    /// its caps say finds room for as many frames as arrive within the latency.
    pub fn has_room(&self, now: Instant) -> bool {
        let capacity = self.capacity();
        let waits = |pace: Pace| now.saturating_duration_since(self.oldest().unwrap_or(now)) < pace.latency();
        self.frames < capacity || self.frames < capacity.saturating_mul(FASTER) && self.pace.is_some_and(waits)
    }

    /// When the first frame in line arrived.
    fn oldest(&self) -> Option<Instant> {
        self.waiting().next().map(|held| held.arrived)
    }

    /// The frames in line.
    fn waiting(&self) -> impl Iterator<Item = &Held<F>> {
        self.line.iter().filter_map(|item| match item {
            Item::Frame(held) => Some(held),
            _ => None,
        })
    }

    /// The number of the next frame to come.
    fn end(&self) -> u64 {
        self.head + self.frames as u64
    }

    /// Takes in what came at `now`.
    pub fn push(&mut self, item: Item<F, E>, now: Instant) {
        let item = match item {
            Item::Frame(frame) => {
                self.frames += 1;
                Item::Frame(Held { frame, arrived: now })
            }
            Item::Event(event) => Item::Event(event),
            Item::Barrier(event) => {
                self.cursor.bar(self.end());
                Item::Barrier(event)
            }
            Item::End(event) => {
                self.cursor.bar(self.end());
                Item::End(event)
            }
        };
        self.line.push_back(item);
    }

    /// Frames before this one may leave.
    fn decided_before(&self) -> u64 {
        if self.passing { self.end() } else { self.cursor.window().map_or(self.end(), |window| window.start) }
    }

    fn is_complete(&self) -> bool {
        self.cursor.window().is_some_and(|window| window.end <= self.end())
    }

    /// How many windows are to be attacked now, or when to look again.
    fn gathered(&mut self, now: Instant) -> Result<usize, Option<Instant>> {
        let most = self.together();
        let windows: Vec<_> = (0..most as u64).map_while(|n| self.cursor.ahead(n)).collect();
        let complete = windows.iter().take_while(|window| window.end <= self.end()).count();
        // None that is still to come is before the next barrier.
        let all = complete == windows.len();
        // Nothing before them has still to leave, and no more fit in.
        let full = !self.has_room(now) && self.head >= self.decided_before();
        if complete == 0 || most == 1 || all || full {
            return if complete > 0 { Ok(complete) } else { Err(None) };
        }
        let until = *self.gathering.get_or_insert(now) + GATHERING;
        if until <= now { Ok(complete) } else { Err(Some(until)) }
    }

    /// When the first frame of the front window arrived, if it has.
    fn begun(&self) -> Option<Instant> {
        let place = self.cursor.window()?.start.checked_sub(self.head)?;
        Some(self.waiting().take(self.frames).nth(usize::try_from(place).ok()?)?.arrived)
    }

    /// When the front window has to leave, finished or not.
    pub fn deadline(&self) -> Option<Instant> {
        self.pace?.leave(self.begun()?)
    }

    /// What is to leave next. Barriers, frames between windows and frames that pass are given out at once.
    pub fn next_output(&mut self, now: Instant) -> Output<F, E, R> {
        loop {
            match self.line.front() {
                None => return Output::Wait(None),
                Some(Item::End(_)) if !self.open.is_empty() => return Output::Wait(None),
                Some(Item::Frame(_)) if self.head < self.decided_before() => {}
                Some(Item::Frame(held)) => {
                    let arrived = held.arrived;
                    match self.front_is_due(arrived, now) {
                        Some(output) => return output,
                        None => continue,
                    }
                }
                Some(_) => {}
            }
            match self.line.pop_front() {
                Some(Item::Frame(held)) => return self.give(held.frame),
                Some(Item::Event(event) | Item::Barrier(Some(event)) | Item::End(event)) => {
                    self.pushing = true;
                    return Output::Event(event);
                }
                Some(Item::Barrier(None)) | None => {}
            }
        }
    }

    /// What is to be done about a front window whose first frame, which arrived at `first`, is the first in line. Nothing
    /// where its frames may leave by now.
    fn front_is_due(&mut self, first: Instant, now: Instant) -> Option<Output<F, E, R>> {
        let Some(pace) = self.pace else { return Some(Output::Wait(None)) };
        let leave = pace.leave(first);
        // A live source waits for nobody: more frames came than the caps say.
        let full = leave.is_some() && !self.has_room(now);
        let cut = pace.cut(first).filter(|_| !self.is_complete());
        if !self.is_complete() && (full || cut.is_some_and(|cut| cut <= now)) {
            self.cursor.bar(self.end());
            self.line.push_back(Item::Barrier(None));
            return Some(Output::Cut);
        }
        if full || leave.is_some_and(|leave| leave <= now) {
            return Some(Output::Due(self.jobs.take_front()));
        }
        Some(Output::Wait(cut.into_iter().chain(leave).min()))
    }

    fn give(&mut self, frame: F) -> Output<F, E, R> {
        let sampled = self.open.give(self.head, self.windowing());
        self.pushing = true;
        self.frames -= 1;
        self.head += 1;
        if self.context > 0 {
            self.kept.push_back(frame.clone());
            self.kept.drain(..self.kept.len().saturating_sub(self.context));
        }
        if self.cursor.window().is_some_and(|window| window.start < self.head) {
            // A frame of the front window has passed.
            self.cursor.begin(self.head);
        }
        Output::Frame { frame, sampled }
    }

    /// Says of the frame last given out what the model sees of it, where that was asked for, and whether it is as it
    /// should be.
    pub fn left(&mut self, sample: Option<S>, whole: bool) {
        self.open.left(sample, whole, self.windowing());
    }

    /// What was given out last has been pushed.
    pub fn pushed(&mut self) {
        self.pushing = false;
    }

    /// What is to be done with the model.
    pub fn next_task(&mut self, now: Instant) -> Task<R, S> {
        if let Some((claim, report, samples)) = self.open.judge() {
            return Task::Judge { claim, report, samples };
        }
        if self.passing || !self.jobs.is_empty() {
            return Task::Wait(None);
        }
        match self.gathered(now) {
            Ok(windows) => Task::Attack(windows),
            Err(until) => Task::Wait(until),
        }
    }

    /// The number of the front window, counted from the stream's start.
    pub fn window(&self) -> u64 {
        self.decided
    }

    /// The frames of the front window that are here: number in the stream, and the frame.
    pub fn window_frames(&self) -> impl Iterator<Item = (u64, &F)> {
        self.frames_ahead(0)
    }

    /// The same of a window so many behind it.
    pub fn frames_ahead(&self, windows: u64) -> impl Iterator<Item = (u64, &F)> {
        let window = self.cursor.ahead(windows).unwrap_or_default();
        let frames = self.waiting().map(|held| &held.frame);
        (self.head..).zip(frames).filter(move |(number, _)| window.contains(number))
    }

    /// The same, to be changed.
    pub fn window_frames_mut(&mut self) -> impl Iterator<Item = (u64, &mut F)> {
        let window = self.cursor.window().unwrap_or_default();
        let frames = self.line.iter_mut().filter_map(|item| match item {
            Item::Frame(held) => Some(&mut held.frame),
            _ => None,
        });
        (self.head..).zip(frames).filter(move |(number, _)| window.contains(number))
    }

    /// The last frames before the front window, whether they have left or not.
    pub fn context_frames(&self) -> impl Iterator<Item = &F> {
        let before = self.cursor.window().map_or(0, |window| window.start.saturating_sub(self.head));
        let waiting = self.waiting().map(|held| &held.frame);
        let before = usize::try_from(before).unwrap_or(usize::MAX).min(self.frames);
        let superfluous = (self.kept.len() + before).saturating_sub(self.context);
        self.kept.iter().chain(waiting.take(before)).skip(superfluous)
    }

    /// The attack of the first window begins that none is under way of; `found` is what is known of it.
    pub fn begin(&mut self, found: R) -> Claim {
        self.gathering = None;
        self.jobs.begin(found)
    }

    /// What an attack has found so far, to be improved. Nothing where it is void.
    pub fn found(&mut self, claim: &Claim) -> Option<&mut R> {
        self.jobs.found(claim)
    }

    /// An attack has ended with what is known of it by now. Where it is void nobody wants it.
    pub fn finish(&mut self, claim: &Claim) {
        self.jobs.finish(claim);
    }

    /// What the attack of the front window has found, once it has ended: to be decided on at once.
    pub fn finished(&mut self) -> Option<R> {
        self.jobs.take_finished()
    }

    /// Voids the attacks under way. The windows stay, and are attacked again.
    pub fn cancel(&mut self) {
        self.jobs.clear();
        self.gathering = None;
    }

    /// Decides on the front window: its frames leave as they are by now, unless a later window holds them too. Its report
    /// is given back when they have. Where `judged`, the window is to be judged by then.
    pub fn decide(&mut self, report: R, judged: bool) {
        let Some(window) = self.cursor.window() else { return };
        self.decided += 1;
        self.open.push(Open::new(window, report, judged, self.windowing()));
        self.cursor.advance();
    }

    /// The report of the next window whose frames have left, if it is not to be judged, and whether all of them were as
    /// they should be.
    pub fn closed(&mut self) -> Option<(R, bool)> {
        self.open.closed()
    }

    /// A window that was judged is reported. Returns false where the claim is void, and nobody wants the report.
    pub fn judged(&mut self, claim: &Claim) -> bool {
        self.open.judged(claim)
    }

    /// The events in line.
    pub fn events(&self) -> impl Iterator<Item = &E> {
        self.line.iter().filter_map(|item| match item {
            Item::Event(event) | Item::Barrier(Some(event)) | Item::End(event) => Some(event),
            Item::Frame(_) | Item::Barrier(None) => None,
        })
    }

    /// The events in line that no window reaches across.
    pub fn barriers(&self) -> impl Iterator<Item = &E> {
        self.line.iter().filter_map(|item| match item {
            Item::Barrier(Some(event)) | Item::End(event) => Some(event),
            Item::Event(_) | Item::Frame(_) | Item::Barrier(None) => None,
        })
    }

    /// Whether the end of the stream is what is to leave next.
    pub fn is_at_end(&self) -> bool {
        matches!(self.line.front(), Some(Item::End(_)))
    }

    /// Whether something was given out and is not pushed yet.
    pub fn is_pushing(&self) -> bool {
        self.pushing
    }

    /// Whether nothing is inside, nor on its way out.
    pub fn is_idle(&self) -> bool {
        self.line.is_empty() && !self.pushing
    }

    /// Drops everything. Returns the events.
    pub fn flush(&mut self) -> Vec<E> {
        self.drop_frames(|_| false);
        let events = self.line.drain(..).filter_map(|item| match item {
            Item::Event(event) | Item::End(event) => Some(event),
            Item::Barrier(event) => event,
            Item::Frame(_) => None,
        });
        events.collect()
    }

    /// Drops the frames before the first event that `begins` a stream; all of them where none does. Returns whether one
    /// does.
    pub fn drop_frames(&mut self, begins: impl Fn(&E) -> bool) -> bool {
        let mut begun = false;
        let end = self.end();
        self.line.retain(|item| match item {
            Item::Frame(_) | Item::Barrier(None) => begun,
            Item::Event(event) | Item::Barrier(Some(event)) | Item::End(event) => {
                begun |= begins(event);
                true
            }
        });
        self.frames = self.waiting().count();
        self.head = end - self.frames as u64;
        // Nothing is left of what was before.
        self.cancel();
        self.open = OpenWindows::default();
        self.kept.clear();
        self.cursor.begin(self.head);
        begun
    }
}
