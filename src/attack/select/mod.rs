// SPDX-License-Identifier: MPL-2.0

//! Which frames to perturb. A selection is a type of its own in a file of its own, and a row of `REGISTRY`.

pub mod agent;
mod baselines;
mod deletion;
mod gradient;
mod removal;

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

pub use agent::Agent;
pub(crate) use baselines::splitmix;
pub use baselines::{All, Fixed, InterFrameDifference, List, Random};
pub use deletion::Deletion;
pub use gradient::{Gradient, Source, count_to_boundary, frame_weights, step_weights};
pub(super) use gradient::{folded, view_weights};
pub use removal::Removal;

use super::calls::Counted;
use super::criterion::Criterion;
use super::target::{Query, ViewGradient};
use super::{Access, Config, Error, Goal};

/// The clean window, and the pass that was last made.
pub struct Clean<'a, 'b> {
    pub target: &'a mut Counted<'b>,
    pub logits: &'a [f32],
    pub criterion: Criterion,
    pub config: &'a Config,
    /// Whether the attack is of no use any more, and when it has to end.
    pub canceled: &'a dyn Fn() -> bool,
    pub deadline: Option<Instant>,
}

/// A window before anything is asked about it.
pub struct Known<'a> {
    pub target: &'a dyn Query,
    pub goal: Goal,
    pub seed: u64,
}

/// A window whose model answers and has no gradient.
pub trait Ask {
    fn known(&self) -> Known<'_>;
    /// The probability of the label that is to be left, in the clean window with `frames[k]` at place k. One query. An error
    /// where only labels are told.
    fn probability(&mut self, frames: &[usize]) -> Result<f64, Error>;
}

/// A choice of keyframes.
pub struct Selected {
    pub keyframes: Keyframes,
    /// The gradient that the first step is to descend, where it came up on the way.
    pub first_gradient: Option<ViewGradient>,
}

impl From<Keyframes> for Selected {
    fn from(keyframes: Keyframes) -> Self {
        Self { keyframes, first_gradient: None }
    }
}

/// A way to choose keyframes.
pub trait Select: Send + Sync {
    /// As the keyframes property has it.
    fn name(&self) -> String;
    /// Chooses. The target's last pass was that of the clean window; a selection that makes others ends with it again.
    fn select(&self, clean: &mut Clean) -> Result<Selected, Error>;
    /// Chooses by answers alone.
    fn ask(&self, window: &mut dyn Ask) -> Result<Keyframes, Error>;
    /// The largest frame number or count that is asked for, and the largest that there can be in a window of `frames`.
    fn bounds(&self, frames: usize) -> Option<(usize, usize)> {
        let _ = frames;
        None
    }
    /// All frames, of which those are left out without which a direction still fools. Above this mean absolute perturbation
    /// one goes only where that makes it smaller.
    fn deletes(&self) -> Option<f64> {
        None
    }
    /// Whether frames that join later are to be weighed by the gradient where the attack stands.
    fn weighs_anew(&self) -> bool {
        false
    }
    /// The file of an agent, which somebody has to read.
    fn file(&self) -> Option<&Path> {
        None
    }
    /// What it has to be told at the least.
    fn needs(&self) -> Access {
        Access::Label
    }
    /// Whether the model is to return a feature map, and cannot be replaced by its input.
    fn needs_features(&self) -> bool {
        false
    }
}

/// A way that asks the model nothing.
pub trait Blind: Send + Sync {
    fn name(&self) -> String;
    fn choose(&self, window: &Known) -> Result<Keyframes, Error>;
    fn bounds(&self, frames: usize) -> Option<(usize, usize)> {
        let _ = frames;
        None
    }
    fn file(&self) -> Option<&Path> {
        None
    }
}

impl<B: Blind> Select for B {
    fn name(&self) -> String {
        Blind::name(self)
    }

    fn select(&self, clean: &mut Clean) -> Result<Selected, Error> {
        let Clean { target, criterion, config, .. } = clean;
        let window = Known { target: target.known(), goal: criterion.goal, seed: config.seed };
        Ok(self.choose(&window)?.into())
    }

    fn ask(&self, window: &mut dyn Ask) -> Result<Keyframes, Error> {
        self.choose(&window.known())
    }

    fn bounds(&self, frames: usize) -> Option<(usize, usize)> {
        Blind::bounds(self, frames)
    }

    fn file(&self) -> Option<&Path> {
        Blind::file(self)
    }
}

/// From what stands behind the colon, or from a text without one. `None` where it is not of this kind.
type Parse = fn(name: &str, argument: Option<&str>) -> Option<Arc<dyn Select>>;

/// Every selection.
const REGISTRY: [Parse; 9] = [
    Gradient::parse,
    Fixed::parse,
    InterFrameDifference::parse,
    Removal::parse,
    Random::parse,
    All::parse,
    Deletion::parse,
    Agent::parse,
    List::parse,
];

/// A selection by its name.
#[derive(Clone)]
pub struct Selection(Arc<dyn Select>);

impl std::ops::Deref for Selection {
    type Target = dyn Select;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl<S: Select + 'static> From<S> for Selection {
    fn from(select: S) -> Self {
        Self(Arc::new(select))
    }
}

impl Default for Selection {
    fn default() -> Self {
        Gradient::default().into()
    }
}

impl PartialEq for Selection {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Selection({self})")
    }
}

impl FromStr for Selection {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let (name, argument) = match s.split_once(':') {
            Some((name, argument)) => (name.trim(), Some(argument)),
            None => (s.trim(), None),
        };
        REGISTRY.iter().find_map(|parse| parse(name, argument)).map(Self).ok_or_else(|| {
            format!(
                "expected keyframes as gradient, gradient:features, gradient:net, gradient:input, gradient:loss, fixed, ifd, heuristic, random (each of the last four \
                 also with a count, as fixed:4), all, deletion, agent:FILE, or frame numbers such as 0,5,7; found {s}"
            )
        })
    }
}

/// The outcome of a selection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keyframes {
    /// A weight for every real frame, summing to 1.
    pub weights: Vec<f64>,
    /// The real frames by falling weight, earlier ones first among equals.
    pub order: Vec<usize>,
    /// How many of `order` are keyframes.
    pub count: usize,
}

impl Keyframes {
    /// The `count` frames of the greatest weights, at least one.
    pub fn ranked(weights: &[f64], count: usize) -> Self {
        let order = descending(weights);
        Self { count: count.clamp(1, order.len().max(1)), order, weights: normalized(weights) }
    }

    /// Just these of `real` frames, of the same weight.
    pub fn of(frames: Vec<usize>, real: usize) -> Self {
        let weights: Vec<f64> = (0..real).map(|k| f64::from(u8::from(frames.contains(&k)))).collect();
        Self { weights: normalized(&weights), count: frames.len(), order: frames }
    }

    pub fn chosen(&self) -> &[usize] {
        &self.order[..self.count]
    }

    /// The frames that are not keyframes.
    pub fn has_more(&self) -> bool {
        self.count < self.order.len()
    }

    /// Puts the frames that are not keyframes in the order of other weights: those that join next.
    pub fn rank_rest(&mut self, weights: &[f64]) {
        sort_descending(&mut self.order[self.count..], weights);
    }

    /// Makes more frames keyframes; returns them.
    pub fn grow(&mut self, by: usize) -> &[usize] {
        let before = self.count;
        self.count = (before + by).min(self.order.len());
        &self.order[before..self.count]
    }

    /// Puts frames that carry a perturbation already first. They stay as they are, so that at least one other is needed.
    pub fn carry(&mut self, carried: &[usize]) {
        let new = self.chosen().iter().filter(|k| !carried.contains(k)).count();
        let others = self.order.iter().copied().filter(|k| !carried.contains(k));
        self.order = carried.iter().copied().chain(others).collect();
        self.count = (carried.len() + new.max(1)).min(self.order.len());
    }
}

/// Non-negative weights divided by their sum; equal ones where the sum is zero.
pub fn normalized(weights: &[f64]) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    if sum > 0.0 {
        weights.iter().map(|w| w / sum).collect()
    } else {
        vec![1.0 / weights.len().max(1) as f64; weights.len()]
    }
}

/// Frame numbers by falling weight; the sort is stable, so equals stay in time order.
pub fn descending(weights: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    sort_descending(&mut order, weights);
    order
}

fn sort_descending(frames: &mut [usize], weights: &[f64]) {
    frames.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]));
}

/// The count in `name:count`. The inner `None` is no count, the outer one is a text that is none.
fn counted(name: &str, known: &[&str], argument: Option<&str>) -> Option<Option<usize>> {
    match argument {
        _ if !known.contains(&name) => None,
        None => Some(None),
        Some(n) => n.parse().ok().filter(|n| *n > 0).map(Some),
    }
}

/// The other way round.
fn with_count(name: &str, count: Option<usize>) -> String {
    count.map_or(name.to_string(), |n| format!("{name}:{n}"))
}
