// SPDX-License-Identifier: MPL-2.0

//! What an attack without the model's gradient is allowed and begins with.

use std::path::Path;

use anyhow::Context;
use gst::prelude::*;
use gstsparseadv::dataset;
use rand::seq::SliceRandom;
use tempfile::TempDir;

use super::{Model, Window};
use crate::provenance::sha256;
use crate::reproduce::Arguments;
use crate::reproduce::metrics::seeded;
use crate::reproduce::rivals::Rival;

impl Model {
    /// Gives the element what a black box is allowed and begins with.
    pub(super) fn aid(
        &self,
        arguments: &Arguments,
        rival: Rival,
        (donors, surrogate): (Option<&TempDir>, Option<&Path>),
    ) -> anyhow::Result<()> {
        let element = &self.attacker.element;
        element.set_property("max-queries", arguments.queries);
        let path = |file: &Path| file.to_str().map(String::from).context("Expected paths in UTF-8. Rename the file.");
        if let Some(surrogate) = surrogate.filter(|_| rival.takes_surrogate()) {
            element.set_property("surrogate", path(surrogate)?);
        }
        if let Some(agent) = arguments.agent.as_ref().filter(|_| rival == Rival::WangAgent) {
            element.set_property("keyframes", format!("agent:{}", path(agent)?));
        }
        if let Some(donors) = donors {
            element.set_property("donors", path(donors.path())?);
        }
        Ok(())
    }

    /// The first surrogate that is not the model itself, which would make a white box of it.
    pub(super) fn surrogate<'a>(&self, arguments: &'a Arguments) -> anyhow::Result<Option<&'a Path>> {
        for file in &arguments.surrogate {
            if sha256(file)? != self.sha256 {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// A folder of training clips that an attack may begin with: of the target, or of any class but the window's. Nothing
    /// where there are none.
    pub(super) fn donors(
        &self,
        arguments: &Arguments,
        set: &dataset::DataSet,
        window: &Window,
        target: Option<&str>,
    ) -> anyhow::Result<Option<TempDir>> {
        let fits = |clip: &&dataset::Clip| {
            let place = dataset::find_class(&set.labels[clip.label], &self.metadata.labels);
            let class = place.map(|place| self.metadata.labels[place].as_str());
            !clip.held_out && class.is_some_and(|class| target.map_or(class != window.class, |target| class == target))
        };
        let mut clips: Vec<&dataset::Clip> = set.clips.iter().filter(fits).collect();
        // The same ones for every system.
        clips.shuffle(&mut seeded(arguments.seed));
        clips.truncate(usize::from(arguments.donors));
        if clips.is_empty() {
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        for (number, clip) in clips.iter().enumerate() {
            let end = clip.path.extension().map_or(String::new(), |end| format!(".{}", end.to_string_lossy()));
            let link = folder.path().join(format!("{number:03}{end}"));
            std::os::unix::fs::symlink(std::path::absolute(&clip.path)?, link)?;
        }
        Ok(Some(folder))
    }
}
