// SPDX-License-Identifier: MPL-2.0

//! What is evaluated: a small TOML file whose keys are the options of the command line, which override it.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use gstsparseadv::dataset;
use serde::{Deserialize, Serialize};

use super::threat;
use crate::convert::Side;

/// Name of the file in the results' folder.
pub const FILE: &str = "settings.toml";

/// Properties that all attacks have. The same windows are attacked one by one, so that results repeat.
const PROPERTIES: &str = "precision=f32 batch-windows=1";

/// The raw format that is attacked. A bound on what the model sees holds to the level in RGB alone.
const FORMAT: &str = "RGB";

#[derive(Clone, Debug, Default, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// What is evaluated on, by a name: a data set as convert takes it, a CSV list with the columns clip and label, or a
    /// video with --label. May be repeated
    #[arg(long, value_name = "NAME=PATH")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<String>,
    /// TorchScript classifier; may be repeated. It is a program and is run: use only files you trust
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub model: Vec<PathBuf>,
    /// A preset, border=FILE or universal=FILE, or NAME=PROPERTIES of your own; may be repeated. Presets: sparse-l21 (the
    /// paper's), sparse-l2, sparse-l1, linf-N/255, black-box [default: sparse-l2]
    #[arg(long, value_name = "THREAT")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub threat_model: Vec<String>,
    /// A codec or a resizer that clips go through as a whole, as a bin from raw video to raw video; may be repeated. What
    /// is pushed is judged as it is besides
    #[arg(long, value_name = "NAME=BIN")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channel: Vec<String>,
    /// Frames by which windows are shifted against those attacked, each for a judgment more
    #[arg(long, value_name = "FRAMES", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<usize>,
    /// Bounds N of runs of linf-N/255, for a curve
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub epsilons: Vec<u8>,
    /// The true label of videos in --data
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Clips of each class at the most, by chance; by default all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clips: Option<u32>,
    /// Which clips of a data set; by default the test clips where lists say which these are, otherwise all
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
    /// Which of a data set's three splits [default: 1]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<u32>,
    /// Folder of the split lists, if not in or beside the set
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub splits: Option<PathBuf>,
    /// Groups (actors, source films) that are the test clips of plain folders
    #[arg(long, value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub test_groups: Vec<String>,
    /// Raw format that is attacked, or "native" for the decoder's own. A bound holds to the level in RGB alone
    /// [default: RGB]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Bound of the attack's iterations for a window, whatever the threat model
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_iterations: Option<u32>,
    /// Further properties of the element for every threat model [default: precision=f32 batch-windows=1, which repeat to
    /// the bit]
    #[arg(long, value_name = "PROPERTIES", allow_hyphen_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<String>,
    /// Device to run the models on: auto, cpu, cuda or cuda:N [default: auto]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Seed of the choice of clips and of whatever else is random [default: 0]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// A gate: ends with status 1 where this holds of a figure of the summary, as in "robust_accuracy<0.5". A scope may
    /// stand in front, as in "c3d/sparse-l2/*: fooling_rate>0.9". May be repeated
    #[arg(long, value_name = "CONDITION")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fail_if: Vec<String>,
    /// Skipped clips do not make it end with status 2
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "true|false")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_skipped: Option<bool>,
}

/// Whether a name can be a part of what gates and files speak of: letters, digits, '-', '_' and '.'.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c))
}

impl Settings {
    /// Reads a file. Paths in it are relative to its folder.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("Expected settings in {}, found none that can be read", path.display()))?;
        let settings: Self = toml::from_str(&text).map_err(|error| {
            let place = error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            anyhow!(
                "Expected settings of gst-sparseadv evaluate in {}, found in line {place}: {}. Its keys are the options of evaluate --help.",
                path.display(),
                error.message().trim()
            )
        })?;
        settings.absolute(path.parent().unwrap_or(Path::new("")))
    }

    /// These, and what they leave open from `file`.
    pub fn over(self, file: Self) -> Self {
        fn list<T>(own: Vec<T>, other: Vec<T>) -> Vec<T> {
            if own.is_empty() { other } else { own }
        }
        Self {
            data: list(self.data, file.data),
            model: list(self.model, file.model),
            threat_model: list(self.threat_model, file.threat_model),
            channel: list(self.channel, file.channel),
            phases: list(self.phases, file.phases),
            epsilons: list(self.epsilons, file.epsilons),
            label: self.label.or(file.label),
            clips: self.clips.or(file.clips),
            side: self.side.or(file.side),
            split: self.split.or(file.split),
            splits: self.splits.or(file.splits),
            test_groups: list(self.test_groups, file.test_groups),
            format: self.format.or(file.format),
            max_iterations: self.max_iterations.or(file.max_iterations),
            properties: self.properties.or(file.properties),
            device: self.device.or(file.device),
            seed: self.seed.or(file.seed),
            fail_if: list(self.fail_if, file.fail_if),
            allow_skipped: self.allow_skipped.or(file.allow_skipped),
        }
    }

    /// The same with paths that mean the same from everywhere.
    pub fn absolute(mut self, folder: &Path) -> anyhow::Result<Self> {
        let real = |path: &Path| std::path::absolute(folder.join(path)).with_context(|| path.display().to_string());
        let named = |text: &String| {
            let Some((name, path)) = text.split_once('=') else { return Ok(text.clone()) };
            let path = real(Path::new(path))?;
            let path = path.to_str().context("Expected paths in UTF-8. Rename the folder.")?;
            anyhow::Ok(format!("{name}={path}"))
        };
        self.data = self.data.iter().map(named).collect::<anyhow::Result<_>>()?;
        self.model = self.model.iter().map(|path| real(path)).collect::<anyhow::Result<_>>()?;
        self.splits = self.splits.as_deref().map(real).transpose()?;
        self.threat_model = self
            .threat_model
            .iter()
            .map(|text| if threat::names_a_file(text) { named(text) } else { Ok(text.clone()) })
            .collect::<anyhow::Result<_>>()?;
        Ok(self)
    }

    pub fn to_toml(&self) -> anyhow::Result<String> {
        Ok(format!(
            "# Made by gst-sparseadv evaluate. This runs it again:\n#   gst-sparseadv evaluate {FILE} --out OUT\n{}",
            toml::to_string_pretty(self)?
        ))
    }

    pub fn dataset(&self) -> dataset::Options {
        dataset::Options {
            layout: None,
            split: self.split.unwrap_or(1),
            splits: self.splits.clone(),
            test_groups: self.test_groups.clone(),
        }
    }

    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or_default()
    }

    /// Nothing for the decoder's own.
    pub fn format(&self) -> anyhow::Result<Option<gst_video::VideoFormat>> {
        let name = self.format.as_deref().unwrap_or(FORMAT);
        if name == "native" {
            return Ok(None);
        }
        let known = gstsparseadv::element::format::FORMATS.into_iter();
        let names: Vec<String> = known.clone().map(|format| format.to_str().to_string()).collect();
        let found = known.into_iter().find(|format| format.to_str() == name);
        found.map(Some).with_context(|| {
            format!("Expected --format native or one of {}, found {name}. Use one of these.", names.join(", "))
        })
    }

    /// What every attack has in front of its threat model's properties, and behind them.
    pub fn common(&self) -> [String; 2] {
        let front = format!("tail=passthrough seed={}", self.seed());
        let mut behind = self.properties.clone().unwrap_or(PROPERTIES.into());
        if let Some(iterations) = self.max_iterations {
            behind += &format!(" max-iterations={iterations}");
        }
        [front, behind]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_overrides_the_file_and_what_is_kept_says_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.toml");
        let text =
            "model = [\"c3d.pt\"]\nclips = 3\nseed = 7\nthreat-model = [\"border=b.safetensors\", \"own=norm=l1\"]\n";
        std::fs::write(&path, text).expect("a file");
        let line = Settings { clips: Some(1), ..Settings::default() };
        let merged = line.over(Settings::read(&path).expect("settings"));
        assert_eq!((merged.clips, merged.seed), (Some(1), Some(7)));
        assert_eq!(merged.model, [folder.path().join("c3d.pt")]);
        let border = format!("border={}", folder.path().join("b.safetensors").display());
        assert_eq!(merged.threat_model, [border, "own=norm=l1".into()]);
        let kept = folder.path().join("kept/settings.toml");
        std::fs::create_dir(folder.path().join("kept")).expect("a folder");
        std::fs::write(&kept, merged.to_toml().expect("TOML")).expect("a file");
        assert_eq!(Settings::read(&kept).expect("settings"), merged);
    }

    #[test]
    fn a_wrong_key_is_named_with_its_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.toml");
        for (text, word) in
            [("clips = 1\nclip = 3\n", "clip"), ("seed = \"x\"\n", "invalid type"), ("clips = 1\nseed =", "line 2")]
        {
            std::fs::write(&path, text).expect("a file");
            let error = format!("{:#}", Settings::read(&path).expect_err(text));
            assert!(error.contains("a.toml") && error.contains(word) && error.contains("line "), "{error}");
        }
    }
}
