// SPDX-License-Identifier: MPL-2.0

//! A window of a model that encodes each frame by itself. Only frames that change are encoded again, and only frames that
//! are asked about have a backward pass through the encoder.

use tch::{TchError, Tensor};

use super::Error;
use super::engine::{Gradient, Shown};
use super::lens::Lens;
use super::tensor::run_error;
use crate::torch;

/// Frames of a window in the model's own values, `[T, 3, height, width]`, and their codes, `[1, T, ...]`.
pub struct Encoded {
    pub(super) frames: Tensor,
    pub(super) codes: Tensor,
}

impl Encoded {
    /// With the `frames[k]`th at place k.
    pub fn at(&self, frames: &[usize]) -> Result<Self, TchError> {
        let index = torch::index(frames, self.frames.device())?;
        Ok(Self { frames: self.frames.f_index_select(0, &index)?, codes: self.codes.f_index_select(1, &index)? })
    }

    /// What its codes have more than another's at some places.
    pub fn less(&self, other: &Self, places: &Tensor) -> Result<Tensor, TchError> {
        self.codes.f_index_select(1, places)?.f_sub(&other.codes.f_index_select(1, places)?)
    }
}

/// Of the last pass.
struct Found {
    by_codes: Tensor,
    by_frames: Option<Tensor>,
}

/// The window that is shown.
#[derive(Default)]
pub(super) struct Frames {
    /// `[T, 3, height, width]`.
    given: Option<Tensor>,
    codes: Option<Tensor>,
    /// The frames whose codes are, or were in the last pass, to be found.
    fresh: Vec<usize>,
    /// A pass was made over what is shown.
    passed: bool,
    found: Option<Found>,
}

impl Frames {
    pub fn show(&mut self, lens: &Lens, frames: &[usize], views: &Tensor) -> Result<(), TchError> {
        if frames.is_empty() {
            return Ok(());
        }
        let given = lens.of_view(&views.f_squeeze_dim(0)?)?;
        self.take(lens, frames, &given)?;
        self.fresh.retain(|place| !frames.contains(place));
        self.fresh.extend(frames);
        Ok(())
    }

    /// Shows frames whose codes are known.
    pub fn recall(&mut self, lens: &Lens, known: &Encoded, frames: &[usize]) -> Result<(), TchError> {
        let index = torch::index(frames, lens.device)?;
        self.take(lens, frames, &known.frames.f_index_select(0, &index)?)?;
        self.fresh.retain(|place| !frames.contains(place));
        self.codes = Some(match self.codes.take() {
            Some(codes) => codes.f_index_copy(1, &index, &known.codes.f_index_select(1, &index)?)?,
            None => known.codes.shallow_clone(),
        });
        Ok(())
    }

    fn take(&mut self, lens: &Lens, frames: &[usize], given: &Tensor) -> Result<(), TchError> {
        if std::mem::take(&mut self.passed) {
            self.fresh.clear();
        }
        self.found = None;
        let length = lens.metadata.window;
        let held = match self.given.take() {
            Some(held) => held,
            None if frames.len() < length => {
                return Err(TchError::Shape("expected whole windows first, found some of their frames".into()));
            }
            None => {
                let mut shape = given.size();
                shape[0] = length as i64;
                given.f_new_zeros(&shape, (given.kind(), given.device()))?
            }
        };
        self.given = Some(held.f_index_copy(0, &torch::index(frames, lens.device)?, given)?);
        Ok(())
    }

    /// What the next pass is over.
    pub fn shown(&mut self) -> Result<Shown, Error> {
        self.passed = true;
        self.found = None;
        // A window without codes is in the order of its frames.
        if self.codes.is_none() {
            self.fresh.sort_unstable();
        }
        let frames = self.some(&self.fresh)?;
        let codes = self.codes.as_ref().map(Tensor::shallow_clone);
        Ok(Shown::Frames { codes, places: self.fresh.clone(), frames })
    }

    fn some(&self, frames: &[usize]) -> Result<Tensor, Error> {
        let given = self.given.as_ref().ok_or_else(Error::nothing_shown)?;
        torch::index(frames, given.device()).and_then(|index| given.f_index_select(0, &index)).map_err(run_error)
    }

    pub fn passed(&mut self, codes: Tensor) {
        self.codes = Some(codes);
    }

    /// Nothing is shown any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    pub fn found(&mut self, gradient: Gradient) -> Result<(), Error> {
        let by_codes = gradient.by_codes.ok_or(Error::NoGradient)?;
        self.found = Some(Found { by_codes, by_frames: gradient.by_frames });
        Ok(())
    }

    /// The last gradient, by the codes of all frames.
    pub fn by_codes(&self) -> Option<&Tensor> {
        self.found.as_ref().map(|found| &found.by_codes)
    }

    pub fn encoded(&self) -> Option<Encoded> {
        let (frames, codes) = (self.given.as_ref()?, self.codes.as_ref()?);
        Some(Encoded { frames: frames.shallow_clone(), codes: codes.shallow_clone() })
    }

    /// The last gradient by some frames, `[1, frames, 3, height, width]` in the model's values. `pull` finds that of
    /// frames which the last pass did not encode, by the gradient by their codes.
    pub fn gradient(
        &self,
        frames: &[usize],
        pull: impl Fn(Tensor, Tensor) -> Result<Tensor, Error>,
    ) -> Result<Tensor, Error> {
        let found = self.found.as_ref().ok_or(Error::NoGradient)?;
        let place = |frame: &usize| self.fresh.iter().position(|k| k == frame).filter(|_| found.by_frames.is_some());
        let (near, far): (Vec<usize>, Vec<usize>) = frames.iter().copied().partition(|frame| place(frame).is_some());
        let mut parts = Vec::new();
        if let Some(by_frames) = found.by_frames.as_ref().filter(|_| !near.is_empty()) {
            let places: Vec<usize> = near.iter().filter_map(place).collect();
            let index = torch::index(&places, by_frames.device());
            parts.push(index.and_then(|index| by_frames.f_index_select(0, &index)).map_err(run_error)?);
        }
        if !far.is_empty() {
            let index = torch::index(&far, found.by_codes.device());
            let by_codes = index.and_then(|index| found.by_codes.f_squeeze_dim(0)?.f_index_select(0, &index));
            parts.push(pull(self.some(&far)?, by_codes.map_err(run_error)?)?);
        }
        let order = |frame: &usize| near.iter().chain(&far).position(|k| k == frame);
        let order: Vec<usize> = frames.iter().filter_map(order).collect();
        let ordered = || -> Result<Tensor, TchError> {
            if parts.is_empty() {
                return self
                    .given
                    .as_ref()
                    .map_or_else(|| Ok(Tensor::new()), |given| given.f_narrow(0, 0, 0)?.f_unsqueeze(0));
            }
            let all = Tensor::f_cat(&parts, 0)?;
            all.f_index_select(0, &torch::index(&order, all.device())?)?.f_unsqueeze(0)
        };
        ordered().map_err(run_error)
    }
}
