// SPDX-License-Identifier: MPL-2.0

//! LRCN (Donahue et al., "Long-term recurrent convolutional networks", 2015) with a small ResNet and one hidden layer,
//! fc6, as the encoder of each frame, an LSTM over the frames, and the mean of its outputs before the last layer.

use gstsparseadv::model::metadata::{FeatureLayout, FeatureWindow};
use tch::nn::Path;
use tch::{TchError, Tensor};

use crate::layers::{ConvNorm, Linear, Lstm};
use crate::network::{Network, Output};

const STAGES: usize = 4;

pub struct Config {
    /// Channels of the first stage; each further stage has twice as many.
    pub width: i64,
    /// Width of fc6 and of the LSTM.
    pub hidden: i64,
    /// Share of fc6's outputs left out of each training step.
    pub dropout: f64,
    pub window: i64,
    pub view: i64,
    pub classes: i64,
}

pub struct Lrcn {
    stem: ConvNorm,
    stages: Vec<Block>,
    fc6: Linear,
    lstm: Lstm,
    output: Linear,
    dropout: f64,
    window: i64,
}

/// ResNet's basic block.
struct Block {
    first: ConvNorm,
    second: ConvNorm,
    /// Brings the shortcut to the block's size where that differs.
    shortcut: Option<ConvNorm>,
}

impl Block {
    fn new(path: &Path, inputs: i64, outputs: i64, stride: i64) -> Result<Self, TchError> {
        let shortcut = if inputs == outputs && stride == 1 {
            None
        } else {
            let path = path / "shortcut";
            Some(ConvNorm::new(&path, inputs, outputs, &[1, 1], stride)?)
        };
        Ok(Self {
            first: ConvNorm::new(&(path / "first"), inputs, outputs, &[3, 3], stride)?,
            second: ConvNorm::new(&(path / "second"), outputs, outputs, &[3, 3], 1)?,
            shortcut,
        })
    }

    fn forward(&self, xs: &Tensor, train: bool) -> Result<Tensor, TchError> {
        let deep = self.first.forward(xs, train)?.f_relu()?;
        let deep = self.second.forward(&deep, train)?;
        match &self.shortcut {
            Some(shortcut) => deep.f_add(&shortcut.forward(xs, train)?)?.f_relu(),
            None => deep.f_add(xs)?.f_relu(),
        }
    }

    fn fold(&mut self) -> Result<(), TchError> {
        self.first.fold()?;
        self.second.fold()?;
        self.shortcut.as_mut().map_or(Ok(()), ConvNorm::fold)
    }
}

impl Lrcn {
    pub fn new(path: &Path, config: &Config) -> Result<Self, TchError> {
        let stem = ConvNorm::new(&(path / "stem"), 3, config.width, &[7, 7], 2)?;
        // The stem's convolution and its pool.
        let mut side = halved(halved(config.view));
        let mut channels = config.width;
        let mut stages = Vec::new();
        for index in 0..STAGES {
            let (outputs, stride) = match index {
                0 => (channels, 1),
                _ => (2 * channels, 2),
            };
            if stride == 2 {
                side = halved(side);
            }
            let path = path / format!("stage{index}");
            stages.push(Block::new(&path, channels, outputs, stride)?);
            channels = outputs;
        }
        Ok(Self {
            stem,
            stages,
            // Unlike ResNet's mean over the map, it knows where in the picture a limb is.
            fc6: Linear::new(&(path / "fc6"), channels * side * side, config.hidden)?,
            lstm: Lstm::new(&(path / "lstm"), config.hidden, config.hidden)?,
            output: Linear::last(&(path / "output"), config.hidden, config.classes)?,
            dropout: config.dropout,
            window: config.window,
        })
    }
}

/// What a stride of two with padding by half the kernel leaves of `side` pixels.
fn halved(side: i64) -> i64 {
    (side + 1) / 2
}

impl Network for Lrcn {
    fn forward(&self, xs: &Tensor, train: bool) -> Result<Output, TchError> {
        let mut xs = self.stem.forward(&xs.f_flatten(0, 1)?, train)?.f_relu()?;
        xs = xs.f_max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false)?;
        for stage in &self.stages {
            xs = stage.forward(&xs, train)?;
        }
        // The LSTM goes on from the unfolded map that is returned, not from the folded one, so that the logits have a
        // gradient with respect to it.
        let features = xs.f_unflatten(0, [-1, self.window])?;
        let mut steps = self.fc6.forward(&features.f_flatten(2, -1)?)?.f_relu()?;
        if train {
            steps = steps.f_dropout(self.dropout, true)?;
        }
        let outputs = self.lstm.forward(&steps)?;
        let mean = outputs.f_mean_dim(&[1_i64][..], false, None)?;
        Ok(Output { logits: self.output.forward(&mean)?, features })
    }

    fn fold(&mut self) -> Result<(), TchError> {
        self.stem.fold()?;
        self.stages.iter_mut().try_for_each(Block::fold)
    }

    fn encodes_frames(&self) -> bool {
        true
    }

    fn feature_layout(&self) -> FeatureLayout {
        FeatureLayout::Btchw
    }

    fn feature_window(&self) -> FeatureWindow {
        FeatureWindow { size: 1, stride: 1, start: 0 }
    }
}
