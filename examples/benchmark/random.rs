// SPDX-License-Identifier: MPL-2.0

//! Models of random weights: what an attack on them costs is what one on a trained model of that shape costs.

use std::path::Path;

use gstsparseadv::model::Metadata;
use gstsparseadv::model::metadata::{Layout, Resize};
use tch::{Device, Kind, Tensor, nn};

use crate::c3d::{self, C3d};
use crate::export;
use crate::lrcn::{self, Lrcn};
use crate::network::Network;

pub struct Random {
    /// Else a C3D.
    pub lrcn: bool,
    /// Channels of the first layer.
    pub width: i64,
    /// Of the last layers.
    pub hidden: i64,
    pub window: usize,
    /// Side of the square that the model sees, and what frames are resized to before it is cut.
    pub view: usize,
    pub resize: [usize; 2],
    pub classes: i64,
}

impl Random {
    /// C3D as published (Tran et al., ICCV 2015): 64 channels in the first layer, for the 101 classes of UCF-101.
    pub const TRAN: Self =
        Self { lrcn: false, width: 64, hidden: 4096, window: 16, view: 112, resize: [128, 171], classes: 101 };
}

/// Writes an archive.
pub fn write(path: &Path, model: &Random) -> anyhow::Result<()> {
    let store = nn::VarStore::new(Device::Cpu);
    let &Random { width, hidden, classes, window, .. } = model;
    let (view, length, dropout) = (model.view as i64, window as i64, 0.0);
    let (mut network, layout, shape): (Box<dyn Network>, _, _) = if model.lrcn {
        let config = lrcn::Config { width, hidden, dropout, window: length, view, classes };
        (Box::new(Lrcn::new(&store.root(), &config)?), Layout::Btchw, [2, length, 3, view, view])
    } else {
        let config = c3d::Config { width, hidden, dropout, feature_layer: "conv2a", window: length, view, classes };
        (Box::new(C3d::new(&store.root(), &config)?), Layout::Bcthw, [2, 3, length, view, view])
    };
    for mut variable in store.trainable_variables() {
        // The last layer begins at zero.
        let noise = variable.f_randn_like()?.f_mul_scalar(0.05)?;
        let _ = tch::no_grad(|| variable.f_add_(&noise))?;
        let _ = variable.f_set_requires_grad(false)?;
    }
    let metadata = Metadata {
        window,
        layout,
        resize: Resize::Exact(model.resize),
        crop: [model.view, model.view],
        feature_layout: Some(network.feature_layout()),
        feature_window: Some(network.feature_window()),
        ..Metadata::default()
    };
    let input = Tensor::f_rand(shape, (Kind::Float, Device::Cpu))?;
    export::write(&mut *network, &input, &metadata, path)
}
