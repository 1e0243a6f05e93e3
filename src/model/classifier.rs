// SPDX-License-Identifier: MPL-2.0

//! Passes through a TorchScript classifier.

use std::path::{Path, PathBuf};

use tch::{CModule, Device, IValue, Kind, Tensor};

use super::archive::{self, Origin};
use super::error::torch_message;
use super::features::Coverage;
use super::metadata::{FeatureLayout, Layout};
use super::tensor::{copy_to, gradient, gradients, run_error};
use super::{probe, DeviceChoice, Error, Metadata};

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
    module: CModule,
    device: Device,
    metadata: Metadata,
    origin: Origin,
    classes: usize,
    features: Option<Features>,
    /// Why features that the model returns are not used.
    features_unused: Option<String>,
    pass: Option<Pass>,
    /// The leaf of every pass, kept so that only what changes is copied.
    input: Option<Tensor>,
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
        let (mut metadata, origin) = archive::read_metadata(&options.path)?;
        if let Some(window) = options.window {
            metadata.window = window;
        }
        let device = options.device.open()?;
        let module = load_module(&options.path, device)?;
        let mut model = Self {
            module,
            device,
            metadata,
            origin,
            classes: 0,
            features: None,
            features_unused: None,
            pass: None,
            input: None,
        };
        let probed = probe::probe(&mut model)?;
        model.classes = probed.classes;
        model.features = probed.features;
        model.features_unused = probed.features_unused;
        Ok(model)
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

    /// Shape of the tensor the model is given.
    pub fn input_shape(&self) -> [i64; 5] {
        let m = &self.metadata;
        let [h, w] = m.crop.map(|n| n as i64);
        let t = m.window as i64;
        match m.layout {
            Layout::Bcthw => [1, 3, t, h, w],
            Layout::Btchw => [1, t, 3, h, w],
        }
    }

    /// One forward pass over a window `[T, 3, height, width]` in grey levels, of which the frames `changed` differ from the last one's.
    pub(super) fn pass(&mut self, view: &[f32], changed: &[usize]) -> Result<&Pass, Error> {
        if view.len() != self.view_len() {
            return Err(Error::Run {
                reason: format!(
                    "expected a window of {} values, found {}",
                    self.view_len(),
                    view.len()
                ),
            });
        }
        // The old graph is freed before the new one is built, and before its input changes.
        self.pass = None;
        let input = self.fill(view, changed).map_err(run_error)?;
        let output = self
            .module
            .forward_is(&[IValue::Tensor(input.shallow_clone())])
            .map_err(run_error)?;
        let (logits, features) = match output {
            IValue::Tensor(logits) => (logits, None),
            IValue::Tuple(items) => {
                let mut items = items.into_iter();
                match (items.next(), items.next()) {
                    (Some(IValue::Tensor(logits)), Some(IValue::Tensor(f))) => (logits, Some(f)),
                    (Some(IValue::Tensor(logits)), _) => (logits, None),
                    _ => {
                        return Err(Error::Logits {
                            found: "a tuple without a tensor in front".into(),
                        })
                    }
                }
            }
            _ => {
                return Err(Error::Logits {
                    found: "neither a tensor nor a tuple of tensors".into(),
                })
            }
        };
        Ok(self.pass.insert(Pass {
            input,
            logits,
            features,
            keep: true,
        }))
    }

    /// The gradient of `loss` with respect to the frames `frames` of the last pass's input, as a view in grey levels.
    pub(super) fn input_gradient(
        &mut self,
        loss: &Tensor,
        frames: &[usize],
        grad_view: &mut [f32],
    ) -> Result<(), Error> {
        let pass = self.pass.as_ref().ok_or_else(no_pass)?;
        let grad = gradient(loss, &pass.input, pass.keep)?.ok_or(Error::NoGradient)?;
        self.to_view(&grad, frames, grad_view)
    }

    /// The frames `frames` of a gradient with respect to the input, as a view in grey levels.
    fn to_view(&self, grad: &Tensor, frames: &[usize], grad_view: &mut [f32]) -> Result<(), Error> {
        let len = self.frame_len();
        let size = len / 3;
        let (scale, _) = self.metadata.scale_and_bias();
        let mut host = vec![0.0; len];
        for k in frames {
            let frame = self.frame_of(grad, *k).map_err(run_error)?;
            copy_to(&frame, &mut host)?;
            let out = &mut grad_view[k * len..][..len];
            for (c, out) in out.chunks_exact_mut(size).enumerate() {
                let place = self.place(c);
                let from = &host[place * size..][..size];
                out.iter_mut()
                    .zip(from)
                    .for_each(|(o, g)| *o = scale[place] * g);
            }
        }
        Ok(())
    }

    /// The input tensor with the frames `changed` of a view in it.
    fn fill(&mut self, view: &[f32], changed: &[usize]) -> Result<Tensor, tch::TchError> {
        let (len, [h, w]) = (self.frame_len(), self.metadata.crop);
        let (scale, bias) = self.metadata.scale_and_bias();
        let shape = self.input_shape();
        let (input, all);
        let frames = match &self.input {
            Some(tensor) => {
                input = tensor.shallow_clone();
                changed
            }
            None => {
                input = Tensor::f_zeros(shape, (Kind::Float, self.device))?;
                all = (0..self.metadata.window).collect::<Vec<_>>();
                &all
            }
        };
        // Written to as data, not as a step of a graph.
        let _ = input.f_set_requires_grad(false)?;
        let mut host = vec![0.0; len];
        for k in frames {
            for c in 0..3 {
                let place = self.place(c);
                let (s, b) = (scale[place], bias[place]);
                let from = &view[k * len + c * h * w..][..h * w];
                let to = &mut host[place * h * w..][..h * w];
                to.iter_mut().zip(from).for_each(|(o, v)| *o = s * v + b);
            }
            let frame = Tensor::f_from_slice(&host)?.f_view([3, h as i64, w as i64])?;
            self.frame_of(&input, *k)?.f_copy_(&frame)?;
        }
        self.input = Some(input.shallow_clone());
        input.f_set_requires_grad(true)
    }

    /// Frame `k` of a tensor in the model's layout, `[3, height, width]`.
    fn frame_of(&self, tensor: &Tensor, k: usize) -> Result<Tensor, tch::TchError> {
        let window = tensor.f_select(0, 0)?;
        match self.metadata.layout {
            Layout::Bcthw => window.f_select(1, k as i64),
            Layout::Btchw => window.f_select(0, k as i64),
        }
    }

    /// Where the model has colour channel `c` of R, G, B. Mean and deviation come in the model's own order.
    fn place(&self, c: usize) -> usize {
        if self.metadata.channels == "BGR" {
            2 - c
        } else {
            c
        }
    }

    fn frame_len(&self) -> usize {
        3 * self.metadata.crop[0] * self.metadata.crop[1]
    }
}

impl Pass {
    fn logits(&self) -> Result<Vec<f32>, Error> {
        let mut logits = vec![0.0; self.logits.numel()];
        let tensor = self.logits.f_detach().map_err(run_error)?;
        copy_to(&tensor, &mut logits)?;
        Ok(logits)
    }

    /// `sum_k cotangent[k] * logits[k]`
    fn weighted(&self, cotangent: &[f32]) -> Result<Tensor, tch::TchError> {
        let cotangent = Tensor::f_from_slice(cotangent)?
            .f_view_as(&self.logits)?
            .f_to_device(self.logits.device())?;
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

    fn forward_changed(
        &mut self,
        view: &[f32],
        changed: &[usize],
    ) -> Result<Vec<f32>, crate::attack::Error> {
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
        let pass = self.pass.as_ref().ok_or_else(no_pass)?;
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
        let pass = self.pass.as_ref().ok_or_else(no_pass)?;
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

fn load_module(path: &Path, device: Device) -> Result<CModule, Error> {
    let load = || -> Result<CModule, tch::TchError> {
        let mut module = CModule::load_on_device(path, device)?;
        module.f_set_eval()?;
        for (_, parameter) in module.named_parameters()? {
            // Only the input's gradient is wanted; those of the weights would cost a quarter of the time.
            let _ = parameter.f_set_requires_grad(false)?;
        }
        Ok(module)
    };
    load().map_err(|e| Error::Load {
        path: path.display().to_string(),
        reason: torch_message(&e),
    })
}

fn no_pass() -> Error {
    Error::Run {
        reason: "a gradient was asked for before a forward pass".into(),
    }
}
