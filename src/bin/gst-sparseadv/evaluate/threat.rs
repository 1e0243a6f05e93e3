// SPDX-License-Identifier: MPL-2.0

//! Threat models: what an attacker may do, each as one line of the element's properties.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use gst::prelude::*;
use gstsparseadv::attack::{Norm, Search};
use gstsparseadv::universal::{Kind, Universal};
use serde::{Deserialize, Serialize};

use super::settings::{Settings, is_name};
use crate::media;

/// Presets that are the same line for everybody.
const PRESETS: [(&str, &str); 4] = [
    // The paper: two stages of Adam at SA's step, keyframes that are picked once.
    (
        "sparse-l21",
        "search=two-stage keyframes=gradient learning-rate=0.255 learning-rate-decay=1 grow-after=0 confidence=0 patience=60",
    ),
    ("sparse-l2", "search=walk norm=l2"),
    ("sparse-l1", "search=walk norm=l1"),
    ("black-box", "access=logits search=squares keyframes=all confidence=0 max-queries=1000"),
];

/// Presets that a file belongs to.
const OF_FILES: [&str; 2] = ["border", "universal"];

/// A threat model.
#[derive(Clone, Debug, PartialEq)]
pub struct Threat {
    pub name: String,
    /// As gst-launch-1.0 takes them.
    pub properties: String,
    /// A learned perturbation that it is.
    pub file: Option<PathBuf>,
    pub curve: Option<Curve>,
}

/// What the size of an attack's perturbations is measured in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Curve {
    /// Threat models of one name make one curve: each finds what it finds within its bound.
    pub name: String,
    /// `l2`, `l21`, `l1` or `linf`.
    pub norm: String,
}

/// Whether it is a preset with a file behind its name.
pub fn names_a_file(text: &str) -> bool {
    text.split_once('=').is_some_and(|(name, _)| OF_FILES.contains(&name))
}

/// Those that the settings ask for.
pub fn all(settings: &Settings) -> anyhow::Result<Vec<Threat>> {
    let mut texts = settings.threat_model.clone();
    texts.extend(settings.epsilons.iter().map(|bound| format!("linf-{bound}/255")));
    if texts.is_empty() {
        texts.push("sparse-l2".into());
    }
    let mut threats: Vec<Threat> = Vec::new();
    for text in texts {
        let threat = parse(&text)?;
        match threats.iter().find(|known| known.name == threat.name) {
            // A bound may be asked for in both ways.
            Some(known) => ensure!(
                known.properties == threat.properties,
                "Expected one threat model of the name {}, found two. Rename one.",
                threat.name
            ),
            None => threats.push(threat),
        }
    }
    Ok(threats)
}

/// One of them, by its name or as a line of one's own.
pub fn parse(text: &str) -> anyhow::Result<Threat> {
    if let Some(threat) = preset(text)? {
        return Ok(threat);
    }
    let known = || {
        let names: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
        format!("{}, linf-N/255, border=FILE, universal=FILE or NAME=PROPERTIES", names.join(", "))
    };
    let (name, properties) =
        text.split_once('=').with_context(|| format!("Expected --threat-model {}, found {text}.", known()))?;
    let of_preset = PRESETS.iter().any(|(preset, _)| *preset == name) || bound(name).is_some();
    if of_preset || !is_name(name) {
        bail!(
            "Expected a name of your own, of letters, digits, '-', '_' and '.', in front of a threat model's properties, found {name} in {text}. Use {}.",
            known()
        );
    }
    Threat::new(name, properties.trim(), None)
}

fn preset(text: &str) -> anyhow::Result<Option<Threat>> {
    if let Some((name, properties)) = PRESETS.iter().find(|(name, _)| *name == text) {
        return Ok(Some(Threat::new(name, properties, None)?));
    }
    if let Some(bound) = bound(text) {
        let threat = Threat::new(text, &dense(bound), None)?;
        return Ok(Some(threat));
    }
    let Some((name, file)) = text.split_once('=').filter(|(name, _)| OF_FILES.contains(name)) else {
        return Ok(None);
    };
    let universal = Universal::load(file.as_ref())?;
    let is_border = matches!(universal.header.kind, Kind::Border(_));
    ensure!(
        is_border == (name == "border"),
        "Expected {} in {file}, found {:?}. Name it by --threat-model {}=FILE.",
        if name == "border" { "a border" } else { "a perturbation of the whole picture" },
        universal.header.kind,
        if is_border { "border" } else { "universal" }
    );
    let properties = format!("perturbation={}", glib::Value::from(file).serialize()?);
    Ok(Some(Threat::new(name, &properties, Some(file.into()))?))
}

/// N of `linf-N/255`.
fn bound(text: &str) -> Option<u8> {
    text.strip_prefix("linf-")?.strip_suffix("/255")?.parse().ok().filter(|bound| *bound > 0)
}

/// All frames within a bound on each value, until the window is fooled.
fn dense(bound: u8) -> String {
    format!("search=walk norm=linf keyframes=all epsilon={bound}")
}

impl Threat {
    fn new(name: &str, properties: &str, file: Option<PathBuf>) -> anyhow::Result<Self> {
        let element = media::element("sparseadv", properties).with_context(|| format!("--threat-model {name}"))?;
        for grid in ["window-size", "frame-step", "stride"] {
            ensure!(
                element.property::<u32>(grid) == 0,
                "Expected the same windows for all threat models, found {grid} in {name}. Set it by --properties."
            );
        }
        let learned = element.property::<Option<PathBuf>>("perturbation").is_some();
        let curve = (!learned)
            .then(|| Curve { name: bound(name).map_or(name, |_| "linf").into(), norm: norm(&element).into() });
        Ok(Self { name: name.into(), properties: properties.into(), file, curve })
    }
}

/// What a search makes small.
fn norm(element: &gst::Element) -> &'static str {
    match (element.property::<Search>("search"), element.property::<Norm>("norm")) {
        (Search::TwoStage | Search::WeightedSum, _) | (_, Norm::L21) => "l21",
        (_, Norm::L2) => "l2",
        (_, Norm::L1) => "l1",
        (_, Norm::Linf) => "linf",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Once: tests run at a time, and GStreamer takes a plugin in one thread.
    fn init() {
        static INIT: std::sync::Once = std::sync::Once::new();
        INIT.call_once(|| {
            gst::init().expect("GStreamer");
            gstsparseadv::plugin_register_static().expect("the plugin");
        });
    }

    fn of(texts: &[&str]) -> anyhow::Result<Vec<Threat>> {
        let threat_model = texts.iter().map(|text| (*text).to_string()).collect();
        all(&Settings { threat_model, ..Settings::default() })
    }

    /// Also that no property of a preset is without effect, which the element warns of.
    #[test]
    fn the_element_takes_every_preset() {
        init();
        let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data");
        let universal = format!("universal={}", data.join("figures-c3d.safetensors").display());
        let presets =
            ["sparse-l21", "sparse-l2", "sparse-l1", "black-box", "linf-4/255", "linf-255/255", universal.as_str()];
        let threats = of(&presets).expect("threat models");
        assert_eq!(threats.len(), presets.len());
        for threat in &threats {
            let element = media::element("sparseadv", &threat.properties).expect(&threat.name);
            element.set_property("model", data.join("figures-c3d.pt").to_str().expect("UTF-8"));
            let bus = gst::Bus::new();
            element.set_bus(Some(&bus));
            element.set_state(gst::State::Ready).expect(&threat.name);
            let said = bus.pop_filtered(&[gst::MessageType::Warning, gst::MessageType::Error]);
            element.set_state(gst::State::Null).expect("the end");
            assert!(said.is_none(), "{}: {said:?}", threat.name);
        }
        let norms: Vec<Option<&str>> = threats.iter().map(|t| t.curve.as_ref().map(|c| c.norm.as_str())).collect();
        let expected = [Some("l21"), Some("l2"), Some("l1"), Some("l2"), Some("linf"), Some("linf"), None];
        assert_eq!(norms, expected);
        assert_eq!(threats[4].curve, threats[5].curve, "bounds make one curve");
    }

    #[test]
    fn wrong_threat_models_are_refused_in_words() {
        init();
        let perturbation = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/figures-c3d.safetensors");
        let border = format!("border={perturbation}");
        for (text, word) in [
            ("nosuch", "sparse-l21"),
            ("linf-0/255", "linf-N/255"),
            ("linf-4/256", "linf-N/255"),
            ("sparse-l2=norm=l1", "a name of your own"),
            ("a/b=norm=l1", "a name of your own"),
            ("own=nosuch=1", "nosuch"),
            ("own=stride=8", "--properties"),
            (border.as_str(), "--threat-model universal=FILE"),
        ] {
            let error = format!("{:#}", of(&[text]).expect_err(text));
            assert!(error.contains(word), "{text}: {error}");
        }
        assert!(of(&["own=norm=l1", "own=norm=l2"]).is_err());
        assert_eq!(of(&["linf-4/255", "linf-4/255"]).expect("the same").len(), 1);
        assert_eq!(of(&["own=norm=l1"]).expect("own")[0].properties, "norm=l1");
    }
}
