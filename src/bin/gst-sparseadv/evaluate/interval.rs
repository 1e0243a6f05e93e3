// SPDX-License-Identifier: MPL-2.0

//! Intervals that hold 95 %, over clips.
//!
//! Windows of one clip show one scene, so they are not independent: what counts is how many clips there are, and how alike
//! the windows of each are. The clips are the clusters of a survey. A rate is a share of windows. Its interval is Wilson's
//! (1927) with as many windows as would tell as much if they were independent (Korn and Graubard, Survey Methodology 1998).
//! That number is at least that of the clips, and is that where nothing is known of the spread: at 0 and 1, and for one clip.
//! So a rate of 0 of 2 clips goes up to 66 %, which no bootstrap says.
//!
//! A mean has the interval of a ratio over clips, by Student's t. It has none where one clip is all there is, or where
//! nothing varies: that says nothing of other clips.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// The standard normal's 97.5 % point.
const Z: f64 = 1.959_963_984_540_054;

/// A figure and its interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub value: f64,
    pub low: Option<f64>,
    pub high: Option<f64>,
}

/// Of `hits` among `windows`, a pair for each clip. Nothing where there is no window.
pub fn rate(clips: &[(u32, u32)]) -> Option<Estimate> {
    let windows: f64 = clips.iter().map(|(_, n)| f64::from(*n)).sum();
    if windows == 0.0 {
        return None;
    }
    let value = clips.iter().map(|(hits, _)| f64::from(*hits)).sum::<f64>() / windows;
    let (low, high) = wilson(value, independent(clips, value, windows));
    Some(Estimate { value, low: Some(low), high: Some(high) })
}

/// How many independent windows would tell as much.
fn independent(clips: &[(u32, u32)], value: f64, windows: f64) -> f64 {
    let filled = clips.iter().filter(|(_, n)| *n > 0);
    let squares: f64 = filled.clone().map(|(_, n)| f64::from(*n).powi(2)).sum();
    // Clips of unlike length tell less than as many alike (Kish, 1965).
    let least = windows * windows / squares;
    let count = filled.clone().count() as f64;
    if count < 2.0 || value <= 0.0 || value >= 1.0 {
        return least;
    }
    let spread: f64 = filled.map(|(hits, n)| (f64::from(*hits) - value * f64::from(*n)).powi(2)).sum();
    let variance = count / (count - 1.0) * spread / (windows * windows);
    let as_many = if variance > 0.0 { (value * (1.0 - value) / variance).min(windows) } else { windows };
    // The variance itself is known from few clips.
    (as_many * (Z / t(count - 1.0)).powi(2)).max(least)
}

/// Wilson's interval of a share of `n`.
pub fn wilson(share: f64, n: f64) -> (f64, f64) {
    let z = Z * Z / n;
    let center = share + z / 2.0;
    let half = Z * (share * (1.0 - share) / n + z / (4.0 * n)).sqrt();
    // At 0 and 1 rounding leaves the share a little outside.
    (((center - half) / (1.0 + z)).max(0.0).min(share), ((center + half) / (1.0 + z)).min(1.0).max(share))
}

/// The mean of so many values, by the sum and number of each clip.
pub fn mean(clips: &[(f64, u32)]) -> Option<Estimate> {
    let count: f64 = clips.iter().map(|(_, n)| f64::from(*n)).sum();
    if count == 0.0 {
        return None;
    }
    let value = clips.iter().map(|(sum, _)| sum).sum::<f64>() / count;
    let filled: Vec<_> = clips.iter().filter(|(_, n)| *n > 0).collect();
    let k = filled.len() as f64;
    let spread: f64 = filled.iter().map(|(sum, n)| (sum - value * f64::from(*n)).powi(2)).sum();
    // What rounding leaves of equal values is no spread.
    if k < 2.0 || spread.sqrt() <= 1e-9 * value.abs() * count {
        return Some(Estimate { value, low: None, high: None });
    }
    let half = t(k - 1.0) * (k / (k - 1.0) * spread).sqrt() / count;
    Some(Estimate { value, low: Some(value - half), high: Some(value + half) })
}

/// Student's 97.5 % point.
fn t(freedom: f64) -> f64 {
    StudentsT::new(0.0, 1.0, freedom).map_or(f64::INFINITY, |t| t.inverse_cdf(0.975))
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::reproduce::metrics::seeded;

    fn close(found: (f64, f64), expected: (f64, f64)) {
        let distance = (found.0 - expected.0).abs().max((found.1 - expected.1).abs());
        assert!(distance < 5e-4, "{found:?}, expected {expected:?}");
    }

    /// Values of Newcombe, Statistics in Medicine 1998, Table I, method 3.
    #[test]
    fn wilson_as_published() {
        close(wilson(81.0 / 263.0, 263.0), (0.2553, 0.3662));
        close(wilson(15.0 / 148.0, 148.0), (0.0624, 0.1605));
        close(wilson(0.0 / 20.0, 20.0), (0.0, 0.1611));
        close(wilson(1.0 / 29.0, 29.0), (0.0061, 0.1718));
    }

    #[test]
    fn few_clips_are_few_whatever_their_windows() {
        let of = |clips: &[(u32, u32)]| rate(clips).map(|e| (e.low.unwrap_or(-1.0), e.high.unwrap_or(-1.0)));
        let two = of(&[(0, 50), (0, 50)]).expect("a rate");
        close(two, wilson(0.0, 2.0));
        assert!(two.1 > 0.65);
        // One clip in two halves is one clip.
        close(of(&[(5, 10)]).expect("a rate"), wilson(0.5, 1.0));
        // Clips whose windows are all alike are as many as there are clips.
        let alike = of(&[(9, 9), (9, 9), (0, 9), (0, 9), (9, 9), (0, 9), (9, 9), (0, 9)]).expect("a rate");
        close(alike, wilson(0.5, 8.0));
        assert_eq!(rate(&[(0, 0)]), None);
    }

    /// The interval holds the true rate about as often as it says, however alike the windows of a clip are. Wilson itself has
    /// 92 % for six clips and a rate of a half.
    #[test]
    fn intervals_hold_the_truth_about_as_often_as_they_say() {
        let mut rng = seeded(1);
        for (clips, alike, truth) in
            [(6, 0.0, 0.5), (6, 1.0, 0.5), (10, 0.5, 0.3), (40, 0.0, 0.9), (40, 0.5, 0.1), (12, 0.3, 0.8)]
        {
            let mut held = 0;
            for _ in 0..2000 {
                let clip = |rng: &mut rand_chacha::ChaCha12Rng| {
                    let windows = rng.random_range(1..=8);
                    let first = rng.random_bool(truth);
                    let hits = (0..windows)
                        .filter(|_| if rng.random_bool(alike) { first } else { rng.random_bool(truth) })
                        .count();
                    (hits as u32, windows)
                };
                let sample: Vec<(u32, u32)> = (0..clips).map(|_| clip(&mut rng)).collect();
                let e = rate(&sample).expect("a rate");
                held += u32::from(e.low.is_some_and(|low| low <= truth) && e.high.is_some_and(|high| truth <= high));
            }
            let share = f64::from(held) / 2000.0;
            assert!((0.92..=1.0).contains(&share), "{clips} clips, {alike} alike, {truth}: {share}");
        }
    }

    #[test]
    fn a_mean_of_what_does_not_vary_has_no_interval() {
        let constant = mean(&[(4.0, 1), (8.0, 2), (4.0, 1)]).expect("a mean");
        assert_eq!((constant.value, constant.low, constant.high), (4.0, None, None));
        assert_eq!(mean(&[(7.0, 2)]).map(|e| (e.value, e.low)), Some((3.5, None)));
        assert_eq!(mean(&[]), None);
        // One value a clip: the textbook's interval. 1, 2, 3: 2 and 4.303 standard errors.
        let e = mean(&[(1.0, 1), (2.0, 1), (3.0, 1)]).expect("a mean");
        close((e.low.expect("low"), e.high.expect("high")), (2.0 - 4.3027 / 3f64.sqrt(), 2.0 + 4.3027 / 3f64.sqrt()));
    }
}
