// SPDX-License-Identifier: MPL-2.0

//! What both elements are asked: a model, the windows it sees, and a report. How an element keeps its settings.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use gst::prelude::*;

use super::lock;
use super::model::find_label;
use crate::model::{self, Metadata, Precision};
use crate::window::{Tail, Windowing};

/// The settings of an element. Whoever works by them holds a snapshot, which stays as it is when a property is set.
#[derive(Debug, Default)]
pub struct Shared<T>(Mutex<Arc<T>>);

impl<T: Clone> Shared<T> {
    pub fn snapshot(&self) -> Arc<T> {
        lock(&self.0).clone()
    }

    pub fn change(&self, change: impl FnOnce(&mut T)) {
        change(Arc::make_mut(&mut lock(&self.0)));
    }
}

/// Getter of a property: the named field of the element's `settings`.
macro_rules! get {
    ($($field:ident).+) => { |this: &Self| this.settings.snapshot().$($field).+.clone() };
}

/// Setter of a property: the named field of the element's `settings`.
macro_rules! set {
    ($($field:ident).+) => { |this: &Self, value| this.settings.change(|settings| settings.$($field).+ = value) };
}

pub(crate) use {get, set};

/// An element's properties and its `stats`, whose type `GstStructure` is none that `glib::Properties` can derive.
pub fn with_stats(derived: &[glib::ParamSpec], blurb: &str) -> Vec<glib::ParamSpec> {
    let stats = glib::ParamSpecBoxed::builder::<gst::Structure>("stats");
    let stats = stats.nick("Statistics").blurb(blurb).read_only().build();
    derived.iter().cloned().chain([stats]).collect()
}

/// The settings that both elements have. Zero or an absent value stands for "by the model".
#[derive(Clone, Debug, Default)]
pub struct Common {
    pub model: Option<PathBuf>,
    pub model_sha256: Option<String>,
    /// Absent: [`AUTO`].
    pub device: Option<String>,
    pub window_size: u32,
    pub stride: u32,
    pub frame_step: u32,
    pub tail: Tail,
    pub label: Option<String>,
    pub report_location: Option<PathBuf>,
}

/// The device that a model runs on where none is named.
pub const AUTO: &str = "auto";

impl Common {
    /// What to load, or which property is wrong.
    pub fn model_options(&self) -> Result<model::Options, String> {
        let path = self.model.clone().ok_or(
            "Expected the path of a TorchScript classifier in the model property, found none. Set model=FILE.pt.",
        )?;
        let sha256 = self.model_sha256.as_deref().map(str::to_ascii_lowercase);
        if let Some(text) =
            sha256.as_deref().filter(|text| text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            return Err(format!("The model-sha256 property: expected 64 hexadecimal digits, found {text}."));
        }
        let device = self.device.as_deref().unwrap_or(AUTO);
        Ok(model::Options {
            path,
            device: device.parse().map_err(|e: model::Error| e.to_string())?,
            precision: Precision::F32,
            window: (self.window_size > 0).then_some(self.window_size as usize),
            sha256,
        })
    }

    /// Sizes of the windows for a model.
    pub fn windowing(&self, metadata: &Metadata) -> Windowing {
        let set = |n: u32| Some(n as usize).filter(|n| *n > 0);
        let step = set(self.frame_step).unwrap_or(metadata.frame_step);
        Windowing::new(metadata.window, step, set(self.stride))
    }

    /// The true label, where it is given, as an index of the model's `classes`.
    pub fn true_label(&self, metadata: &Metadata, classes: usize) -> Result<Option<usize>, String> {
        self.label.as_deref().map(|text| find_label("label", text, metadata, classes)).transpose()
    }
}
