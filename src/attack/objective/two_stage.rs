// SPDX-License-Identifier: MPL-2.0

//! The two-stage loss of Section 3.1: while the window keeps its label, (alpha, beta) = (0, 1) and the class term of Eq. 1
//! or Eq. 2 is descended; while it is fooled, (1, 0) and the L2,1 norm is.

/// What is descended next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Class,
    Norm,
}

/// Which stage an attack is in.
#[derive(Debug, Default)]
pub struct TwoStage {
    was_fooled: bool,
}

impl TwoStage {
    /// The stage of the next step. The learning rate decays each time a fooled window gets its label back: the boundary
    /// lies within the last step, and smaller ones look for it.
    pub fn stage(&mut self, fooled: bool, learning_rate: &mut f32, decay: f32) -> Stage {
        if self.was_fooled && !fooled {
            *learning_rate *= decay;
        }
        self.was_fooled = fooled;
        if fooled { Stage::Norm } else { Stage::Class }
    }
}
