// SPDX-License-Identifier: MPL-2.0

//! A universal perturbation that follows a stream: it is learned on the last windows while frames that arrive get it, so
//! that none of them waits.

use std::collections::VecDeque;

use tch::TchError;

use super::learn::{Config, Learner};
use super::{Header, Universal};
use crate::attack::{Differentiate, Error};

/// Windows that it is learned on.
const WINDOWS: usize = 4;
/// Windows in a row that must be fooled for it to rest.
const CONTENT: u32 = 2;
/// Steps that a new frame allows, and the most that may be left.
const STEPS: u64 = 8;
const MOST: u64 = 64;

/// What is kept of a window is `W`.
pub struct Pursuit<W> {
    learner: Learner,
    header: Header,
    /// The last windows of the scene, and their labels.
    windows: VecDeque<(W, usize)>,
    /// Frames of the stream up to the end of the last of them, and which of its scenes this is.
    seen: u64,
    scene: u64,
    /// Frames so far, and steps that they allow.
    frames: u64,
    credit: u64,
    steps: u64,
    fooled: u32,
    /// A window was judged since the last step.
    judged: bool,
}

impl<W: Clone> Pursuit<W> {
    /// One that begins as `universal` is.
    pub fn new(universal: &Universal, config: Config) -> Result<Self, TchError> {
        Ok(Self {
            learner: Learner::of(universal, config)?,
            header: universal.header.clone(),
            windows: VecDeque::new(),
            seen: 0,
            scene: 0,
            frames: 0,
            credit: 0,
            steps: 0,
            fooled: 0,
            judged: false,
        })
    }

    /// Where the stream is: so many frames, in this scene. Returns whether a step is due. A stream that stands still teaches
    /// nothing new.
    pub fn is_due(&mut self, frames: u64, scene: u64) -> bool {
        if scene != self.scene {
            self.scene = scene;
            self.cut();
        }
        self.credit = (self.credit + STEPS * (frames - self.frames.min(frames))).min(MOST);
        self.frames = frames;
        self.fooled < CONTENT && self.credit > 0
    }

    /// Bounds the values by so many gray levels from the next step on.
    pub fn set_bound(&mut self, bound: f32) {
        self.learner.set_bound(bound);
    }

    /// Whether a window that ends with this frame shows more than those before: half of it is new.
    pub fn wants(&self, frames: u64, span: usize) -> bool {
        self.windows.is_empty() || frames >= self.seen + (span as u64).div_ceil(2)
    }

    /// A window of the stream, whose label this is, and how many frames there were at its end.
    pub fn see(&mut self, window: W, label: usize, frames: u64) {
        self.windows.push_back((window, label));
        if self.windows.len() > WINDOWS {
            self.windows.pop_front();
        }
        self.seen = frames;
    }

    /// Another scene begins: windows of the last one say nothing of it. The values are as good a start as any.
    fn cut(&mut self) {
        self.windows.clear();
        self.learner.forget();
        self.fooled = 0;
    }

    /// What became of a window.
    pub fn judged(&mut self, fooled: bool) {
        self.fooled = if fooled { self.fooled + 1 } else { 0 };
        self.judged = true;
    }

    /// Whether a step goes before the next window is judged: neither keeps the other from its turn.
    pub fn goes_first(&self) -> bool {
        self.judged
    }

    /// The window that the next step is on, its label and a phase: the last one every other time.
    pub fn choose(&mut self) -> Option<(W, usize, usize)> {
        let step = self.steps;
        self.steps += 1;
        self.credit = self.credit.saturating_sub(1);
        self.judged = false;
        let last = self.windows.len().checked_sub(1)?;
        let back = if step.is_multiple_of(2) { 0 } else { (step / 2) as usize % (last + 1) };
        let (window, label) = &self.windows[last - back];
        let period = self.learner.period();
        Some((window.clone(), *label, (step / 2) as usize * stride(period) % period))
    }

    /// A step on a window. One forward and one backward pass.
    pub fn improve(&mut self, target: &mut dyn Differentiate, label: usize, phase: usize) -> Result<(), Error> {
        if let Some((_, gradient)) = self.learner.current().gradient(target, label, phase)? {
            self.learner.step(&gradient, 1.0)?;
        }
        Ok(())
    }

    /// As it is now, in whole gray levels.
    pub fn universal(&self) -> Result<Universal, TchError> {
        self.learner.finish(self.header.clone())
    }
}

/// How far one phase is from the next, so that all of a period have their turn and neighbors are far apart.
fn stride(period: usize) -> usize {
    let coprime = |n: usize| (2..=n).all(|d| !n.is_multiple_of(d) || !period.is_multiple_of(d));
    (period * 2 / 5..period).find(|n| *n > 0 && coprime(*n)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::stride;

    #[test]
    fn every_phase_has_its_turn() {
        for period in 1..70 {
            let mut phases: Vec<usize> = (0..period).map(|n| n * stride(period) % period).collect();
            phases.sort_unstable();
            assert_eq!(phases, Vec::from_iter(0..period), "{period}");
        }
    }
}
