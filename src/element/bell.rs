// SPDX-License-Identifier: MPL-2.0

//! What the element's idle threads wait at. They hold no reference to the element there, so that one that nobody holds
//! any more is let go.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::lock;

#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<u64>,
    changed: Condvar,
}

impl Bell {
    /// How often it has rung. To be read before a thread looks whether there is anything to do.
    pub fn count(&self) -> u64 {
        *lock(&self.rung)
    }

    pub fn ring(&self) {
        *lock(&self.rung) += 1;
        self.changed.notify_all();
    }

    /// Waits until it has rung more often than `seen` times, for `timeout` at the most.
    pub fn wait(&self, seen: u64, timeout: Option<Duration>) {
        let rung = lock(&self.rung);
        let silent = |rung: &mut u64| *rung == seen;
        // The result is looked for in the element's state.
        match timeout {
            Some(timeout) => {
                drop(self.changed.wait_timeout_while(rung, timeout, silent).unwrap_or_else(PoisonError::into_inner))
            }
            None => drop(self.changed.wait_while(rung, silent).unwrap_or_else(PoisonError::into_inner)),
        }
    }
}
