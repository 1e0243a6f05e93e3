// SPDX-License-Identifier: MPL-2.0

//! C3D (Tran et al., "Learning spatiotemporal features with 3D convolutional networks", 2015): eight 3x3x3
//! convolutions, five pools, two hidden layers. Widths can be scaled, and each convolution is followed by batch norm,
//! which the original lacks: without it, the network hardly trains from scratch on a small set.

use anyhow::{Context, Result, ensure};
use gstsparseadv::model::metadata::{FeatureLayout, FeatureWindow};
use tch::nn::Path;
use tch::{TchError, Tensor};

use crate::layers::{ConvNorm, Linear};
use crate::network::{Network, Output};

/// Name, width in units of the first layer's, and the time extent of the pool that follows.
const LAYERS: [(&str, i64, Option<i64>); 8] = [
    ("conv1a", 1, Some(1)),
    ("conv2a", 2, Some(2)),
    ("conv3a", 4, None),
    ("conv3b", 4, Some(2)),
    ("conv4a", 8, None),
    ("conv4b", 8, Some(2)),
    ("conv5a", 8, None),
    ("conv5b", 8, Some(2)),
];
/// The last pool pads its picture by one pixel, which makes 7x7 into 4x4.
const LAST: usize = LAYERS.len() - 1;

pub struct Config<'a> {
    pub width: i64,
    /// Width of fc6 and fc7.
    pub hidden: i64,
    /// Share of fc6's and fc7's outputs left out of each training step.
    pub dropout: f64,
    pub feature_layer: &'a str,
    pub window: i64,
    pub view: i64,
    pub classes: i64,
}

pub struct C3d {
    convolutions: Vec<ConvNorm>,
    hidden: [Linear; 2],
    output: Linear,
    dropout: f64,
    feature_layer: usize,
}

impl C3d {
    pub fn new(path: &Path, config: &Config) -> Result<Self> {
        let names = LAYERS.map(|(name, _, _)| name);
        let feature_layer = names.iter().position(|name| *name == config.feature_layer).with_context(|| {
            format!("expected a feature layer of {}, found {:?}", names.join(", "), config.feature_layer)
        })?;
        let (mut inputs, mut frames, mut side) = (3, config.window, config.view);
        let mut convolutions = Vec::new();
        for (index, (name, factor, pool)) in LAYERS.into_iter().enumerate() {
            let outputs = factor * config.width;
            convolutions.push(ConvNorm::new(&(path / name), inputs, outputs, &[3, 3, 3], 1)?);
            inputs = outputs;
            if let Some(time) = pool {
                frames /= time;
                side = (side + if index == LAST { 2 } else { 0 }) / 2;
            }
        }
        ensure!(
            frames > 0 && side > 0,
            "expected windows of at least 16 frames of 16x16 pixels, found {} of {}x{}",
            config.window,
            config.view,
            config.view
        );
        Ok(Self {
            convolutions,
            hidden: [
                Linear::new(&(path / "fc6"), inputs * frames * side * side, config.hidden)?,
                Linear::new(&(path / "fc7"), config.hidden, config.hidden)?,
            ],
            output: Linear::last(&(path / "fc8"), config.hidden, config.classes)?,
            dropout: config.dropout,
            feature_layer,
        })
    }
}

impl Network for C3d {
    fn forward(&self, xs: &Tensor, train: bool) -> Result<Output, TchError> {
        let mut xs = xs.shallow_clone();
        let mut features = xs.shallow_clone();
        for (index, (layer, (_, _, pool))) in self.convolutions.iter().zip(LAYERS).enumerate() {
            xs = layer.forward(&xs, train)?.f_relu()?;
            if index == self.feature_layer {
                features = xs.shallow_clone();
            }
            if let Some(time) = pool {
                let size = [time, 2, 2];
                let border = i64::from(index == LAST);
                xs = xs.f_max_pool3d(size, size, [0, border, border], [1, 1, 1], false)?;
            }
        }
        xs = xs.f_flatten(1, -1)?;
        for layer in &self.hidden {
            xs = layer.forward(&xs)?.f_relu()?;
            if train {
                xs = xs.f_dropout(self.dropout, true)?;
            }
        }
        Ok(Output { logits: self.output.forward(&xs)?, features })
    }

    fn fold(&mut self) -> Result<(), TchError> {
        self.convolutions.iter_mut().try_for_each(ConvNorm::fold)
    }

    fn feature_layout(&self) -> FeatureLayout {
        FeatureLayout::Bcthw
    }

    fn feature_window(&self) -> FeatureWindow {
        feature_window(self.feature_layer)
    }
}

/// The receptive field in time of a layer's step. Padding lets it start before the first frame.
fn feature_window(layer: usize) -> FeatureWindow {
    let mut window = FeatureWindow { size: 1, stride: 1, start: 0 };
    for (index, (_, _, pool)) in LAYERS.into_iter().enumerate().take(layer + 1) {
        // A convolution of three steps adds one on each side.
        window.size += 2 * window.stride;
        window.start -= window.stride as isize;
        if let Some(time) = pool.filter(|_| index < layer) {
            window.size += (time as usize - 1) * window.stride;
            window.stride *= time as usize;
        }
    }
    window
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receptive_fields() {
        let window = |size, stride, start| FeatureWindow { size, stride, start };
        assert_eq!(feature_window(0), window(3, 1, -1));
        assert_eq!(feature_window(1), window(5, 1, -2));
        assert_eq!(feature_window(2), window(10, 2, -4));
        assert_eq!(feature_window(3), window(14, 2, -6));
        assert_eq!(feature_window(4), window(24, 4, -10));
    }
}
