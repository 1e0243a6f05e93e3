// SPDX-License-Identifier: MPL-2.0

//! What the tests of the element share: models made on the spot, frames, and a rig around one element.

// Every test program uses its own part of this.
#![allow(dead_code)]

pub mod chance;
pub mod clips;
pub mod frames;
pub mod live;
pub mod models;
pub mod oracle;
pub mod pipeline;
pub mod rig;
pub mod views;

use std::sync::Once;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// GStreamer with the element in it.
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().expect("GStreamer");
        gstsparseadv::plugin_register_static().expect("the plugin");
        // Several tests run at a time, each with a worker.
        tch::set_num_threads(1);
    });
}

/// Runs a test in a thread of its own and fails it if it does not end: whatever hangs must not hang the test run.
pub fn guarded<R: Send + 'static>(seconds: u64, test: impl FnOnce() -> R + Send + 'static) -> R {
    init();
    let (done, ended) = channel();
    let thread = std::thread::spawn(move || {
        let result = test();
        let _ = done.send(());
        result
    });
    if ended.recv_timeout(Duration::from_secs(seconds)) == Err(RecvTimeoutError::Timeout) {
        panic!("hangs: no end after {seconds} s");
    }
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Waits for something that another thread brings about.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
