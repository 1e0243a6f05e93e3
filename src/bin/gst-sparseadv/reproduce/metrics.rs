// SPDX-License-Identifier: MPL-2.0

//! The paper's four metrics (Section 4.1) and what else is told of a set of attacks, with intervals by bootstrap over
//! clips (Efron, 1979).

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::results::Attack;

/// Resamples of an interval. The ends of a 95 % interval are the 50th of them from either end, which steadies them to a
/// few per cent.
const RESAMPLES: usize = 2000;
/// The same intervals from the same results.
const SEED: u64 = 1;

/// The numbers of a seed, the same ones in every release, which rand's `StdRng` does not promise: results keep the seed
/// as what made them.
pub fn seeded(seed: u64) -> ChaCha12Rng {
    ChaCha12Rng::seed_from_u64(seed)
}

/// A mean and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// One row of Table 2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    pub clips: usize,
    /// FR: share of windows fooled, in per cent.
    pub fooling_rate: Estimate,
    /// The same when the pushed bytes are classified again.
    pub verified_rate: Estimate,
    /// MQ: mean of the model's calls up to the first success, over the fooled windows; `None` where there is none.
    pub mean_queries: Option<Estimate>,
    /// MAP: mean absolute perturbation over all pixels of all frames in gray levels 0..255, over the fooled windows.
    pub map: Option<Estimate>,
    /// The same over the perturbed frames alone.
    pub map_keyframes: Option<Estimate>,
    /// SR: share of frames left clean in per cent, over the fooled windows.
    pub sparse_rate: Option<Estimate>,
    pub perturbed_frames: Option<Estimate>,
    /// Calls in all, of fooled and other windows.
    pub queries: u64,
    pub seconds: f64,
}

impl Summary {
    /// `None` for no attacks.
    pub fn of(attacks: &[&Attack]) -> Option<Self> {
        let share = |f: &dyn Fn(&Attack) -> bool| estimate(attacks, |a| Some(100.0 * f64::from(u8::from(f(a)))));
        let fooled = |f: &dyn Fn(&Attack) -> f64| estimate(attacks, |a| a.success.then(|| f(a)));
        Some(Self {
            clips: attacks.len(),
            fooling_rate: share(&|a| a.success)?,
            verified_rate: share(&|a| a.verified)?,
            mean_queries: estimate(attacks, |a| a.queries_first_success.map(f64::from)),
            map: fooled(&|a| a.size.map),
            map_keyframes: fooled(&|a| a.size.map_keyframes),
            sparse_rate: fooled(&|a| 100.0 * a.sparse_rate),
            perturbed_frames: fooled(&|a| a.perturbed_frames as f64),
            queries: attacks.iter().map(|a| u64::from(a.calls.queries)).sum(),
            seconds: attacks.iter().map(|a| a.seconds).sum(),
        })
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0u32, 0.0), |(n, sum), v| (n + 1, sum + v));
    (count > 0).then(|| sum / f64::from(count))
}

/// The mean of `value` over those that have one, its interval by resampling all of them.
fn estimate(attacks: &[&Attack], value: impl Fn(&Attack) -> Option<f64>) -> Option<Estimate> {
    let values: Vec<Option<f64>> = attacks.iter().map(|a| value(a)).collect();
    let point = mean(values.iter().copied().flatten())?;
    Some(interval(point, attacks.len(), |sample| mean(sample.iter().filter_map(|i| values[*i]))))
}

/// By how much the mean of `value` is smaller with `ours` than with `other`, in per cent of the latter, over the clips
/// where both have one: pairs of the same clip are drawn together.
pub fn reduction(ours: &[&Attack], other: &[&Attack], value: impl Fn(&Attack) -> Option<f64>) -> Option<Estimate> {
    reduction_from(ours, other, &value, &value)
}

/// The same, where another number counts of the other.
pub fn reduction_from(
    ours: &[&Attack],
    other: &[&Attack],
    own: impl Fn(&Attack) -> Option<f64>,
    theirs: impl Fn(&Attack) -> Option<f64>,
) -> Option<Estimate> {
    let pairs: Vec<(f64, f64)> = ours
        .iter()
        .filter_map(|a| {
            let b = other.iter().find(|b| b.clip == a.clip)?;
            Some((own(a)?, theirs(b)?))
        })
        .collect();
    let of = |sample: &mut dyn Iterator<Item = (f64, f64)>| {
        let (a, b) = sample.fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
        (b > 0.0).then(|| 100.0 * (1.0 - a / b))
    };
    let point = of(&mut pairs.iter().copied())?;
    Some(interval(point, pairs.len(), |sample| of(&mut sample.iter().map(|i| pairs[*i]))))
}

/// The 2.5 and 97.5 per cent points of `statistic` over resamples of `n` items.
fn interval(value: f64, n: usize, statistic: impl Fn(&[usize]) -> Option<f64>) -> Estimate {
    let mut rng = seeded(SEED);
    let mut sample = vec![0; n];
    let mut values: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            sample.iter_mut().for_each(|i| *i = rng.random_range(0..n));
            statistic(&sample)
        })
        .collect();
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (share * values.len() as f64) as usize;
        values.get(place.min(values.len().saturating_sub(1))).copied()
    };
    Estimate { value, low: at(0.025).unwrap_or(value), high: at(0.975).unwrap_or(value) }
}

/// Figure 2: the share of windows fooled within 0..=`most` iterations, in per cent.
pub fn fooled_within(attacks: &[&Attack], most: u32) -> Vec<f64> {
    (0..=most)
        .map(|bound| {
            let fooled = attacks.iter().filter(|a| a.iterations_first_success.is_some_and(|n| n <= bound));
            100.0 * fooled.count() as f64 / attacks.len().max(1) as f64
        })
        .collect()
}

/// The share of windows fooled by so many queries, in per cent: a corner at each success.
pub fn fooled_by(attacks: &[&Attack], most: u32, until: impl Fn(&Attack) -> Option<u32>) -> Vec<(f64, f64)> {
    let mut queries: Vec<u32> = attacks.iter().filter_map(|a| until(a).filter(|n| *n <= most)).collect();
    queries.sort_unstable();
    let share = |fooled: usize| 100.0 * fooled as f64 / attacks.len().max(1) as f64;
    let mut points = vec![(1.0, 0.0)];
    for (before, n) in queries.iter().enumerate() {
        points.extend([(f64::from(*n), share(before)), (f64::from(*n), share(before + 1))]);
    }
    points.push((f64::from(most), share(queries.len())));
    points
}

#[cfg(test)]
mod tests {
    use gstsparseadv::attack::Calls;
    use gstsparseadv::attack::Size;

    use super::super::systems::{Goal, Optimization, Selection, System};
    use super::*;

    /// `(success, queries to it, MAP, clean share)` a clip.
    fn attacks(rows: &[(bool, u32, f64, f64)]) -> Vec<Attack> {
        let attack = |(i, (success, queries, map, clean)): (usize, &(bool, u32, f64, f64))| Attack {
            dataset: "set".into(),
            model: "model".into(),
            goal: Goal::Untargeted,
            system: System::new(Selection::Ours, Optimization::Paper),
            clip: i.to_string(),
            class: "walk".into(),
            target: None,
            success: *success,
            verified: *success && i != 0,
            calls: Calls { queries: queries + 5, forwards: queries + 5, ..Calls::default() },
            queries_first_success: success.then_some(*queries),
            iterations_first_success: success.then(|| queries - 2),
            trail: gstsparseadv::attack::Trail::default(),
            iterations: 9,
            perturbed_frames: 4,
            sparse_rate: *clean,
            clean_label: None,
            final_label: None,
            judged: std::collections::BTreeMap::default(),
            size: Size { map: *map, map_keyframes: 4.0 * map, ..Size::default() },
            seconds: 0.5,
        };
        rows.iter().enumerate().map(attack).collect()
    }

    #[test]
    fn the_four_metrics_by_hand() {
        // Two of four windows are fooled, after 10 and 20 calls.
        let all =
            attacks(&[(true, 10, 0.1, 0.75), (true, 20, 0.3, 0.5), (false, 500, 0.0, 1.0), (false, 500, 0.0, 1.0)]);
        let all: Vec<&Attack> = all.iter().collect();
        let s = Summary::of(&all).unwrap();
        assert_eq!(s.clips, 4);
        assert_eq!(s.fooling_rate.value, 50.0);
        assert_eq!(s.verified_rate.value, 25.0);
        assert_eq!(s.mean_queries.unwrap().value, 15.0);
        assert_eq!(s.map.unwrap().value, 0.2);
        assert_eq!(s.map_keyframes.unwrap().value, 0.8);
        assert_eq!(s.sparse_rate.unwrap().value, 62.5);
        assert_eq!(s.queries, 1050);
        assert_eq!(s.seconds, 2.0);
    }

    #[test]
    fn nothing_fooled_has_no_means() {
        let all = attacks(&[(false, 9, 0.0, 1.0)]);
        let s = Summary::of(&all.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(s.fooling_rate.value, 0.0);
        assert_eq!((s.mean_queries, s.map, s.sparse_rate), (None, None, None));
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn intervals_hold_the_value_and_narrow_with_clips() {
        let rows =
            |n: u32| -> Vec<Attack> { attacks(&(0..n).map(|i| (true, 10 + i % 7, 0.1, 0.75)).collect::<Vec<_>>()) };
        let width = |n| {
            let all = rows(n);
            let e = Summary::of(&all.iter().collect::<Vec<_>>()).unwrap().mean_queries.unwrap();
            assert!(e.low <= e.value && e.value <= e.high, "{e:?}");
            // The normal interval of a mean is close for so many: 1.96 standard errors of a uniform choice of 7.
            let expected = 1.96 * 2.0 / f64::from(n).sqrt();
            assert!(((e.high - e.low) / 2.0 / expected - 1.0).abs() < 0.15, "{e:?}");
            e.high - e.low
        };
        assert!(width(700) < width(70));
    }

    #[test]
    fn a_reduction_is_of_means_of_the_same_clips() {
        let ours = attacks(&[(true, 10, 0.1, 0.75), (true, 20, 0.1, 0.75), (true, 4, 0.1, 0.75)]);
        // The third clip has no counterpart that succeeded.
        let sa = attacks(&[(true, 20, 0.2, 0.75), (true, 40, 0.2, 0.75), (false, 9, 0.0, 1.0)]);
        let (ours, sa): (Vec<_>, Vec<_>) = (ours.iter().collect(), sa.iter().collect());
        let r = reduction(&ours, &sa, |a| a.queries_first_success.map(f64::from)).unwrap();
        assert_eq!((r.value, r.low, r.high), (50.0, 50.0, 50.0));
    }

    /// A later rand may shuffle in another way, which shows here.
    #[test]
    fn a_seed_draws_the_same_clips_in_every_release() {
        use rand::seq::{IndexedRandom, SliceRandom};
        let mut clips: Vec<u32> = (0..8).collect();
        clips.shuffle(&mut seeded(0));
        let mut rng = seeded(1 << 32);
        let draws: Vec<_> = (0..4).filter_map(|_| [0, 1, 2, 3, 4].choose(&mut rng).copied()).collect();
        assert_eq!((clips, draws), (vec![1, 0, 7, 3, 6, 4, 5, 2], vec![0, 4, 2, 4]));
    }

    #[test]
    fn a_curve_by_queries_has_a_corner_at_each_success() {
        let all = attacks(&[(true, 4, 0.1, 0.75), (true, 9, 0.1, 0.75), (false, 50, 0.0, 1.0), (true, 60, 0.1, 0.5)]);
        let curve = fooled_by(&all.iter().collect::<Vec<_>>(), 20, |a| a.queries_first_success);
        assert_eq!(curve, [(1.0, 0.0), (4.0, 0.0), (4.0, 25.0), (9.0, 25.0), (9.0, 50.0), (20.0, 50.0)]);
    }

    #[test]
    fn the_figure_counts_first_successes() {
        let all = attacks(&[(true, 4, 0.1, 0.75), (true, 5, 0.1, 0.75), (false, 9, 0.0, 1.0)]);
        let curve = fooled_within(&all.iter().collect::<Vec<_>>(), 4);
        let third = 100.0 / 3.0;
        assert_eq!(curve, [0.0, 0.0, third, 2.0 * third, 2.0 * third]);
    }
}
