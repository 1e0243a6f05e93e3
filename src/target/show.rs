// SPDX-License-Identifier: MPL-2.0

//! What the model is shown of a window: only the frames that are others than at the last pass.

use tch::{TchError, Tensor};

use super::WindowTarget;
use super::ways::Way;
use crate::attack::{Error, Query};
use crate::torch;

impl WindowTarget<'_> {
    /// Shows the model the clean frames of a reading, and perturbed ones in their place.
    pub(super) fn show(&mut self, reading: usize, frames: &[usize], views: &Tensor) -> Result<(), Error> {
        let (clean, encoded) = match &self.ways[reading] {
            Way::Other(other) => (&other.clean, other.encoded.as_ref()),
            Way::Own | Way::Exact | Way::Transport(_) | Way::Behind(_) => (&self.clean, self.encoded.as_ref()),
        };
        let batch = views.size()[0];
        let stale: Vec<usize> = match self.shown.take() {
            Some((shown, perturbed)) if shown == reading && batch == 1 => {
                perturbed.into_iter().filter(|k| !frames.contains(k)).collect()
            }
            _ => (0..self.shape.real).collect(),
        };
        if let Some(encoded) = encoded.filter(|_| batch == 1 && !stale.is_empty()) {
            let places: Vec<usize> = stale.iter().flat_map(|k| self.shape.shown(*k)).collect();
            self.model.recall(encoded, &places)?;
        } else if !stale.is_empty() {
            let clean = clean.f_index_select(1, &torch::index(&stale, clean.device())?)?;
            self.put(&stale, &batched(&clean, batch)?)?;
        }
        self.put(frames, views)?;
        if batch == 1 {
            self.shown = Some((reading, frames.to_vec()));
        }
        Ok(())
    }

    /// Shows the model the clean window with some frames in the places of others.
    pub(super) fn show_moved(&mut self, frames: &[usize]) -> Result<(), Error> {
        let moved: Vec<usize> = (0..frames.len()).filter(|k| frames[*k] != *k).collect();
        let from: Vec<usize> = moved.iter().map(|k| frames[*k]).collect();
        let views = self.clean.f_index_select(1, &torch::index(&from, self.device())?)?;
        // Those that repeat the last frame stay clean: what is removed is one frame.
        self.shown = None;
        self.show(0, &[], &views)?;
        if !moved.is_empty() {
            self.model.show(&moved, &views)?;
            self.shown = None;
        }
        Ok(())
    }

    /// Shows the model real frames, the last one in place of those that repeat it too.
    fn put(&mut self, frames: &[usize], views: &Tensor) -> Result<(), Error> {
        let shape = self.shape;
        let places = frames.iter().enumerate().flat_map(|(i, k)| shape.shown(*k).map(move |place| (place, i)));
        let (places, of): (Vec<usize>, Vec<usize>) = places.unzip();
        if places.len() == frames.len() {
            return Ok(self.model.show(&places, views)?);
        }
        let views = views.f_index_select(1, &torch::index(&of, views.device())?)?;
        Ok(self.model.show(&places, &views)?)
    }
}

/// One window's views for each of a batch.
fn batched(views: &Tensor, batch: i64) -> Result<Tensor, TchError> {
    match views.size()[0] == batch {
        true => Ok(views.shallow_clone()),
        false => {
            let mut shape = views.size();
            shape[0] = batch;
            views.f_expand(shape, false)
        }
    }
}
