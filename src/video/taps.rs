// SPDX-License-Identifier: MPL-2.0

//! One-dimensional linear resampling as a short list of weighted source positions per output position. Two of them, one
//! an axis, resample a plane; both the model's view of a frame and the rendering of a perturbation are made of these.

use std::collections::{HashMap, HashSet};

use super::lanes::Lanes;

/// A sparse matrix of one row per output position.
#[derive(Clone, Debug, PartialEq)]
pub struct Taps {
    starts: Vec<u32>,
    index: Vec<u32>,
    weight: Vec<f32>,
    /// The same matrix, and its transposed one, as vectors are resampled by.
    lanes: [Lanes; 2],
}

impl Taps {
    /// From the positions and weights of each output.
    pub fn from_rows<R: IntoIterator<Item = (usize, f32)>>(rows: impl IntoIterator<Item = R>) -> Self {
        let mut taps = Self { starts: vec![0], index: Vec::new(), weight: Vec::new(), lanes: Default::default() };
        for row in rows {
            for (i, w) in row {
                taps.index.push(i as u32);
                taps.weight.push(w);
            }
            taps.starts.push(taps.index.len() as u32);
        }
        taps.lanes = taps.in_lanes();
        taps
    }

    /// Resamples one row of samples.
    #[inline(always)]
    pub fn gather(&self, from: &[f32], out: &mut [f32]) {
        self.lanes[0].apply::<false>(from, out);
    }

    /// The adjoint of [`Taps::gather`], added to `out`.
    #[inline(always)]
    pub fn scatter(&self, grad: &[f32], out: &mut [f32]) {
        self.lanes[1].apply::<true>(grad, out);
    }

    fn in_lanes(&self) -> [Lanes; 2] {
        let rows = (0..self.outputs()).map(|i| self.row(i));
        let rows: Vec<Vec<(u32, f32)>> =
            rows.map(|(index, weight)| index.iter().copied().zip(weight.iter().copied()).collect()).collect();
        let inputs = self.index.iter().max().map_or(0, |i| *i as usize + 1);
        let mut transposed = vec![Vec::new(); inputs];
        let stretches = stretches(&rows);
        for (output, row) in rows.iter().enumerate() {
            for (tap, (i, w)) in row.iter().enumerate() {
                transposed[*i as usize].push(((stretches[output], tap), output as u32, *w));
            }
        }
        let in_order = |mut row: Vec<((usize, usize), u32, f32)>| -> Vec<(u32, f32)> {
            row.sort_by_key(|(order, output, _)| (*order, *output));
            row.into_iter().map(|(_, output, w)| (output, w)).collect()
        };
        [Lanes::new(&rows), Lanes::new(&transposed.into_iter().map(in_order).collect::<Vec<_>>())]
    }

    /// The weighted sum of rows of a plane that makes output row `y` of it.
    #[inline(always)]
    pub fn blend<'p>(&self, y: usize, row: impl Fn(usize) -> &'p [f32], out: &mut [f32]) {
        match self.row(y) {
            ([], _) => out.fill(0.0),
            (&[a], &[v]) => {
                let a = row(a as usize);
                out.iter_mut().zip(a).for_each(|(o, a)| *o = v * a);
            }
            (&[a, b, ..], &[v, w, ..]) => {
                let pairs = row(a as usize).iter().zip(row(b as usize));
                for (o, (a, b)) in out.iter_mut().zip(pairs) {
                    *o = v * a + w * b;
                }
            }
            _ => unreachable!("a weight a position"),
        }
        let (index, weight) = self.row(y);
        for (i, w) in index.iter().zip(weight).skip(2) {
            let add = row(*i as usize);
            out.iter_mut().zip(add).for_each(|(o, a)| *o += w * a);
        }
    }

    /// Bilinear resize of `input` to `output` samples, the positions `range` of it: PyTorch's `interpolate` with
    /// `align_corners=False`, with its `antialias` (a triangle as wide as the step) where asked for.
    pub fn resize(input: usize, output: usize, range: std::ops::Range<usize>, antialias: bool) -> Self {
        let scale = input as f64 / output as f64;
        Self::from_rows(range.map(|i| {
            if antialias {
                let support = scale.max(1.0);
                triangle((i as f64 + 0.5) * scale - 0.5, support, 0.0, input as f64 - 1.0)
            } else {
                let position = ((i as f64 + 0.5) * scale - 0.5).max(0.0);
                let first = (position as usize).min(input - 1);
                let fraction = (position - first as f64) as f32;
                if first + 1 < input && fraction > 0.0 {
                    vec![(first, 1.0 - fraction), (first + 1, fraction)]
                } else {
                    vec![(first, 1.0)]
                }
            }
        }))
    }

    /// Interpolates `size` samples, whose neighbors are one apart, at each of `positions`; a position stands for
    /// `step` samples (less than one where there are more positions than samples). Beyond the ends the samples are
    /// zero, so that a rendered perturbation fades out at the border of the crop.
    pub fn hat(size: usize, positions: impl IntoIterator<Item = f64>, step: f64) -> Self {
        let support = step.max(1.0);
        Self::from_rows(positions.into_iter().map(|p| {
            // Normalized over the unbounded grid, not over the samples that exist: that is what makes it fade.
            let all = triangle(p, support, f64::NEG_INFINITY, f64::INFINITY);
            all.into_iter()
                .filter(|(i, _)| (OFFSET..OFFSET + size).contains(i))
                .map(|(i, w)| (i - OFFSET, w))
                .collect::<Vec<_>>()
        }))
    }

    /// The number of output positions.
    pub fn outputs(&self) -> usize {
        self.starts.len() - 1
    }

    /// The source positions and weights of output `i`.
    #[inline(always)]
    pub fn row(&self, i: usize) -> (&[u32], &[f32]) {
        let range = self.starts[i] as usize..self.starts[i + 1] as usize;
        (&self.index[range.clone()], &self.weight[range])
    }

    /// Whether each output is the input at its own position, of `inputs`.
    pub fn is_identity(&self, inputs: usize) -> bool {
        self.outputs() == inputs && (0..inputs).all(|i| self.row(i) == (&[i as u32][..], &[1.0][..]))
    }

    /// Every source position in use, ascending, and the same taps counting in that list.
    pub fn compact(self) -> (Vec<usize>, Self) {
        let mut used: Vec<usize> = self.index.iter().map(|i| *i as usize).collect();
        used.sort_unstable();
        used.dedup();
        self.renumbered(used)
    }

    /// The same with the positions in another order: first those that come first in an output, then the others. A
    /// resize to less than half reads every second one of an ascending list; in this one it reads two stretches.
    pub fn compact_by_tap(self) -> (Vec<usize>, Self) {
        let mut used: Vec<usize> = Vec::new();
        for tap in 0.. {
            let nth = |i| self.row(i).0.get(tap).map(|i| *i as usize);
            let mut more: Vec<usize> = (0..self.outputs()).filter_map(nth).collect();
            if more.is_empty() {
                break;
            }
            more.sort_unstable();
            more.dedup();
            let known: HashSet<usize> = used.iter().copied().collect();
            used.extend(more.into_iter().filter(|i| !known.contains(i)));
        }
        self.renumbered(used)
    }

    fn renumbered(mut self, used: Vec<usize>) -> (Vec<usize>, Self) {
        let rank: HashMap<usize, u32> = used.iter().copied().zip(0..).collect();
        for i in &mut self.index {
            *i = rank[&(*i as usize)];
        }
        self.lanes = self.in_lanes();
        (used, self)
    }

    /// The transposed matrix, over `inputs` source positions.
    pub fn transposed(&self, inputs: usize) -> Self {
        let mut rows = vec![Vec::new(); inputs];
        for i in 0..self.outputs() {
            let (index, weight) = self.row(i);
            for (k, w) in index.iter().zip(weight) {
                rows[*k as usize].push((i, *w));
            }
        }
        Self::from_rows(rows)
    }

    /// The most source positions from the first to the last of any one output.
    pub fn span(&self) -> usize {
        let span = |i| {
            let (index, _) = self.row(i);
            let ends = index.iter().min().zip(index.iter().max());
            ends.map_or(0, |(first, last)| (last - first) as usize + 1)
        };
        (0..self.outputs()).map(span).max().unwrap_or(0)
    }
}

/// Numbers the stretches of outputs whose positions each lie one beyond those of the output before. The adjoint adds the
/// first taps of a stretch before its second ones: in this order its sums round as they did when the results that are
/// published were measured, and attacks go the same ways to the bit.
fn stretches(rows: &[Vec<(u32, f32)>]) -> Vec<usize> {
    if rows.iter().any(|row| row.len() > 2) {
        return (0..rows.len()).collect();
    }
    let ends = |row: &Vec<(u32, f32)>| row.first().zip(row.last()).map(|(a, b)| (a.0, b.0));
    let mut number = 0;
    let mut numbers = vec![0; rows.len()];
    for i in 1..rows.len() {
        let follows = ends(&rows[i]).zip(ends(&rows[i - 1])).is_some_and(|(b, a)| b == (a.0 + 1, a.1 + 1));
        number += usize::from(!follows);
        numbers[i] = number;
    }
    numbers
}

/// Added to indices of an unbounded grid, so that they stay positive.
const OFFSET: usize = 1 << 20;

/// Normalized triangle weights around `center`, `support` to each side, over the grid points within `lo..=hi`. Indices
/// are offset by [`OFFSET`] where the grid is unbounded.
fn triangle(center: f64, support: f64, lo: f64, hi: f64) -> Vec<(usize, f32)> {
    let offset = if lo.is_finite() { 0.0 } else { OFFSET as f64 };
    let first = (center - support).ceil().max(lo);
    let last = (center + support).floor().min(hi);
    let mut weights = Vec::new();
    let mut sum = 0.0;
    let mut x = first;
    while x <= last {
        let w = 1.0 - (x - center).abs() / support;
        if w > 1e-12 {
            weights.push(((x + offset) as usize, w));
            sum += w;
        }
        x += 1.0;
    }
    weights.into_iter().map(|(i, w)| (i, (w / sum) as f32)).collect()
}

/// Resamples a plane of rows of `width` samples: rows first, then columns. `scratch` is reused between calls.
pub fn resample(plane: &[f32], width: usize, rows: &Taps, cols: &Taps, scratch: &mut Vec<f32>, out: &mut [f32]) {
    scratch.resize(width, 0.0);
    let out_rows = out.chunks_exact_mut(cols.outputs().max(1));
    for (y, out_row) in out_rows.enumerate().take(rows.outputs()) {
        rows.blend(y, |i| &plane[i * width..][..width], scratch);
        cols.gather(scratch, out_row);
    }
}
