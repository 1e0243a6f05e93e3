// SPDX-License-Identifier: MPL-2.0

//! A model as properties ask for it: loading it, and finding its labels.

use crate::model::{self, Metadata, Model};

/// Loads a model; an error says what kind it is of.
pub fn load_model(options: &model::Options) -> Result<Model, gst::ErrorMessage> {
    Model::load(options).map_err(|e| match e {
        model::Error::Unreadable { .. } => gst::error_msg!(gst::ResourceError::NotFound, ("{e}")),
        model::Error::DeviceName { .. } | model::Error::DeviceMissing { .. } => {
            gst::error_msg!(gst::LibraryError::Settings, ("{e}"))
        }
        e => gst::error_msg!(gst::ResourceError::OpenRead, ("{e}")),
    })
}

/// A label by its name, or by its index.
pub fn find_label(property: &str, text: &str, metadata: &Metadata, classes: usize) -> Result<usize, String> {
    if let Some(index) = metadata.labels.iter().position(|l| l == text) {
        return Ok(index);
    }
    match text.parse::<usize>() {
        Ok(index) if index < classes => Ok(index),
        Ok(index) => Err(format!(
            "The {property} property: expected an index below the model's {classes} classes, found {index}."
        )),
        Err(_) if metadata.labels.is_empty() => Err(format!(
            "The {property} property: expected an index below {classes}, as the model names no labels, found {text}."
        )),
        Err(_) => Err(format!(
            "The {property} property: expected an index below {classes} or one of {}, found {text}.",
            metadata.labels.join(", ")
        )),
    }
}
