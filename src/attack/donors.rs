// SPDX-License-Identifier: MPL-2.0

//! Other clips that a black-box attack begins with.

use std::fmt;
use std::sync::Arc;

/// Windows of other clips as the model sees them, each `[T, 3, height, width]` in gray levels.
#[derive(Clone, Default)]
pub struct Donors(Arc<Vec<Vec<f32>>>);

impl Donors {
    pub fn new(windows: Vec<Vec<f32>>) -> Self {
        Self(Arc::new(windows))
    }

    pub fn windows(&self) -> &[Vec<f32>] {
        &self.0
    }
}

impl fmt::Debug for Donors {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} donors", self.0.len())
    }
}

impl PartialEq for Donors {
    /// Of the same windows, where they lie.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.is_empty() && other.0.is_empty())
    }
}
