// SPDX-License-Identifier: MPL-2.0

//! The file of an agent: TorchScript, traced, with what it was learned on beside it.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{CModule, Device, TchError, Tensor};
use zip::write::FileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::{Learner, network};
use crate::files::Part;
use crate::torch;

/// The member that says what it was learned on, in the folder `extra`.
pub const MEMBER: &str = "sparseadv-agent.json";

/// How far apart the probabilities of a frame may be before and after: the order of sums.
const TOLERANCE: f64 = 1e-4;

/// Why an agent cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("The agent {path} cannot be written: {reason}. Check the path.")]
    Io { path: String, reason: io::Error },
    #[error("The agent cannot be made a TorchScript file: {0}.")]
    Torch(#[from] TchError),
    #[error("Expected the agent to say what it has learned, found probabilities that differ by {0} in its file.")]
    Changed(f64),
}

/// Writes an agent that learned on windows of so many frames of this size, and what there is to say of it. The file appears
/// whole or not at all.
pub fn save(learner: &Learner, frames: usize, size: [usize; 2], notes: &str, path: &Path) -> Result<(), Error> {
    let io = |reason| Error::Io { path: path.display().to_string(), reason };
    let shown = example(frames, size)?;
    let part = Part::beside(path).map_err(io)?;
    traced(learner, &shown)?.save(part.part())?;
    with_member(part.part(), notes).map_err(io)?;
    let module = CModule::load(part.part())?;
    // Of any number of frames, as there are at the end of a stream.
    for frames in [frames, 1] {
        let shown = shown.f_narrow(2, 0, frames as i64)?;
        let found = torch::download_f64(&tch::no_grad(|| module.forward_ts(&[&shown]))?)?;
        let learned = learner.probabilities(&shown)?;
        let apart = learned.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        if found.len() != learned.len() || apart > TOLERANCE || apart.is_nan() {
            return Err(Error::Changed(apart));
        }
    }
    part.publish().map_err(io)
}

/// Something to trace at, `[1, 6, frames, height, width]`.
fn example(frames: usize, [height, width]: [usize; 2]) -> Result<Tensor, TchError> {
    let shape = [1, 6, frames, height, width];
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_: usize| rng.random()).collect();
    torch::upload(&values, &shape.map(|n| n as i64), Device::Cpu)
}

fn traced(learner: &Learner, shown: &Tensor) -> Result<CModule, TchError> {
    let parts = learner.parts()?;
    let mut failure = None;
    let mut forward = |inputs: &[Tensor]| match network::logits(&parts, &inputs[0]).and_then(|z| z.f_sigmoid()) {
        Ok(probabilities) => vec![probabilities],
        // The closure cannot fail; a module without outputs is thrown away below.
        Err(error) => {
            failure = Some(error);
            Vec::new()
        }
    };
    let module = CModule::create_by_tracing("SparseadvAgent", "forward", &[shown.shallow_clone()], &mut forward);
    match failure {
        Some(error) => Err(error),
        None => module,
    }
}

/// Puts a text where `torch.jit.save(..., _extra_files=...)` would.
fn with_member(path: &Path, text: &str) -> io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let root = {
        let archive = ZipArchive::new(&file)?;
        let first = archive.file_names().find_map(|name| name.split_once('/')).map(|(root, _)| root.to_owned());
        first.ok_or_else(|| io::Error::other("it has no folder"))?
    };
    // No date: the file follows from the learning alone.
    let options =
        FileOptions::default().compression_method(CompressionMethod::Stored).last_modified_time(DateTime::default());
    let mut archive = ZipWriter::new_append(file)?;
    archive.start_file(format!("{root}/extra/{MEMBER}"), options)?;
    archive.write_all(text.as_bytes())?;
    archive.finish()?;
    Ok(())
}

/// Whether a file is an agent that was saved here.
pub fn is_one(path: &Path) -> bool {
    let archive = std::fs::File::open(path).map(zip::ZipArchive::new);
    matches!(archive, Ok(Ok(archive)) if archive.file_names().any(|name| name.ends_with(MEMBER)))
}
