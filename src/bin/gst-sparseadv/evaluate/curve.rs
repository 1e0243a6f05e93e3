// SPDX-License-Identifier: MPL-2.0

//! Robust accuracy against the bound on the perturbation. What is small enough for a bound was found within it, so one run
//! of an attack that makes its perturbations small gives the whole curve. Runs with bounds of their own share one curve: a
//! window is robust at a bound where none of them fools it with less.

use std::collections::BTreeMap;

use gstsparseadv::attack::Size;
use serde::Serialize;

use super::interval::{Estimate, rate};
use super::results::{Results, ThreatLine, Window};
use super::summary::judged;
use super::threat::Curve;

/// A point of a curve, and a line of `curve.csv`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point<'a> {
    pub dataset: &'a str,
    pub model: &'a str,
    pub threat: String,
    pub channel: &'a str,
    /// What the bound is in, in gray levels of what the model sees: `linf` is the largest change, `l1` the mean absolute one,
    /// `l2` and `l21` are sums over the whole window.
    pub norm: String,
    pub epsilon: f64,
    pub robust_accuracy: f64,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub clips: usize,
}

/// By clip and window, the attacks on it that share a curve.
type Runs<'a> = BTreeMap<(&'a str, usize), Vec<&'a Window>>;

/// Points of a curve at the most, spread evenly over the windows.
const POINTS: usize = 200;

/// The size of a perturbation in a norm.
fn size(size: &Size, norm: &str) -> f64 {
    match norm {
        // Single precision leaves a whole gray level a little larger or smaller.
        "linf" => (1000.0 * size.max_abs).round() / 1000.0,
        "l21" => size.l21,
        "l2" => size.l2,
        _ => size.map,
    }
}

/// All curves, point by point.
pub fn points<'a>(
    results: &'a Results,
    threats: &BTreeMap<String, ThreatLine>,
    channels: &'a [String],
) -> Vec<Point<'a>> {
    let mut groups: BTreeMap<(&str, &str, &Curve), Runs> = BTreeMap::new();
    for window in &results.windows {
        let Some(curve) = threats.get(&window.threat).and_then(|threat| threat.curve.as_ref()) else { continue };
        let group = groups.entry((&window.dataset, &window.model, curve)).or_default();
        group.entry((&window.clip, window.window)).or_default().push(window);
    }
    let mut points = Vec::new();
    for ((dataset, model, curve), windows) in groups {
        for channel in channels {
            let of_clips = smallest(&windows, &curve.norm, channel);
            for (epsilon, accuracy) in accuracies(&of_clips) {
                points.push(Point {
                    dataset,
                    model,
                    threat: curve.name.clone(),
                    channel,
                    norm: curve.norm.clone(),
                    epsilon,
                    robust_accuracy: accuracy.value,
                    low: accuracy.low,
                    high: accuracy.high,
                    clips: of_clips.len(),
                });
            }
        }
    }
    points
}

/// By clip and window, the size up to which it is robust: nothing is too small for a window that is wrong anyway, and
/// infinity stands for one that nothing fooled.
fn smallest<'a>(windows: &Runs<'a>, norm: &str, channel: &str) -> BTreeMap<&'a str, Vec<f64>> {
    let mut clips: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for ((clip, _), runs) in windows {
        let found = judged(runs, channel).into_iter().map(|run| match run.labels.fooled() {
            // The attack left it alone, and it may be right by what was done to others.
            None => 0.0,
            Some(false) if run.labels.last == run.labels.truth => f64::INFINITY,
            _ => size(&run.window.size, norm),
        });
        if let Some(least) = found.min_by(f64::total_cmp) {
            clips.entry(clip).or_default().push(least);
        }
    }
    clips
}

/// The accuracy at each bound from which on it is another one, and at none.
fn accuracies(clips: &BTreeMap<&str, Vec<f64>>) -> Vec<(f64, Estimate)> {
    let all = clips.values().flatten().copied().filter(|size| size.is_finite() && *size > 0.0);
    let mut bounds: Vec<f64> = all.collect();
    bounds.push(0.0);
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    if let Some(last) = bounds.len().checked_sub(1).filter(|last| *last >= POINTS) {
        bounds = (0..POINTS).map(|i| bounds[i * last / (POINTS - 1)]).collect();
    }
    let at = |bound: f64| {
        let robust = |sizes: &Vec<f64>| (sizes.iter().filter(|size| **size > bound).count() as u32, sizes.len() as u32);
        Some((bound, rate(&clips.values().map(robust).collect::<Vec<_>>())?))
    };
    bounds.into_iter().filter_map(at).collect()
}
