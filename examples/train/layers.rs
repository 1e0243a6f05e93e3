// SPDX-License-Identifier: MPL-2.0

//! The layers all networks are built of. Unlike `tch::nn`'s they report errors, and their batch norm can be folded
//! away.

use tch::nn::{Init, Path, init};
use tch::{TchError, Tensor};

const MOMENTUM: f64 = 0.1;
const EPSILON: f64 = 1e-5;

/// A convolution over two or three dimensions without bias, then batch norm.
pub struct ConvNorm {
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    mean: Tensor,
    variance: Tensor,
    stride: Vec<i64>,
    groups: i64,
    /// Weight and bias of the one convolution that does the same once the statistics are fixed.
    folded: Option<(Tensor, Tensor)>,
}

impl ConvNorm {
    /// `kernel` as long as there are dimensions: `[3, 3]` or `[3, 3, 3]`. Pads by half of it.
    pub fn new(path: &Path, inputs: i64, outputs: i64, kernel: &[i64], stride: i64) -> Result<Self, TchError> {
        Self::grouped(path, inputs, outputs, kernel, &vec![stride; kernel.len()], 1)
    }

    /// With a stride for each dimension, and with groups of channels that do not see each other.
    pub fn grouped(
        path: &Path,
        inputs: i64,
        outputs: i64,
        kernel: &[i64],
        stride: &[i64],
        groups: i64,
    ) -> Result<Self, TchError> {
        let shape = [&[outputs, inputs / groups], kernel].concat();
        Ok(Self {
            weight: path.f_kaiming_normal("weight", &shape)?,
            scale: path.f_ones("scale", &[outputs])?,
            shift: path.f_zeros("shift", &[outputs])?,
            mean: path.f_zeros_no_train("mean", &[outputs])?,
            variance: path.f_ones_no_train("variance", &[outputs])?,
            stride: stride.to_vec(),
            groups,
            folded: None,
        })
    }

    pub fn forward(&self, xs: &Tensor, train: bool) -> Result<Tensor, TchError> {
        if let Some((weight, bias)) = &self.folded {
            return self.convolve(xs, weight, Some(bias));
        }
        self.convolve(xs, &self.weight, None)?.f_batch_norm(
            Some(&self.scale),
            Some(&self.shift),
            Some(&self.mean),
            Some(&self.variance),
            train,
            MOMENTUM,
            EPSILON,
            false,
        )
    }

    fn convolve(&self, xs: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        let kernel = weight.size();
        let padding: Vec<i64> = kernel[2..].iter().map(|k| k / 2).collect();
        let dilation = vec![1; padding.len()];
        if padding.len() == 3 {
            xs.f_conv3d(weight, bias, &self.stride, &padding, &dilation, self.groups)
        } else {
            xs.f_conv2d(weight, bias, &self.stride, &padding, &dilation, self.groups)
        }
    }

    /// Fixes the statistics and merges them into the weights: the same function in one pass less over memory, forward
    /// and backward.
    pub fn fold(&mut self) -> Result<(), TchError> {
        let factor = self.variance.f_add_scalar(EPSILON)?.f_rsqrt()?.f_mul(&self.scale)?;
        let mut shape = vec![1; self.weight.dim()];
        shape[0] = -1;
        let weight = self.weight.f_mul(&factor.f_view(&shape[..])?)?;
        let bias = self.shift.f_sub(&self.mean.f_mul(&factor)?)?;
        self.folded = Some((weight.detach(), bias.detach()));
        Ok(())
    }
}

pub struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub fn new(path: &Path, inputs: i64, outputs: i64) -> Result<Self, TchError> {
        Self::with(path, inputs, outputs, init::DEFAULT_KAIMING_UNIFORM)
    }

    /// A last layer, whose logits start out even: the first steps need not unlearn chance preferences.
    pub fn last(path: &Path, inputs: i64, outputs: i64) -> Result<Self, TchError> {
        Self::with(path, inputs, outputs, Init::Const(0.0))
    }

    fn with(path: &Path, inputs: i64, outputs: i64, init: Init) -> Result<Self, TchError> {
        Ok(Self { weight: path.f_var("weight", &[outputs, inputs], init)?, bias: path.f_zeros("bias", &[outputs])? })
    }

    pub fn forward(&self, xs: &Tensor) -> Result<Tensor, TchError> {
        xs.f_linear(&self.weight, Some(&self.bias))
    }
}

/// One layer of LSTM over `[B, T, inputs]`.
pub struct Lstm {
    parameters: [Tensor; 4],
    hidden: i64,
}

impl Lstm {
    pub fn new(path: &Path, inputs: i64, hidden: i64) -> Result<Self, TchError> {
        let bound = 1.0 / (hidden as f64).sqrt();
        let uniform = Init::Uniform { lo: -bound, up: bound };
        let gates = 4 * hidden;
        Ok(Self {
            parameters: [
                path.f_var("w_ih", &[gates, inputs], uniform)?,
                path.f_var("w_hh", &[gates, hidden], uniform)?,
                path.f_var("b_ih", &[gates], uniform)?,
                path.f_var("b_hh", &[gates], uniform)?,
            ],
            hidden,
        })
    }

    /// The outputs of all steps, `[B, T, hidden]`.
    pub fn forward(&self, xs: &Tensor) -> Result<Tensor, TchError> {
        // Zeros of [1, B, hidden] by tensor operations alone, for a size read here would be a constant of the traced
        // graph.
        let zero = xs
            .f_narrow(1, 0, 1)?
            .f_narrow(2, 0, 1)?
            .f_zeros_like()?
            .f_transpose(0, 1)?
            .f_expand([1, -1, self.hidden], false)?
            .f_contiguous()?;
        let state = [zero.shallow_clone(), zero];
        let (outputs, _, _) = xs.f_lstm(&state, &self.parameters, true, 1, 0.0, false, false, true)?;
        Ok(outputs)
    }
}
