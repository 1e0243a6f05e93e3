// SPDX-License-Identifier: MPL-2.0

//! Ctrl-C and its like: the first one asks whatever runs to end and to tidy up, the second one ends the process at
//! once.

use std::sync::atomic::{AtomicBool, Ordering};

/// Exit status of a run that was interrupted, as shells have it for SIGINT.
pub const STATUS: u8 = 130;

static ASKED: AtomicBool = AtomicBool::new(false);

/// What a run ends with that was asked to.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// From now on SIGINT, SIGTERM and SIGHUP are requests.
pub fn watch() -> anyhow::Result<()> {
    Ok(ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::SeqCst) {
            // SAFETY: ends the process; nothing runs after it.
            unsafe { libc::_exit(i32::from(STATUS)) }
        }
    })?)
}

/// An error as soon as the user has asked for the end.
pub fn check() -> Result<(), Interrupted> {
    if ASKED.load(Ordering::SeqCst) { Err(Interrupted) } else { Ok(()) }
}
