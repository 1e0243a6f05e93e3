// SPDX-License-Identifier: MPL-2.0

//! Where the verdict goes: the result folder, files that are asked for, and GitHub's summary of a job.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, ensure};
use gstsparseadv::files::{self, write_whole};

use super::curve::Point;
use super::summary::Summary;
use super::{gallery, junit, log, settings, tell};

/// Files of one's own, and what results are compared with.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Outputs {
    /// A file for the verdict as JUnit's XML, a test case for each gate and row
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// A file for a copy of summary.json
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A file for a copy of summary.md. On GitHub it is added to the job's summary by itself
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// The results of an earlier evaluation, which these are compared with clip by clip
    #[arg(long, value_name = "FOLDER")]
    pub baseline: Option<PathBuf>,
    /// Clips to look at in the page of the result folder at the most; 0 leaves videos out [default: 12]
    #[arg(long, value_name = "N")]
    page_clips: Option<usize>,
}

impl Outputs {
    pub fn are_any(&self) -> bool {
        [&self.junit, &self.json, &self.markdown, &self.baseline].into_iter().any(Option::is_some)
            || self.page_clips.is_some()
    }

    /// How many clips the page shows.
    pub fn page_clips(&self) -> usize {
        self.page_clips.unwrap_or(gallery::MOST)
    }

    /// Refuses files that would take the place of others, before anything is measured.
    pub fn check(&self, folder: &Path, inputs: &[(&str, &Path)]) -> anyhow::Result<()> {
        let own = [folder.join(log::FILE), folder.join(settings::FILE)];
        let inputs: Vec<(&str, &Path)> =
            inputs.iter().copied().chain(own.iter().map(|path| ("the results", path.as_path()))).collect();
        let named = [("--junit", &self.junit), ("--json", &self.json), ("--markdown", &self.markdown)];
        let files: Vec<(&str, &Path)> =
            named.into_iter().filter_map(|(what, path)| Some((what, path.as_deref()?))).collect();
        files::check_outputs(&files, &inputs).map_err(|e| anyhow!(e))?;
        if let Some(baseline) = &self.baseline {
            ensure!(
                log::is_there(baseline),
                "Expected the results of an earlier evaluation as --baseline, found none in {}. Name the folder that it wrote.",
                baseline.display()
            );
        }
        files.iter().try_for_each(|(what, path)| {
            files::check_regular(what, path).map_err(|e| anyhow!(e))?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            ensure!(folder.is_dir(), "Expected a folder for {what}, found none: {}. Make it.", folder.display());
            Ok(())
        })
    }

    /// Writes all.
    pub fn write(&self, folder: &Path, summary: &Summary, curve: &[Point]) -> anyhow::Result<()> {
        let json = serde_json::to_string_pretty(summary)? + "\n";
        let markdown = tell::markdown(summary);
        let mut points = csv::Writer::from_writer(Vec::new());
        curve.iter().try_for_each(|point| points.serialize(point))?;
        let points = points.into_inner().context("curve.csv")?;
        let rows = tell::csv(&summary.rows)?;
        let junit = junit::xml(summary)?;
        let written = [
            (Some(folder.join("summary.json")), json.as_bytes()),
            (Some(folder.join("summary.md")), markdown.as_bytes()),
            (Some(folder.join("summary.csv")), rows.as_slice()),
            (Some(folder.join("curve.csv")), points.as_slice()),
            (self.json.clone(), json.as_bytes()),
            (self.markdown.clone(), markdown.as_bytes()),
            (self.junit.clone(), junit.as_bytes()),
        ];
        for (path, bytes) in written {
            if let Some(path) = path {
                write_whole(&path, bytes).with_context(|| format!("{} could not be written", path.display()))?;
            }
        }
        match std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) {
            Some(path) => std::fs::File::options()
                .create(true)
                .append(true)
                .open(&path)
                .and_then(|mut file| file.write_all(markdown.as_bytes()))
                .with_context(|| format!("GITHUB_STEP_SUMMARY: {} could not be written", Path::new(&path).display())),
            None => Ok(()),
        }
    }
}
