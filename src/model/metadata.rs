// SPDX-License-Identifier: MPL-2.0

//! What a classifier expects of its input and means by its output: the JSON member `extra/sparseadv.json` of a
//! TorchScript archive (`torch.jit.save(..., _extra_files={"sparseadv.json": ...})`), or the sidecar file
//! `model.pt.json`, which wins where both exist.

use serde::{Deserialize, Serialize};

use super::Error;
use crate::video::Geometry;

/// Order of the axes of the model's input. B is the batch, always 1 here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout {
    /// `[B, 3, T, H, W]`, as 3D convolutions take it.
    #[serde(rename = "BCTHW")]
    Bcthw,
    /// `[B, T, 3, H, W]`, as recurrent models take it.
    #[serde(rename = "BTCHW")]
    Btchw,
    /// `[B, 3, H, W]`: single pictures. Such a model can be a surrogate ([`super::Surrogate`]), and not what is attacked.
    #[serde(rename = "BCHW")]
    Bchw,
}

/// Order of the axes of the feature map that the keyframes are weighed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeatureLayout {
    #[serde(rename = "BCTHW")]
    Bcthw,
    #[serde(rename = "BTCHW")]
    Btchw,
    /// One vector a step: `[B, T', D]`.
    #[serde(rename = "BTD")]
    Btd,
}

impl FeatureLayout {
    /// Index of the time axis.
    pub fn time_axis(self) -> usize {
        match self {
            Self::Bcthw => 2,
            Self::Btchw | Self::Btd => 1,
        }
    }

    pub fn rank(self) -> usize {
        match self {
            Self::Bcthw | Self::Btchw => 5,
            Self::Btd => 3,
        }
    }
}

/// The size frames are resized to before the crop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Resize {
    /// The shorter side gets this many pixels, the aspect ratio is kept.
    ShortSide(usize),
    /// `[height, width]`.
    Exact([usize; 2]),
}

/// Which input frames a feature step sees: step `j` covers frames `start + j * stride .. start + j * stride + size`
/// (those that exist). This is z and its placement in the paper's Eq. 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureWindow {
    pub size: usize,
    pub stride: usize,
    pub start: isize,
}

/// The most values of a window, as many as four gigabytes of floats. A window of 64 frames of 512 x 512 pixels has a
/// twentieth.
const LARGEST_WINDOW: usize = 1 << 30;

/// The most frames that a feature step may see, or that two of them may lie apart.
const LONGEST_SPAN: usize = 1 << 16;

/// The model contract. Every field has a default, C3D's usual values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metadata {
    pub name: String,
    /// T, the number of frames in a window.
    pub window: usize,
    pub layout: Layout,
    pub resize: Resize,
    /// Center crop after the resize, `[height, width]`.
    pub crop: [usize; 2],
    /// Whether the bilinear resize widens its kernel when it shrinks (torchvision's `antialias`).
    pub antialias: bool,
    /// The order of the color channels: `RGB` or `BGR`.
    pub channels: String,
    /// A channel's value is `(v - mean) / std` with v in `range`.
    pub mean: [f32; 3],
    pub std: [f32; 3],
    /// What black and white are before `mean` and `std`: `[0, 1]` or `[0, 255]`.
    pub range: [f32; 2],
    /// Class names in the order of the logits; may be empty.
    pub labels: Vec<String>,
    /// Frames of the stream from one frame of a window to the next.
    pub frame_step: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_layout: Option<FeatureLayout>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_window: Option<FeatureWindow>,
}

impl Default for Metadata {
    fn default() -> Self {
        Self {
            name: String::new(),
            window: 16,
            layout: Layout::Bcthw,
            resize: Resize::Exact([128, 171]),
            crop: [112, 112],
            antialias: false,
            channels: "RGB".into(),
            mean: [0.0; 3],
            std: [1.0; 3],
            range: [0.0, 1.0],
            labels: Vec::new(),
            frame_step: 1,
            feature_layout: None,
            feature_window: None,
        }
    }
}

impl Metadata {
    /// Parses and checks the JSON text; `origin` names it in errors.
    pub fn from_json(text: &[u8], origin: &str) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Metadata { origin: origin.into(), reason };
        // As some editors begin a file.
        let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
        let value: serde_json::Value = serde_json::from_slice(text).map_err(|e| wrong(e.to_string()))?;
        if !value.is_object() {
            return Err(wrong(format!("expected an object, found {value}")));
        }
        let metadata: Self = serde_json::from_value(value).map_err(|e| wrong(e.to_string()))?;
        metadata.check().map_err(|reason| Error::Metadata { origin: origin.into(), reason })?;
        Ok(metadata)
    }

    /// Where the model's view lies in frames of `height` x `width`.
    pub fn geometry(&self, height: usize, width: usize) -> Geometry {
        let resized = match self.resize {
            Resize::Exact(size) => size,
            // The rounding down of torchvision's `resize`.
            Resize::ShortSide(side) if height <= width => [side, side * width / height.max(1)],
            Resize::ShortSide(side) => [side * height / width.max(1), side],
        };
        Geometry { resized, crop: self.crop, antialias: self.antialias }
    }

    /// Multiplier and offset a channel that turn gray levels 0..255 into the model's values.
    pub fn scale_and_bias(&self) -> ([f32; 3], [f32; 3]) {
        let mut scale = [0.0; 3];
        let mut bias = [0.0; 3];
        for c in 0..3 {
            scale[c] = (self.range[1] - self.range[0]) / 255.0 / self.std[c];
            bias[c] = (self.range[0] - self.mean[c]) / self.std[c];
        }
        (scale, bias)
    }

    /// The name of a class, or its number where the model names none.
    pub fn label_name(&self, label: usize) -> String {
        self.labels.get(label).cloned().unwrap_or_else(|| label.to_string())
    }

    /// Whether the sizes, the range and the names can be those of a model. An error says which cannot.
    pub fn check(&self) -> Result<(), String> {
        let [ch, cw] = self.crop;
        if !(1..=1024).contains(&self.window) {
            return Err(format!("expected a window of 1 to 1024 frames, found {}", self.window));
        }
        if !(1..=256).contains(&self.frame_step) {
            return Err(format!("expected a frame_step of 1 to 256, found {}", self.frame_step));
        }
        if ch == 0 || cw == 0 || ch > 4096 || cw > 4096 {
            return Err(format!("expected a crop of 1 to 4096 pixels a side, found {ch}x{cw}"));
        }
        match self.resize {
            Resize::Exact([h, w]) if h < ch || w < cw => {
                Err(format!("expected a crop within the resized {h}x{w}, found {ch}x{cw} (height x width)"))
            }
            Resize::Exact([h, w]) if h > 8192 || w > 8192 => {
                Err(format!("expected a resize of at most 8192 pixels a side, found {h}x{w}"))
            }
            Resize::ShortSide(side) if side < ch || side < cw || side > 8192 => {
                Err(format!("expected a short side of {} to 8192 pixels, found {side}", ch.max(cw)))
            }
            _ => Ok(()),
        }?;
        if self.channels != "RGB" && self.channels != "BGR" {
            return Err(format!("expected channels RGB or BGR, found {}", self.channels));
        }
        if !self.std.iter().all(|s| s.is_finite() && *s > 0.0) || !self.mean.iter().all(|m| m.is_finite()) {
            return Err(format!(
                "expected finite means and positive deviations, found {:?} and {:?}",
                self.mean, self.std
            ));
        }
        if !self.range.iter().all(|r| r.is_finite()) || self.range[0] >= self.range[1] {
            return Err(format!("expected a rising range such as [0, 1], found {:?}", self.range));
        }
        let (scale, bias) = self.scale_and_bias();
        if !scale.iter().chain(&bias).all(|v| v.is_finite()) {
            return Err(format!(
                "expected mean, std and range of which gray levels become finite values, found {:?}, {:?} and {:?}",
                self.mean, self.std, self.range
            ));
        }
        if let Some(FeatureWindow { size, stride, start }) = self.feature_window {
            let span = 1..=LONGEST_SPAN;
            if !span.contains(&size) || !span.contains(&stride) || start.unsigned_abs() > LONGEST_SPAN {
                return Err(format!(
                    "expected a feature_window of 1 to {LONGEST_SPAN} frames with a stride of as many, which starts no further away, found size {size}, stride {stride} and start {start}"
                ));
            }
        }
        self.check_size()
    }

    /// Whether a window fits into memory, whatever its number of frames was set to.
    pub fn check_size(&self) -> Result<(), String> {
        let [height, width] = self.crop;
        let values = [3, self.window, height, width].into_iter().try_fold(1, usize::checked_mul);
        match values {
            Some(1..=LARGEST_WINDOW) => Ok(()),
            _ => Err(format!(
                "expected a window of at most {LARGEST_WINDOW} values, found {} frames of 3x{height}x{width}",
                self.window
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_are_an_object_whatever_the_file_begins_with() {
        let plain = Metadata::from_json(b"{\"window\": 8}", "a").expect("metadata");
        assert_eq!(plain.window, 8);
        let marked = Metadata::from_json("\u{feff}{\"window\": 8}".as_bytes(), "a");
        assert_eq!(marked.expect("metadata"), plain);
        for text in ["[]", "[\"c3d\", 16]", "8", "null"] {
            let error = Metadata::from_json(text.as_bytes(), "a").expect_err(text);
            assert!(error.to_string().contains("expected an object"), "{error}");
        }
    }

    #[test]
    fn numbers_that_no_window_can_be_made_of_are_refused() {
        for (text, word) in [
            ("{\"window\": 1024, \"resize\": 4096, \"crop\": [4096, 4096]}", "values"),
            ("{\"std\": [1e-45, 1, 1]}", "finite"),
            ("{\"range\": [-3e38, 3e38]}", "finite"),
            ("{\"feature_window\": {\"size\": 0, \"stride\": 1, \"start\": 0}}", "feature_window"),
            ("{\"feature_window\": {\"size\": 1, \"stride\": 9223372036854775807, \"start\": 0}}", "feature_window"),
            ("{\"feature_window\": {\"size\": 1, \"stride\": 1, \"start\": -9223372036854775808}}", "feature_window"),
        ] {
            let error = Metadata::from_json(text.as_bytes(), "a").expect_err(text).to_string();
            assert!(error.contains("expected") && error.contains(word), "{error}");
        }
    }
}
