// SPDX-License-Identifier: MPL-2.0

//! What an attack is given besides the model: other clips, another model, and an agent that picks keyframes. They are read
//! when the element starts, and again where others are named by then, or a file is another one.

use std::path::Path;
use std::sync::Arc;

use super::imp::Loaded;
use super::settings::Settings;
use crate::attack::{Config, Donors, select};
use crate::element::donors;
use crate::model::{Agent, Surrogate};
use crate::provenance::Provenance;
use crate::window::Windowing;

#[derive(Clone, Default)]
pub(super) struct Aids {
    /// Of what the clips were read, and they.
    donors: (Option<String>, Donors),
    surrogate: Option<Arc<Surrogate>>,
    agent: Option<Arc<Agent>>,
}

impl Aids {
    /// Reads what the settings name.
    pub fn read(
        &mut self,
        settings: &Settings,
        config: &Config,
        Loaded { model, .. }: &Loaded,
        windowing: Windowing,
    ) -> Result<(), String> {
        let metadata = model.metadata();
        // Whatever the search is: it may be another one while playing.
        let clips = settings.donors.as_deref();
        let of = clips.map(|clips| format!("{clips:?} {windowing:?} {metadata:?}"));
        if self.donors.0 != of {
            self.donors = Default::default();
            let read = clips.map(|clips| donors::read(clips, metadata, windowing)).transpose()?;
            self.donors = (of, read.unwrap_or_default());
        }
        let named = settings.surrogate.as_deref();
        self.surrogate = kept(
            self.surrogate.take(),
            named,
            "surrogate",
            |known, path| known.is_of(path, model),
            |path| Surrogate::load(path, model),
        )?;
        let named = config.selection.file();
        self.agent = kept(
            self.agent.take(),
            named,
            "keyframes",
            |known, path| known.is_of(path, model),
            |path| Agent::load(path, model),
        )?;
        Ok(())
    }

    /// Says what it is in reports.
    pub fn note(&self, provenance: &mut Provenance) {
        provenance.surrogate_sha256 = self.surrogate.as_ref().map(|surrogate| surrogate.sha256().to_string());
        provenance.agent_sha256 = self.agent.as_ref().map(|agent| agent.sha256().to_string());
    }

    /// Gives an attack what was read.
    pub fn give(&self, config: &mut Config) {
        config.donors = self.donors.1.clone();
        config.surrogate = self.surrogate.clone().map(|surrogate| surrogate as _);
        let given = |(file, agent): (&Path, Arc<Agent>)| select::Agent::given(file, agent, self.donors.1.clone());
        if let Some(agent) = config.selection.file().zip(self.agent.clone()).map(given) {
            config.selection = agent.into();
        }
    }

    /// Lets go of it all.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

/// What is named, where it is there already, or loaded.
fn kept<T, E: std::fmt::Display>(
    known: Option<Arc<T>>,
    named: Option<&Path>,
    property: &str,
    is_of: impl Fn(&T, &Path) -> bool,
    load: impl Fn(&Path) -> Result<T, E>,
) -> Result<Option<Arc<T>>, String> {
    let Some(path) = named else { return Ok(None) };
    match known.filter(|known| is_of(known, path)) {
        Some(known) => Ok(Some(known)),
        None => Ok(Some(Arc::new(load(path).map_err(|e| format!("The {property} property: {e}"))?))),
    }
}
