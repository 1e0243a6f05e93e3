// SPDX-License-Identifier: MPL-2.0

//! Where the learning of a perturbation stands.

use std::path::Path;

use tch::TchError;

use super::learn::Learner;
use crate::files::learning::{Error, Standing};

impl Learner {
    /// Writes where it stands after so many steps, and with what settings.
    pub fn suspend(&self, path: &Path, settings: &str, steps: u32) -> Result<(), Error> {
        self.standing(steps)?.suspend(path, settings)
    }

    /// Takes over where an earlier run stood. Returns how many steps it had taken, none where there is no file.
    pub fn resume(&mut self, path: &Path, settings: &str) -> Result<u32, Error> {
        let mut standing = self.standing(0)?;
        if standing.resume(path, settings)? {
            self.take(standing.tensors.map(|(_, tensor)| tensor), standing.moves);
        }
        Ok(standing.steps)
    }

    fn standing(&self, steps: u32) -> Result<Standing<3>, TchError> {
        let [values, mean, variance] = self.tensors()?;
        let tensors = [("values", values), ("mean", mean), ("variance", variance)];
        Ok(Standing { steps, moves: self.adam_steps(), tensors })
    }
}
