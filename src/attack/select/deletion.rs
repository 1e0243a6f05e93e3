// SPDX-License-Identifier: MPL-2.0

//! By deletion (Wei et al., AAAI 2020): from a direction in all frames, those go without which it still fools. The search
//! does it, between its first direction and the rest.

use std::sync::Arc;

use super::{Ask, Clean, Keyframes, Select, Selected};
use crate::attack::{Access, Error};

/// The bound of Wei et al. on the mean absolute perturbation of what may change, in gray levels.
const BOUND: f64 = 3.0;

/// `deletion`, or with a bound on the mean absolute perturbation in gray levels.
#[derive(Clone, Copy, Debug)]
pub struct Deletion(pub Option<f64>);

impl Deletion {
    pub(super) fn parse(name: &str, argument: Option<&str>) -> Option<Arc<dyn Select>> {
        let bound = argument.map(str::parse).transpose().ok()?;
        let usable = bound.is_none_or(|bound: f64| bound.is_finite() && bound >= 0.0);
        (name == "deletion" && usable).then(|| Arc::new(Self(bound)) as Arc<dyn Select>)
    }
}

impl Select for Deletion {
    fn name(&self) -> String {
        self.0.map_or_else(|| "deletion".into(), |bound| format!("deletion:{bound}"))
    }

    fn select(&self, _: &mut Clean) -> Result<Selected, Error> {
        Err(Error::NeedsRadius)
    }

    fn ask(&self, window: &mut dyn Ask) -> Result<Keyframes, Error> {
        let real = window.known().target.shape().real;
        Ok(Keyframes::ranked(&vec![1.0; real], real))
    }

    fn needs(&self) -> Access {
        Access::Label
    }

    fn deletes(&self) -> Option<f64> {
        Some(self.0.unwrap_or(BOUND))
    }
}
