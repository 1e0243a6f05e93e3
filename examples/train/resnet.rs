// SPDX-License-Identifier: MPL-2.0

//! The 3D ResNets of Hara et al. ("Can spatiotemporal 3D CNNs retrace the history of 2D CNNs and ImageNet?", 2018):
//! a ResNet whose kernels also reach over time. Every shortcut that changes its size is a convolution (type B), also in
//! ResNet-18 and 34. Widths can be scaled, and ResNeXt's groups with them.

use anyhow::{Context, Result, ensure};
use gstsparseadv::model::metadata::{FeatureLayout, FeatureWindow};
use tch::nn::Path;
use tch::{TchError, Tensor};

use crate::layers::{ConvNorm, Linear};
use crate::network::{Network, Output};

/// What the published program subtracts from values of 0 to 255. It divides by nothing.
pub const MEAN: [f32; 3] = [114.7748, 107.7354, 99.4750];

/// Names of the layers that can be exported as features, and the frames from one of their steps to the next.
const LAYERS: [(&str, usize); 5] = [("conv1", 1), ("layer1", 2), ("layer2", 4), ("layer3", 8), ("layer4", 16)];
/// The stage with the most steps, 8 for 16 frames; the last has one, by which all frames would weigh the same.
pub const FEATURE_LAYER: &str = "layer1";

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Basic,
    Bottleneck,
    /// ResNeXt's, whose middle convolution is grouped.
    Grouped,
}

impl Kind {
    /// Width of the blocks' outputs in units of their inner width.
    fn expansion(self) -> i64 {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
            Self::Grouped => 2,
        }
    }
}

pub struct Config<'a> {
    pub kind: Kind,
    /// Blocks a stage.
    pub blocks: [usize; 4],
    /// Channels of the first convolution. The published networks have 64.
    pub width: i64,
    pub feature_layer: &'a str,
    pub window: i64,
    pub classes: i64,
}

pub struct Resnet {
    stem: ConvNorm,
    stages: [Vec<Block>; 4],
    output: Linear,
    /// Index in [`LAYERS`].
    feature_layer: usize,
}

struct Block {
    /// A rectifier follows all but the last.
    convolutions: Vec<ConvNorm>,
    /// Brings the input to the output's size where that differs.
    shortcut: Option<ConvNorm>,
}

impl Block {
    fn new(path: &Path, kind: Kind, inputs: i64, width: i64, stride: i64, groups: i64) -> Result<Self, TchError> {
        let outputs = kind.expansion() * width;
        let conv = |name: &str, from, to, kernel, stride, groups| {
            ConvNorm::grouped(&(path / name), from, to, &[kernel; 3], &[stride; 3], groups)
        };
        let convolutions = match kind {
            Kind::Basic => {
                vec![conv("conv1", inputs, width, 3, stride, 1)?, conv("conv2", width, outputs, 3, 1, 1)?]
            }
            Kind::Bottleneck | Kind::Grouped => vec![
                conv("conv1", inputs, width, 1, 1, 1)?,
                conv("conv2", width, width, 3, stride, groups)?,
                conv("conv3", width, outputs, 1, 1, 1)?,
            ],
        };
        let shortcut = match inputs == outputs && stride == 1 {
            true => None,
            false => Some(conv("downsample", inputs, outputs, 1, stride, 1)?),
        };
        Ok(Self { convolutions, shortcut })
    }

    fn forward(&self, xs: &Tensor, train: bool) -> Result<Tensor, TchError> {
        let mut deep = xs.shallow_clone();
        for (index, convolution) in self.convolutions.iter().enumerate() {
            deep = convolution.forward(&if index == 0 { deep } else { deep.f_relu()? }, train)?;
        }
        match &self.shortcut {
            Some(shortcut) => deep.f_add(&shortcut.forward(xs, train)?)?.f_relu(),
            None => deep.f_add(xs)?.f_relu(),
        }
    }

    fn fold(&mut self) -> Result<(), TchError> {
        self.convolutions.iter_mut().chain(&mut self.shortcut).try_for_each(ConvNorm::fold)
    }
}

impl Resnet {
    pub fn new(path: &Path, config: &Config) -> Result<Self> {
        let Config { kind, width, window, .. } = *config;
        let names = LAYERS.map(|(name, _)| name);
        let feature_layer = names.iter().position(|name| *name == config.feature_layer).with_context(|| {
            format!("expected a --feature-layer of {}, found {:?}", names.join(", "), config.feature_layer)
        })?;
        let step = LAYERS[feature_layer].1 as i64;
        ensure!(
            window > step,
            "expected a --feature-layer with more than one step, found {:?}, which has one for {window} frames and so \
             weighs all alike: name an earlier layer, or raise --window",
            config.feature_layer
        );
        // Groups of the first stage keep the published 4 channels, 32 groups at the published width.
        let (planes, groups) = if kind == Kind::Grouped { (2 * width, width / 2) } else { (width, 1) };
        ensure!(
            kind != Kind::Grouped || width % 2 == 0,
            "expected an even --width, as each two channels are a group of ResNeXt, found {width}"
        );
        let stem = ConvNorm::grouped(&(path / "conv1"), 3, width, &[7, 7, 7], &[1, 2, 2], 1)?;
        let mut inputs = width;
        let mut stages: [Vec<Block>; 4] = Default::default();
        for (index, stage) in stages.iter_mut().enumerate() {
            let (path, width) = (path / LAYERS[index + 1].0, planes << index);
            for block in 0..config.blocks[index] {
                let stride = if index > 0 && block == 0 { 2 } else { 1 };
                stage.push(Block::new(&(&path / block), kind, inputs, width, stride, groups)?);
                inputs = kind.expansion() * width;
            }
        }
        Ok(Self { stem, stages, output: Linear::last(&(path / "fc"), inputs, config.classes)?, feature_layer })
    }
}

impl Network for Resnet {
    fn forward(&self, xs: &Tensor, train: bool) -> Result<Output, TchError> {
        let mut xs = self.stem.forward(xs, train)?.f_relu()?;
        let mut features = xs.shallow_clone();
        xs = xs.f_max_pool3d([3, 3, 3], [2, 2, 2], [1, 1, 1], [1, 1, 1], false)?;
        for (index, stage) in self.stages.iter().enumerate() {
            for block in stage {
                xs = block.forward(&xs, train)?;
            }
            if index + 1 == self.feature_layer {
                features = xs.shallow_clone();
            }
        }
        let mean = xs.f_mean_dim(&[2_i64, 3, 4][..], false, None)?;
        Ok(Output { logits: self.output.forward(&mean)?, features })
    }

    fn fold(&mut self) -> Result<(), TchError> {
        self.stem.fold()?;
        self.stages.iter_mut().flatten().try_for_each(Block::fold)
    }

    fn feature_layout(&self) -> FeatureLayout {
        FeatureLayout::Bcthw
    }

    /// The frames from a step's center to the next one's, once each. A step of a stage sees far more, from the second
    /// stage on the whole window, and by that rule all frames would weigh about the same.
    fn feature_window(&self) -> FeatureWindow {
        match LAYERS[self.feature_layer].1 {
            1 => FeatureWindow { size: 7, stride: 1, start: -3 },
            stride => FeatureWindow { size: stride, stride, start: 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use gstsparseadv::model::Metadata;
    use tch::nn::VarStore;
    use tch::{Device, Kind as Type, no_grad};

    use super::*;
    use crate::export;

    const SMALL: Config =
        Config { kind: Kind::Basic, blocks: [1; 4], width: 2, feature_layer: FEATURE_LAYER, window: 16, classes: 3 };

    fn built(config: &Config) -> Result<Resnet> {
        Resnet::new(&VarStore::new(Device::Cpu).root(), config)
    }

    fn parameters(kind: Kind, blocks: [usize; 4]) -> usize {
        let store = VarStore::new(Device::Cpu);
        let config = Config { kind, blocks, width: 64, classes: 400, ..SMALL };
        no_grad(|| Resnet::new(&store.root(), &config)).expect("a network");
        store.trainable_variables().iter().map(Tensor::numel).sum()
    }

    /// Of torch modules with the names and shapes of the published checkpoints.
    #[test]
    fn the_published_widths_give_the_published_sizes() {
        assert_eq!(parameters(Kind::Basic, [2, 2, 2, 2]), 33_409_104);
        assert_eq!(parameters(Kind::Bottleneck, [3, 4, 6, 3]), 47_018_576);
        assert_eq!(parameters(Kind::Grouped, [3, 4, 23, 3]), 48_340_816);
    }

    #[test]
    fn every_shortcut_passes_its_gradient_on() {
        tch::manual_seed(1);
        for (kind, inputs, width, stride, groups) in [
            (Kind::Basic, 4, 4, 1, 1),
            (Kind::Basic, 4, 8, 2, 1),
            (Kind::Bottleneck, 16, 4, 1, 1),
            (Kind::Bottleneck, 4, 4, 1, 1),
            (Kind::Grouped, 4, 8, 2, 2),
        ] {
            let mut store = VarStore::new(Device::Cpu);
            let block = Block::new(&store.root(), kind, inputs, width, stride, groups).expect("a block");
            store.double();
            let random = |shape: &[i64]| Tensor::randn(shape, (Type::Double, Device::Cpu));
            let (xs, direction) = (random(&[1, inputs, 4, 6, 6]), random(&[1, inputs, 4, 6, 6]));
            let weights = random(&block.forward(&xs, false).expect("an output").size());
            let value = |xs: &Tensor| (block.forward(xs, false).expect("an output") * &weights).sum(Type::Double);
            let xs = xs.set_requires_grad(true);
            value(&xs).backward();
            let slope = (xs.grad() * &direction).sum(Type::Double).double_value(&[]);
            let (xs, step) = (xs.detach(), &direction * 1e-6);
            let found = no_grad(|| value(&(&xs + &step)) - value(&(&xs - &step))).double_value(&[]) / 2e-6;
            assert!((slope - found).abs() <= 1e-5 * found.abs().max(1.0), "{kind:?} {stride}: {slope}, not {found}");
        }
    }

    #[test]
    fn the_steps_of_a_layer_share_the_window_among_them() {
        let input = Tensor::zeros([1, 3, 16, 32, 32], (Type::Float, Device::Cpu));
        for (feature_layer, steps) in [("conv1", 16), ("layer1", 8), ("layer2", 4), ("layer3", 2)] {
            let network = built(&Config { feature_layer, ..SMALL }).expect("a network");
            let features = network.forward(&input, false).expect("an output").features;
            assert_eq!(features.size()[2], steps);
            assert_eq!(network.feature_window().stride as i64 * steps, 16);
        }
    }

    /// The export compares what it has written with the network, logits and gradients.
    #[test]
    fn the_statistics_of_training_are_exported() {
        tch::manual_seed(2);
        let mut store = VarStore::new(Device::Cpu);
        let mut network = Resnet::new(&store.root(), &Config { kind: Kind::Grouped, width: 4, ..SMALL }).expect("one");
        let random = |shape: &[i64]| Tensor::randn(shape, (Type::Float, Device::Cpu));
        let input = random(&[2, 3, 16, 40, 40]) * 60.0;
        network.forward(&input, true).expect("a training step");
        // It begins with zeros, whose logits have no gradient.
        let mut last = store.variables().remove("fc.weight").expect("the last layer");
        no_grad(|| last.copy_(&random(&last.size())));
        store.freeze();
        let folder = tempfile::tempdir().expect("a folder");
        let metadata = Metadata { range: [0.0, 255.0], mean: MEAN, ..Metadata::default() };
        export::write(&mut network, &input, &metadata, &folder.path().join("model.pt")).expect("an archive");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (config, word) in [
            (Config { feature_layer: "layer4", ..SMALL }, "one for 16 frames"),
            (Config { feature_layer: "conv3b", ..SMALL }, "conv1, layer1"),
            (Config { kind: Kind::Grouped, width: 3, ..SMALL }, "even --width"),
        ] {
            let error = built(&config).err().expect("a refusal").to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
