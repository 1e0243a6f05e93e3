// SPDX-License-Identifier: MPL-2.0

//! The file of the `report-location` property: a JSON line a window, under the name `FILE.part` until the stream has
//! ended.

use std::io;
use std::path::{Path, PathBuf};

use gst::prelude::*;

use super::failure::{FailureWatch, whole_of};
use crate::files::{self, Growing};
use crate::model::archive;

#[derive(Debug)]
pub struct ReportFile {
    path: PathBuf,
    file: Growing,
    failure: Option<FailureWatch>,
}

impl ReportFile {
    /// At the value of the property. It may be neither the model nor its sidecar, nor any of the `inputs`, each with
    /// the name its user knows it by.
    pub fn open(
        element: &impl IsA<gst::Element>,
        path: &Path,
        model: &Path,
        inputs: &[(&str, &Path)],
    ) -> Result<Self, gst::ErrorMessage> {
        let [part, incomplete] = files::growing_names(path);
        let sidecar = archive::sidecar_path(model);
        let others = locations(element.upcast_ref());
        let inputs: Vec<(&str, &Path)> = others
            .iter()
            .map(|(what, path)| (what.as_str(), path.as_path()))
            .chain(inputs.iter().copied())
            .chain([("the model", model), ("the model's sidecar file", &sidecar)])
            .collect();
        // It lies under the other two names until it is whole.
        for path in [path, &part, &incomplete] {
            files::check_outputs(&[("report-location", path)], &inputs)
                .map_err(|text| gst::error_msg!(gst::ResourceError::OpenWrite, ("{text}")))?;
        }
        let file = Growing::create(path).map_err(|e| {
            gst::error_msg!(
                gst::ResourceError::OpenWrite,
                (
                    "Expected a file that can be written as report-location, found {}: {e}. Choose another place.",
                    path.display()
                )
            )
        })?;
        Ok(Self { path: path.to_path_buf(), file, failure: FailureWatch::of(element.upcast_ref()) })
    }

    /// An error where the report would take the place of the video at `uri`, which is being read.
    pub fn check_input(&self, uri: Option<&str>) -> Result<(), gst::ErrorMessage> {
        let file = uri.and_then(|uri| glib::filename_from_uri(uri).ok());
        let inputs = file.as_ref().map(|(path, _)| ("the video", path.as_path()));
        files::check_outputs(&[("report-location", &self.path)], inputs.as_slice())
            .map_err(|text| gst::error_msg!(gst::ResourceError::OpenWrite, ("{text}")))
    }

    pub fn write(&mut self, json: &str) -> io::Result<()> {
        self.file.line(json)
    }

    /// At the end of the stream: the report takes its name, in the place of an older one, unless the pipeline has
    /// failed.
    pub fn publish(&mut self) -> io::Result<()> {
        if self.failure.as_ref().is_some_and(FailureWatch::failed) { Ok(()) } else { self.file.publish() }
    }

    /// When the stream is left before its end: an older report stays, this one is kept beside it. Returns what there is
    /// to say of it.
    pub fn abandon(self) -> Option<String> {
        let path = self.path.display().to_string();
        match self.file.abandon() {
            Ok(None) => None,
            Ok(Some(kept)) => Some(format!(
                "The stream failed or was left before its end, so its report is not whole: it is kept as {}, and {path} is as it was.",
                kept.display()
            )),
            Err(error) => Some(format!("The report {path} could not be kept: {error}.")),
        }
    }
}

/// The files that the other elements of a pipeline read and write, as far as their `location` says.
fn locations(element: &gst::Element) -> Vec<(String, PathBuf)> {
    let Ok(pipeline) = whole_of(element).downcast::<gst::Bin>() else {
        return Vec::new();
    };
    let elements = pipeline.iterate_recurse().into_iter().flatten();
    elements
        .filter_map(|other| {
            let property = other.find_property("location")?;
            let readable = property.flags().contains(glib::ParamFlags::READABLE);
            if !readable || property.value_type() != String::static_type() {
                return None;
            }
            let location = other.property::<Option<String>>("location")?;
            Some((format!("the file of {}", other.name()), location.into()))
        })
        .collect()
}
