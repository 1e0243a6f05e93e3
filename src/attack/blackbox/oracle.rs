// SPDX-License-Identifier: MPL-2.0

//! A window whose model answers questions: each view that it is shown is a query, whatever it is for and however many are
//! shown at once. What a level of access hides is not in the answers. The smallest success is kept here, so that whatever
//! ends an attack, it has a result.

use std::marker::PhantomData;
use std::time::{Duration, Instant};

use tch::{Device, Tensor};

use crate::attack::Error;
use crate::attack::access::{Answer, Level};
use crate::attack::calls::{Calls, Purpose, checked};
use crate::attack::criterion::Criterion;
use crate::attack::norm::{self, Norm};
use crate::attack::outcome::{Best, Perturbation, Progress, Size, Trail};
use crate::attack::select::{Ask, Known};
use crate::attack::target::{Delta, Query, Reading, Shape};
use crate::torch;

/// When an attack has to end.
pub struct Bounds<'a> {
    /// Queries.
    pub most: Option<u32>,
    pub deadline: Option<Instant>,
    pub canceled: &'a dyn Fn() -> bool,
}

/// The smallest success so far.
struct Kept {
    best: Best,
    size: f64,
}

/// What may be asked at a level of access.
pub struct Oracle<'a, L> {
    target: &'a mut dyn Query,
    bounds: Bounds<'a>,
    criterion: Criterion,
    norm: Norm,
    seed: u64,
    calls: Calls,
    purpose: Purpose,
    iterations: u32,
    /// Of one query, so far.
    longest: Duration,
    carried: Vec<(usize, Tensor)>,
    kept: Option<Kept>,
    first: Option<(u32, u32)>,
    trail: Trail,
    out_of_time: bool,
    progress: &'a mut dyn FnMut(Progress),
    level: PhantomData<L>,
}

/// What came of it.
pub struct Asked {
    pub calls: Calls,
    pub iterations: u32,
    pub best: Option<Best>,
    /// Queries and iterations up to the first success.
    pub first: Option<(u32, u32)>,
    pub trail: Trail,
    pub out_of_time: bool,
}

impl<'a, L: Level> Oracle<'a, L> {
    /// One whose clean window has been asked about already, by these calls and in this time. Frames that are carried are
    /// perturbed already, `[1, 1, 3, height, width]` each, as part of an earlier window; what is asked about others is about
    /// them too.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        target: &'a mut dyn Query,
        bounds: Bounds<'a>,
        criterion: Criterion,
        norm: Norm,
        seed: u64,
        (calls, longest): (Calls, Duration),
        carried: Vec<(usize, Tensor)>,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Self {
        Self {
            target,
            bounds,
            criterion,
            norm,
            seed,
            calls,
            purpose: Purpose::Search,
            iterations: 0,
            longest,
            carried,
            kept: None,
            first: None,
            trail: Trail::default(),
            out_of_time: false,
            progress,
            level: PhantomData,
        }
    }

    pub fn finish(self) -> Asked {
        Asked {
            calls: self.calls,
            iterations: self.iterations,
            best: self.kept.map(|kept| kept.best),
            first: self.first,
            trail: self.trail,
            out_of_time: self.out_of_time,
        }
    }

    pub fn shape(&self) -> Shape {
        self.target.shape()
    }

    pub fn device(&self) -> Device {
        self.target.device()
    }

    /// The clean frames as the model sees them, `[real, 3, height, width]`.
    pub fn clean(&self) -> Result<Tensor, Error> {
        self.target.clean()
    }

    /// All T frames of the window with a perturbation in it, as a surrogate is shown them, `[T, 3, height, width]`. No query.
    pub fn window(&self, delta: &Delta) -> Result<Tensor, Error> {
        let delta = self.whole(delta)?;
        let places = torch::index(&delta.frames, self.device())?;
        let perturbed = self.clean()?.f_index_add(0, &places, &delta.values.f_squeeze_dim(0)?)?.f_clamp(0.0, 255.0)?;
        Ok(perturbed.f_index_select(0, &torch::index(&self.shape().sources(), self.device())?)?)
    }

    /// The gradient by some real frames, `[1, frames, 3, height, width]`, from one by all T that a surrogate is shown.
    pub fn of_frames(&self, by_window: &Tensor, frames: &[usize]) -> Result<Tensor, Error> {
        let (shape, device) = (self.shape(), self.device());
        let real = by_window.f_narrow(0, 0, shape.real as i64)?.f_zeros_like()?;
        // The last one is shown in all places that repeat it.
        let real = real.f_index_add(0, &torch::index(&shape.sources(), device)?, by_window)?;
        Ok(real.f_index_select(0, &torch::index(frames, device)?)?.f_unsqueeze(0)?)
    }

    pub fn criterion(&self) -> &Criterion {
        &self.criterion
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Says what the next queries are for.
    pub fn turn_to(&mut self, purpose: Purpose) {
        self.purpose = purpose;
    }

    /// Counts an iteration of the search, if there were less than that.
    pub fn next_iteration(&mut self, most: u32) -> bool {
        let begins = self.iterations < most;
        self.iterations += u32::from(begins);
        begins
    }

    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// What the model says of each of these. A query for each, and for each codec that has to be survived: the answer is that
    /// of the reading that resists most.
    pub fn ask(&mut self, deltas: &[Delta]) -> Result<Vec<Answer<L>>, Error> {
        deltas.iter().map(|delta| self.ask_one(delta)).collect()
    }

    pub fn ask_one(&mut self, delta: &Delta) -> Result<Answer<L>, Error> {
        let whole = self.whole(delta)?;
        self.look(&whole)
    }

    /// A perturbation with the frames that are carried and not in it.
    fn whole(&self, delta: &Delta) -> Result<Delta, Error> {
        let others: Vec<&(usize, Tensor)> =
            self.carried.iter().filter(|(frame, _)| !delta.frames.contains(frame)).collect();
        if others.is_empty() {
            return Ok(delta.clone());
        }
        let frames = delta.frames.iter().copied().chain(others.iter().map(|(frame, _)| *frame)).collect();
        let values: Vec<&Tensor> =
            std::iter::once(&delta.values).chain(others.iter().map(|(_, values)| values)).collect();
        Ok(Delta { frames, values: Tensor::f_cat(&values, 1)? })
    }

    /// What it says of the clean window with `frames[k]` at place k.
    pub fn ask_moved(&mut self, frames: &[usize]) -> Result<Answer<L>, Error> {
        self.pass(|target| target.logits_of(frames)).map(Answer::new)
    }

    /// Whether an answer is a success.
    pub fn holds(&self, answer: &Answer<L>) -> bool {
        L::holds(answer, &self.criterion)
    }

    /// The size of the smallest success, in the norm that is made small; infinite where there is none.
    pub fn kept_size(&self) -> f64 {
        self.kept.as_ref().map_or(f64::INFINITY, |kept| kept.size)
    }

    /// Keeps a success, by the answer to it, if it is smaller than those before and holds in the readings that confirm. Each
    /// of these is a query. Returns whether it holds there, or need not be asked about.
    pub fn keep(&mut self, delta: &Delta, answer: &Answer<L>) -> Result<bool, Error> {
        if !self.holds(answer) {
            return Ok(false);
        }
        let delta = &self.whole(delta)?;
        let observed = self.target.observe(delta)?;
        let norms = norm::frame_norms(&observed)?;
        let size = norm::size(self.norm, &observed, &norms)?;
        if self.kept.as_ref().is_some_and(|kept| size >= kept.size) {
            return Ok(true);
        }
        let before = std::mem::replace(&mut self.purpose, Purpose::Confirmation);
        let confirmed = self.confirm(delta, answer);
        self.purpose = before;
        let Some(logits) = confirmed? else { return Ok(false) };
        let best = best(self.shape(), delta, &observed, &norms, logits)?;
        self.first.get_or_insert((self.calls.queries, self.iterations));
        self.trail.add(self.calls.queries, best.size.map);
        (self.progress)(Progress::Improved(&best));
        self.kept = Some(Kept { best, size });
        Ok(true)
    }

    /// Asks about a perturbation, and keeps it as [`keep`](Self::keep) does.
    pub fn fools(&mut self, delta: &Delta) -> Result<bool, Error> {
        let answer = self.ask_one(delta)?;
        self.keep(delta, &answer)
    }

    /// Keeps a success in place of a smaller one, if it holds where that does: it has fewer frames. A query, and those that
    /// confirm it.
    pub fn prefer(&mut self, delta: &Delta) -> Result<bool, Error> {
        let before = self.kept.take();
        let held = self.fools(delta);
        if !matches!(held, Ok(true)) {
            self.kept = before;
        }
        held
    }

    /// The logits of the result, where the success holds in all readings.
    fn confirm(&mut self, delta: &Delta, answer: &Answer<L>) -> Result<Option<Vec<f32>>, Error> {
        let mut logits = answer.whole().to_vec();
        for (number, reading) in self.target.readings().to_vec().into_iter().enumerate() {
            if !matches!(reading, Reading::Confirm | Reading::Exact) {
                continue;
            }
            let there = Answer::<L>::new(self.pass(|target| target.logits(delta, number))?);
            if !self.holds(&there) {
                return Ok(None);
            }
            if reading == Reading::Exact {
                logits = there.whole().to_vec();
            }
        }
        Ok(Some(logits))
    }

    /// The readings that are looked at always.
    fn looks(&self) -> Vec<usize> {
        let always = |reading: &Reading| matches!(reading, Reading::Always | Reading::Transport);
        self.target.readings().iter().enumerate().filter_map(|(n, reading)| always(reading).then_some(n)).collect()
    }

    fn look(&mut self, delta: &Delta) -> Result<Answer<L>, Error> {
        let _ = self.target.observe(delta)?;
        let mut weakest: Option<Vec<f32>> = None;
        for reading in self.looks() {
            let logits = self.pass(|target| target.logits(delta, reading))?;
            self.calls.codec_runs += u32::from(self.target.readings()[reading] == Reading::Transport);
            let margin = |logits: &[f32]| self.criterion.margin(logits);
            if weakest.as_ref().is_none_or(|weakest| margin(&logits) < margin(weakest)) {
                weakest = Some(logits);
            }
        }
        let nothing = || Error::Transport("Expected a target with a reading, found none.".into());
        weakest.map(Answer::new).ok_or_else(nothing)
    }

    /// What an attack does besides queries takes so long: it is reckoned with as a query is.
    pub fn takes(&mut self, time: Duration) {
        self.longest = self.longest.max(time);
    }

    /// Whether there is time for something of this duration, and for a query. An error where nobody wants it any more.
    pub fn has_time_for(&self, time: Duration) -> Result<bool, Error> {
        if (self.bounds.canceled)() {
            return Err(Error::Canceled);
        }
        Ok(self.bounds.deadline.is_none_or(|deadline| Instant::now() + time + self.longest <= deadline))
    }

    /// An error where the attack has to end before another query.
    fn check_time(&mut self) -> Result<(), Error> {
        if !self.has_time_for(Duration::ZERO)? {
            self.out_of_time = true;
            return Err(Error::Spent);
        }
        Ok(())
    }

    /// A query, if one is left and there is time for it.
    fn pass(&mut self, ask: impl FnOnce(&mut dyn Query) -> Result<Tensor, Error>) -> Result<Vec<f32>, Error> {
        if self.bounds.most.is_some_and(|most| self.calls.queries >= most) {
            return Err(Error::Spent);
        }
        self.check_time()?;
        let began = Instant::now();
        self.calls.note_forwards(1, self.purpose);
        let logits = checked(&ask(self.target)?, self.target.shape().classes);
        self.longest = self.longest.max(began.elapsed());
        (self.progress)(Progress::Made(self.calls, self.iterations));
        logits
    }
}

impl<L: Level> Ask for Oracle<'_, L> {
    fn known(&self) -> Known<'_> {
        Known { target: self.target, goal: self.criterion.goal, seed: self.seed }
    }

    fn probability(&mut self, frames: &[usize]) -> Result<f64, Error> {
        let answer = self.ask_moved(frames)?;
        L::probability(&answer, &self.criterion)
            .ok_or_else(|| Error::NeedsScores { what: "keyframes=heuristic".into() })
    }
}

/// A success on the host, by what the model sees of it and the L2 norms of its frames.
fn best(shape: Shape, delta: &Delta, observed: &Tensor, norms: &[f64], logits: Vec<f32>) -> Result<Best, Error> {
    let values = torch::download(&delta.values)?;
    let each = delta.frames.iter().copied().zip(values.chunks_exact(shape.frame_len()));
    // What rounds to nothing leaves its frame clean.
    let seen = each.zip(norms).filter(|(_, norm)| **norm > 0.0);
    let perturbation: Perturbation = seen.map(|((frame, values), _)| (frame, values.to_vec())).collect();
    let (float, _) = norm::sum_and_max_abs(&delta.values)?;
    let size = Size::of(shape, perturbation.len(), norm::sum_and_max_abs(observed)?, float, norms);
    Ok(Best { perturbation, logits, size })
}
