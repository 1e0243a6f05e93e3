// SPDX-License-Identifier: MPL-2.0

//! A panic in a pass, for tests of what becomes of whoever asked for it. Nothing of a model that fits makes one.

use std::sync::atomic::{AtomicU32, Ordering};

use super::Model;

/// How many passes there are up to the one that panics. None of zero does.
#[derive(Default)]
pub struct Fault(AtomicU32);

impl Fault {
    /// A pass begins.
    pub fn strike(&self) {
        // They are made one after another.
        let left = self.0.load(Ordering::SeqCst);
        self.0.store(left.saturating_sub(1), Ordering::SeqCst);
        assert_ne!(left, 1, "on purpose");
    }
}

impl Model {
    /// From now on the `nth` pass panics, counted from 1, and no other.
    pub fn panic_at(&self, nth: u32) {
        self.loaded.desk.fault.0.store(nth, Ordering::SeqCst);
    }
}
