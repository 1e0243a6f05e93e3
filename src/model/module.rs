// SPDX-License-Identifier: MPL-2.0

//! A TorchScript module and the passes through it: windows in the model's view, `[batch, T, 3, height, width]` in gray
//! levels, go in, and logits and gradients come out. Everything stays on the module's device.

use tch::{CModule, Device, IValue, Kind, Tensor};

use super::autocast::Autocast;
use super::cudnn::WithoutCudnn;
use super::error::Error;
use super::metadata::{Layout, Metadata};
use super::tensor::{gradient, run_error};
use crate::torch;

/// How a model is given its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Giving {
    /// The precision the model computes in.
    pub kind: Kind,
    /// Whether it gets a copy, because it writes into what it is given.
    pub copies: bool,
    /// Whether it runs without cuDNN, which has no backward of recurrent layers in evaluation mode.
    pub without_cudnn: bool,
}

pub(super) struct Module {
    module: CModule,
    pub device: Device,
    pub metadata: Metadata,
    pub giving: Giving,
    /// The leaf of every pass, in the model's layout: only what changes is written.
    input: Option<Tensor>,
    pass: Option<Pass>,
    /// Factors and summands by which gray levels become the model's values, `[3, 1, 1]` in its own channel order.
    scale: Tensor,
    bias: Tensor,
}

/// A forward pass whose graph is kept for backward passes.
pub(super) struct Pass {
    pub input: Tensor,
    /// `[batch, classes]`.
    pub logits: Tensor,
    pub features: Option<Tensor>,
    /// Whether the graph outlives a backward pass. Keeping it costs a tenth of an iteration in memory traffic.
    keep: bool,
}

/// Why a model did not run.
enum Failure {
    /// It wrote into its input.
    Written,
    Torch(tch::TchError),
}

impl From<tch::TchError> for Failure {
    fn from(error: tch::TchError) -> Self {
        Self::Torch(error)
    }
}

impl Module {
    pub fn new(module: CModule, kind: Kind, device: Device, metadata: Metadata) -> Result<Self, Error> {
        let (scale, bias) = metadata.scale_and_bias();
        let on_device = |values: [f32; 3]| torch::upload(&values, &[3, 1, 1], device).map_err(run_error);
        Ok(Self {
            module,
            device,
            giving: Giving { kind, copies: false, without_cudnn: false },
            input: None,
            pass: None,
            scale: on_device(scale)?,
            bias: on_device(bias)?,
            metadata,
        })
    }

    /// Shape of the tensor the model is given, for a batch of one.
    pub fn input_shape(&self) -> [i64; 5] {
        let [h, w] = self.metadata.crop.map(|n| n as i64);
        let t = self.metadata.window as i64;
        match self.metadata.layout {
            Layout::Bcthw => [1, 3, t, h, w],
            Layout::Btchw => [1, t, 3, h, w],
        }
    }

    /// The axis of time in the model's input.
    pub fn time_axis(&self) -> i64 {
        match self.metadata.layout {
            Layout::Bcthw => 2,
            Layout::Btchw => 1,
        }
    }

    /// All frame numbers of a window.
    pub fn all(&self) -> Vec<usize> {
        (0..self.metadata.window).collect()
    }

    /// From the next pass on the model gets a copy of its input.
    pub fn copy_input(&mut self) {
        self.giving.copies = true;
        // What the model has written into it shall not be seen again.
        self.input = None;
    }

    /// The input as it stands, detached from any pass.
    pub fn input(&self) -> Result<Tensor, Error> {
        self.input.as_ref().ok_or_else(no_pass)?.f_detach().map_err(run_error)
    }

    /// Whether the model runs on this.
    pub fn takes(&self, input: &[IValue]) -> bool {
        tch::no_grad(|| matches!(self.module.forward_is(input), Ok(IValue::Tensor(_) | IValue::Tuple(_))))
    }

    /// Puts `views[b, i]` at place `frames[i]` of window b. The first call has to fill whole windows.
    pub fn show(&mut self, frames: &[usize], views: &Tensor) -> Result<(), Error> {
        // The old graph is freed before its input changes.
        self.pass = None;
        self.write(frames, views).map_err(run_error)
    }

    fn write(&mut self, frames: &[usize], views: &Tensor) -> Result<(), tch::TchError> {
        let (batch, axis) = (views.size()[0], self.time_axis());
        let input = match &self.input {
            Some(input) if input.size()[0] == batch => input.shallow_clone(),
            _ if frames.len() < self.metadata.window => {
                return Err(tch::TchError::Shape("expected whole windows first, found some of their frames".into()));
            }
            _ => {
                let mut shape = self.input_shape();
                shape[0] = batch;
                Tensor::f_zeros(shape, (Kind::Float, self.device))?
            }
        };
        // Written to as data, not as a step of a graph.
        let _ = input.f_set_requires_grad(false)?;
        let given = self.flip(views.shallow_clone())?.f_mul(&self.scale)?.f_add_(&self.bias)?;
        for (i, frame) in frames.iter().enumerate() {
            input.f_select(axis, *frame as i64)?.f_copy_(&given.f_select(1, i as i64)?)?;
        }
        self.input = Some(input);
        Ok(())
    }

    /// Between R, G, B and the model's own channel order, which is its own inverse. The channels are the second axis.
    fn flip(&self, frames: Tensor) -> Result<Tensor, tch::TchError> {
        if self.metadata.channels == "BGR" { frames.f_flip([-3i64]) } else { Ok(frames) }
    }

    /// One forward pass over what is shown, as the model is or in bfloat16. After [`Error::WritesInput`] of a module
    /// without a copy, the window has to be shown again, to a copy.
    pub fn forward(&mut self, keep: bool, reduced: bool) -> Result<(), Error> {
        // The old graph is freed before the new one is built.
        self.pass = None;
        let input = self.input.as_ref().ok_or_else(no_pass)?;
        let input = input.f_set_requires_grad(true).map_err(run_error)?;
        let _reduced = reduced.then(|| Autocast::on(self.device)).flatten();
        let output = match self.give(&input) {
            Ok(output) => output,
            Err(Failure::Written) => return Err(Error::WritesInput),
            Err(Failure::Torch(error)) => return Err(run_error(error)),
        };
        let (logits, features) = parts(output)?;
        self.pass = Some(Pass { input, logits, features, keep });
        Ok(())
    }

    /// Runs the model on the leaf `input`. Fails where the model has written into it, which then holds no view any
    /// longer.
    fn give(&self, input: &Tensor) -> Result<IValue, Failure> {
        let Giving { kind, copies, without_cudnn } = self.giving;
        let _off = without_cudnn.then(WithoutCudnn::new);
        // A cast to the kind it has is the tensor itself.
        let given = input.f_to_kind(kind)?;
        let given = match copies {
            // A step of the graph, by which the gradient comes back unchanged.
            true => given.f_mul_scalar(1.0)?,
            false => given,
        };
        let before = input.f_internal_version()?;
        let output = self.module.forward_is(&[IValue::Tensor(given)]);
        match output {
            Err(error) if !copies && error.to_string().contains("in-place operation") => Err(Failure::Written),
            Err(error) => Err(error.into()),
            // libtorch counts the writes to a tensor, by whatever name and with or without gradients.
            Ok(_) if input.f_internal_version()? != before => Err(Failure::Written),
            Ok(output) => Ok(output),
        }
    }

    /// Lets go of the last pass, whose graph holds every activation.
    pub fn forget(&mut self) {
        self.pass = None;
    }

    /// The last forward pass.
    pub fn last(&self) -> Result<&Pass, Error> {
        self.pass.as_ref().ok_or_else(no_pass)
    }

    /// The gradient of `loss` by what was shown as `frames` at the last pass, `[batch, frames, 3, height, width]`.
    pub fn view_gradient(&self, loss: &Tensor, frames: &[usize]) -> Result<Tensor, Error> {
        let pass = self.last()?;
        let grad = gradient(loss, &pass.input, pass.keep)?.ok_or(Error::NoGradient)?;
        self.to_view(&grad, frames).map_err(run_error)
    }

    /// The frames `frames` of a gradient by the input, as one by the view.
    pub fn to_view(&self, grad: &Tensor, frames: &[usize]) -> Result<Tensor, tch::TchError> {
        let axis = self.time_axis();
        let whole = frames.iter().copied().eq(0..self.metadata.window);
        let grad = match whole {
            true => grad.shallow_clone(),
            false => grad.f_index_select(axis, &torch::index(frames, self.device)?)?,
        };
        self.flip(grad.f_movedim_int(axis, 1)?.f_mul(&self.scale)?)?.f_contiguous()
    }
}

impl Pass {
    /// `sum(weights * logits)`; the weights are shaped as the logits.
    pub fn weighted(&self, weights: &Tensor) -> Result<Tensor, tch::TchError> {
        self.logits.f_mul(weights)?.f_sum(Kind::Float)
    }
}

/// Logits and features of what a model returns.
fn parts(output: IValue) -> Result<(Tensor, Option<Tensor>), Error> {
    let found = match output {
        IValue::Tensor(logits) => return Ok((logits, None)),
        IValue::Tuple(items) => {
            let mut items = items.into_iter();
            match (items.next(), items.next()) {
                (Some(IValue::Tensor(logits)), Some(IValue::Tensor(f))) => return Ok((logits, Some(f))),
                (Some(IValue::Tensor(logits)), _) => return Ok((logits, None)),
                _ => "a tuple without a tensor in front",
            }
        }
        _ => "neither a tensor nor a tuple of tensors",
    };
    Err(Error::Logits { found: found.into() })
}

fn no_pass() -> Error {
    Error::Run { reason: "a gradient was asked for before a forward pass".into() }
}
