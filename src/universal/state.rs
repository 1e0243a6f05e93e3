// SPDX-License-Identifier: MPL-2.0

//! Where learning stands, in a file beside what will be learned, so that a run that was killed goes on.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use tch::{Device, TchError, Tensor};

use super::learn::Learner;
use crate::{files, torch};

/// The keys of the settings and of the steps taken.
const SETTINGS: &str = "settings";
const STEPS: &str = "steps";
/// Of them those that moved the values.
const MOVES: &str = "moves";
/// The names of the tensors.
const NAMES: [&str; 3] = ["values", "mean", "variance"];

/// The most bytes beside the tensors. The settings are a line.
const NOTES: u64 = 1 << 20;

/// Why a state cannot be read or written.
#[derive(Debug, thiserror::Error)]
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

impl Learner {
    /// Writes where it stands after so many steps, and with what settings.
    pub fn suspend(&self, path: &Path, settings: &str, steps: u32) -> Result<(), Error> {
        let failed = |reason: String| Error::Io { path: path.display().to_string(), done: "written", reason };
        let tensors = self.tensors()?;
        let bytes = |tensor: &Tensor| -> Result<Vec<u8>, TchError> {
            Ok(torch::download(tensor)?.into_iter().flat_map(f32::to_le_bytes).collect())
        };
        let data = tensors.iter().map(bytes).collect::<Result<Vec<_>, _>>()?;
        let shape: Vec<usize> = tensors[0].size().into_iter().map(|n| n as usize).collect();
        let views = data.iter().map(|data| TensorView::new(Dtype::F32, shape.clone(), data));
        let views = views.collect::<Result<Vec<_>, _>>().map_err(|e| failed(e.to_string()))?;
        let notes =
            [(SETTINGS, settings.to_string()), (STEPS, steps.to_string()), (MOVES, self.adam_steps().to_string())];
        let notes: HashMap<String, String> = notes.map(|(key, text)| (key.to_string(), text)).into();
        let whole = safetensors::serialize(NAMES.into_iter().zip(views), &Some(notes));
        let whole = whole.map_err(|e| failed(e.to_string()))?;
        files::write_whole(path, &whole).map_err(|e| failed(e.to_string()))
    }

    /// Takes over where an earlier run stood. Returns how many steps it had taken, none where there is no file.
    pub fn resume(&mut self, path: &Path, settings: &str) -> Result<u32, Error> {
        let failed = |reason: String| Error::Io { path: path.display().to_string(), done: "read", reason };
        if !path.exists() {
            return Ok(0);
        }
        let shape = self.values_shape();
        let values = shape.iter().product::<i64>() as u64;
        let most = NAMES.len() as u64 * 4 * values + NOTES;
        let bytes = files::read_at_most(path, most).map_err(|e| failed(e.to_string()))?;
        let (_, notes) = SafeTensors::read_metadata(&bytes).map_err(|e| failed(e.to_string()))?;
        let note = |key: &str| notes.metadata().as_ref().and_then(|notes| notes.get(key).cloned());
        if note(SETTINGS).as_deref() != Some(settings) {
            return Err(Error::OtherSettings { path: path.display().to_string() });
        }
        let steps = note(STEPS).and_then(|text| text.parse().ok()).ok_or_else(|| failed("it has no steps".into()))?;
        let moves = note(MOVES).and_then(|text| text.parse().ok()).ok_or_else(|| failed("it has no moves".into()))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| failed(e.to_string()))?;
        let mut tensors = Vec::new();
        for name in NAMES {
            let data = file.tensor(name).map_err(|e| failed(e.to_string()))?.data().to_vec();
            let values = data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            let values: Vec<f32> = values.collect();
            if values.len() as i64 != shape.iter().product::<i64>() {
                return Err(failed(format!("{name} has {} values, not those of {shape:?}", values.len())));
            }
            tensors.push(torch::upload(&values, &shape, Device::Cpu)?);
        }
        if let Ok(tensors) = <[Tensor; 3]>::try_from(tensors) {
            self.take(tensors, moves);
        }
        Ok(steps)
    }
}
