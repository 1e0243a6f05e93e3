// SPDX-License-Identifier: MPL-2.0

//! Between views in gray levels and the tensors that the model is given.

use tch::{IValue, Kind, Tensor};

use super::metadata::Layout;
use super::tensor::{copy_to, run_error};
use super::{Error, Model};

/// How a model is given its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Giving {
    /// The precision the model computes in.
    pub kind: Kind,
    /// Whether it gets a copy, because it writes into what it is given.
    pub copies: bool,
}

impl Model {
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

    /// Runs the model on the leaf `input`. Fails where the model has written into it, which then holds no view any
    /// longer.
    pub(super) fn give(&self, input: &Tensor) -> Result<IValue, Failure> {
        let Giving { kind, copies } = self.giving;
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

    /// The frames `frames` of a gradient with respect to the input, as a view in gray levels.
    pub(super) fn to_view(&self, grad: &Tensor, frames: &[usize], grad_view: &mut [f32]) -> Result<(), Error> {
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
                out.iter_mut().zip(from).for_each(|(o, g)| *o = scale[place] * g);
            }
        }
        Ok(())
    }

    /// The input tensor with the frames `changed` of a view in it.
    pub(super) fn fill(&mut self, view: &[f32], changed: &[usize]) -> Result<Tensor, tch::TchError> {
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

    /// Where the model has color channel `c` of R, G, B. Mean and deviation come in the model's own order.
    fn place(&self, c: usize) -> usize {
        if self.metadata.channels == "BGR" { 2 - c } else { c }
    }

    fn frame_len(&self) -> usize {
        3 * self.metadata.crop[0] * self.metadata.crop[1]
    }
}

/// Why a model did not run.
pub(super) enum Failure {
    /// It wrote into its input.
    Written,
    Torch(tch::TchError),
}

impl From<tch::TchError> for Failure {
    fn from(error: tch::TchError) -> Self {
        Self::Torch(error)
    }
}
