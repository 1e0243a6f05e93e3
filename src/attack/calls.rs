// SPDX-License-Identifier: MPL-2.0

//! Counting what an attack asks of its target, and checking what it is answered.

use tch::{Device, Tensor};

use super::Error;
use super::target::{Beyond, ByFrames, Delta, FeatureGradient, Features, Query, Reading, Shape, ViewGradient};
use crate::torch;

/// Calls of the model so far. A query is one forward pass, with or without its backward, or a further backward by
/// itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Calls {
    /// Forward passes of the model.
    pub forwards: u32,
    /// Backward passes of the model.
    pub backwards: u32,
    /// Forward passes with or without their backward passes, and further backward passes by themselves.
    pub queries: u32,
    /// Windows sent through a codec; no call of the model.
    pub codec_runs: u32,
    /// What the queries were for; they add up.
    #[serde(flatten)]
    pub purposes: Purposes,
}

/// What a query is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// The window as it came.
    #[default]
    Clean,
    /// Which frames, or which part of them, are perturbed.
    Selection,
    /// Something to begin with: another window's perturbation, another clip.
    Start,
    Search,
    /// Whether a success holds in all readings.
    Confirmation,
}

/// Queries by what they were for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Purposes {
    /// Queries about the window as it came.
    pub queries_clean: u32,
    /// Queries that choose which frames, or which part of them, are perturbed.
    pub queries_selection: u32,
    /// Queries about what a search begins with: another window's perturbation, another clip.
    pub queries_start: u32,
    /// Queries of the search itself.
    pub queries_search: u32,
    /// Queries whether a success holds in all readings.
    pub queries_confirmation: u32,
}

impl Purposes {
    pub fn of(&mut self, purpose: Purpose) -> &mut u32 {
        match purpose {
            Purpose::Clean => &mut self.queries_clean,
            Purpose::Selection => &mut self.queries_selection,
            Purpose::Start => &mut self.queries_start,
            Purpose::Search => &mut self.queries_search,
            Purpose::Confirmation => &mut self.queries_confirmation,
        }
    }
}

impl Calls {
    /// Adds so many forward passes; negative where some were counted that are not made.
    pub fn note_forwards(&mut self, forwards: i32, purpose: Purpose) {
        self.forwards = self.forwards.saturating_add_signed(forwards);
        self.note_queries(forwards, purpose);
    }

    fn note_queries(&mut self, queries: i32, purpose: Purpose) {
        self.queries = self.queries.saturating_add_signed(queries);
        let of = self.purposes.of(purpose);
        *of = of.saturating_add_signed(queries);
    }
}

/// A target whose calls are counted and whose answers are checked. Logits come to the host here.
pub struct Counted<'a> {
    inner: &'a mut dyn Features,
    calls: Calls,
    purpose: Purpose,
    /// Queries at the most.
    most: Option<u32>,
    /// The last forward already had its backward.
    spent: bool,
    /// Whether any gradient that was asked for was not zero, once one was.
    gradient: Option<bool>,
}

impl<'a> Counted<'a> {
    /// With so many queries at the most.
    pub fn new(inner: &'a mut dyn Features, most: Option<u32>) -> Self {
        Self { inner, calls: Calls::default(), purpose: Purpose::Clean, most, spent: false, gradient: None }
    }

    pub fn calls(&self) -> Calls {
        self.calls
    }

    /// Queries that are left.
    pub fn left(&self) -> u32 {
        self.most.map_or(u32::MAX, |most| most.saturating_sub(self.calls.queries))
    }

    /// Whether a query is left to be made.
    fn check_left(&self) -> Result<(), Error> {
        if self.left() == 0 { Err(Error::Spent) } else { Ok(()) }
    }

    /// Says what the next queries are for. Returns what the last ones were.
    pub fn turn_to(&mut self, purpose: Purpose) -> Purpose {
        std::mem::replace(&mut self.purpose, purpose)
    }

    /// Gradients were asked for, and every one was zero: nothing can come of the attack, whatever the model is.
    pub fn zero_gradient(&self) -> bool {
        self.gradient == Some(false)
    }

    /// What is known without a call.
    pub fn known(&self) -> &dyn Query {
        self.inner
    }

    pub fn shape(&self) -> Shape {
        self.inner.shape()
    }

    pub fn device(&self) -> Device {
        self.inner.device()
    }

    pub fn readings(&self) -> &[Reading] {
        self.inner.readings()
    }

    pub fn clean(&self) -> Result<Tensor, Error> {
        self.inner.clean()
    }

    pub fn observe(&mut self, delta: &Delta) -> Result<Tensor, Error> {
        self.inner.observe(delta)
    }

    pub fn by_frames(&mut self) -> Option<&mut dyn ByFrames> {
        self.inner.by_frames()
    }

    pub fn change(&mut self, delta: &Delta, reading: usize, by_view: &ViewGradient) -> Result<f64, Error> {
        let change = self.inner.change(delta, reading, &by_view.frames, &by_view.values)?;
        self.count_beyond();
        Ok(change)
    }

    fn count_beyond(&mut self) {
        let Beyond { forwards, backwards, codec_runs } = self.inner.beyond();
        let calls = &mut self.calls;
        calls.note_forwards(forwards, self.purpose);
        calls.backwards = calls.backwards.saturating_add_signed(backwards);
        calls.codec_runs = calls.codec_runs.saturating_add(codec_runs);
    }

    pub fn logits_of(&mut self, frames: &[usize]) -> Result<Vec<f32>, Error> {
        self.check_left()?;
        let logits = self.inner.logits_of(frames)?;
        self.passed(&logits)
    }

    pub fn logits(&mut self, delta: &Delta, reading: usize) -> Result<Vec<f32>, Error> {
        self.check_left()?;
        if self.inner.readings().get(reading) == Some(&Reading::Transport) {
            self.calls.codec_runs += 1;
        }
        let logits = self.inner.logits(delta, reading)?;
        let logits = self.passed(&logits);
        // It may say that this pass was made before.
        self.count_beyond();
        logits
    }

    fn passed(&mut self, logits: &Tensor) -> Result<Vec<f32>, Error> {
        self.calls.note_forwards(1, self.purpose);
        self.spent = false;
        checked(logits, self.shape().classes)
    }

    pub fn backward(&mut self, grad_logits: &[f32], frames: &[usize]) -> Result<Tensor, Error> {
        self.check_backward()?;
        self.count_backward();
        let gradient = self.inner.backward(&self.row(grad_logits)?, frames)?;
        self.count_beyond();
        self.note_gradient(grad_logits, &gradient)?;
        Ok(gradient)
    }

    pub fn pull(&mut self, delta: &Delta, reading: usize, grad_view: &Tensor) -> Result<Tensor, Error> {
        self.inner.pull(delta, reading, grad_view)
    }

    pub fn feature_gradient(&mut self, grad_logits: &[f32]) -> Result<Option<FeatureGradient>, Error> {
        self.check_backward()?;
        let gradient = self.inner.feature_gradient(&self.row(grad_logits)?)?;
        if let Some(gradient) = &gradient {
            self.count_backward();
            self.note_gradient(grad_logits, gradient.by_view.as_ref().unwrap_or(&gradient.by_features))?;
        }
        Ok(gradient)
    }

    fn row(&self, values: &[f32]) -> Result<Tensor, Error> {
        Ok(torch::upload(values, &[1, values.len() as i64], self.device())?)
    }

    /// A further backward pass is a query of its own.
    fn check_backward(&self) -> Result<(), Error> {
        if self.spent { self.check_left() } else { Ok(()) }
    }

    fn count_backward(&mut self) {
        self.calls.backwards += 1;
        self.calls.note_queries(i32::from(self.spent), self.purpose);
        self.spent = true;
    }

    /// Notes whether a gradient is zero. That of a loss that is reached is zero with right, by the gradient it came from.
    fn note_gradient(&mut self, grad_logits: &[f32], gradient: &Tensor) -> Result<(), Error> {
        if self.gradient != Some(true) && grad_logits.iter().any(|c| *c != 0.0) {
            let any = torch::download(&gradient.f_ne(0.0)?.f_any()?)?;
            self.gradient = Some(any.iter().any(|any| *any != 0.0));
        }
        Ok(())
    }
}

/// Logits on the host, finite and of as many classes as the model has.
pub(super) fn checked(logits: &Tensor, classes: usize) -> Result<Vec<f32>, Error> {
    let logits = torch::download(logits)?;
    if logits.len() != classes || logits.iter().any(|z| !z.is_finite()) {
        return Err(Error::NotFinite { classes, found: format!("{logits:?}") });
    }
    Ok(logits)
}
