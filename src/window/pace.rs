// SPDX-License-Identifier: MPL-2.0

//! How the time of a window is divided: what latency it costs, and when its frames have to leave to keep it.

use std::time::{Duration, Instant};

use super::Windowing;

/// Share of an attack's time that frames of a window may be late by. After it the window is attacked short.
const GATHER_SHARE: f64 = 0.7;

/// Share of an attack's time after which its window leaves with what has been found. The rest is for rendering the
/// first frame.
const LEAVE_SHARE: f64 = 0.93;

/// Share of the time left that an attack plans with. The rest is for being wrong about how long a pass takes.
pub const PLAN_SHARE: f64 = 0.85;

/// No camera is faster; caps may say anything.
const SHORTEST_FRAME: Duration = Duration::from_millis(1);

/// The times of a stream's windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    frame: Duration,
    /// From the first frame of a window to its last.
    gathering: Duration,
    /// For the attack.
    attack: Duration,
    /// An attack that takes longer is cut off.
    bounded: bool,
}

impl Pace {
    /// `frame` is how long a frame lasts, `budget` how long an attack may take. Without a budget `slowest` says how long
    /// one has taken so far.
    pub fn new(windowing: Windowing, frame: Duration, budget: Option<Duration>, slowest: Duration) -> Self {
        let gathers = u32::try_from(windowing.span - 1).unwrap_or(u32::MAX);
        Self {
            frame,
            gathering: frame.saturating_mul(gathers),
            attack: budget.unwrap_or(slowest),
            bounded: budget.is_some(),
        }
    }

    /// How long a frame stays at most.
    pub fn latency(&self) -> Duration {
        self.gathering.saturating_add(self.attack)
    }

    /// How many frames arrive within the latency.
    pub fn frames(&self) -> usize {
        let frames = self.latency().as_nanos().div_ceil(self.frame.max(SHORTEST_FRAME).as_nanos());
        usize::try_from(frames).unwrap_or(usize::MAX)
    }

    /// How long so many frames last.
    pub fn lasting(&self, frames: usize) -> Duration {
        self.frame.saturating_mul(u32::try_from(frames).unwrap_or(u32::MAX))
    }

    /// When a window whose first frame arrived at `first` is no longer waited for.
    pub fn cut(&self, first: Instant) -> Option<Instant> {
        let patience =
            if self.bounded { self.attack.mul_f64(GATHER_SHARE) } else { self.gathering.saturating_add(self.frame) };
        first.checked_add(self.gathering)?.checked_add(patience)
    }

    /// When it has to leave, finished or not.
    pub fn leave(&self, first: Instant) -> Option<Instant> {
        let attack = self.bounded.then(|| self.attack.mul_f64(LEAVE_SHARE))?;
        first.checked_add(self.gathering)?.checked_add(attack)
    }
}
