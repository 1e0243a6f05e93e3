// SPDX-License-Identifier: MPL-2.0

//! Faults that are put into a pipeline: of the model, of its file, of the codecs of `survive`, and of what is downstream.
//! Each becomes one clear error. With `on-error=passthrough` all frames leave in order, and the fault is counted.

#[path = "../common/mod.rs"]
mod common;

mod broken;
mod codecs;
mod downstream;
mod ends;
mod files;
mod links;
mod passes;

use std::sync::{Mutex, Once, PoisonError};

use common::frames::{bytes, frame, rgb};
use common::models::ModelFile;
use common::oracle::header;
use common::rig::Rig;

/// What frames get, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Window,
    Causal,
    /// `perturbation=FILE`.
    Learned,
}

pub const MODES: [Mode; 3] = [Mode::Window, Mode::Causal, Mode::Learned];

/// What is added to every value with [`Mode::Learned`].
pub const ADDED: u8 = 7;

/// Runs a test that must end within a minute. No thread of the element may panic, and no warning of GLib may come.
pub fn guarded(test: impl FnOnce() + Send + 'static) {
    static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        common::init();
        glib::log_set_always_fatal(glib::LogLevels::LEVEL_CRITICAL | glib::LogLevels::LEVEL_WARNING);
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            if thread.name().is_some_and(|name| name.starts_with("sparseadv")) {
                PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(panic.to_string());
            }
            before(panic);
        }));
    });
    common::guarded(60, test);
    let panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(panics.is_empty(), "{panics:?}");
}

/// The properties of a mode. Windows are attacked one by one, for the passes of a model to be counted.
fn properties(mode: Mode, model: &ModelFile) -> Vec<(&'static str, String)> {
    let mut set = vec![("precision", "f32".to_string()), ("batch-windows", "1".into()), ("max-iterations", "8".into())];
    match mode {
        Mode::Window => {}
        Mode::Causal => set.push(("mode", "causal".into())),
        Mode::Learned => set.push(("perturbation", model.adding(ADDED as i8))),
    }
    set
}

/// The element in a mode, not started yet.
pub fn idle(mode: Mode, model: &ModelFile, more: &[(&str, &str)]) -> Rig {
    let set = properties(mode, model);
    let set: Vec<(&str, &str)> = set.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Rig::idle(model, &[&set, more].concat())
}

/// The element in a mode, PLAYING.
pub fn playing(mode: Mode, model: &ModelFile, more: &[(&str, &str)]) -> Rig {
    let rig = idle(mode, model, more);
    rig.play();
    rig
}

/// A message says what was expected and what was found.
pub fn tells(text: &str, words: &[&str]) {
    let lower = text.to_lowercase();
    for word in words {
        assert!(lower.contains(&word.to_lowercase()), "nothing of {word:?} in: {text}");
    }
    assert!(!lower.contains("panic"), "{text}");
    assert!(text.len() < 1000, "{} bytes: {text}", text.len());
}

pub fn count(rig: &Rig, name: &str) -> u64 {
    rig.stats().get(name).expect(name)
}

/// Frame `n` of a stream.
pub fn dark(n: u64) -> gst::Buffer {
    frame(&rgb(), n)
}

/// The same, brighter than any other: what a model of [`broken`] fails on.
pub fn bright(n: u64) -> gst::Buffer {
    let mut buffer = dark(n);
    buffer.make_mut().map_writable().expect("a map").fill(240);
    buffer
}

/// What came out is what went in, in its order and with its times.
pub fn all_came(rig: &Rig, given: &[gst::Buffer]) {
    let came = rig.buffers();
    assert_eq!(came.len(), given.len(), "frames were lost or made up");
    for (given, came) in given.iter().zip(&came) {
        assert_eq!(header(given), header(came));
    }
}

/// The frames from one on to before another left as a mode lets them leave without a model.
pub fn untouched(rig: &Rig, mode: Mode, given: &[gst::Buffer], frames: std::ops::Range<usize>) {
    let added = match mode {
        Mode::Window => 0,
        Mode::Learned => ADDED,
        Mode::Causal => return,
    };
    let came = rig.buffers();
    for n in frames {
        let expected: Vec<u8> = bytes(&given[n]).into_iter().map(|v| v.saturating_add(added)).collect();
        assert!(bytes(&came[n]) == expected, "frame {n} of {mode:?} is not as it came");
    }
}
