// SPDX-License-Identifier: MPL-2.0

//! The model's view of a stream: bilinear resize and centre crop of the frame's RGB, computed from just those samples of the planes that
//! the resize touches. That bound, four samples a view pixel, is why an iteration costs the same at 4K as at 320x240.
//!
//! RGB is what common decoders make of the frame: chroma repeated over the pixels it covers, the caps' matrix and range, rounded and
//! clipped to 8 bits. All values are grey levels 0..255.

use super::geometry::{crop_offset, render_taps, Axis, Chroma, Geometry};
use super::kernels;
use super::layout::{FrameLayout, Matrix, Planes, PlanesMut};
use super::taps::{resample, resample_adjoint, Taps};

#[derive(Clone, Debug)]
struct ComponentAxes {
    rows: Axis,
    cols: Axis,
}

/// The view of one stream by one model.
#[derive(Clone, Debug)]
pub struct View {
    layout: FrameLayout,
    geometry: Geometry,
    matrix: Matrix,
    /// View rows and columns from the touched pixels.
    observe_rows: Taps,
    observe_cols: Taps,
    components: Vec<ComponentAxes>,
}

/// The samples of one frame that the view touches, a plane a component.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(Vec<Vec<f32>>);

/// What the derivative of an observation needs to know: where values were clipped.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    // As numbers 0 and 1, not as `bool`: so the loops over them use whole vector registers.
    /// A component sample followed the perturbation.
    free: [Vec<f32>; 3],
    /// A colour value of a touched pixel was not clipped.
    inside: [Vec<f32>; 3],
    /// Buffers reused between calls.
    scratch: Vec<f32>,
    row: Vec<f32>,
    mixed: [Vec<f32>; 3],
    values: [Vec<f32>; 3],
    rgb: [Vec<f32>; 3],
}

impl View {
    pub fn new(layout: &FrameLayout, geometry: Geometry, chroma: Chroma) -> Self {
        let [rh, rw] = geometry.resized;
        let [h, w] = geometry.crop;
        let top = crop_offset(rh, h);
        let left = crop_offset(rw, w);
        let taps = |input, output, start, len| {
            Taps::resize(input, output, start..start + len, geometry.antialias).compact()
        };
        let (pixel_rows, observe_rows) = taps(layout.height, rh, top, h);
        let (pixel_cols, observe_cols) = taps(layout.width, rw, left, w);
        let first = |at| (chroma == Chroma::Interpolated).then_some(at);
        let components = layout
            .components
            .iter()
            .map(|c| ComponentAxes {
                rows: Axis::touched(
                    &pixel_rows,
                    c.shift_y,
                    first(0.5),
                    layout.height,
                    (rh, top, h),
                ),
                cols: Axis::touched(
                    &pixel_cols,
                    c.shift_x,
                    first(0.0),
                    layout.width,
                    (rw, left, w),
                ),
            })
            .collect();
        Self {
            layout: layout.clone(),
            geometry,
            matrix: layout.color.matrix(),
            observe_rows,
            observe_cols,
            components,
        }
    }

    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub fn layout(&self) -> &FrameLayout {
        &self.layout
    }

    /// The number of values in the view of a frame, 3 * height * width.
    pub fn len(&self) -> usize {
        3 * self.geometry.crop[0] * self.geometry.crop[1]
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the touched samples of a frame.
    pub fn sample(&self, planes: &Planes) -> Samples {
        let components = self.layout.components.iter().zip(&self.components);
        Samples(
            components
                .map(|(component, axes)| {
                    let (data, stride) = planes[component.plane];
                    let mut values =
                        Vec::with_capacity(axes.rows.sites.len() * axes.cols.sites.len());
                    for y in &axes.rows.sites {
                        let row = &data[y * stride + component.offset..];
                        values.extend(
                            axes.cols
                                .sites
                                .iter()
                                .map(|x| f32::from(row[x * component.pixel_stride])),
                        );
                    }
                    values
                })
                .collect(),
        )
    }

    /// The view of a frame: `out` is `[3, height, width]`.
    pub fn observe(&self, samples: &Samples, out: &mut [f32]) {
        self.observe_perturbed(samples, None, &mut Tape::default(), out);
    }

    /// The view of a frame after `delta`, `[3, height, width]` in grey levels, is rendered into its planes, and on `tape` what
    /// [`View::backward`] needs.
    pub fn observe_perturbed(
        &self,
        samples: &Samples,
        delta: Option<&[f32]>,
        tape: &mut Tape,
        out: &mut [f32],
    ) {
        if let Some(delta) = delta {
            self.mix(delta, &mut tape.mixed);
        }
        for (c, axes) in self.components.iter().enumerate() {
            let base = &samples.0[c];
            let values = &mut tape.values[c];
            values.clear();
            values.resize(base.len(), 0.0);
            if delta.is_some() {
                let width = self.geometry.crop[1];
                let (rows, cols) = (&axes.rows.render, &axes.cols.render);
                resample(&tape.mixed[c], width, rows, cols, &mut tape.scratch, values);
            }
            let (lo, hi) = (self.matrix.lo[c], self.matrix.hi[c]);
            let free = &mut tape.free[c];
            free.resize(base.len(), 1.0);
            kernels::quantise_all(values, base, free, lo, hi);
        }
        self.to_rgb(tape);
        let width = self.observe_cols_input();
        let size = self.geometry.crop[0] * self.geometry.crop[1];
        for (rgb, out) in tape.rgb.iter().zip(out.chunks_exact_mut(size)) {
            let (rows, cols) = (&self.observe_rows, &self.observe_cols);
            resample(rgb, width, rows, cols, &mut tape.scratch, out);
        }
    }

    /// The gradient with respect to the perturbation, added to `grad_delta`, from the one with respect to the view. Rounding counts as the
    /// identity (straight-through), clipping as what it is.
    pub fn backward(&self, tape: &mut Tape, grad_view: &[f32], grad_delta: &mut [f32]) {
        let n = self.components.len();
        let pixels = self.pixel_count();
        let width = self.observe_cols_input();
        let size = self.geometry.crop[0] * self.geometry.crop[1];
        for c in 0..3 {
            let rgb = &mut tape.rgb[c];
            rgb.clear();
            rgb.resize(pixels, 0.0);
            resample_adjoint(
                &grad_view[c * size..][..size],
                width,
                &self.observe_rows,
                &self.observe_cols,
                &mut tape.scratch,
                rgb,
            );
            kernels::multiply(rgb, &tape.inside[c]);
        }
        for (c, axes) in self.components.iter().enumerate() {
            let m = [0, 1, 2].map(|k| self.matrix.to_rgb[k][c]);
            let sites = axes.cols.sites.len();
            let values = &mut tape.values[c];
            values.clear();
            values.resize(axes.rows.sites.len() * sites, 0.0);
            let [r, g, b] = &tape.rgb;
            tape.scratch.resize(width, 0.0);
            for y in 0..axes.rows.upsample.outputs() {
                let p = y * width..(y + 1) * width;
                let colours = [&r[p.clone()], &g[p.clone()], &b[p]];
                kernels::mix(m, colours, &mut tape.scratch);
                if axes.cols.is_every_pixel() {
                    tape.row.clone_from(&tape.scratch);
                } else {
                    tape.row.clear();
                    tape.row.resize(sites, 0.0);
                    axes.cols.upsample.scatter(&tape.scratch, &mut tape.row);
                }
                let (index, weight) = axes.rows.upsample.row(y);
                for (site_y, w) in index.iter().zip(weight) {
                    let row = &mut values[*site_y as usize * sites..][..sites];
                    row.iter_mut().zip(&tape.row).for_each(|(v, s)| *v += w * s);
                }
            }
            kernels::multiply(values, &tape.free[c]);
            let mixed = &mut tape.mixed[c];
            mixed.clear();
            mixed.resize(size, 0.0);
            let width = self.geometry.crop[1];
            let (rows, cols) = (&axes.rows.render, &axes.cols.render);
            resample_adjoint(&tape.values[c], width, rows, cols, &mut tape.scratch, mixed);
        }
        for (k, grad) in grad_delta.chunks_exact_mut(size).enumerate() {
            for c in 0..n {
                let m = self.matrix.from_rgb[c][k];
                for (d, g) in grad.iter_mut().zip(&tape.mixed[c]) {
                    *d += m * g;
                }
            }
        }
    }

    /// Writes `delta` into a frame's planes; everything outside the crop, and any alpha, stays as it is.
    pub fn render(&self, planes: &mut PlanesMut, delta: &[f32]) {
        let [rh, rw] = self.geometry.resized;
        let [h, w] = self.geometry.crop;
        let mut tape = Tape::default();
        self.mix(delta, &mut tape.mixed);
        for (c, component) in self.layout.components.iter().enumerate() {
            let whole = |size: usize, shift: u32, resized, crop| {
                let count = (size + (1 << shift) - 1) >> shift;
                let sites: Vec<usize> = (0..count).collect();
                let taps = render_taps(
                    &sites,
                    shift,
                    size,
                    resized,
                    crop_offset(resized, crop),
                    crop,
                );
                // Only the sites within reach of the crop.
                let within: Vec<usize> = sites
                    .into_iter()
                    .filter(|i| !taps.row(*i).0.is_empty())
                    .collect();
                let taps = render_taps(
                    &within,
                    shift,
                    size,
                    resized,
                    crop_offset(resized, crop),
                    crop,
                );
                (within, taps)
            };
            let (rows, row_taps) = whole(self.layout.height, component.shift_y, rh, h);
            let (cols, col_taps) = whole(self.layout.width, component.shift_x, rw, w);
            let mut change = vec![0.0; rows.len() * cols.len()];
            resample(
                &tape.mixed[c],
                w,
                &row_taps,
                &col_taps,
                &mut tape.scratch,
                &mut change,
            );
            let (lo, hi) = (self.matrix.lo[c], self.matrix.hi[c]);
            let (data, stride) = &mut planes[component.plane];
            for (y, change) in rows.iter().zip(change.chunks_exact(cols.len().max(1))) {
                let row = &mut data[y * *stride + component.offset..];
                for (x, d) in cols.iter().zip(change) {
                    let byte = &mut row[x * component.pixel_stride];
                    *byte = kernels::quantise(f32::from(*byte), *d, lo, hi).0 as u8;
                }
            }
        }
    }

    /// The perturbation in the components' own units, at the view's resolution.
    fn mix(&self, delta: &[f32], mixed: &mut [Vec<f32>; 3]) {
        let size = self.geometry.crop[0] * self.geometry.crop[1];
        let (r, rest) = delta.split_at(size);
        let (g, b) = rest.split_at(size);
        for (c, mixed) in mixed.iter_mut().enumerate().take(self.components.len()) {
            let m = self.matrix.from_rgb[c];
            mixed.resize(size, 0.0);
            kernels::mix(m, [r, g, b], mixed);
        }
    }

    /// Turns the component values on the tape into the 8-bit RGB of the touched pixels.
    fn to_rgb(&self, tape: &mut Tape) {
        let width = self.observe_cols_input();
        let pixels = self.pixel_count();
        let rows = self.components[0].rows.upsample.outputs();
        let Tape {
            rgb,
            inside,
            values,
            scratch,
            row,
            ..
        } = tape;
        for (rgb, inside) in rgb.iter_mut().zip(inside.iter_mut()) {
            rgb.resize(pixels, 0.0);
            inside.resize(pixels, 1.0);
        }
        // One row of each component, brought to the pixels' grid.
        scratch.clear();
        scratch.resize(3 * width, 0.0);
        for y in 0..rows {
            for (c, axes) in self.components.iter().enumerate() {
                let sites = axes.cols.sites.len();
                let site_row = |site: u32| &values[c][site as usize * sites..][..sites];
                let offset = self.matrix.offset[c];
                let out = &mut scratch[c * width..][..width];
                match axes.rows.upsample.row(y) {
                    (&[site], _) if axes.cols.is_every_pixel() => {
                        out.copy_from_slice(site_row(site));
                    }
                    (&[site], _) => axes.cols.upsample.gather(site_row(site), out),
                    (index, weight) => {
                        row.clear();
                        row.resize(sites, 0.0);
                        for (site, w) in index.iter().zip(weight) {
                            let from = site_row(*site);
                            row.iter_mut().zip(from).for_each(|(r, v)| *r += w * v);
                        }
                        if axes.cols.is_every_pixel() {
                            out.copy_from_slice(row);
                        } else {
                            axes.cols.upsample.gather(row, out);
                        }
                    }
                }
                out.iter_mut().for_each(|o| *o -= offset);
            }
            let (first, rest) = scratch.split_at(width);
            let (second, third) = rest.split_at(width);
            for k in 0..3 {
                let out = &mut rgb[k][y * width..][..width];
                let inside = &mut inside[k][y * width..][..width];
                kernels::mix_and_clip(self.matrix.to_rgb[k], [first, second, third], out, inside);
            }
        }
    }

    fn observe_cols_input(&self) -> usize {
        self.components[0].cols.upsample.outputs()
    }

    fn pixel_count(&self) -> usize {
        self.components[0].rows.upsample.outputs() * self.observe_cols_input()
    }
}
