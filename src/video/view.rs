// SPDX-License-Identifier: MPL-2.0

//! The model's view of a stream: bilinear resize and center crop of the frame's RGB, computed from just those samples
//! of the planes that the resize touches. That bound, four samples a view pixel, is why an iteration costs the same at
//! 4K as at 320x240.
//!
//! RGB is what common decoders make of the frame: chroma repeated over the pixels it covers, the caps' matrix and
//! range, rounded and clipped to 8 bits. All values are gray levels 0..255.

use super::geometry::{Axis, Chroma, Geometry, crop_offset, render_taps};
use super::kernels;
use super::layout::{FrameLayout, Matrix, Rows, RowsMut};
use super::taps::{Taps, resample};

#[derive(Clone, Debug)]
pub(super) struct ComponentAxes {
    pub rows: Axis,
    pub cols: Axis,
    /// Rows of samples that any one row of pixels is made of, at most.
    pub live_rows: usize,
}

/// The view of one stream by one model.
#[derive(Clone, Debug)]
pub struct View {
    layout: FrameLayout,
    pub(super) geometry: Geometry,
    pub(super) matrix: Matrix,
    /// View rows and columns from the touched pixels.
    pub(super) observe_rows: Taps,
    pub(super) observe_rows_transposed: Taps,
    pub(super) observe_cols: Taps,
    pub(super) components: Vec<ComponentAxes>,
    /// Rows and columns of touched pixels.
    pub(super) touched: (usize, usize),
    /// Rows of pixels that any one row of the view is made of, at most, and the other way round.
    pub(super) live_rows: (usize, usize),
}

/// The samples of one frame that the view touches, a plane a component.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(pub(super) Vec<Vec<u8>>);

impl View {
    pub fn new(layout: &FrameLayout, geometry: Geometry, chroma: Chroma) -> Self {
        let [rh, rw] = geometry.resized;
        let [h, w] = geometry.crop;
        let top = crop_offset(rh, h);
        let left = crop_offset(rw, w);
        let resize = |input, output, start, len| Taps::resize(input, output, start..start + len, geometry.antialias);
        let (pixel_rows, observe_rows) = resize(layout.height, rh, top, h).compact();
        let (pixel_cols, observe_cols) = resize(layout.width, rw, left, w).compact_by_tap();
        let observe_rows_transposed = observe_rows.transposed(pixel_rows.len());
        let components = layout.components.iter().map(|c| {
            let interpolated = chroma == Chroma::Interpolated;
            let first = interpolated.then_some(0.5);
            let (height, width) = ((rh, top, h), (rw, left, w));
            let rows = Axis::touched(&pixel_rows, c.shift_y, first, layout.height, height);
            let cols = if interpolated {
                Axis::touched(&pixel_cols, c.shift_x, Some(0.0), layout.width, width)
            } else {
                Axis::repeated(&pixel_cols, c.shift_x, layout.width, width)
            };
            ComponentAxes { live_rows: rows.upsample.as_ref().map_or(1, Taps::span), rows, cols }
        });
        Self {
            components: components.collect(),
            layout: layout.clone(),
            geometry,
            matrix: layout.color.matrix(),
            touched: (pixel_rows.len(), pixel_cols.len()),
            live_rows: (observe_rows.span(), observe_rows_transposed.span()),
            observe_rows,
            observe_rows_transposed,
            observe_cols,
        }
    }

    /// Height and width.
    pub fn size(&self) -> [usize; 2] {
        self.geometry.crop
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
    pub fn sample(&self, planes: &impl Rows) -> Samples {
        let components = self.layout.components.iter().zip(&self.components);
        Samples(
            components
                .map(|(component, axes)| {
                    let mut values = Vec::with_capacity(axes.rows.sites.len() * axes.cols.sites.len());
                    for y in &axes.rows.sites {
                        let row = &planes.row(component.plane, *y)[component.offset..];
                        values.extend(axes.cols.sites.iter().map(|x| row[x * component.pixel_stride]));
                    }
                    values
                })
                .collect(),
        )
    }

    /// Writes `delta` into a frame's planes; everything outside the crop, and any alpha, stays as it is.
    pub fn render(&self, planes: &mut impl RowsMut, delta: &[f32]) {
        let [rh, rw] = self.geometry.resized;
        let [h, w] = self.geometry.crop;
        let (mut mixed, mut scratch) = (Vec::new(), Vec::new());
        for (c, component) in self.layout.components.iter().enumerate() {
            let whole = |size: usize, shift: u32, resized, crop| {
                let count = (size + (1 << shift) - 1) >> shift;
                let sites: Vec<usize> = (0..count).collect();
                let taps = render_taps(&sites, shift, size, resized, crop_offset(resized, crop), crop);
                // Only the sites within reach of the crop.
                let within: Vec<usize> = sites.into_iter().filter(|i| !taps.row(*i).0.is_empty()).collect();
                let taps = render_taps(&within, shift, size, resized, crop_offset(resized, crop), crop);
                (within, taps)
            };
            let (rows, row_taps) = whole(self.layout.height, component.shift_y, rh, h);
            let (cols, col_taps) = whole(self.layout.width, component.shift_x, rw, w);
            let mut change = vec![0.0; rows.len() * cols.len()];
            self.mix(c, delta, &mut mixed);
            resample(&mixed, w, &row_taps, &col_taps, &mut scratch, &mut change);
            let (lo, hi) = (self.matrix.lo[c], self.matrix.hi[c]);
            for (y, change) in rows.iter().zip(change.chunks_exact(cols.len().max(1))) {
                let row = &mut planes.row_mut(component.plane, *y)[component.offset..];
                for (x, d) in cols.iter().zip(change) {
                    let byte = &mut row[x * component.pixel_stride];
                    *byte = kernels::quantize(f32::from(*byte), *d, lo, hi).0 as u8;
                }
            }
        }
    }

    /// The perturbation in a component's own unit, at the view's resolution.
    pub(super) fn mix(&self, component: usize, delta: &[f32], mixed: &mut Vec<f32>) {
        let size = self.geometry.crop[0] * self.geometry.crop[1];
        let (r, rest) = delta.split_at(size);
        let (g, b) = rest.split_at(size);
        mixed.resize(size, 0.0);
        kernels::mix(self.matrix.from_rgb[component], [r, g, b], mixed);
    }
}
