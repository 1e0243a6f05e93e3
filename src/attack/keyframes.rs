// SPDX-License-Identifier: MPL-2.0

//! Which frames to perturb: the paper's choice by gradient (Section 3.2) and those it is compared with (Sections 2 and
//! 4.2).

use std::fmt;
use std::str::FromStr;

use super::run::Counted;
use super::{Config, Error, Scene, loss};

/// Where the gradient of a [`Selection::Gradient`] is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// At the model's feature map where it gives one (Eq. 3 and Eq. 4), else at its input.
    #[default]
    Auto,
    Features,
    /// At the feature map, and a frame's weight is the absolute value of the sum rather than the sum of absolute
    /// values.
    Signed,
    /// At the input, of the attack's class term (Eq. 1 or Eq. 2) in place of the label's logit: that of the first step.
    Loss,
    Input,
}

/// How the gradient of a frame becomes its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighing {
    /// Mean absolute value: non-negative weights, as a boundary on their sum needs.
    Absolute,
    /// Absolute value of the mean: Eq. 3 as printed sums the gradient itself.
    Signed,
}

/// A way to choose keyframes. A count of `None` is the baselines' own: 4 of 16 frames untargeted, 5 of 16 targeted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The paper's: descending weights until their sum reaches the boundary.
    Gradient(Source),
    /// SA (Wei et al., AAAI 2019): the first frames.
    Fixed(Option<usize>),
    /// IFD: the frames that differ most from their predecessors.
    InterFrameDifference(Option<usize>),
    /// Wei et al., AAAI 2020: the frames whose removal lowers the label's probability most; one query a frame.
    Heuristic(Option<usize>),
    Random(Option<usize>),
    /// Every frame: a dense attack.
    All,
    List(Vec<usize>),
}

impl Default for Selection {
    fn default() -> Self {
        Self::Gradient(Source::Auto)
    }
}

impl FromStr for Selection {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let unknown = || {
            format!(
                "expected keyframes as gradient, gradient:features, gradient:signed, gradient:input, gradient:loss, fixed, ifd, heuristic, random (each of the last four \
                 also with a count, as fixed:4), all, or frame numbers such as 0,5,7; found {s}"
            )
        };
        let (name, argument) = match s.split_once(':') {
            Some((name, argument)) => (name, Some(argument)),
            None => (s, None),
        };
        let count = || match argument.map(str::parse) {
            None => Ok(None),
            Some(Ok(n)) if n > 0 => Ok(Some(n)),
            Some(_) => Err(unknown()),
        };
        match name.trim() {
            "gradient" => match argument {
                None => Ok(Self::Gradient(Source::Auto)),
                Some("features") => Ok(Self::Gradient(Source::Features)),
                Some("signed") => Ok(Self::Gradient(Source::Signed)),
                Some("input") => Ok(Self::Gradient(Source::Input)),
                Some("loss") => Ok(Self::Gradient(Source::Loss)),
                Some(_) => Err(unknown()),
            },
            "fixed" | "sa" => Ok(Self::Fixed(count()?)),
            "ifd" => Ok(Self::InterFrameDifference(count()?)),
            "heuristic" => Ok(Self::Heuristic(count()?)),
            "random" => Ok(Self::Random(count()?)),
            "all" if argument.is_none() => Ok(Self::All),
            _ if argument.is_none() => {
                let frames: Result<Vec<usize>, _> = s.split(',').map(|n| n.trim().parse()).collect();
                let mut frames = frames.map_err(|_| unknown())?;
                frames.sort_unstable();
                frames.dedup();
                Ok(Self::List(frames))
            }
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let counted = |f: &mut fmt::Formatter, name: &str, count: &Option<usize>| match count {
            Some(n) => write!(f, "{name}:{n}"),
            None => f.write_str(name),
        };
        match self {
            Self::Gradient(Source::Auto) => f.write_str("gradient"),
            Self::Gradient(Source::Features) => f.write_str("gradient:features"),
            Self::Gradient(Source::Signed) => f.write_str("gradient:signed"),
            Self::Gradient(Source::Input) => f.write_str("gradient:input"),
            Self::Gradient(Source::Loss) => f.write_str("gradient:loss"),
            Self::Fixed(n) => counted(f, "fixed", n),
            Self::InterFrameDifference(n) => counted(f, "ifd", n),
            Self::Heuristic(n) => counted(f, "heuristic", n),
            Self::Random(n) => counted(f, "random", n),
            Self::All => f.write_str("all"),
            Self::List(frames) => {
                let frames: Vec<String> = frames.iter().map(usize::to_string).collect();
                f.write_str(&frames.join(","))
            }
        }
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
    pub fn chosen(&self) -> &[usize] {
        &self.order[..self.count]
    }

    /// Puts the frames that are not keyframes in the order of other weights: those that join next.
    pub(super) fn rank_rest(&mut self, weights: &[f64]) {
        sort_descending(&mut self.order[self.count..], weights);
    }

    fn ranked(weights: Vec<f64>, count: usize) -> Self {
        let order = descending(&weights);
        Self { count: count.clamp(1, order.len()), order, weights: normalized(&weights) }
    }
}

/// How many keyframes SA and IFD take of `frames` (Section 4.1: 4 of 16 untargeted, 5 of 16 targeted).
pub fn baseline_count(frames: usize, targeted: bool) -> usize {
    let sixteenths = if targeted { 5 } else { 4 };
    ((frames * sixteenths + 8) / 16).max(1)
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

/// How many of the frames in `order` it takes until their weights sum to the boundary (Section 3.2).
pub fn count_to_boundary(weights: &[f64], order: &[usize], boundary: f64) -> usize {
    let mut sum = 0.0;
    for (n, k) in order.iter().enumerate() {
        sum += weights[*k];
        // Sixteen weights of 1/16 must reach a boundary of 1 in spite of rounding.
        if sum >= boundary - 1e-9 {
            return n + 1;
        }
    }
    order.len()
}

/// Eq. 3 for an input or a per-frame map: the mean absolute gradient of each of `frames` frames.
pub fn frame_means(gradient: &[f32], frames: usize) -> Vec<f64> {
    let len = (gradient.len() / frames.max(1)).max(1);
    gradient.chunks(len).map(super::norm::mean_abs).collect()
}

/// Chooses keyframes; the last forward pass of `classifier` must be that of the clean `view`, whose label is `label`.
/// Where the gradient of what the first step is to lower has been computed on the way, it comes along.
pub(super) fn select(
    config: &Config,
    label: usize,
    scene: &dyn Scene,
    view: &[f32],
    classifier: &mut Counted,
) -> Result<(Keyframes, Option<Vec<f32>>), Error> {
    let real = scene.real_frames();
    let len = scene.frame_len();
    let count = |n: &Option<usize>| n.unwrap_or_else(|| baseline_count(real, config.goal.is_targeted()));
    let mut first_gradient = None;
    let keyframes = match &config.selection {
        Selection::Gradient(source) => {
            let mut gradient = vec![0.0; view.len()];
            let cotangent = if *source == Source::Loss {
                loss::cotangent(classifier.last_logits(), config.goal, label, config.loss)
            } else {
                let mut score = vec![0.0; classifier.classes()];
                score[label] = 1.0;
                score
            };
            let weighing = match source {
                Source::Signed => Weighing::Signed,
                _ => Weighing::Absolute,
            };
            let features = match source {
                Source::Input | Source::Loss => None,
                _ => classifier.feature_weights(&cotangent, weighing, &mut gradient)?,
            };
            let weights = match features {
                Some(weights) => weights,
                None => {
                    let all: Vec<usize> = (0..scene.frames()).collect();
                    classifier.backward(&cotangent, &all, &mut gradient)?;
                    frame_means(&gradient, scene.frames())
                }
            };
            // The untargeted attack lowers the label's logit; the targeted one has other plans.
            let descended = *source == Source::Loss || !config.goal.is_targeted();
            first_gradient = descended.then_some(gradient);
            let weights = normalized(&folded(weights, real));
            let order = descending(&weights);
            Keyframes { count: count_to_boundary(&weights, &order, config.boundary), weights, order }
        }
        Selection::Fixed(n) => {
            let mut keyframes = Keyframes::ranked(vec![1.0; real], count(n));
            // Growth, if any, goes on in time order.
            keyframes.order = (0..real).collect();
            keyframes
        }
        Selection::InterFrameDifference(n) => {
            let mut weights = vec![0.0];
            for k in 1..real {
                let (a, b) = (&view[(k - 1) * len..][..len], &view[k * len..][..len]);
                let sum: f64 = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).sum();
                weights.push(sum / len as f64);
            }
            Keyframes::ranked(weights, count(n))
        }
        Selection::Heuristic(n) => {
            let base = loss::probabilities(classifier.last_logits())[label];
            let mut without = view.to_vec();
            let mut weights = Vec::with_capacity(real);
            for k in 0..real {
                // The model needs its T frames, so a removed frame is one that repeats its neighbor.
                let neighbor = if k > 0 { k - 1 } else { 1.min(real - 1) };
                without[k * len..][..len].copy_from_slice(&view[neighbor * len..][..len]);
                let logits = classifier.forward(&without)?;
                weights.push((base - loss::probabilities(&logits)[label]).max(0.0));
                without[k * len..][..len].copy_from_slice(&view[k * len..][..len]);
            }
            // The attack's first step starts from the clean window's pass.
            classifier.forward(view)?;
            Keyframes::ranked(weights, count(n))
        }
        Selection::Random(n) => {
            let mut state = config.seed;
            let weights = (0..real).map(|_| splitmix(&mut state) as f64).collect();
            Keyframes::ranked(weights, count(n))
        }
        Selection::All => Keyframes::ranked(vec![1.0; real], real),
        Selection::List(frames) => {
            if let Some(found) = frames.iter().find(|k| **k >= scene.frames()) {
                return Err(Error::KeyframeOutOfRange { frames: scene.frames(), found: *found });
            }
            // A shorter window at the end of a stream may not have all of them.
            let listed = |k: &usize| frames.contains(k);
            let weights: Vec<f64> = (0..real).map(|k| f64::from(u8::from(listed(&k)))).collect();
            let mut keyframes = Keyframes::ranked(weights, frames.len());
            // No other frame may join, and a short window may have none of them.
            keyframes.order = frames.iter().copied().filter(|k| *k < real).collect();
            keyframes.count = keyframes.order.len();
            keyframes
        }
    };
    Ok((keyframes, first_gradient))
}

/// Adds the weights of frames that repeat the last real one to it.
pub(super) fn folded(mut weights: Vec<f64>, real: usize) -> Vec<f64> {
    let rest: f64 = weights.drain(real..).sum();
    if let Some(last) = weights.last_mut() {
        *last += rest;
    }
    weights
}

/// SplitMix64 (Steele et al., OOPSLA 2014), so that a seed gives the same frames in every release.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
