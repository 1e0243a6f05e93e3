// SPDX-License-Identifier: MPL-2.0

//! What the model sees of a perturbed frame, and the gradient's way back.
//!
//! Both go row by row, all steps of a row before the next, so that between the perturbation and the view nothing but a
//! few rows is held: beside a fast model the memory these loops touch is what they cost.

use std::borrow::Borrow;

use super::kernels;
use super::view::{ComponentAxes, Samples, View};

/// Where values were clipped on the way to a view: what its derivative needs to know. 1 where they were not, 0 where
/// they were.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    /// Each component's samples followed the perturbation.
    free: [Vec<u8>; 3],
    /// Each color of the touched pixels lay within black and white.
    inside: [Vec<u8>; 3],
}

/// Buffers reused between calls.
#[derive(Debug, Default)]
pub struct Scratch {
    components: [ComponentScratch; 3],
    /// Three rows, one a color, for each row it holds.
    colors: Ring,
    row: [Vec<f32>; 3],
    zeros: Vec<f32>,
}

#[derive(Debug, Default)]
struct ComponentScratch {
    /// The perturbation in the component's own unit, or its gradient, at the view's resolution; empty where there is
    /// none.
    mixed: Vec<f32>,
    /// Rows of samples, or of their gradients.
    samples: Ring,
    blended: Vec<f32>,
    upsampled: Vec<f32>,
    short: Vec<f32>,
}

/// The last few rows of a plane.
#[derive(Debug, Default)]
struct Ring {
    width: usize,
    values: Vec<f32>,
    held: Vec<usize>,
}

impl Ring {
    #[inline(always)]
    fn reset(&mut self, width: usize, rows: usize) {
        self.width = width;
        self.values.resize(width * rows.max(1), 0.0);
        self.held.clear();
        self.held.resize(rows.max(1), usize::MAX);
    }

    #[inline(always)]
    fn row(&self, row: usize) -> &[f32] {
        &self.values[row % self.held.len() * self.width..][..self.width]
    }

    #[inline(always)]
    fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.values[row % self.held.len() * self.width..][..self.width]
    }

    /// Room for a row that is not held yet, to be filled.
    #[inline(always)]
    fn claim(&mut self, row: usize) -> Option<&mut [f32]> {
        let slot = row % self.held.len();
        if self.held[slot] == row {
            return None;
        }
        self.held[slot] = row;
        Some(self.row_mut(row))
    }
}

impl View {
    /// The view of a frame: `out` is `[3, height, width]`.
    pub fn observe(&self, samples: &Samples, out: &mut [f32]) {
        let (tape, scratch) = (&mut Tape::default(), &mut Scratch::default());
        self.observe_perturbed(samples, None, tape, scratch, out);
    }

    /// The view of a window of `frames` frames, `[frames, 3, height, width]`; where there are less, the last one is
    /// repeated.
    pub fn observe_window(&self, samples: &[impl Borrow<Samples>], frames: usize) -> Vec<f32> {
        let mut views = vec![0.0; frames * self.len()];
        for (k, view) in views.chunks_exact_mut(self.len()).enumerate() {
            if let Some(samples) = samples.get(k).or(samples.last()) {
                self.observe(samples.borrow(), view);
            }
        }
        views
    }

    /// The view of a frame after `delta`, `[3, height, width]` in gray levels, is rendered into its planes, and on
    /// `tape` what [`View::backward`] needs.
    pub fn observe_perturbed(
        &self,
        samples: &Samples,
        delta: Option<&[f32]>,
        tape: &mut Tape,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        kernels::wide!(self.observe_rows_of(samples, delta, tape, scratch, out))
    }

    #[inline(always)]
    fn observe_rows_of(
        &self,
        samples: &Samples,
        delta: Option<&[f32]>,
        tape: &mut Tape,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        let [height, width] = self.size;
        let (rows, cols) = self.touched;
        for (c, axes) in self.components.iter().enumerate() {
            let scratch = &mut scratch.components[c];
            scratch.samples.reset(axes.cols.sites.len(), axes.live_rows);
            scratch.blended.resize(axes.cols.sites.len(), 0.0);
            scratch.upsampled.resize(cols, 0.0);
            scratch.short.resize(width, 0.0);
            tape.free[c].resize(samples.0[c].len(), 1);
            match delta {
                Some(delta) => self.mix(c, delta, &mut scratch.mixed),
                None => scratch.mixed.clear(),
            }
        }
        for inside in &mut tape.inside {
            inside.resize(rows * cols, 1);
        }
        scratch.zeros.resize(cols, 0.0);
        scratch.colors.reset(3 * cols, self.live_rows.0);
        let blended = &mut scratch.row[0];
        blended.resize(cols, 0.0);
        for o in 0..height {
            for y in self.observe_rows.row(o).0 {
                let y = *y as usize;
                let Some(colors) = scratch.colors.claim(y) else {
                    continue;
                };
                // Rows of the components a frame has, of zeros for the others.
                let mut lines = [&scratch.zeros[..]; 3];
                for (c, scratch) in scratch.components.iter_mut().enumerate() {
                    let Some(axes) = self.components.get(c) else {
                        break;
                    };
                    lines[c] = axes.pixel_row(y, &samples.0[c], &mut tape.free[c], scratch);
                }
                for (k, out) in colors.chunks_exact_mut(cols).enumerate() {
                    let (m, offset) = (self.matrix.to_rgb[k], self.matrix.offset);
                    let inside = &mut tape.inside[k][y * cols..][..cols];
                    kernels::mix_and_clip(m, offset, lines, out, inside);
                }
            }
            for k in 0..3 {
                let color = |y| &scratch.colors.row(y)[k * cols..][..cols];
                self.observe_rows.blend(o, color, blended);
                let out = &mut out[(k * height + o) * width..][..width];
                self.observe_cols.gather(blended, out);
            }
        }
    }

    /// The gradient with respect to the perturbation from the one with respect to the view, written to `grad_delta`.
    /// Rounding counts as the identity (straight-through), clipping as what it is.
    pub fn backward(&self, tape: &Tape, scratch: &mut Scratch, grad_view: &[f32], grad_delta: &mut [f32]) {
        kernels::wide!(self.backward_rows_of(tape, scratch, grad_view, grad_delta))
    }

    #[inline(always)]
    fn backward_rows_of(&self, tape: &Tape, scratch: &mut Scratch, grad_view: &[f32], grad_delta: &mut [f32]) {
        let [height, width] = self.size;
        let (rows, cols) = self.touched;
        for (c, scratch) in scratch.components.iter_mut().enumerate() {
            scratch.mixed.clear();
            scratch.mixed.resize(height * width, 0.0);
            let Some(axes) = self.components.get(c) else {
                continue;
            };
            scratch.samples.reset(axes.cols.sites.len(), axes.live_rows);
            scratch.blended.resize(axes.cols.sites.len(), 0.0);
            scratch.upsampled.resize(cols, 0.0);
            scratch.short.resize(width, 0.0);
        }
        scratch.colors.reset(3 * cols, self.live_rows.1);
        scratch.row.iter_mut().for_each(|row| row.resize(cols, 0.0));
        for y in 0..rows {
            for o in self.observe_rows_transposed.row(y).0 {
                let o = *o as usize;
                let Some(colors) = scratch.colors.claim(o) else {
                    continue;
                };
                colors.fill(0.0);
                for (k, color) in colors.chunks_exact_mut(cols).enumerate() {
                    let grad = &grad_view[(k * height + o) * width..][..width];
                    self.observe_cols.scatter(grad, color);
                }
            }
            for (k, row) in scratch.row.iter_mut().enumerate() {
                let color = |o| &scratch.colors.row(o)[k * cols..][..cols];
                self.observe_rows_transposed.blend(y, color, row);
                kernels::mask(row, &tape.inside[k][y * cols..][..cols]);
            }
            let colors = scratch.row.each_ref().map(Vec::as_slice);
            let components = scratch.components.iter_mut().zip(&self.components);
            for (c, (scratch, axes)) in components.enumerate() {
                let m = [0, 1, 2].map(|k| self.matrix.to_rgb[k][c]);
                kernels::mix(m, colors, &mut scratch.upsampled);
                axes.pixel_row_adjoint(y, &tape.free[c], width, scratch);
            }
        }
        let [a, b, c] = scratch.components.each_ref().map(|s| s.mixed.as_slice());
        for (k, grad) in grad_delta.chunks_exact_mut(height * width).enumerate() {
            let m = [0, 1, 2].map(|c| self.matrix.from_rgb[c][k]);
            kernels::mix(m, [a, b, c], grad);
        }
    }
}

impl ComponentAxes {
    /// The rows of samples that pixel row `y` is made of, and their weights.
    fn sites<'a>(&'a self, y: usize, own: &'a [u32; 1]) -> (&'a [u32], &'a [f32]) {
        match &self.rows.upsample {
            Some(taps) => taps.row(y),
            None => (own, &[1.0]),
        }
    }

    /// A component's values at row `y` of the touched pixels; `base` and `free` are all of its samples and tape.
    #[inline(always)]
    fn pixel_row<'s>(&self, y: usize, base: &[u8], free: &mut [u8], scratch: &'s mut ComponentScratch) -> &'s [f32] {
        let width = scratch.short.len();
        let cols = self.cols.sites.len();
        let own = [y as u32];
        let (sites, _) = self.sites(y, &own);
        for site in sites {
            let site = *site as usize;
            let Some(samples) = scratch.samples.claim(site) else {
                continue;
            };
            if scratch.mixed.is_empty() {
                samples.fill(0.0);
            } else {
                let mixed = |i| &scratch.mixed[i * width..][..width];
                self.rows.render.blend(site, mixed, &mut scratch.short);
                self.cols.render.gather(&scratch.short, samples);
            }
            let at = site * cols..(site + 1) * cols;
            kernels::quantize_all(samples, &base[at.clone()], &mut free[at], self.range);
        }
        let samples = match (sites, &self.rows.upsample) {
            (_, Some(taps)) if sites.len() > 1 => {
                taps.blend(y, |site| scratch.samples.row(site), &mut scratch.blended);
                &scratch.blended
            }
            _ => scratch.samples.row(sites[0] as usize),
        };
        match &self.cols.upsample {
            None => samples,
            Some(taps) => {
                taps.gather(samples, &mut scratch.upsampled);
                &scratch.upsampled
            }
        }
    }

    /// Adds to `scratch.mixed` what row `y` of the pixels' gradient, in `scratch.upsampled`, makes of it. Rows have to
    /// come in order.
    #[inline(always)]
    fn pixel_row_adjoint(&self, y: usize, free: &[u8], width: usize, scratch: &mut ComponentScratch) {
        let own = [y as u32];
        let (sites, weights) = self.sites(y, &own);
        let row = match &self.cols.upsample {
            None => &scratch.upsampled,
            Some(taps) => {
                scratch.blended.fill(0.0);
                taps.scatter(&scratch.upsampled, &mut scratch.blended);
                &scratch.blended
            }
        };
        for (site, w) in sites.iter().zip(weights) {
            match scratch.samples.claim(*site as usize) {
                Some(sum) => sum.iter_mut().zip(row).for_each(|(s, v)| *s = w * v),
                None => kernels::add(scratch.samples.row_mut(*site as usize), *w, row),
            }
        }
        let cols = self.cols.sites.len();
        for site in self.finished(y) {
            let sum = scratch.samples.row_mut(site);
            kernels::mask(sum, &free[site * cols..][..cols]);
            scratch.short.fill(0.0);
            self.cols.render.scatter(sum, &mut scratch.short);
            let (index, weight) = self.rows.render.row(site);
            for (i, w) in index.iter().zip(weight) {
                let mixed = &mut scratch.mixed[*i as usize * width..][..width];
                kernels::add(mixed, *w, &scratch.short);
            }
        }
    }

    /// The rows of samples that pixel row `y` is the last one to use.
    fn finished(&self, y: usize) -> std::ops::Range<usize> {
        let Some(taps) = &self.rows.upsample else {
            return y..y + 1;
        };
        let first = |y| taps.row(y).0[0] as usize;
        let next = if y + 1 < taps.outputs() { first(y + 1) } else { self.rows.sites.len() };
        first(y)..next
    }
}
