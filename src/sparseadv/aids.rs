// SPDX-License-Identifier: MPL-2.0

//! What an attack is given besides the model: other clips, and another model. They are read when the element starts, and
//! again where they are others by then.

use std::path::Path;
use std::sync::Arc;

use super::imp::Loaded;
use super::settings::Settings;
use crate::attack::surrogate::Surrogate;
use crate::attack::{Config, Donors};
use crate::element::donors;
use crate::model;
use crate::window::Windowing;

#[derive(Clone, Default)]
pub(super) struct Aids {
    donors: Kept<Donors>,
    surrogate: Kept<Option<Arc<dyn Surrogate>>>,
}

/// Something that was read, and of what.
#[derive(Clone, Default)]
struct Kept<T> {
    of: Option<String>,
    value: T,
}

impl<T: Default> Kept<T> {
    /// Reads it, unless it is there already as `of` says; nothing of it where that says none.
    fn read(&mut self, of: Option<String>, read: impl FnOnce() -> Result<T, String>) -> Result<(), String> {
        if self.of == of {
            return Ok(());
        }
        *self = Self::default();
        if of.is_some() {
            *self = Self { value: read()?, of };
        }
        Ok(())
    }
}

impl Aids {
    /// Reads what the search has a use for.
    pub fn read(
        &mut self,
        settings: &Settings,
        config: &Config,
        Loaded { model, options, .. }: &Loaded,
        windowing: Windowing,
    ) -> Result<(), String> {
        let metadata = model.metadata();
        let clips = settings.donors.as_deref().filter(|_| config.search.takes_donors()).unwrap_or(Path::new(""));
        let of = Some(clips).filter(|clips| !clips.as_os_str().is_empty());
        let of = of.map(|clips| format!("{clips:?} {windowing:?} {metadata:?}"));
        self.donors.read(of, || donors::read(clips, metadata, windowing))?;

        let file = settings.surrogate.as_deref().filter(|_| config.search.takes_surrogate()).unwrap_or(Path::new(""));
        let of = Some(file).filter(|file| !file.as_os_str().is_empty());
        let (frames, size) = (metadata.window, metadata.crop);
        let of = of.map(|file| {
            let about = file.metadata().ok().map(|about| (about.len(), about.modified().ok()));
            format!("{file:?} {about:?} {:?} {frames} {size:?}", options.device)
        });
        self.surrogate.read(of, || {
            let loaded = model::surrogate::Surrogate::load(file, options.device, frames, size);
            let loaded = loaded.map_err(|e| format!("The surrogate property: {e}"))?;
            Ok(Some(Arc::new(loaded) as Arc<dyn Surrogate>))
        })
    }

    /// Gives an attack what was read.
    pub fn give(&self, config: &mut Config) {
        config.donors = self.donors.value.clone();
        config.surrogate = self.surrogate.value.clone();
    }
}
