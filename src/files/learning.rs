// SPDX-License-Identifier: MPL-2.0

//! Where learning stands, in a file beside what will be learned, so that a run that was killed goes on.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use tch::{Device, TchError, Tensor};

use crate::torch;

/// The keys of the settings and of the steps taken.
const SETTINGS: &str = "settings";
const STEPS: &str = "steps";
/// Of them those that moved the values.
const MOVES: &str = "moves";

/// The most bytes beside the tensors. The settings are a line.
const NOTES: u64 = 1 << 20;

/// Why a state cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Error {
    #[error("The state of learning in {path} cannot be {done}: {reason}.")]
    Io { path: String, done: &'static str, reason: String },
    #[error(
        "Expected the state of learning with these settings in {path}, found that of others. Name another output, or delete {path}."
    )]
    OtherSettings { path: String },
    #[error(transparent)]
    Torch(#[from] TchError),
}

/// Where a run stands.
pub struct Standing<const N: usize> {
    /// Steps that it has taken.
    pub steps: u32,
    /// Of them those that moved the values.
    pub moves: i32,
    /// What it goes on with, by name.
    pub tensors: [(&'static str, Tensor); N],
}

impl<const N: usize> Standing<N> {
    /// Writes it, and with what settings it came about.
    pub fn suspend(&self, path: &Path, settings: &str) -> Result<(), Error> {
        let failed = |reason: String| Error::Io { path: path.display().to_string(), done: "written", reason };
        let bytes = |(_, tensor): &(&str, Tensor)| -> Result<Vec<u8>, TchError> {
            Ok(torch::download(tensor)?.into_iter().flat_map(f32::to_le_bytes).collect())
        };
        let data = self.tensors.iter().map(bytes).collect::<Result<Vec<_>, _>>()?;
        let shape = |tensor: &Tensor| tensor.size().into_iter().map(|n| n as usize).collect();
        let views =
            self.tensors.iter().zip(&data).map(|((name, tensor), data)| {
                TensorView::new(Dtype::F32, shape(tensor), data).map(|view| (*name, view))
            });
        let views = views.collect::<Result<Vec<_>, _>>().map_err(|e| failed(e.to_string()))?;
        let notes =
            [(SETTINGS, settings.to_string()), (STEPS, self.steps.to_string()), (MOVES, self.moves.to_string())];
        let notes: HashMap<String, String> = notes.map(|(key, text)| (key.to_string(), text)).into();
        let whole = safetensors::serialize(views, &Some(notes)).map_err(|e| failed(e.to_string()))?;
        super::write_whole(path, &whole).map_err(|e| failed(e.to_string()))
    }

    /// Takes over where an earlier run with these settings stood, with tensors of the same sizes. Returns whether there is
    /// a file.
    pub fn resume(&mut self, path: &Path, settings: &str) -> Result<bool, Error> {
        let failed = |reason: String| Error::Io { path: path.display().to_string(), done: "read", reason };
        if !path.exists() {
            return Ok(false);
        }
        let values: usize = self.tensors.iter().map(|(_, tensor)| tensor.numel()).sum();
        let bytes = super::read_at_most(path, 4 * values as u64 + NOTES).map_err(|e| failed(e.to_string()))?;
        let (_, notes) = SafeTensors::read_metadata(&bytes).map_err(|e| failed(e.to_string()))?;
        let note = |key: &str| notes.metadata().as_ref().and_then(|notes| notes.get(key).cloned());
        if note(SETTINGS).as_deref() != Some(settings) {
            return Err(Error::OtherSettings { path: path.display().to_string() });
        }
        self.steps = note(STEPS).and_then(|text| text.parse().ok()).ok_or_else(|| failed("it has no steps".into()))?;
        self.moves = note(MOVES).and_then(|text| text.parse().ok()).ok_or_else(|| failed("it has no moves".into()))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| failed(e.to_string()))?;
        for (name, tensor) in &mut self.tensors {
            let data = file.tensor(name).map_err(|e| failed(e.to_string()))?.data().to_vec();
            let values = data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            let values: Vec<f32> = values.collect();
            let shape = tensor.size();
            if values.len() != tensor.numel() {
                return Err(failed(format!("{name} has {} values, not those of {shape:?}", values.len())));
            }
            *tensor = torch::upload(&values, &shape, Device::Cpu)?;
        }
        Ok(true)
    }
}
