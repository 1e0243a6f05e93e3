// SPDX-License-Identifier: MPL-2.0

//! The file of a universal perturbation: safetensors, with one tensor and a header in JSON.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};

use super::{FORMAT, Header, Kind, Universal, Values};
use crate::files;

/// The key of the header in the file's metadata, and the name of its tensor.
const HEADER: &str = "sparseadv";
const TENSOR: &str = "perturbation";
/// A file of a whole window at 512 pixels a side has 12 MiB.
const LARGEST: u64 = 256 << 20;

/// The longest period.
const PERIOD: usize = 256;

/// Why a perturbation cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("The perturbation {path} cannot be {done}: {reason}. Check the path.")]
    Io { path: String, done: &'static str, reason: std::io::Error },
    #[error(
        "Expected a perturbation as `gst-sparseadv learn` writes it, found that {path} {found}. Name another file."
    )]
    Unusable { path: String, found: String },
}

impl Universal {
    /// Reads a file, and checks that its values fit its header.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::load_hashed(path).map(|(universal, _)| universal)
    }

    /// The same, with the SHA-256 of what was read, in hexadecimal.
    pub fn load_hashed(path: &Path) -> Result<(Self, String), Error> {
        let io = |reason| Error::Io { path: path.display().to_string(), done: "read", reason };
        let bytes = files::read_at_most(path, LARGEST).map_err(io)?;
        let universal = Self::from_bytes(&bytes).map_err(|found| unusable(path, found))?;
        Ok((universal, format!("{:x}", Sha256::digest(&bytes))))
    }

    /// The same by a file's bytes. An error says what is wrong with them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let no_file = |e| format!("is no safetensors file ({e})");
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(no_file)?;
        let header = metadata.metadata().as_ref().and_then(|m| m.get(HEADER));
        let header = header.ok_or("has no header of sparseadv")?;
        let header: Header = serde_json::from_str(header).map_err(|e| format!("has an unknown header ({e})"))?;
        header.check()?;
        let tensors = SafeTensors::deserialize(bytes).map_err(no_file)?;
        let tensor = tensors.tensor(TENSOR).map_err(|_| format!("has no tensor {TENSOR}"))?;
        let shape = <[usize; 4]>::try_from(tensor.shape())
            .map_err(|_| format!("has values of shape {:?}, not [period, 3, height, width]", tensor.shape()))?;
        let expected = expected_shape(&header);
        if shape != expected {
            return Err(format!("has values of shape {shape:?}, and {:?} has {expected:?}", header.kind));
        }
        let replaces = header.kind.replaces();
        let values = match tensor.dtype() {
            Dtype::I8 if !replaces => Values::Added(tensor.data().iter().map(|b| *b as i8).collect()),
            Dtype::U8 if replaces => Values::Shown(tensor.data().to_vec()),
            other => return Err(format!("has values of type {other:?}, which {:?} has not", header.kind)),
        };
        Ok(Self { header, values, shape })
    }

    /// Writes a file, which appears whole or not at all.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let io = |reason| Error::Io { path: path.display().to_string(), done: "written", reason };
        let bytes = self.to_bytes().map_err(|found| unusable(path, found))?;
        files::write_whole(path, &bytes).map_err(io)
    }

    /// A file's bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let header = serde_json::to_string(&self.header).map_err(|e| e.to_string())?;
        let (dtype, data): (_, Vec<u8>) = match &self.values {
            Values::Added(values) => (Dtype::I8, values.iter().map(|v| *v as u8).collect()),
            Values::Shown(values) => (Dtype::U8, values.clone()),
        };
        let tensor = TensorView::new(dtype, self.shape.to_vec(), &data).map_err(|e| e.to_string())?;
        let metadata = HashMap::from([(HEADER.to_string(), header)]);
        safetensors::serialize([(TENSOR, tensor)], &Some(metadata)).map_err(|e| e.to_string())
    }
}

fn unusable(path: &Path, found: String) -> Error {
    Error::Unusable { path: path.display().to_string(), found }
}

impl Header {
    /// Whether it is of a format that is known, and what it says fits together. An error goes on behind the file's name.
    pub fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("is of format {}, and this version reads {FORMAT}", self.format));
        }
        self.view.check()?;
        // Each phase is worked out for a whole frame of the stream.
        if self.view.window > PERIOD {
            return Err(format!("has a period of {} frames, more than {PERIOD}", self.view.window));
        }
        check_place(self)
    }
}

/// `[period, 3, height, width]` of a kind of perturbation.
fn expected_shape(header: &Header) -> [usize; 4] {
    let [height, width] = header.view.crop;
    match header.kind {
        Kind::Circular => [header.view.window, 3, height, width],
        Kind::Flicker => [header.view.window, 3, 1, 1],
        Kind::Frame | Kind::Border(_) | Kind::Region { .. } => [1, 3, height, width],
    }
}

/// Whether what is changed lies within the view.
fn check_place(header: &Header) -> Result<(), String> {
    let [rows, cols] = header.view.crop;
    let within = match header.kind {
        Kind::Circular | Kind::Frame | Kind::Flicker => true,
        // One that meets in the middle is no border any more.
        Kind::Border(width) => width > 0 && width.checked_mul(2).is_some_and(|both| both < rows.min(cols)),
        Kind::Region { top, left, height, width } => {
            height > 0
                && width > 0
                && top.checked_add(height).is_some_and(|end| end <= rows)
                && left.checked_add(width).is_some_and(|end| end <= cols)
        }
    };
    if within {
        return Ok(());
    }
    let place = match header.kind {
        Kind::Border(width) => format!("a border of {width} pixels"),
        Kind::Region { top, left, height, width } => {
            format!("a region of {height} x {width} pixels from row {top} and column {left} on")
        }
        Kind::Circular | Kind::Frame | Kind::Flicker => "all of it".into(),
    };
    Err(format!("has {place} in a view of {rows} rows and {cols} columns, where there is no room for it"))
}
