// SPDX-License-Identifier: MPL-2.0

//! The model's view of a stream: bilinear resize and center crop of the frame's RGB, computed from just those samples
//! of the planes that the resize touches. That bound, four samples a view pixel, is why an iteration costs the same at
//! 4K as at 320x240.
//!
//! RGB is what common decoders make of the frame: chroma repeated over the pixels it covers, the caps' matrix and
//! range, rounded and clipped to 8 bits. All values are gray levels 0..255.

use super::geometry::{Axis, Chroma, Geometry, Resize};
use super::kernels;
use super::layout::{FrameLayout, Matrix, Rows, RowsMut};
use super::taps::{Taps, resample};

#[derive(Clone, Debug)]
pub(super) struct ComponentAxes {
    pub rows: Axis,
    pub cols: Axis,
    /// Rows of samples that any one row of pixels is made of, at most.
    pub live_rows: usize,
    /// Nominal range of the samples.
    pub range: (f32, f32),
    /// Rows and columns of what is written into a frame.
    pub reached: [Axis; 2],
}

/// The view of one stream by one model.
#[derive(Clone, Debug)]
pub struct View {
    pub(super) layout: FrameLayout,
    /// Height and width.
    pub(super) size: [usize; 2],
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

impl Samples {
    /// The mean difference of a sample from that of another frame, in levels.
    pub fn difference(&self, other: &Self) -> f32 {
        let planes = self.0.iter().zip(&other.0);
        let (sum, count) = planes.fold((0u64, 0), |(sum, count), (a, b)| {
            let apart: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
            (sum + apart, count + a.len())
        });
        sum as f32 / count.max(1) as f32
    }
}

impl View {
    pub fn new(layout: &FrameLayout, geometry: Geometry, chroma: Chroma) -> Self {
        let Geometry { resized, crop, antialias } = geometry;
        let height = Resize::centered(layout.height, resized[0], crop[0]);
        let width = Resize::centered(layout.width, resized[1], crop[1]);
        let (pixel_rows, observe_rows) = height.taps(antialias).compact();
        let (pixel_cols, observe_cols) = width.taps(antialias).compact_by_tap();
        let observe_rows_transposed = observe_rows.transposed(pixel_rows.len());
        let matrix = layout.color.matrix();
        let components = layout.components.iter().enumerate().map(|(c, component)| {
            let (x, y) = (component.shift_x, component.shift_y);
            let (rows, cols) = match chroma {
                Chroma::Repeated => {
                    (Axis::touched(height, y, &pixel_rows, None), Axis::repeated(width, x, &pixel_cols))
                }
                Chroma::Interpolated => {
                    let rows = Axis::touched(height, y, &pixel_rows, Some(0.5));
                    (rows, Axis::touched(width, x, &pixel_cols, Some(0.0)))
                }
            };
            ComponentAxes {
                live_rows: rows.upsample.as_ref().map_or(1, Taps::span),
                rows,
                cols,
                range: (matrix.lo[c], matrix.hi[c]),
                reached: [Axis::reached(height, y), Axis::reached(width, x)],
            }
        });
        Self {
            components: components.collect(),
            layout: layout.clone(),
            size: crop,
            matrix,
            touched: (pixel_rows.len(), pixel_cols.len()),
            live_rows: (observe_rows.span(), observe_rows_transposed.span()),
            observe_rows,
            observe_rows_transposed,
            observe_cols,
        }
    }

    /// Height and width.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// The number of values in the view of a frame, 3 * height * width.
    pub fn len(&self) -> usize {
        3 * self.size[0] * self.size[1]
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
        let (mut mixed, mut scratch, mut change) = (Vec::new(), Vec::new(), Vec::new());
        for (c, (component, axes)) in self.layout.components.iter().zip(&self.components).enumerate() {
            let [rows, cols] = &axes.reached;
            change.resize(rows.sites.len() * cols.sites.len(), 0.0);
            self.mix(c, delta, &mut mixed);
            resample(&mixed, self.size[1], &rows.render, &cols.render, &mut scratch, &mut change);
            for (y, change) in rows.sites.iter().zip(change.chunks_exact(cols.sites.len().max(1))) {
                let row = &mut planes.row_mut(component.plane, *y)[component.offset..];
                for (x, d) in cols.sites.iter().zip(change) {
                    let byte = &mut row[x * component.pixel_stride];
                    *byte = kernels::quantize(f32::from(*byte), *d, axes.range).0 as u8;
                }
            }
        }
    }

    /// The perturbation in a component's own unit, at the view's resolution.
    #[inline(always)]
    pub(super) fn mix(&self, component: usize, delta: &[f32], mixed: &mut Vec<f32>) {
        let size = self.size[0] * self.size[1];
        let (r, rest) = delta.split_at(size);
        let (g, b) = rest.split_at(size);
        mixed.resize(size, 0.0);
        kernels::mix(self.matrix.from_rgb[component], [r, g, b], mixed);
    }
}
