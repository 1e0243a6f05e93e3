// SPDX-License-Identifier: MPL-2.0

//! Between frames in gray levels, `[batch, frames, 3, height, width]`, and the values that a model takes, in its own
//! layout.

use tch::{Device, Kind, TchError, Tensor};

use super::metadata::{Layout, Metadata};
use crate::torch;

pub(super) struct Lens {
    pub metadata: Metadata,
    pub device: Device,
    /// Factors and summands by which gray levels become the model's values, `[3, 1, 1]` in its own channel order.
    scale: Tensor,
    bias: Tensor,
}

impl Clone for Lens {
    /// Shares the tensors, which nobody writes to.
    fn clone(&self) -> Self {
        let Self { metadata, device, scale, bias } = self;
        Self { metadata: metadata.clone(), device: *device, scale: scale.shallow_clone(), bias: bias.shallow_clone() }
    }
}

impl Lens {
    pub fn new(metadata: Metadata, device: Device) -> Result<Self, TchError> {
        let (scale, bias) = metadata.scale_and_bias();
        let on_device = |values: [f32; 3]| torch::upload(&values, &[3, 1, 1], device);
        Ok(Self { scale: on_device(scale)?, bias: on_device(bias)?, device, metadata })
    }

    /// Shape of the tensor the model is given, for a batch of one.
    pub fn input_shape(&self) -> [i64; 5] {
        let [h, w] = self.metadata.crop.map(|n| n as i64);
        let t = self.metadata.window as i64;
        match self.metadata.layout {
            Layout::Bcthw => [1, 3, t, h, w],
            Layout::Btchw | Layout::Bchw => [1, t, 3, h, w],
        }
    }

    /// How many windows a pass gains by. On a CPU C3D's first layers leave the caches with more than four; a GPU has room for
    /// more, of models of its size.
    pub fn windows_a_pass(&self) -> usize {
        const C3D: i64 = 3 * 16 * 112 * 112;
        let most = if self.device == Device::Cpu { 4 } else { 16 };
        let values: i64 = self.input_shape().iter().product();
        (most * C3D / values.max(1)).clamp(1, most) as usize
    }

    /// The axis of time in the model's input.
    pub fn time_axis(&self) -> i64 {
        match self.metadata.layout {
            Layout::Bcthw => 2,
            Layout::Btchw | Layout::Bchw => 1,
        }
    }

    /// All frame numbers of a window.
    pub fn all(&self) -> Vec<usize> {
        (0..self.metadata.window).collect()
    }

    /// The frames `[batch * T, 3, height, width]` of windows in the model's layout.
    pub fn frames(&self, windows: &Tensor) -> Result<Tensor, TchError> {
        windows.f_detach()?.f_movedim_int(self.time_axis(), 1)?.f_flatten(0, 1)?.f_contiguous()
    }

    /// Frames as the model takes them, `[batch, frames, 3, height, width]`.
    pub fn of_view(&self, views: &Tensor) -> Result<Tensor, TchError> {
        self.flip(views.shallow_clone())?.f_mul(&self.scale)?.f_add_(&self.bias)
    }

    /// A gradient by such frames as one by the view.
    pub fn to_view(&self, gradient: &Tensor) -> Result<Tensor, TchError> {
        self.flip(gradient.f_mul(&self.scale)?)?.f_contiguous()
    }

    /// The frames `frames` of a gradient by the model's whole input, as one by the view.
    pub fn window_to_view(&self, gradient: &Tensor, frames: &[usize]) -> Result<Tensor, TchError> {
        let axis = self.time_axis();
        let whole = frames.iter().copied().eq(0..self.metadata.window);
        let gradient = match whole {
            true => gradient.shallow_clone(),
            false => gradient.f_index_select(axis, &torch::index(frames, self.device)?)?,
        };
        self.to_view(&gradient.f_movedim_int(axis, 1)?)
    }

    /// Writes `views[b, i]` to place `frames[i]` of window b of `input`, which becomes a new one where it is none yet or
    /// of another batch. Some frames alone go into an input that there is.
    pub fn write(&self, input: &mut Option<Tensor>, frames: &[usize], views: &Tensor) -> Result<(), TchError> {
        let (batch, axis) = (views.size()[0], self.time_axis());
        let held = match input.take() {
            Some(held) if held.size()[0] == batch => held,
            _ if frames.len() < self.metadata.window => {
                return Err(TchError::Shape("expected whole windows first, found some of their frames".into()));
            }
            _ => {
                let mut shape = self.input_shape();
                shape[0] = batch;
                Tensor::f_zeros(shape, (Kind::Float, self.device))?
            }
        };
        // Written to as data, not as a step of a graph.
        let _ = held.f_set_requires_grad(false)?;
        let given = self.of_view(views)?;
        for (i, frame) in frames.iter().enumerate() {
            held.f_select(axis, *frame as i64)?.f_copy_(&given.f_select(1, i as i64)?)?;
        }
        *input = Some(held);
        Ok(())
    }

    /// Between R, G, B and the model's own channel order, which is its own inverse. The channels are the third axis from
    /// the end.
    fn flip(&self, frames: Tensor) -> Result<Tensor, TchError> {
        if self.metadata.channels == "BGR" { frames.f_flip([-3i64]) } else { Ok(frames) }
    }
}
