// SPDX-License-Identifier: MPL-2.0

//! The ways from a window's bytes to whoever classifies them.

use tch::{Device, TchError, Tensor};

use crate::attack::{Delta, Error, Perturbation};
use crate::model::Encoded;
use crate::video::observer::Observe;
use crate::video::view::Samples;

/// A codec, or whatever else a window's frames go through before they are classified.
pub trait Transport {
    /// What the model's view touches of the window's real frames as they come out, with a perturbation rendered into
    /// them.
    fn transmit(&self, perturbation: &Perturbation) -> Result<Vec<Samples>, Error>;
}

/// How a reading's view of the window is come by.
pub(super) enum Way<'a> {
    /// By the observer of the window.
    Own,
    /// By another one.
    Other(Box<Other<'a>>),
    Transport(&'a dyn Transport),
    /// By the observer of the window, and the model as it is where gradients are taken in a lower precision.
    Exact,
}

/// Another observer of the window.
pub(super) struct Other<'a> {
    pub observer: Box<dyn Observe + 'a>,
    /// Its view of the clean frames.
    pub clean: Tensor,
    /// The same as the model encodes it, frame by frame, once that was needed.
    pub encoded: Option<Encoded>,
    /// It was, before a pass over it was asked for, which has been counted.
    pub prepaid: bool,
}

impl Other<'_> {
    /// Its view of the perturbed frames, on the model's device.
    pub fn observe(&mut self, delta: &Delta) -> Result<Tensor, TchError> {
        let views = self.observer.observe(&delta.frames, &delta.values.f_to_device(Device::Cpu)?)?;
        views.f_to_device(delta.values.device())
    }
}
