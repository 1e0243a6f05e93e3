// SPDX-License-Identifier: MPL-2.0

//! Attacks under way: of the front window and those behind it, in their order.

use std::collections::VecDeque;
use std::sync::Arc;

use super::action::Claim;

/// To drop it voids the claim on it.
#[derive(Debug)]
struct Job<R> {
    token: Arc<()>,
    found: R,
    /// Over: `found` is to be decided on, after the windows before it.
    finished: bool,
}

#[derive(Debug)]
pub(super) struct Jobs<R>(VecDeque<Job<R>>);

impl<R> Default for Jobs<R> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<R> Jobs<R> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// That of the window behind those that have one.
    pub fn begin(&mut self, found: R) -> Claim {
        let token = Arc::new(());
        let claim = Claim::on(&token);
        self.0.push_back(Job { token, found, finished: false });
        claim
    }

    fn of(&mut self, claim: &Claim) -> Option<&mut Job<R>> {
        self.0.iter_mut().find(|job| claim.is_on(&job.token))
    }

    pub fn found(&mut self, claim: &Claim) -> Option<&mut R> {
        Some(&mut self.of(claim)?.found)
    }

    pub fn finish(&mut self, claim: &Claim) {
        if let Some(job) = self.of(claim) {
            job.finished = true;
        }
    }

    /// What the first one has found so far.
    pub fn take_front(&mut self) -> Option<R> {
        Some(self.0.pop_front()?.found)
    }

    /// What the first one has found, if it is over.
    pub fn take_finished(&mut self) -> Option<R> {
        if self.0.front()?.finished { self.take_front() } else { None }
    }
}
