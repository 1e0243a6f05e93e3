// SPDX-License-Identifier: MPL-2.0

//! What training, scoring and exporting need of a network.

use gstsparseadv::model::metadata::{FeatureLayout, FeatureWindow};
use tch::{TchError, Tensor};

pub struct Output {
    /// `[B, classes]`.
    pub logits: Tensor,
    /// The very tensor that flows on to the logits, so that they have a gradient with respect to it.
    pub features: Tensor,
}

pub trait Network {
    fn forward(&self, xs: &Tensor, train: bool) -> Result<Output, TchError>;

    /// Fixes the statistics of batch norm for good.
    fn fold(&mut self) -> Result<(), TchError>;

    /// Whether each step of the features is made of one frame alone, and the logits of the features.
    fn encodes_frames(&self) -> bool {
        false
    }

    fn feature_layout(&self) -> FeatureLayout;

    /// Which frames a step of the features sees.
    fn feature_window(&self) -> FeatureWindow;
}
