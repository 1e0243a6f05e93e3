// SPDX-License-Identifier: MPL-2.0

//! One-dimensional linear resampling as a short list of weighted source positions per output position. Two of them, one an axis, resample
//! a plane; both the model's view of a frame and the rendering of a perturbation are made of these.

/// A sparse matrix of one row per output position.
#[derive(Clone, Debug, PartialEq)]
pub struct Taps {
    starts: Vec<u32>,
    index: Vec<u32>,
    weight: Vec<f32>,
    /// The same rows as pairs, where none has more than two positions: the common case, and a much faster inner loop.
    pairs: Option<Vec<Pair>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Pair {
    index: [u32; 2],
    weight: [f32; 2],
}

impl Taps {
    /// From the positions and weights of each output.
    pub fn from_rows<R: IntoIterator<Item = (usize, f32)>>(
        rows: impl IntoIterator<Item = R>,
    ) -> Self {
        let mut taps = Self {
            starts: vec![0],
            index: Vec::new(),
            weight: Vec::new(),
            pairs: None,
        };
        for row in rows {
            for (i, w) in row {
                taps.index.push(i as u32);
                taps.weight.push(w);
            }
            taps.starts.push(taps.index.len() as u32);
        }
        taps.pair_up();
        taps
    }

    fn pair_up(&mut self) {
        let pair = |i: usize| {
            let (index, weight) = self.row(i);
            match (index, weight) {
                // A weight of zero changes no sum, wherever it points.
                ([], []) => Some(([0, 0], [0.0, 0.0])),
                (&[a], &[v]) => Some(([a, a], [v, 0.0])),
                (&[a, b], &[v, w]) => Some(([a, b], [v, w])),
                _ => None,
            }
            .map(|(index, weight)| Pair { index, weight })
        };
        self.pairs = (0..self.outputs()).map(pair).collect();
    }

    /// Resamples one row of samples.
    #[inline]
    pub fn gather(&self, from: &[f32], out: &mut [f32]) {
        if let Some(pairs) = &self.pairs {
            for (o, Pair { index, weight }) in out.iter_mut().zip(pairs) {
                *o = weight[0] * from[index[0] as usize] + weight[1] * from[index[1] as usize];
            }
        } else {
            for (x, o) in out.iter_mut().enumerate() {
                let (index, weight) = self.row(x);
                *o = index
                    .iter()
                    .zip(weight)
                    .map(|(i, w)| w * from[*i as usize])
                    .sum();
            }
        }
    }

    /// The adjoint of [`Taps::gather`], added to `out`.
    #[inline]
    pub fn scatter(&self, grad: &[f32], out: &mut [f32]) {
        if let Some(pairs) = &self.pairs {
            for (g, Pair { index, weight }) in grad.iter().zip(pairs) {
                out[index[0] as usize] += weight[0] * g;
                out[index[1] as usize] += weight[1] * g;
            }
        } else {
            for (x, g) in grad.iter().enumerate() {
                let (index, weight) = self.row(x);
                for (i, w) in index.iter().zip(weight) {
                    out[*i as usize] += w * g;
                }
            }
        }
    }

    /// Bilinear resize of `input` to `output` samples, the positions `range` of it: PyTorch's `interpolate` with `align_corners=False`,
    /// with its `antialias` (a triangle as wide as the step) where asked for.
    pub fn resize(
        input: usize,
        output: usize,
        range: std::ops::Range<usize>,
        antialias: bool,
    ) -> Self {
        let scale = input as f64 / output as f64;
        Self::from_rows(range.map(|i| {
            if antialias {
                let support = scale.max(1.0);
                triangle(
                    (i as f64 + 0.5) * scale - 0.5,
                    support,
                    0.0,
                    input as f64 - 1.0,
                )
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

    /// Interpolates `size` samples, whose neighbours are one apart, at each of `positions`; a position stands for `step` samples (less
    /// than one where there are more positions than samples). Beyond the ends the samples are zero, so that a rendered perturbation
    /// fades out at the border of the crop.
    pub fn hat(size: usize, positions: impl IntoIterator<Item = f64>, step: f64) -> Self {
        let support = step.max(1.0);
        Self::from_rows(positions.into_iter().map(|p| {
            // Normalised over the unbounded grid, not over the samples that exist: that is what makes it fade.
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
    #[inline]
    pub fn row(&self, i: usize) -> (&[u32], &[f32]) {
        let range = self.starts[i] as usize..self.starts[i + 1] as usize;
        (&self.index[range.clone()], &self.weight[range])
    }

    /// Every source position in use, ascending, and the same taps counting in that list.
    pub fn compact(mut self) -> (Vec<usize>, Self) {
        let mut used: Vec<usize> = self.index.iter().map(|i| *i as usize).collect();
        used.sort_unstable();
        used.dedup();
        for i in &mut self.index {
            *i = used.partition_point(|u| u < &(*i as usize)) as u32;
        }
        self.pair_up();
        (used, self)
    }
}

/// Added to indices of an unbounded grid, so that they stay positive.
const OFFSET: usize = 1 << 20;

/// Normalised triangle weights around `centre`, `support` to each side, over the grid points within `lo..=hi`. Indices are offset by
/// [`OFFSET`] where the grid is unbounded.
fn triangle(centre: f64, support: f64, lo: f64, hi: f64) -> Vec<(usize, f32)> {
    let offset = if lo.is_finite() { 0.0 } else { OFFSET as f64 };
    let first = (centre - support).ceil().max(lo);
    let last = (centre + support).floor().min(hi);
    let mut weights = Vec::new();
    let mut sum = 0.0;
    let mut x = first;
    while x <= last {
        let w = 1.0 - (x - centre).abs() / support;
        if w > 1e-12 {
            weights.push(((x + offset) as usize, w));
            sum += w;
        }
        x += 1.0;
    }
    weights
        .into_iter()
        .map(|(i, w)| (i, (w / sum) as f32))
        .collect()
}

/// Resamples a plane of rows of `width` samples: rows first, then columns. `scratch` is reused between calls.
pub fn resample(
    plane: &[f32],
    width: usize,
    rows: &Taps,
    cols: &Taps,
    scratch: &mut Vec<f32>,
    out: &mut [f32],
) {
    scratch.clear();
    scratch.resize(width, 0.0);
    for (y, out_row) in out
        .chunks_exact_mut(cols.outputs().max(1))
        .enumerate()
        .take(rows.outputs())
    {
        scratch.fill(0.0);
        let (index, weight) = rows.row(y);
        for (i, w) in index.iter().zip(weight) {
            let row = &plane[*i as usize * width..][..width];
            for (s, v) in scratch.iter_mut().zip(row) {
                *s += w * v;
            }
        }
        cols.gather(scratch, out_row);
    }
}

/// The adjoint of [`resample`]: adds to `plane` what `grad`, the gradient of its output, makes of it.
pub fn resample_adjoint(
    grad: &[f32],
    width: usize,
    rows: &Taps,
    cols: &Taps,
    scratch: &mut Vec<f32>,
    plane: &mut [f32],
) {
    scratch.clear();
    scratch.resize(width, 0.0);
    for (y, grad_row) in grad
        .chunks_exact(cols.outputs().max(1))
        .enumerate()
        .take(rows.outputs())
    {
        scratch.fill(0.0);
        cols.scatter(grad_row, scratch);
        let (index, weight) = rows.row(y);
        for (i, w) in index.iter().zip(weight) {
            let row = &mut plane[*i as usize * width..][..width];
            for (p, s) in row.iter_mut().zip(scratch.iter()) {
                *p += w * s;
            }
        }
    }
}
