// SPDX-License-Identifier: MPL-2.0

//! What an attacker may know of a model's answers. Each level is a type, so that an attack that is written for one cannot
//! reach what it hides:
//!
//! ```compile_fail
//! use gstsparseadv::attack::access::{Answer, Label};
//! fn peek(answer: &Answer<Label>) -> f64 {
//!     answer.probability()
//! }
//! ```
//!
//! With `Scores` in place of `Label` this compiles:
//!
//! ```
//! use gstsparseadv::attack::access::{Answer, Scores};
//! fn read(answer: &Answer<Scores>) -> f64 {
//!     answer.probability()
//! }
//! ```

use std::marker::PhantomData;

use super::criterion::{Criterion, argmax, softmax};

/// What an attack is told, from the least on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, glib::Enum)]
#[enum_type(name = "GstSparseAdvAccess")]
pub enum Access {
    #[enum_value(name = "The label of a window, and nothing else", nick = "label")]
    Label,
    #[enum_value(name = "The label and its probability", nick = "scores")]
    Scores,
    #[enum_value(name = "The logits of all classes", nick = "logits")]
    Logits,
    #[default]
    #[enum_value(name = "Gradients too: a white box", nick = "gradient")]
    Gradient,
}

/// A level of a black box.
pub trait Level: Copy {
    /// Whether an answer is a success as far as this level tells: where there are no logits, by its label alone.
    fn holds(answer: &Answer<Self>, criterion: &Criterion) -> bool {
        criterion.goal.reached(criterion.label, answer.label())
    }
    /// The probability of the label that is to be left, where that is told. Where another label is on top it is not more
    /// than half of what that one leaves.
    fn probability(answer: &Answer<Self>, criterion: &Criterion) -> Option<f64>;
    /// What the goal lacks, as far as it is told, in logits; negative where it is reached. Nothing where the answer says
    /// nothing of it: it is a label alone, or about one that is neither to be left nor to be reached.
    fn lack(answer: &Answer<Self>, criterion: &Criterion) -> Option<f64>;
}

/// A level that tells how sure the model is.
pub trait Scored: Level {}

#[derive(Clone, Copy, Debug)]
pub struct Label;
#[derive(Clone, Copy, Debug)]
pub struct Scores;
#[derive(Clone, Copy, Debug)]
pub struct Logits;

/// What a model says of a window, as far as a level lets it be known.
pub struct Answer<L> {
    logits: Vec<f32>,
    level: PhantomData<L>,
}

impl<L: Level> Answer<L> {
    pub(super) fn new(logits: Vec<f32>) -> Self {
        Self { logits, level: PhantomData }
    }

    /// For who keeps the accounts: a result is reported in full, whatever the attack was told.
    pub(super) fn whole(&self) -> &[f32] {
        &self.logits
    }

    pub fn label(&self) -> usize {
        argmax(&self.logits)
    }
}

impl<L: Scored> Answer<L> {
    /// Of the label.
    pub fn probability(&self) -> f64 {
        softmax(&self.logits)[self.label()]
    }
}

impl Answer<Logits> {
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }
}

impl Level for Label {
    fn probability(_: &Answer<Self>, _: &Criterion) -> Option<f64> {
        None
    }

    fn lack(_: &Answer<Self>, _: &Criterion) -> Option<f64> {
        None
    }
}

impl Level for Scores {
    fn probability(answer: &Answer<Self>, criterion: &Criterion) -> Option<f64> {
        let top = answer.probability();
        Some(if answer.label() == criterion.label { top } else { (1.0 - top) / 2.0 })
    }

    /// By the odds of the label on top: the margin where there are two classes, and a bound on it where there are more.
    fn lack(answer: &Answer<Self>, criterion: &Criterion) -> Option<f64> {
        let top = answer.probability();
        // A model that is quite sure has odds without an end.
        let odds = (top / (1.0 - top).max(f64::MIN_POSITIVE)).ln();
        match criterion.goal.target() {
            None if answer.label() == criterion.label => Some(odds),
            None => Some(-odds),
            Some(target) => (answer.label() == target).then_some(-odds),
        }
    }
}

impl Level for Logits {
    fn holds(answer: &Answer<Self>, criterion: &Criterion) -> bool {
        criterion.holds(answer.logits(), 0.0)
    }

    fn probability(answer: &Answer<Self>, criterion: &Criterion) -> Option<f64> {
        Some(softmax(answer.logits())[criterion.label])
    }

    fn lack(answer: &Answer<Self>, criterion: &Criterion) -> Option<f64> {
        Some(f64::from(criterion.confidence - criterion.margin(answer.logits())))
    }
}

impl Scored for Scores {}

impl Scored for Logits {}
