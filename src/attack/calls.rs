// SPDX-License-Identifier: MPL-2.0

//! Counting what an attack asks of its target, and checking what it is answered.

use tch::{Device, Tensor};

use super::Error;
use super::target::{Beyond, ByFrames, Delta, FeatureGradient, Features, Reading, Shape, ViewGradient};
use crate::torch;

/// Calls of the model so far. A query is one forward pass, with or without its backward, or a further backward by
/// itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Calls {
    pub forwards: u32,
    pub backwards: u32,
    pub queries: u32,
    /// Windows sent through a codec; no call of the model.
    pub codec_runs: u32,
}

/// A target whose calls are counted and whose answers are checked. Logits come to the host here.
pub struct Counted<'a> {
    inner: &'a mut dyn Features,
    calls: Calls,
    /// The last forward already had its backward.
    spent: bool,
    /// Whether any gradient that was asked for was not zero, once one was.
    gradient: Option<bool>,
}

impl<'a> Counted<'a> {
    pub fn new(inner: &'a mut dyn Features) -> Self {
        Self { inner, calls: Calls::default(), spent: false, gradient: None }
    }

    pub fn calls(&self) -> Calls {
        self.calls
    }

    /// Gradients were asked for, and every one was zero: nothing can come of the attack, whatever the model is.
    pub fn zero_gradient(&self) -> bool {
        self.gradient == Some(false)
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
        calls.forwards = calls.forwards.saturating_add_signed(forwards);
        calls.queries = calls.queries.saturating_add_signed(forwards);
        calls.backwards = calls.backwards.saturating_add_signed(backwards);
        calls.codec_runs = calls.codec_runs.saturating_add(codec_runs);
    }

    pub fn logits_of(&mut self, frames: &[usize]) -> Result<Vec<f32>, Error> {
        let logits = self.inner.logits_of(frames)?;
        self.passed(&logits)
    }

    pub fn logits(&mut self, delta: &Delta, reading: usize) -> Result<Vec<f32>, Error> {
        if self.inner.readings().get(reading) == Some(&Reading::Transport) {
            self.calls.codec_runs += 1;
        }
        let logits = self.inner.logits(delta, reading)?;
        self.count_beyond();
        self.passed(&logits)
    }

    fn passed(&mut self, logits: &Tensor) -> Result<Vec<f32>, Error> {
        self.calls.forwards += 1;
        self.calls.queries += 1;
        self.spent = false;
        let logits = torch::download(logits)?;
        let classes = self.shape().classes;
        if logits.len() != classes || logits.iter().any(|z| !z.is_finite()) {
            return Err(Error::NotFinite { classes, found: format!("{logits:?}") });
        }
        Ok(logits)
    }

    pub fn backward(&mut self, grad_logits: &[f32], frames: &[usize]) -> Result<Tensor, Error> {
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

    fn count_backward(&mut self) {
        self.calls.backwards += 1;
        self.calls.queries += u32::from(self.spent);
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
