// SPDX-License-Identifier: MPL-2.0

//! A TorchScript module and the passes through it: windows in the model's view, `[batch, T, 3, height, width]` in gray
//! levels, go in, and logits and gradients come out. Everything stays on the module's device.

use tch::{CModule, IValue, Kind, Tensor};

use super::autocast::Autocast;
use super::cudnn::WithoutCudnn;
use super::engine::How;
use super::error::Error;
use super::lens::Lens;
use super::tensor::{gradient, pulled, run_error};

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
    pub lens: Lens,
    pub giving: Giving,
    /// What is shown, the leaf of the last pass.
    input: Option<Tensor>,
    pass: Option<Pass>,
}

/// A forward pass whose graph is kept for backward passes.
pub(super) struct Pass {
    pub input: Tensor,
    /// `[batch, classes]`.
    pub logits: Tensor,
    pub features: Option<Tensor>,
    /// Whether the graph outlives a backward pass. Keeping it costs a tenth of an iteration in memory traffic.
    pub keep: bool,
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
    pub fn new(module: CModule, kind: Kind, lens: Lens) -> Self {
        let giving = Giving { kind, copies: false, without_cudnn: false };
        Self { module, lens, giving, input: None, pass: None }
    }

    /// From the next pass on the model gets a copy of its input.
    pub fn copy_input(&mut self) {
        self.giving.copies = true;
        // What the model has written into it shall not be seen again.
        self.input = None;
    }

    /// The input as it stands, detached from any pass.
    pub fn input(&self) -> Result<Tensor, Error> {
        self.input.as_ref().ok_or_else(Error::no_pass)?.f_detach().map_err(run_error)
    }

    /// Whether the model runs on this.
    pub fn takes(&self, input: &[IValue]) -> bool {
        tch::no_grad(|| matches!(self.module.forward_is(input), Ok(IValue::Tensor(_) | IValue::Tuple(_))))
    }

    /// Puts `views[b, i]` at place `frames[i]` of window b. The first call has to fill whole windows.
    pub fn show(&mut self, frames: &[usize], views: &Tensor) -> Result<(), Error> {
        // The old graph is freed before its input changes.
        self.pass = None;
        self.lens.write(&mut self.input, frames, views).map_err(run_error)
    }

    /// One forward pass over what is shown, as the model is or in bfloat16. After [`Error::WritesInput`] of a module
    /// without a copy, the window has to be shown again, to a copy.
    pub fn forward(&mut self, keep: bool, reduced: bool) -> Result<(), Error> {
        // The old graph is freed before the new one is built.
        self.pass = None;
        let input = self.input.as_ref().ok_or_else(Error::no_pass)?;
        self.pass = Some(self.run(input, How { keep, reduced })?);
        Ok(())
    }

    /// The same over any input, `[batch, ...]` in the model's layout and values, which becomes the pass's leaf.
    pub fn run(&self, input: &Tensor, how: How) -> Result<Pass, Error> {
        let input = input.f_set_requires_grad(true).map_err(run_error)?;
        let _reduced = self.reduced(how.reduced);
        let output = match self.give(&input) {
            Ok(output) => output,
            Err(Failure::Written) => return Err(Error::WritesInput),
            Err(Failure::Torch(error)) => return Err(run_error(error)),
        };
        let (logits, features) = parts(output)?;
        Ok(Pass { input, logits, features, keep: how.keep })
    }

    /// Runs the model on the leaf `input`. Fails where the model has written into it, which then holds no view any
    /// longer.
    fn give(&self, input: &Tensor) -> Result<IValue, Failure> {
        let Giving { copies, without_cudnn, .. } = self.giving;
        let _off = without_cudnn.then(WithoutCudnn::new);
        let given = self.given(input)?;
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

    /// The codes `[n, ...]` of frames `[n, 3, height, width]` in the model's own values, by its `encode_frames`.
    pub fn encode(&self, frames: &Tensor, reduced: bool) -> Result<Tensor, Error> {
        if frames.size().first() == Some(&0) {
            return frames.f_flatten(1, -1).map_err(run_error);
        }
        let _reduced = self.reduced(reduced);
        let codes = self.call("encode_frames", frames)?;
        codes.f_to_kind(Kind::Float).map_err(run_error)
    }

    /// A pass over the codes of windows, `[batch, T, ...]`, by the model's `classify_features`. They become its leaf.
    pub fn classify_codes(&self, codes: &Tensor, how: How) -> Result<Pass, Error> {
        let input = codes.f_set_requires_grad(true).map_err(run_error)?;
        let _reduced = self.reduced(how.reduced);
        let logits = self.call("classify_features", &input)?;
        Ok(Pass { input, logits, features: None, keep: how.keep })
    }

    fn call(&self, method: &str, input: &Tensor) -> Result<Tensor, Error> {
        let _off = self.giving.without_cudnn.then(WithoutCudnn::new);
        self.module.method_ts(method, &[self.given(input).map_err(run_error)?]).map_err(run_error)
    }

    /// The gradient by frames of `sum(by_codes * codes)`, from a pass through [`encode`](Self::encode).
    pub fn pull(&self, frames: &Tensor, by_codes: &Tensor, reduced: bool) -> Result<Tensor, Error> {
        let frames = frames.f_detach().and_then(|frames| frames.f_set_requires_grad(true)).map_err(run_error)?;
        pulled(&self.encode(&frames, reduced)?, by_codes, &frames)
    }

    /// An input as the model takes it.
    fn given(&self, input: &Tensor) -> Result<Tensor, tch::TchError> {
        // A cast to the kind it has is the tensor itself.
        let given = input.f_to_kind(self.giving.kind)?;
        match self.giving.copies {
            // A step of the graph, by which the gradient comes back unchanged.
            true => given.f_mul_scalar(1.0),
            false => Ok(given),
        }
    }

    /// While it lives, passes are in bfloat16 where that is asked for.
    fn reduced(&self, reduced: bool) -> Option<Autocast> {
        reduced.then(|| Autocast::on(self.lens.device)).flatten()
    }

    /// Lets go of the last pass, whose graph holds every activation.
    pub fn forget(&mut self) {
        self.pass = None;
    }

    /// The last forward pass.
    pub fn last(&self) -> Result<&Pass, Error> {
        self.pass.as_ref().ok_or_else(Error::no_pass)
    }

    /// The gradient of `loss` by what was shown as `frames` at the last pass, `[batch, frames, 3, height, width]`.
    pub fn view_gradient(&self, loss: &Tensor, frames: &[usize]) -> Result<Tensor, Error> {
        let pass = self.last()?;
        let grad = gradient(loss, &pass.input, pass.keep)?.ok_or(Error::NoGradient)?;
        self.lens.window_to_view(&grad, frames).map_err(run_error)
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
