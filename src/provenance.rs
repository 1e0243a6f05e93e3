// SPDX-License-Identifier: MPL-2.0

//! What made a result, kept in every one: the model, what it was asked, and the versions that ran.

use std::collections::BTreeMap;
use std::path::Path;

use glib::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Version of the report lines, the records and the manifests. It grows when a field changes its meaning or goes.
pub const FORMAT: u32 = 2;

/// The programs that ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Versions {
    /// Version and commit of the plugin.
    pub plugin: String,
    /// Version of libtorch.
    pub libtorch: String,
    /// Version of GStreamer.
    pub gstreamer: String,
}

impl Versions {
    pub fn here() -> Self {
        Self {
            plugin: concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")).into(),
            libtorch: crate::model::libtorch_version(),
            gstreamer: gst::version_string().into(),
        }
    }
}

/// What a report line is the result of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Provenance {
    /// Version of these fields. It grows when one changes its meaning or goes.
    pub format: u32,
    /// The model's file.
    pub model: String,
    /// SHA-256 of the model's file.
    pub model_sha256: String,
    /// SHA-256 of the file of a universal perturbation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perturbation_sha256: Option<String>,
    /// SHA-256 of the file of an agent that picked keyframes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_sha256: Option<String>,
    /// SHA-256 of the file of a surrogate, the model whose gradients a black-box search looks at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surrogate_sha256: Option<String>,
    /// The URI of the stream, where its source has one.
    pub input: Option<String>,
    /// The element's properties that are not at their defaults, as `gst-launch-1.0` takes them.
    pub settings: BTreeMap<String, String>,
    #[serde(flatten)]
    pub versions: Versions,
}

impl Provenance {
    /// Of an element and its model; the input is known when a stream begins.
    pub fn of(element: &impl IsA<glib::Object>, model: &Path, model_sha256: &str) -> Self {
        Self {
            format: FORMAT,
            model: model.display().to_string(),
            model_sha256: model_sha256.into(),
            perturbation_sha256: None,
            agent_sha256: None,
            surrogate_sha256: None,
            input: None,
            settings: settings_of(element),
            versions: Versions::here(),
        }
    }

    /// Takes over what a property has changed. What was found when the model was loaded stays, and so does a mode that was
    /// chosen.
    pub fn change(&mut self, mut settings: BTreeMap<String, String>) {
        if let Some(precision) = self.settings.remove("precision") {
            settings.entry("precision".into()).or_insert(precision);
        }
        if let Some(mode) = self.settings.remove("mode").filter(|_| settings.get("mode").is_some_and(|m| m == "auto")) {
            settings.insert("mode".into(), mode);
        }
        self.settings = settings;
    }
}

/// The properties of an element's own class that are not at their defaults, but for those that say where files lie.
pub fn settings_of(object: &impl IsA<glib::Object>) -> BTreeMap<String, String> {
    const FILES: [&str; 3] = ["model", "perturbation", "report-location"];
    let object = object.as_ref();
    let properties = object.list_properties();
    let own = properties.iter().filter(|p| {
        p.owner_type() == object.type_()
            && p.flags().contains(glib::ParamFlags::READWRITE)
            && !FILES.contains(&p.name())
    });
    own.filter_map(|property| {
        let value = object.property_value(property.name());
        let text = |value: &glib::Value| gst::prelude::GstValueExt::serialize(value).ok();
        let (set, default) = (text(&value), text(property.default_value()));
        // A string that is not set cannot be serialized.
        let set = set.filter(|set| Some(set) != default.as_ref())?;
        Some((property.name().to_string(), set.to_string()))
    })
    .collect()
}

/// SHA-256 of a file, in hexadecimal.
pub fn sha256(path: &Path) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    std::io::copy(&mut std::fs::File::open(path)?, &mut hasher)?;
    Ok(format!("{:x}", hasher.finalize()))
}

/// SHA-256 in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_at_the_load_outlives_a_change_of_properties() {
        let settings = |all: &[(&str, &str)]| -> BTreeMap<String, String> {
            all.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        let mut provenance = Provenance { settings: settings(&[("precision", "bf16")]), ..Provenance::default() };
        provenance.change(settings(&[("patience", "5")]));
        assert_eq!(provenance.settings, settings(&[("patience", "5"), ("precision", "bf16")]));
    }
}
