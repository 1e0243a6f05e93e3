// SPDX-License-Identifier: MPL-2.0

//! Gradients of tensors, with errors instead of crashes.

use tch::{Kind, Tensor};

use super::Error;
use crate::torch;

/// What gradients flow through.
pub const FLOATS: [Kind; 4] = [Kind::Float, Kind::Double, Kind::Half, Kind::BFloat16];

/// The gradient of `loss` with respect to `input`, `None` where there is none. The graph is kept if asked for.
pub fn gradient(loss: &Tensor, input: &Tensor, keep: bool) -> Result<Option<Tensor>, Error> {
    let [grad] = gradients(loss, [input], keep)?;
    Ok(grad)
}

/// The same with respect to several tensors in one pass.
pub fn gradients<const N: usize>(
    loss: &Tensor,
    inputs: [&Tensor; N],
    keep: bool,
) -> Result<[Option<Tensor>; N], Error> {
    // libtorch crashes on a loss or an input without a graph.
    if !loss.requires_grad() || !inputs.iter().all(|i| i.requires_grad()) {
        return Ok([const { None }; N]);
    }
    let grads = Tensor::f_run_backward(&[loss], &inputs, keep, false).map_err(run_error)?;
    let mut grads = grads.into_iter().map(|g| Some(g).filter(Tensor::defined));
    Ok(inputs.map(|_| grads.next().flatten()))
}

/// The gradient by frames of `sum(by_codes * codes)`, where the codes are made of the frames.
pub fn pulled(codes: &Tensor, by_codes: &Tensor, frames: &Tensor) -> Result<Tensor, Error> {
    let sum = codes.f_mul(by_codes).and_then(|product| product.f_sum(Kind::Float)).map_err(run_error)?;
    gradient(&sum, frames, false)?.ok_or(Error::NoGradient)
}

pub fn run_error(error: tch::TchError) -> Error {
    Error::Run { reason: torch::message(&error) }
}
