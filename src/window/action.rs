// SPDX-License-Identifier: MPL-2.0

//! What goes into a schedule, and what it says is to be done.

use std::sync::{Arc, Weak};
use std::time::Instant;

/// What comes down a stream.
#[derive(Debug)]
pub enum Item<F, E> {
    Frame(F),
    Event(E),
    /// No window reaches across this place, with an event or without.
    Barrier(Option<E>),
    /// A barrier that leaves when every window before it is reported.
    End(E),
}

/// What the thread that pushes has to do.
#[derive(Debug)]
pub enum Output<F, E, R> {
    /// To be pushed; then `Schedule::left` and `Schedule::pushed`. `sampled` where a window is to be judged by what the
    /// model sees of it.
    Frame {
        frame: F,
        sampled: bool,
    },
    Event(E),
    /// The front window has to leave: `Schedule::decide` on it with what its attack has found so far.
    Due(Option<R>),
    /// The front window waits for no more frames, and can be attacked.
    Cut,
    /// Nothing before this time, unless something changes.
    Wait(Option<Instant>),
}

/// What the thread that runs the model has to do.
#[derive(Debug)]
pub enum Task<R, S> {
    /// Attack the front window and those behind it, so many together; `Schedule::begin` says of each that it is begun.
    Attack(usize),
    /// Judge a window by what the model sees of its frames as they left; then `Schedule::judged`.
    Judge { claim: Claim, report: R, samples: Vec<S> },
    /// Nothing before this time, unless something changes.
    Wait(Option<Instant>),
}

/// What a thread works at for the schedule. It is void once the schedule has no use for the result any more.
#[derive(Debug)]
pub struct Claim(Weak<()>);

impl Claim {
    pub(super) fn on(token: &Arc<()>) -> Self {
        Self(Arc::downgrade(token))
    }

    pub(super) fn is_on(&self, token: &Arc<()>) -> bool {
        Weak::as_ptr(&self.0) == Arc::as_ptr(token)
    }

    pub fn is_void(&self) -> bool {
        self.0.strong_count() == 0
    }
}
