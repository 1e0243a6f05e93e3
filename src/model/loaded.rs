// SPDX-License-Identifier: MPL-2.0

//! A module that has been looked at, and what is known of it: what all who use a model share.

use std::path::PathBuf;
use std::sync::Arc;

use tch::{CModule, Device, Kind};

use super::archive::{self, Archive, Origin};
use super::desk::Desk;
use super::engine::Engine;
use super::features::Features;
use super::lens::Lens;
use super::metadata::Layout;
use super::module::Module;
use super::shared::Files;
use super::tensor::{FLOATS, run_error};
use super::{DeviceChoice, Error, Precision, batch, halves, precision, probe, refusal, tf32, warnings};
use crate::threads::home::Home;
use crate::torch;

/// How to load a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Options {
    pub path: PathBuf,
    pub device: DeviceChoice,
    /// Frames a window, instead of the metadata's.
    pub window: Option<usize>,
    /// Of the passes that gradients come from.
    pub precision: Precision,
    /// SHA-256 that the file must have, in lower case hexadecimal.
    pub sha256: Option<String>,
}

/// A model and what is known of it, for all who use it.
pub(super) struct Loaded {
    pub desk: Desk,
    pub lens: Lens,
    pub origin: Origin,
    pub classes: usize,
    pub features: Option<Features>,
    /// Why features that the model returns are not used.
    pub features_unused: Option<String>,
    /// Of the file, in hexadecimal.
    pub sha256: String,
    /// Whether gradients are taken in bfloat16.
    pub reduces: bool,
    /// Whether it encodes frame by frame.
    pub by_frames: bool,
    /// Windows that a pass has at the most.
    pub windows_a_pass: usize,
    pub warnings: Vec<String>,
    /// As they were before it was loaded: a file that changes meanwhile is another one.
    pub files: Files,
}

// SAFETY: what is not safe to use from several threads at a time are the lens's tensors, which nobody writes to, and the
// engine, which is behind a lock.
unsafe impl Sync for Loaded {}

impl Loaded {
    pub fn load(options: &Options, home: Arc<Home>) -> Result<Self, Error> {
        let files = Files::of(options);
        let archive = archive::read(&options.path, options.sha256.as_deref())?;
        let mut metadata = archive.metadata.clone();
        if let Some(window) = options.window {
            metadata.window = window;
            let origin = format!("{} with window-size={window}", options.path.display());
            metadata.check_size().map_err(|reason| Error::Metadata { origin, reason })?;
        }
        if metadata.layout == Layout::Bchw {
            let reason =
                "expected the layout BCTHW or BTCHW of a model of video, found BCHW, that of one of pictures".into();
            return Err(Error::Metadata { origin: options.path.display().to_string(), reason });
        }
        let device = options.device.open()?;
        let exact = !device.is_cuda() || tf32::forbid();
        let (module, kind) = load_module(options, device, &archive)?;
        let lens = Lens::new(metadata, device).map_err(run_error)?;
        let mut module = Module::new(module, kind, lens.clone());
        let probed = probe::probe(&mut module).map_err(|e| refusal::of_code(e, &archive.code))?;
        let reduces = precision::reduces(options.precision, &mut module)?;
        let mut warnings = warnings::of(&module, &archive, options, &probed);
        if !exact {
            warnings.push(
                "This libtorch cannot be told to compute in single precision on a GPU: convolutions may be rounded to ten bits \
                 (TF32). Set NVIDIA_TF32_OVERRIDE=0, or successes may not hold on another device."
                    .into(),
            );
        }
        let by_frames = match halves::fit(&mut module, &archive.code)? {
            Ok(by_frames) => by_frames,
            Err(reason) => {
                warnings.push(reason);
                false
            }
        };
        let windows_a_pass = match lens.windows_a_pass() {
            1 => 1,
            most if batch::fits(&mut module, by_frames) => most,
            _ => 1,
        };
        Ok(Self {
            desk: Desk::new(Engine::new(module, windows_a_pass), home),
            windows_a_pass,
            lens,
            origin: archive.origin.clone(),
            classes: probed.classes,
            features: probed.features,
            features_unused: probed.features_unused,
            sha256: archive.sha256,
            reduces,
            by_frames,
            warnings,
            files,
        })
    }
}

/// The module and the kind of its parameters.
pub(super) fn load_module(options: &Options, device: Device, archive: &Archive) -> Result<(CModule, Kind), Error> {
    let load = || -> Result<(CModule, Kind), tch::TchError> {
        let mut module = match &archive.bytes {
            Some(bytes) => CModule::load_data_on_device(&mut &bytes[..], device)?,
            None => CModule::load_on_device(&options.path, device)?,
        };
        module.f_set_eval()?;
        let mut kinds = Vec::new();
        for (_, parameter) in module.named_parameters()? {
            // Only the input's gradient is wanted; those of the weights would cost a quarter of the time.
            let _ = parameter.f_set_requires_grad(false)?;
            kinds.push(parameter.f_kind()?);
        }
        kinds.retain(|kind| FLOATS.contains(kind));
        kinds.dedup();
        let kind = match kinds[..] {
            [kind] => kind,
            _ => Kind::Float,
        };
        Ok((module, kind))
    };
    load().map_err(|e| {
        let reason = torch::message(&e);
        let remedy = refusal::of_load(&reason, &archive.code).into();
        Error::Load { path: options.path.display().to_string(), reason, remedy }
    })
}
