// SPDX-License-Identifier: MPL-2.0

//! The element's properties.

use std::path::PathBuf;

use gst::prelude::*;
use once_cell::sync::Lazy;

use crate::sparseadv::settings::Settings as Windows;
use crate::window::Tail;

/// The properties. Those that mean the same as sparseadv's are kept as its settings.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub windows: Windows,
    pub offset: u32,
    pub reference: Option<PathBuf>,
}

pub static PROPERTIES: Lazy<Vec<glib::ParamSpec>> = Lazy::new(|| {
    let string = |name: &'static str, nick: &'static str, blurb: &'static str| {
        glib::ParamSpecString::builder(name).nick(nick).blurb(blurb).mutable_ready().build()
    };
    let count = |name: &'static str, nick: &'static str, blurb: &'static str| {
        glib::ParamSpecUInt::builder(name).nick(nick).blurb(blurb).maximum(65536).mutable_ready().build()
    };
    vec![
        string(
            "model",
            "Model",
            "TorchScript classifier. It is a program and runs as one: load only files you trust",
        ),
        glib::ParamSpecString::builder("device")
            .nick("Device")
            .blurb("Device the model runs on: auto, cpu, cuda or cuda:N")
            .default_value(Some("auto"))
            .mutable_ready()
            .build(),
        count(
            "window-size",
            "Window size",
            "Frames the model sees at once (0 = the model's own, 16 if it does not say)",
        ),
        count(
            "stride",
            "Stride",
            "Frames from one window to the next (0 = window-size * frame-step: windows side by side)",
        ),
        count(
            "frame-step",
            "Frame step",
            "Frames of the stream from one frame of a window to the next (0 = the model's own, 1 if it does not say)",
        ),
        count(
            "offset",
            "Offset",
            "Frames before the first window: windows that do not line up with an attacker's",
        ),
        glib::ParamSpecEnum::builder_with_default("tail", Tail::default())
            .nick("Tail")
            .blurb("What becomes of frames at the end of a stream that fill no window: classified with the last one repeated, or not")
            .mutable_ready()
            .build(),
        string(
            "label",
            "Label",
            "True label by name or index, for the accuracy",
        ),
        string(
            "reference-location",
            "Reference location",
            "Report of the sparseadv that attacked this video (its report-location), for the fooling rate; without it, the metas of an upstream sparseadv are used where they are",
        ),
        string(
            "report-location",
            "Report location",
            "File that gets one JSON line a window; an older one is replaced",
        ),
        glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb("Accuracy, fooling rate, mean probability and counts so far")
            .read_only()
            .build(),
    ]
});

/// Sets a property. GObject has checked its type and range.
pub fn set(settings: &mut Settings, name: &str, value: &glib::Value) {
    match name {
        "offset" => {
            settings.offset = value.get().unwrap_or_else(|_| unreachable!("type checked by GObject"));
        }
        "reference-location" => {
            let path = value.get::<Option<String>>();
            settings.reference = path.unwrap_or_else(|_| unreachable!("type checked by GObject")).map(Into::into);
        }
        name => crate::sparseadv::properties::set(&mut settings.windows, name, value),
    }
}

pub fn get(settings: &Settings, name: &str) -> glib::Value {
    match name {
        "offset" => settings.offset.to_value(),
        "reference-location" => settings.reference.as_ref().and_then(|p| p.to_str()).to_value(),
        name => crate::sparseadv::properties::get(&settings.windows, name),
    }
}
