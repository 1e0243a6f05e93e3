// SPDX-License-Identifier: MPL-2.0

//! What `attack` is asked to do.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use gst::prelude::*;

use super::lines::Form;
use crate::element::Attacker;
use crate::evaluate::threat;

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  gst-sparseadv attack examples/data/figures-walk.mp4 attacked.mp4 --model examples/data/figures-c3d.pt --picture attacked.png\n\n\
    What an encoder does not take is converted in front of the attack, and that is said. Sound and further video streams are left out.\n\
    Any length of video takes the same memory. Nothing is written where the run fails or is interrupted.\n\n\
    A file whose name begins with a dash is written as ./-name."
)]
pub struct Arguments {
    /// Video file to attack
    pub(super) input: PathBuf,
    /// File to write, in the container that its name ends in: .mp4, .m4v, .mov, .3gp, .mkv, .webm, .avi, .ts or .flv
    pub(super) output: PathBuf,
    /// TorchScript classifier. It is a program and is run: use only files you trust
    #[arg(long)]
    pub(super) model: PathBuf,
    /// True label by name or index, which the rates are against; by default the model's own label of the clean window
    #[arg(long)]
    pub(super) label: Option<String>,
    /// Label by name or index that the model shall give; by default any other will do
    #[arg(long)]
    pub(super) target_label: Option<String>,
    /// Bound of the attack's iterations for a window
    #[arg(long)]
    pub(super) max_iterations: Option<u32>,
    /// What the attacker may do, as in evaluate: sparse-l21, sparse-l2, sparse-l1, linf-N/255, black-box, border=FILE,
    /// universal=FILE or NAME=PROPERTIES
    #[arg(long, value_name = "NAME")]
    pub(super) threat_model: Option<String>,
    /// Most gray levels that a value may change by; 0: any number
    #[arg(long, value_name = "LEVELS", value_parser = clap::value_parser!(u8))]
    pub(super) epsilon: Option<u8>,
    /// Device to run the model on: auto, cpu, cuda or cuda:N
    #[arg(long)]
    pub(super) device: Option<String>,
    /// Further properties of the element, as in gst-launch-1.0
    #[arg(long, default_value = "", value_name = "PROPERTIES", allow_hyphen_values = true)]
    pub(super) properties: String,
    /// Encoder, with its properties; by default one that the container takes
    #[arg(long)]
    pub(super) encoder: Option<String>,
    /// Muxer, with its properties; by default that of the output's name
    #[arg(long)]
    pub(super) muxer: Option<String>,
    /// PNG file for a picture of clean frames, attacked frames and their difference
    #[arg(long)]
    pub(super) picture: Option<PathBuf>,
    /// HTML file that compares windows clean, attacked, and behind each codec, by what the model says of them; opens
    /// offline
    #[arg(long)]
    pub(super) page: Option<PathBuf>,
    /// A further codec for the page, as a bin from raw video to raw video such as "jpegenc ! jpegdec"; may be repeated
    #[arg(long, value_name = "BIN", requires = "page")]
    pub(super) codec: Vec<String>,
    /// JSON lines, one a window
    #[arg(long)]
    pub(super) report: Option<PathBuf>,
    /// Print the windows as JSON lines, as they happen, and a line of totals in the end
    #[arg(long)]
    pub(super) json: bool,
    /// Print nothing but warnings and errors
    #[arg(long, conflicts_with = "json")]
    pub(super) quiet: bool,
}

impl Arguments {
    /// What the page is about.
    pub fn title(&self) -> String {
        let name = |path: &Path| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().into_owned()
        };
        format!("{} under attack by {}", name(&self.input), name(&self.model))
    }

    pub fn form(&self) -> Form {
        match (self.json, self.quiet) {
            (true, _) => Form::Json,
            (_, true) => Form::Quiet,
            _ => Form::Text,
        }
    }

    /// An element with its properties, which has not loaded its model yet.
    pub fn attacker(&self) -> anyhow::Result<Attacker> {
        let threat = self.threat_model.as_deref().map(threat::parse).transpose()?;
        // Properties of one's own count, whatever the threat model is.
        let preset = threat.map(|threat| threat.properties).unwrap_or_default();
        let attacker = Attacker::make(&self.model, &format!("{preset} {}", self.properties))?;
        if let (Some(label), Some(target)) = (&self.label, &self.target_label)
            && label == target
        {
            bail!(
                "Expected another --target-label than --label, found {label} for both: there would be nothing to attack."
            );
        }
        let element = &attacker.element;
        for (name, value) in [("label", &self.label), ("target-label", &self.target_label), ("device", &self.device)] {
            if let Some(value) = value {
                element.set_property(name, value);
            }
        }
        if let Some(epsilon) = self.epsilon {
            element.set_property("epsilon", f32::from(epsilon));
        }
        if let Some(iterations) = self.max_iterations {
            let value = glib::Value::from(iterations).transform_with_type(
                element.find_property("max-iterations").context("a property of ours")?.value_type(),
            )?;
            element.set_property_from_value("max-iterations", &value);
        }
        Ok(attacker)
    }

    /// Where the report goes. It may be named as a property too.
    pub fn report(&self, attacker: &Attacker) -> anyhow::Result<Option<PathBuf>> {
        let property: Option<String> = attacker.element.property("report-location");
        match (&self.report, property) {
            (Some(_), Some(_)) => {
                bail!("Expected --report or the property report-location, found both. Leave one out.")
            }
            (Some(report), None) => Ok(Some(report.clone())),
            (None, property) => Ok(property.map(PathBuf::from)),
        }
    }
}
