// SPDX-License-Identifier: MPL-2.0

//! A classifier under attack: a module that has been looked at, and what is known of it.

use std::path::PathBuf;

use tch::{CModule, Device, Kind, Tensor};

use super::archive::{self, Archive, Origin};
use super::features::{Coverage, Features};
use super::module::Module;
use super::tensor::{FLOATS, gradients, run_error};
use super::{DeviceChoice, Error, Metadata, Precision, precision, probe, refusal, warnings};
use crate::attack::FeatureGradient;
use crate::torch;

/// How to load a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    pub path: PathBuf,
    pub device: DeviceChoice,
    /// Frames a window, instead of the metadata's.
    pub window: Option<usize>,
    /// Of the passes that gradients come from.
    pub precision: Precision,
}

/// A loaded classifier, probed and ready. One per element: libtorch modules are not safe to run from several threads.
pub struct Model {
    module: Module,
    origin: Origin,
    classes: usize,
    features: Option<Features>,
    /// Why features that the model returns are not used.
    features_unused: Option<String>,
    /// Of the file, in hexadecimal.
    sha256: String,
    /// Whether gradients are taken in bfloat16.
    reduces: bool,
    warnings: Vec<String>,
}

impl Model {
    /// Loads and probes a model. Fails with a sentence on anything that would make an attack impossible.
    pub fn load(options: &Options) -> Result<Self, Error> {
        let archive = archive::read(&options.path)?;
        let mut metadata = archive.metadata.clone();
        if let Some(window) = options.window {
            metadata.window = window;
        }
        let device = options.device.open()?;
        let (module, kind) = load_module(options, device, &archive)?;
        let mut module = Module::new(module, kind, device, metadata)?;
        let probed = probe::probe(&mut module).map_err(|e| refusal::of_code(e, &archive.code))?;
        let reduces = precision::reduces(options.precision, &mut module)?;
        module.forget();
        Ok(Self {
            reduces,
            warnings: warnings::of(&module, &archive, options, &probed),
            module,
            origin: archive.origin.clone(),
            classes: probed.classes,
            features: probed.features,
            features_unused: probed.features_unused,
            sha256: archive.sha256,
        })
    }

    /// What to know before believing a result of this model, a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// SHA-256 of the model's file when it was loaded, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    pub fn metadata(&self) -> &Metadata {
        &self.module.metadata
    }

    pub fn metadata_origin(&self) -> &Origin {
        &self.origin
    }

    pub fn device(&self) -> Device {
        self.module.device
    }

    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Shape of the feature map that keyframes are weighed by, if any.
    pub fn feature_shape(&self) -> Option<&[i64]> {
        self.features.as_ref().map(|f| f.shape.as_slice())
    }

    pub fn feature_coverage(&self) -> Option<&Coverage> {
        self.features.as_ref().map(|f| &f.coverage)
    }

    /// Why a feature map that the model returns is not used, if it is not.
    pub fn features_unused(&self) -> Option<&str> {
        self.features_unused.as_deref()
    }

    /// Whether gradients are taken in bfloat16: [`forward_for_gradient`](Self::forward_for_gradient) is not the same as
    /// [`forward`](Self::forward).
    pub fn reduces(&self) -> bool {
        self.reduces
    }

    /// Shape of the tensor the model is given.
    pub fn input_shape(&self) -> [i64; 5] {
        self.module.input_shape()
    }

    /// The logits of a window `[T, 3, height, width]` in gray levels. One forward pass.
    pub fn classify(&mut self, view: &[f32]) -> Result<Vec<f32>, Error> {
        let [h, w] = self.module.metadata.crop;
        let shape = [self.module.metadata.window, 3, h, w];
        let expected: usize = shape.iter().product();
        if view.len() != expected {
            let reason = format!("expected a window of {expected} values, found {}", view.len());
            return Err(Error::Run { reason });
        }
        let shape = [1, shape[0], 3, h, w].map(|n| n as i64);
        let view = torch::upload(view, &shape, self.module.device).map_err(run_error)?;
        self.show(&self.module.all(), &view)?;
        let logits = match self.forward(false) {
            Err(Error::WritesInput) => {
                self.show(&self.module.all(), &view)?;
                self.forward(false)?
            }
            done => done?,
        };
        let logits = torch::download(&logits).map_err(run_error);
        self.forget();
        logits
    }

    /// Lets go of the last pass, whose graph holds every activation.
    pub fn forget(&mut self) {
        self.module.forget();
    }

    /// Puts `views[b, i]` at place `frames[i]` of window b of the next pass: `[batch, frames, 3, height, width]`. What is
    /// shown stays until something else is shown in its place. The first call, and the next one after a change of the
    /// batch or after [`Error::WritesInput`], has to fill whole windows.
    pub fn show(&mut self, frames: &[usize], views: &Tensor) -> Result<(), Error> {
        self.module.show(frames, views)
    }

    /// The logits `[batch, classes]` of what is shown. One forward pass. Its graph outlives a backward pass if asked for.
    pub fn forward(&mut self, keep: bool) -> Result<Tensor, Error> {
        self.pass(keep, false)
    }

    /// The same in the precision that gradients are taken in.
    pub fn forward_for_gradient(&mut self) -> Result<Tensor, Error> {
        self.pass(false, self.reduces)
    }

    fn pass(&mut self, keep: bool, reduced: bool) -> Result<Tensor, Error> {
        match self.module.forward(keep, reduced) {
            Ok(()) => Ok(self.module.last()?.logits.shallow_clone()),
            Err(Error::WritesInput) if !self.module.giving.copies => {
                // Another try is worth it.
                self.module.copy_input();
                Err(Error::WritesInput)
            }
            Err(error) => Err(error),
        }
    }

    /// The gradient of `sum(grad_logits * logits)` at the last pass by what was shown as `frames`, `[batch, frames, 3,
    /// height, width]`. One backward pass.
    pub fn backward(&mut self, grad_logits: &Tensor, frames: &[usize]) -> Result<Tensor, Error> {
        let sum = self.module.last()?.weighted(grad_logits).map_err(run_error)?;
        self.module.view_gradient(&sum, frames)
    }

    /// The same by the feature map, and by what was shown as all frames. `None`, and no pass, without a feature map. The
    /// last pass was one of a single window whose graph was kept.
    pub fn feature_gradient(&mut self, grad_logits: &Tensor) -> Result<Option<FeatureGradient>, Error> {
        let Some(features) = &self.features else {
            return Ok(None);
        };
        let pass = self.module.last()?;
        let map = pass.features.as_ref().ok_or(Error::FeaturesOffPath)?;
        let sum = pass.weighted(grad_logits).map_err(run_error)?;
        let [by_features, by_input] = gradients(&sum, [map, &pass.input], true)?;
        let by_input = by_input.ok_or(Error::NoGradient)?;
        Ok(Some(FeatureGradient {
            by_features: by_features.ok_or(Error::FeaturesOffPath)?,
            time_axis: features.layout.time_axis(),
            steps: features.coverage.steps().to_vec(),
            by_view: self.module.to_view(&by_input, &self.module.all()).map_err(run_error)?,
        }))
    }
}

impl From<Error> for crate::attack::Error {
    fn from(error: Error) -> Self {
        Self::Classifier(Box::new(error))
    }
}

/// The module and the kind of its parameters.
fn load_module(options: &Options, device: Device, archive: &Archive) -> Result<(CModule, Kind), Error> {
    let load = || -> Result<(CModule, Kind), tch::TchError> {
        let mut module = CModule::load_on_device(&options.path, device)?;
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
