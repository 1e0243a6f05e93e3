// SPDX-License-Identifier: MPL-2.0

//! Parts of an evaluation become one.

use std::path::Path;

use super::conclude::conclude;
use super::gate::{Gate, SKIPPED};
use super::log;
use super::outputs::Outputs;
use super::settings::{self, Settings};
use crate::out::errln;

/// What a merge takes for an evaluation alone.
// Of its own name: the command has arguments of its own.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(id = "evaluation")]
pub struct MergeArguments {
    /// Of an evaluation: gates in the place of those in its settings
    #[arg(long, value_name = "CONDITION")]
    fail_if: Vec<String>,
    #[command(flatten)]
    outputs: Outputs,
}

impl MergeArguments {
    pub fn are_any(&self) -> bool {
        !self.fail_if.is_empty() || self.outputs.are_any()
    }
}

/// Returns the exit status.
pub fn merge(folder: &Path, arguments: &MergeArguments) -> anyhow::Result<u8> {
    let mut settings = Settings::read(&folder.join(settings::FILE))?;
    if !arguments.fail_if.is_empty() {
        settings.fail_if.clone_from(&arguments.fail_if);
    }
    let gates: Vec<Gate> = settings.fail_if.iter().map(|text| text.parse()).collect::<anyhow::Result<_>>()?;
    arguments.outputs.check(folder, &[])?;
    let lost = log::parts_lost(folder)?;
    let results = log::read(folder)?;
    if lost.is_empty() {
        log::write_whole(folder, results.clone())?;
    }
    let verdict = conclude(&results, &gates, &settings, folder, &arguments.outputs)?;
    for part in &lost {
        errln!(
            "missing part {part}: its clips are not in the summary. Evaluate it, or bring its file, and merge again."
        );
    }
    Ok(match verdict.status() {
        0 if !lost.is_empty() => SKIPPED,
        status => status,
    })
}
