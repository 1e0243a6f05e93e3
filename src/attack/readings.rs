// SPDX-License-Identifier: MPL-2.0

//! A success has to hold in every reading of the window. This is the policy of which readings are looked at when.

use tch::Tensor;

use super::Error;
use super::calls::{Counted, Purpose};
use super::criterion::Criterion;
use super::target::{Delta, Reading, ViewGradient};

/// What the model said at the last look at the perturbation.
pub(super) struct Look {
    pub logits: Vec<f32>,
    /// The reading that the logits are of.
    pub reading: usize,
    /// The class term's gradient there, as far as it has been taken already.
    pub gradient: Option<ViewGradient>,
}

/// The readings of a target.
pub(super) struct Readings {
    always: Vec<usize>,
    confirm: Vec<usize>,
    /// That of them whose logits are the result's.
    exact: Option<usize>,
    /// Whether any of those always looked at is behind a transport.
    transports: bool,
    /// By how much the margin is taken to be smaller in a reading that confirms than in the first one, at the most. A
    /// success in the first reading has to lead by as much more.
    gap: f32,
    /// The same where those readings were asked.
    found: f32,
}

impl Readings {
    pub fn of(target: &Counted) -> Self {
        let readings = target.readings();
        let those = |confirm: bool| -> Vec<usize> {
            let confirms = |r: &usize| matches!(readings[*r], Reading::Confirm | Reading::Exact);
            (0..readings.len()).filter(|r| confirms(r) == confirm).collect()
        };
        Self {
            always: those(false),
            confirm: those(true),
            exact: readings.iter().position(|r| *r == Reading::Exact),
            transports: readings.contains(&Reading::Transport),
            gap: 0.0,
            found: 0.0,
        }
    }

    pub fn transports(&self) -> bool {
        self.transports
    }

    /// Queries that one look takes.
    pub fn always_looked_at(&self) -> u32 {
        self.always.len() as u32
    }

    /// Queries that a success may take to be confirmed.
    pub fn confirming(&self) -> u32 {
        self.confirm.len() as u32
    }

    /// Whether nothing more has to be asked about a success of the first look.
    pub fn are_all_looked_at(&self) -> bool {
        self.confirm.is_empty()
    }

    /// Whether a look shows a success, as far as one look can.
    pub fn holds(&self, look: &Look, criterion: &Criterion) -> bool {
        self.lack(look, criterion) < 0.0
    }

    /// What the goal lacks at a look; negative where it is reached.
    pub fn lack(&self, look: &Look, criterion: &Criterion) -> f32 {
        self.lack_by(look.reading, criterion.margin(&look.logits), criterion)
    }

    /// The same by a margin that was seen in a reading. It changes with what is known of the others.
    pub fn lack_by(&self, reading: usize, margin: f32, criterion: &Criterion) -> f32 {
        let more = if self.confirm.contains(&reading) { 0.0 } else { self.gap };
        criterion.confidence + more - margin
    }

    /// Looks at the perturbation. Of several readings, the one that resists most is what is judged, and the gradient is
    /// the sum over those without a success, or for a walk that of the one that resists most. It is taken while each
    /// pass is at hand.
    pub fn look(
        &self,
        target: &mut Counted,
        delta: &Delta,
        criterion: &Criterion,
        walk: bool,
        grad_logits: &dyn Fn(&[f32]) -> Vec<f32>,
    ) -> Result<Look, Error> {
        if let [only] = self.always[..] {
            return Ok(Look { logits: target.logits(delta, only)?, reading: only, gradient: None });
        }
        let all: Vec<usize> = (0..target.shape().frames).collect();
        let mut weakest: Option<Look> = None;
        let mut sum: Option<Tensor> = None;
        for reading in &self.always {
            let logits = target.logits(delta, *reading)?;
            let resists_most = weakest.as_ref().is_none_or(|w| criterion.margin(&logits) < criterion.margin(&w.logits));
            let leads_on = if walk { resists_most } else { !criterion.holds(&logits, 0.0) };
            if leads_on {
                let gradient = target.backward(&grad_logits(&logits), &all)?;
                sum = Some(match sum {
                    Some(sum) if !walk => sum.f_add(&gradient)?,
                    _ => gradient,
                });
            }
            if resists_most {
                weakest = Some(Look { logits, reading: *reading, gradient: None });
            }
        }
        let Some(weakest) = weakest else {
            return Err(Error::Transport("Expected a target with a reading, found none.".into()));
        };
        // Where all hold there is nothing to descend, and the last pass is not the weakest reading's.
        let shape = target.shape();
        let size = shape.of_frames(shape.frames);
        let sum = match sum {
            Some(sum) => sum,
            None => Tensor::f_full(size, 0.0, (tch::Kind::Float, target.device()))?,
        };
        Ok(Look { gradient: Some(ViewGradient { frames: all, values: sum }), ..weakest })
    }

    /// Looks at a success in the readings that confirm, until one does not hold. Returns the last look, by which the
    /// attack goes on, or nothing where there is nothing to look at. Its logits become the exact ones.
    pub fn confirm(
        &mut self,
        target: &mut Counted,
        delta: &Delta,
        logits: &mut Vec<f32>,
        criterion: &Criterion,
    ) -> Result<Option<Look>, Error> {
        let first = criterion.margin(logits);
        let mut last = None;
        for reading in &self.confirm {
            let before = target.turn_to(Purpose::Confirmation);
            let logits_there = target.logits(delta, *reading)?;
            target.turn_to(before);
            let look = Look { logits: logits_there, reading: *reading, gradient: None };
            self.found = self.found.max(first - criterion.margin(&look.logits));
            self.gap = self.gap.max(self.found);
            let holds = criterion.holds(&look.logits, 0.0);
            if self.exact == Some(*reading) {
                logits.clone_from(&look.logits);
            }
            last = Some(look);
            if !holds {
                break;
            }
        }
        Ok(last)
    }

    /// Whether a look shows a success that readings that confirm may not.
    pub fn may_fail(&self, look: &Look, criterion: &Criterion) -> bool {
        !self.confirm.is_empty() && look.reading == 0 && criterion.holds(&look.logits, 0.0)
    }

    /// Takes the gap for what it is where the model is linear. `by_view` is the class term's gradient at the last look by
    /// the model's view, as [`Counted::change`] needs it.
    pub fn expect(&mut self, target: &mut Counted, delta: &Delta, by_view: &ViewGradient) -> Result<(), Error> {
        self.gap = self.found;
        let before = target.turn_to(Purpose::Confirmation);
        for reading in &self.confirm {
            self.gap = self.gap.max(target.change(delta, *reading, by_view)? as f32);
        }
        target.turn_to(before);
        Ok(())
    }

    /// Whether a success of the first reading leads by enough to be worth confirming, by those that were asked about.
    pub fn may_hold(&self, logits: &[f32], criterion: &Criterion) -> bool {
        criterion.holds(logits, self.found)
    }
}
