// SPDX-License-Identifier: MPL-2.0

//! Another model, of which an attack may know everything. It stands in for the one that is attacked where that one tells no
//! gradient.

use std::fmt;

use tch::{TchError, Tensor};

use super::Error;

/// What a surrogate makes of frames: of each by itself, or of all of them together.
pub struct Seen {
    /// `[n, classes]`, where n is 1 or the number of frames.
    pub logits: Tensor,
    /// `[n, ...]`: a feature map where it returns one, else the logits.
    pub features: Tensor,
}

/// A number whose gradient is wanted.
pub type Loss<'a> = &'a dyn Fn(&Seen) -> Result<Tensor, TchError>;

/// A model whose gradients are known. Frames are all of a window's, `[T, 3, height, width]` in gray levels, as the model
/// that is attacked sees them.
pub trait Surrogate: Send + Sync {
    /// What it makes of frames. No gradients flow through that.
    fn look(&self, frames: &Tensor) -> Result<Seen, Error>;
    /// The gradient of a loss by the frames, shaped as they are.
    fn gradient(&self, frames: &Tensor, loss: Loss) -> Result<Tensor, Error>;
}

impl fmt::Debug for dyn Surrogate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a surrogate")
    }
}

impl PartialEq for dyn Surrogate {
    /// The same one, loaded once.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::addr_eq(self, other)
    }
}
