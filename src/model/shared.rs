// SPDX-License-Identifier: MPL-2.0

//! Models that several elements of a process use: one that is loaded for the same file, device and options is loaded once.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use once_cell::sync::Lazy;

use super::Error;
use super::archive::sidecar_path;
use super::loaded::{Loaded, Options};

/// What makes two loads the same one: what was asked for, and the files as they are now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    options: Options,
    files: Files,
}

/// A model's file and the one with metadata beside it, as they are now: device, inode, length and time of the last change,
/// in seconds and nanoseconds beyond.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Files([Option<[i64; 5]>; 2]);

/// One place for each, so that a load waits for another of the same model alone.
type Entry = Arc<Mutex<Weak<Loaded>>>;

static MODELS: Lazy<Mutex<HashMap<Key, Entry>>> = Lazy::new(Mutex::default);

/// The model that these options ask for, by `load` where nobody has it loaded.
pub(super) fn of(options: &Options, load: impl FnOnce() -> Result<Loaded, Error>) -> Result<Arc<Loaded>, Error> {
    let key = key_of(options);
    let entry = {
        let mut models = MODELS.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody has any more, and nobody is loading.
        models.retain(|_, entry| Arc::strong_count(entry) > 1 || entry.lock().is_ok_and(|e| e.strong_count() > 0));
        models.entry(key.clone()).or_default().clone()
    };
    let mut entry = entry.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = entry.upgrade() {
        return Ok(loaded);
    }
    let loaded = Arc::new(load()?);
    // Not where another file has taken its place meanwhile.
    if key_of(options) == key {
        *entry = Arc::downgrade(&loaded);
    }
    Ok(loaded)
}

fn key_of(options: &Options) -> Key {
    Key { options: options.clone(), files: Files::of(options) }
}

impl Files {
    pub fn of(options: &Options) -> Self {
        let state = |path: PathBuf| {
            let about = std::fs::metadata(&path).ok()?;
            let [device, inode, length] = [about.dev(), about.ino(), about.size()].map(|n| n as i64);
            Some([device, inode, length, about.ctime(), about.ctime_nsec()])
        };
        Self([state(options.path.clone()), state(sidecar_path(&options.path))])
    }
}
