// SPDX-License-Identifier: MPL-2.0

//! The report files of both elements: a JSON line a window, under `FILE.part` until the stream has ended, so that a run that fails leaves
//! an earlier report alone.

use std::path::{Path, PathBuf};

use crate::files::{self, Growing};

#[derive(Debug)]
pub struct ReportFile {
    path: PathBuf,
    /// Nothing between the end of a stream and the first window after it.
    growing: Option<Growing>,
}

impl ReportFile {
    /// At the value of the `report-location` property, which must be none of the `inputs`.
    pub fn open(path: &Path, inputs: &[(&str, &Path)]) -> Result<Self, gst::ErrorMessage> {
        check(path, inputs)?;
        let growing = Growing::create(path).map_err(|e| {
            gst::error_msg!(
                gst::ResourceError::OpenWrite,
                (
                    "Expected a file that can be written as report-location, found {}: {e}. Choose another place.",
                    path.display()
                )
            )
        })?;
        Ok(Self {
            path: path.to_path_buf(),
            growing: Some(growing),
        })
    }

    /// Adds a line. After the end of a stream, as behind a seek, the file grows on from what it holds.
    pub fn write(&mut self, json: &str) -> std::io::Result<()> {
        if self.growing.is_none() {
            let before = std::fs::read_to_string(&self.path)?;
            let mut growing = Growing::create(&self.path)?;
            before.lines().try_for_each(|line| growing.line(line))?;
            self.growing = Some(growing);
        }
        match &mut self.growing {
            Some(growing) => growing.line(json),
            None => Ok(()),
        }
    }

    /// The stream has ended: the file is whole.
    pub fn publish(&mut self) -> std::io::Result<()> {
        self.growing.take().map_or(Ok(()), Growing::publish)
    }

    /// The stream did not end. What there is keeps another name; the warning says which.
    pub fn abandon(mut self) -> Option<String> {
        let path = self.path.display();
        match self.growing.take()?.abandon() {
            Ok(None) => None,
            Ok(Some(kept)) => Some(format!(
                "Expected the end of the stream before the element stops, found none. The report so far is {}; {path} was not written.",
                kept.display()
            )),
            Err(error) => Some(format!("The report {path} is not whole, and what there is of it could not be kept: {error}.")),
        }
    }

    /// Whether the report would take the place of what the stream is read from.
    pub fn check_input(&self, uri: Option<&str>) -> Result<(), gst::ErrorMessage> {
        let input = uri.and_then(|uri| glib::filename_from_uri(uri).ok());
        let input = input
            .as_ref()
            .map(|(path, _)| ("the input", path.as_path()));
        check(&self.path, input.as_slice())
    }
}

fn check(path: &Path, inputs: &[(&str, &Path)]) -> Result<(), gst::ErrorMessage> {
    files::check_outputs(&[("report-location", path)], inputs)
        .map_err(|text| gst::error_msg!(gst::ResourceError::OpenWrite, ("{text}")))
}

/// The metadata file that belongs to a model.
pub fn sidecar(model: &Path) -> PathBuf {
    let mut name = model.as_os_str().to_owned();
    name.push(".json");
    name.into()
}
