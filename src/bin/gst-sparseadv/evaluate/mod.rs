// SPDX-License-Identifier: MPL-2.0

//! `evaluate`: how robust models are on clips of known classes, against threat models, behind channels; and the verdict of
//! gates on that. [`measure`] attacks, [`log`] keeps what was found, and all that is told is made of it by [`summary`].

use std::path::{Path, PathBuf};

mod baseline;
mod channels;
mod clips;
mod conclude;
mod curve;
mod gallery;
mod gate;
mod interval;
mod job;
mod judge;
mod junit;
mod log;
mod measure;
mod merge;
mod outputs;
mod page;
mod preview;
mod results;
mod settings;
mod summary;
mod tell;
pub mod threat;

use crate::convert::shard;
use crate::interrupt;
use crate::out::outln;
pub use gate::COULD_NOT_RUN;
use job::Job;
pub use log::is_there;
pub use merge::{MergeArguments, merge};
use settings::Settings;

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Arguments {
    /// TOML file of settings: its keys are the options below that this names, and options override it
    settings_file: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// Folder for the results
    #[arg(long)]
    out: PathBuf,
    /// Evaluate only the i-th of n parts, for job arrays; merge puts them together
    #[arg(long, value_name = "i/n", value_parser = shard::parse)]
    shard: Option<(usize, usize)>,
    #[command(flatten)]
    outputs: outputs::Outputs,
}

const HELP: &str = "Examples:
  gst-sparseadv evaluate --data CLIPS=clips.csv --model c3d.pt --threat-model sparse-l21 --epsilons 1,2,4 --out result
  gst-sparseadv evaluate --data a=examples/data/figures-walk.mp4 --label walk --model examples/data/figures-c3d.pt --out result \\
      --channel \"h264=x264enc ! avdec_h264\" --fail-if \"*/h264: robust_accuracy<0.5\" --junit result.xml
  gst-sparseadv evaluate result/settings.toml --out other --baseline result

The result folder has page.html with its videos, summary.md, summary.json, summary.csv, curve.csv, windows.jsonl, and settings.toml, which runs it
again. Killed at any moment, it goes on where it was when it is called again.

Exit status: 0 passed, 1 a gate (--fail-if) has failed, 2 some clips were skipped, unless --allow-skipped is given, 3 it could
not run, 130 interrupted.";

/// Returns the exit status.
pub fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    interrupt::watch()?;
    gst::init()?;
    gstsparseadv::plugin_register_static()?;
    let settings = arguments.settings.clone().absolute(Path::new(""))?;
    let settings = match &arguments.settings_file {
        Some(file) => settings.over(Settings::read(file)?),
        None => settings,
    };
    let Arguments { out, outputs, shard, .. } = arguments;
    // Whatever is wrong is found before anything is written.
    let job = Job::prepare(settings, out, *shard)?;
    let mut inputs = job.inputs();
    inputs.extend(arguments.settings_file.as_deref().map(|file| ("the settings", file)));
    outputs.check(out, &inputs)?;
    let results = job.measure(outputs.page_clips())?;
    if let Some((i, n)) = shard {
        let skipped = results.skipped.len();
        outln!("part {i}/{n} is done, {skipped} clips skipped. gst-sparseadv merge makes the summary of all parts.");
        return Ok(if skipped == 0 { 0 } else { gate::SKIPPED });
    }
    let verdict = conclude::conclude(&results, &job.gates, &job.settings, out, outputs)?;
    Ok(verdict.status())
}
