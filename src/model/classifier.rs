// SPDX-License-Identifier: MPL-2.0

//! Passes through a TorchScript classifier.

use std::path::PathBuf;

use tch::{CModule, Device, IValue, Kind, Tensor};

use super::archive::{self, Archive, Origin};
use super::error::torch_message;
use super::features::Coverage;
use super::input::{Failure, Giving};
use super::metadata::FeatureLayout;
use super::tensor::{FLOATS, copy_to, gradient, gradients, run_error};
use super::{DeviceChoice, Error, Metadata, probe, refusal, warnings};

/// How to load a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    pub path: PathBuf,
    pub device: DeviceChoice,
    /// Frames a window, instead of the metadata's.
    pub window: Option<usize>,
}

/// A loaded classifier, probed and ready. One per element: libtorch modules are not safe to run from several threads.
pub struct Model {
    pub(super) module: CModule,
    pub(super) device: Device,
    pub(super) metadata: Metadata,
    origin: Origin,
    classes: usize,
    features: Option<Features>,
    /// Why features that the model returns are not used.
    features_unused: Option<String>,
    pub(super) giving: Giving,
    /// Of the file, in hexadecimal.
    sha256: String,
    warnings: Vec<String>,
    pass: Option<Pass>,
    /// The leaf of every pass, kept so that only what changes is copied.
    pub(super) input: Option<Tensor>,
}

/// The feature map the model returns and what it says of frames.
pub(super) struct Features {
    pub layout: FeatureLayout,
    pub coverage: Coverage,
    pub shape: Vec<i64>,
}

/// A forward pass whose graph is kept for backward passes.
pub(super) struct Pass {
    pub input: Tensor,
    pub logits: Tensor,
    pub features: Option<Tensor>,
    /// Whether the graph outlives a backward pass. Keeping it costs a tenth of an iteration in memory traffic.
    pub keep: bool,
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
        let mut model = Self {
            module,
            device,
            metadata,
            origin: archive.origin.clone(),
            classes: 0,
            features: None,
            features_unused: None,
            giving: Giving { kind, copies: false },
            sha256: archive.sha256.clone(),
            warnings: Vec::new(),
            pass: None,
            input: None,
        };
        let probed = probe::probe(&mut model).map_err(|e| refusal::of_code(e, &archive.code))?;
        model.warnings = warnings::of(&model, &archive, options, &probed);
        model.classes = probed.classes;
        model.features = probed.features;
        model.features_unused = probed.features_unused;
        Ok(model)
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
        &self.metadata
    }

    pub fn metadata_origin(&self) -> &Origin {
        &self.origin
    }

    pub fn device(&self) -> Device {
        self.device
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

    /// Values of a window, T * 3 * height * width.
    pub fn view_len(&self) -> usize {
        let [h, w] = self.metadata.crop;
        self.metadata.window * 3 * h * w
    }

    /// From the next pass on the model gets a copy of its input.
    pub(super) fn copy_input(&mut self) {
        self.giving.copies = true;
        // What the model has written into it shall not be seen again.
        self.input = None;
    }

    /// One forward pass over a window `[T, 3, height, width]` in gray levels, of which the frames `changed` differ from
    /// the last one's.
    pub(super) fn pass(&mut self, view: &[f32], changed: &[usize]) -> Result<&Pass, Error> {
        if view.len() != self.view_len() {
            return Err(Error::Run {
                reason: format!("expected a window of {} values, found {}", self.view_len(), view.len()),
            });
        }
        // The old graph is freed before the new one is built, and before its input changes.
        self.pass = None;
        let input = self.fill(view, changed).map_err(run_error)?;
        let output = match self.give(&input) {
            Ok(output) => output,
            Err(Failure::Written) if !self.giving.copies => {
                self.copy_input();
                return self.pass(view, changed);
            }
            Err(Failure::Written) => return Err(Error::WritesInput),
            Err(Failure::Torch(error)) => return Err(run_error(error)),
        };
        let (logits, features) = match output {
            IValue::Tensor(logits) => (logits, None),
            IValue::Tuple(items) => {
                let mut items = items.into_iter();
                match (items.next(), items.next()) {
                    (Some(IValue::Tensor(logits)), Some(IValue::Tensor(f))) => (logits, Some(f)),
                    (Some(IValue::Tensor(logits)), _) => (logits, None),
                    _ => return Err(Error::Logits { found: "a tuple without a tensor in front".into() }),
                }
            }
            _ => return Err(Error::Logits { found: "neither a tensor nor a tuple of tensors".into() }),
        };
        Ok(self.pass.insert(Pass { input, logits, features, keep: true }))
    }

    /// The last forward pass.
    pub(super) fn last(&self) -> Result<&Pass, Error> {
        self.pass.as_ref().ok_or_else(no_pass)
    }

    /// The gradient of `loss` with respect to the frames `frames` of the last pass's input, as a view in gray levels.
    pub(super) fn input_gradient(
        &mut self,
        loss: &Tensor,
        frames: &[usize],
        grad_view: &mut [f32],
    ) -> Result<(), Error> {
        let pass = self.last()?;
        let grad = gradient(loss, &pass.input, pass.keep)?.ok_or(Error::NoGradient)?;
        self.to_view(&grad, frames, grad_view)
    }
}

impl Pass {
    pub(super) fn logits(&self) -> Result<Vec<f32>, Error> {
        let mut logits = vec![0.0; self.logits.numel()];
        let tensor = self.logits.f_detach().map_err(run_error)?;
        copy_to(&tensor, &mut logits)?;
        Ok(logits)
    }

    /// `sum_k cotangent[k] * logits[k]`
    pub(super) fn weighted(&self, cotangent: &[f32]) -> Result<Tensor, tch::TchError> {
        let cotangent = Tensor::f_from_slice(cotangent)?.f_view_as(&self.logits)?.f_to_device(self.logits.device())?;
        self.logits.f_mul(&cotangent)?.f_sum(Kind::Float)
    }
}

impl crate::attack::Classifier for Model {
    fn classes(&self) -> usize {
        self.classes
    }

    fn forward(&mut self, view: &[f32]) -> Result<Vec<f32>, crate::attack::Error> {
        let all: Vec<usize> = (0..self.metadata.window).collect();
        let pass = self.pass(view, &all)?;
        Ok(pass.logits()?)
    }

    fn forward_changed(&mut self, view: &[f32], changed: &[usize]) -> Result<Vec<f32>, crate::attack::Error> {
        self.pass(view, changed)?;
        let pass = self.pass.as_mut().ok_or_else(no_pass)?;
        pass.keep = false;
        Ok(pass.logits()?)
    }

    fn backward(
        &mut self,
        cotangent: &[f32],
        frames: &[usize],
        grad_view: &mut [f32],
    ) -> Result<(), crate::attack::Error> {
        let pass = self.last()?;
        let sum = pass.weighted(cotangent).map_err(run_error)?;
        Ok(self.input_gradient(&sum, frames, grad_view)?)
    }

    fn feature_weights(
        &mut self,
        cotangent: &[f32],
        weighing: crate::attack::Weighing,
        grad_view: &mut [f32],
    ) -> Result<Option<Vec<f64>>, crate::attack::Error> {
        let Some(features) = &self.features else {
            return Ok(None);
        };
        let pass = self.last()?;
        let map = pass.features.as_ref().ok_or_else(no_pass)?;
        let sum = pass.weighted(cotangent).map_err(run_error)?;
        let [grad, input] = gradients(&sum, [map, &pass.input], true)?;
        let grad = grad.ok_or(Error::FeaturesOffPath)?;
        let all: Vec<usize> = (0..self.metadata.window).collect();
        self.to_view(&input.ok_or(Error::NoGradient)?, &all, grad_view)?;
        let axis = features.layout.time_axis() as i64;
        let others: Vec<i64> = (0..grad.dim() as i64).filter(|d| *d != axis).collect();
        let mean = |g: Tensor| g.f_mean_dim(&others[..], false, Kind::Float);
        let steps = match weighing {
            crate::attack::Weighing::Absolute => grad.f_abs().and_then(mean),
            crate::attack::Weighing::Signed => mean(grad).and_then(|m| m.f_abs()),
        }
        .map_err(run_error)?;
        let mut host = vec![0.0; steps.numel()];
        copy_to(&steps, &mut host)?;
        let steps: Vec<f64> = host.into_iter().map(f64::from).collect();
        Ok(Some(features.coverage.frame_weights(&steps)))
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
        let reason = torch_message(&e);
        let remedy = refusal::of_load(&reason, &archive.code).into();
        Error::Load { path: options.path.display().to_string(), reason, remedy }
    })
}

fn no_pass() -> Error {
    Error::Run { reason: "a gradient was asked for before a forward pass".into() }
}
