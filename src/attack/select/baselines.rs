// SPDX-License-Identifier: MPL-2.0

//! Selections that ask the model nothing: those the paper is compared with (Sections 2 and 4.2), chance, and lists. A
//! count of `None` is the paper's for them, 4 of 16 frames untargeted and 5 of 16 targeted (Section 4.1).

use std::sync::Arc;

use tch::Kind;

use super::{Blind, Keyframes, Known, Select, counted, with_count};
use crate::attack::Error;
use crate::torch;

/// How many keyframes SA and IFD take of `frames`.
pub(super) fn count(asked: Option<usize>, window: &Known) -> usize {
    let sixteenths = if window.goal.is_targeted() { 5 } else { 4 };
    asked.unwrap_or_else(|| ((window.target.shape().real * sixteenths + 8) / 16).max(1))
}

/// SA (Wei et al., AAAI 2019): the first frames.
#[derive(Clone, Copy, Debug)]
pub struct Fixed(pub Option<usize>);

impl Fixed {
    pub(super) fn parse(name: &str, argument: Option<&str>) -> Option<Arc<dyn Select>> {
        Some(Arc::new(Self(counted(name, &["fixed", "sa"], argument)?)))
    }
}

impl Blind for Fixed {
    fn name(&self) -> String {
        with_count("fixed", self.0)
    }

    fn choose(&self, window: &Known) -> Result<Keyframes, Error> {
        // Equal weights stay in time order, and growth goes on in it.
        Ok(Keyframes::ranked(&vec![1.0; window.target.shape().real], count(self.0, window)))
    }

    fn bounds(&self, frames: usize) -> Option<(usize, usize)> {
        self.0.map(|n| (n, frames))
    }
}

/// IFD: the frames that differ most from their predecessors.
#[derive(Clone, Copy, Debug)]
pub struct InterFrameDifference(pub Option<usize>);

impl InterFrameDifference {
    pub(super) fn parse(name: &str, argument: Option<&str>) -> Option<Arc<dyn Select>> {
        Some(Arc::new(Self(counted(name, &["ifd"], argument)?)))
    }
}

impl Blind for InterFrameDifference {
    fn name(&self) -> String {
        with_count("ifd", self.0)
    }

    fn choose(&self, window: &Known) -> Result<Keyframes, Error> {
        let real = window.target.shape().real;
        let mut weights = vec![0.0];
        if real > 1 {
            let (views, rest) = (window.target.clean()?, real as i64 - 1);
            let difference = views.f_narrow(0, 1, rest)?.f_sub(&views.f_narrow(0, 0, rest)?)?;
            let means = difference.f_abs()?.f_mean_dim(&[1i64, 2, 3][..], false, Kind::Double)?;
            weights.extend(torch::download_f64(&means)?);
        }
        Ok(Keyframes::ranked(&weights, count(self.0, window)))
    }

    fn bounds(&self, frames: usize) -> Option<(usize, usize)> {
        self.0.map(|n| (n, frames))
    }
}

/// Chance, by the seed.
#[derive(Clone, Copy, Debug)]
pub struct Random(pub Option<usize>);

impl Random {
    pub(super) fn parse(name: &str, argument: Option<&str>) -> Option<Arc<dyn Select>> {
        Some(Arc::new(Self(counted(name, &["random"], argument)?)))
    }
}

impl Blind for Random {
    fn name(&self) -> String {
        with_count("random", self.0)
    }

    fn choose(&self, window: &Known) -> Result<Keyframes, Error> {
        let mut state = window.seed;
        let weights: Vec<f64> = (0..window.target.shape().real).map(|_| splitmix(&mut state) as f64).collect();
        Ok(Keyframes::ranked(&weights, count(self.0, window)))
    }

    fn bounds(&self, frames: usize) -> Option<(usize, usize)> {
        self.0.map(|n| (n, frames))
    }
}

/// Every frame: a dense attack.
#[derive(Clone, Copy, Debug)]
pub struct All;

impl All {
    pub(super) fn parse(name: &str, argument: Option<&str>) -> Option<Arc<dyn Select>> {
        (name == "all" && argument.is_none()).then(|| Arc::new(Self) as Arc<dyn Select>)
    }
}

impl Blind for All {
    fn name(&self) -> String {
        "all".into()
    }

    fn choose(&self, window: &Known) -> Result<Keyframes, Error> {
        let real = window.target.shape().real;
        Ok(Keyframes::ranked(&vec![1.0; real], real))
    }
}

/// Frames by number. No other may join.
#[derive(Clone, Debug)]
pub struct List(pub Vec<usize>);

impl List {
    pub(super) fn parse(name: &str, argument: Option<&str>) -> Option<Arc<dyn Select>> {
        let frames: Result<Vec<usize>, _> = name.split(',').map(|n| n.trim().parse()).collect();
        let mut frames = frames.ok().filter(|_| argument.is_none())?;
        frames.sort_unstable();
        frames.dedup();
        Some(Arc::new(Self(frames)))
    }
}

impl Blind for List {
    fn name(&self) -> String {
        self.0.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
    }

    fn choose(&self, window: &Known) -> Result<Keyframes, Error> {
        let shape = window.target.shape();
        if let Some(found) = self.0.iter().find(|k| **k >= shape.frames) {
            return Err(Error::KeyframeOutOfRange { frames: shape.frames, found: *found });
        }
        let weights: Vec<f64> = (0..shape.real).map(|k| f64::from(u8::from(self.0.contains(&k)))).collect();
        let mut keyframes = Keyframes::ranked(&weights, 1);
        // A shorter window at the end of a stream may not have all of them, or none.
        keyframes.order = self.0.iter().copied().filter(|k| *k < shape.real).collect();
        keyframes.count = keyframes.order.len();
        Ok(keyframes)
    }

    fn bounds(&self, frames: usize) -> Option<(usize, usize)> {
        self.0.last().map(|last| (*last, frames.saturating_sub(1)))
    }
}

/// SplitMix64 (Steele et al., OOPSLA 2014), so that a seed gives the same frames in every release.
pub fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
