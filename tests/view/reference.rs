// SPDX-License-Identifier: MPL-2.0

//! Observing and rendering pixel by pixel, in double precision, straight from the definitions: no taps, no touched
//! samples, nothing shared with the code under test.

use gstsparseadv::video::layout::{BT601, BT709};
use gstsparseadv::video::{Chroma, Color, Component, FrameLayout, Geometry};

/// A frame with a stride of its own for every plane.
pub struct Frame {
    pub layout: FrameLayout,
    pub planes: Vec<(Vec<u8>, usize)>,
}

impl Frame {
    pub fn new(layout: FrameLayout, padding: usize, byte: &mut impl FnMut() -> u8) -> Self {
        let mut planes = Vec::new();
        for p in 0..=layout.components.iter().map(|c| c.plane).max().unwrap() {
            let c = layout.components.iter().find(|c| c.plane == p).unwrap();
            let w = subsampled(layout.width, c.shift_x) * c.pixel_stride;
            let stride = w + padding;
            let rows = subsampled(layout.height, c.shift_y);
            planes.push(((0..stride * rows).map(|_| byte()).collect(), stride));
        }
        Self { layout, planes }
    }

    pub fn refs(&self) -> Vec<(&[u8], usize)> {
        self.planes.iter().map(|(d, s)| (d.as_slice(), *s)).collect()
    }

    pub fn sample(&self, c: usize, x: usize, y: usize) -> f64 {
        let component = &self.layout.components[c];
        let (data, stride) = &self.planes[component.plane];
        let at = y * stride + component.offset + x * component.pixel_stride;
        f64::from(data[at])
    }
}

pub fn subsampled(size: usize, shift: u32) -> usize {
    (size + (1 << shift) - 1) >> shift
}

pub fn component(plane: usize, offset: usize, pixel_stride: usize, x: u32, y: u32) -> Component {
    Component { plane, offset, pixel_stride, shift_x: x, shift_y: y }
}

pub fn layout(kind: usize, width: usize, height: usize) -> FrameLayout {
    let yuv = |(kr, kb), full_range| Color::Yuv { kr, kb, full_range };
    let (components, color) = match kind {
        // Packed RGB, and four bytes a pixel in another order.
        0 => ((0..3).map(|i| component(0, i, 3, 0, 0)).collect(), Color::Rgb),
        1 => ((0..3).map(|i| component(0, 3 - i, 4, 0, 0)).collect(), Color::Rgb),
        // Planar 4:2:0, semi-planar 4:2:0, planar 4:2:2, planar 4:4:4.
        2 => (vec![component(0, 0, 1, 0, 0), component(1, 0, 1, 1, 1), component(2, 0, 1, 1, 1)], yuv(BT601, false)),
        3 => (vec![component(0, 0, 1, 0, 0), component(1, 1, 2, 1, 1), component(1, 0, 2, 1, 1)], yuv(BT709, true)),
        4 => (vec![component(0, 0, 1, 0, 0), component(1, 0, 1, 1, 0), component(2, 0, 1, 1, 0)], yuv(BT709, false)),
        5 => (vec![component(0, 0, 1, 0, 0), component(1, 0, 1, 0, 0), component(2, 0, 1, 0, 0)], yuv(BT601, true)),
        _ => (vec![component(0, 0, 1, 0, 0)], Color::Gray { full_range: kind == 6 }),
    };
    FrameLayout { width, height, components, color }
}

/// (Kr, Kb, span and offset of luma, span of chroma).
pub fn yuv_numbers(color: Color) -> (f64, f64, f64, f64, f64) {
    let (kr, kb, full) = match color {
        Color::Yuv { kr, kb, full_range } => (f64::from(kr), f64::from(kb), full_range),
        Color::Gray { full_range } => (0.299, 0.114, full_range),
        Color::Rgb => unreachable!(),
    };
    if full { (kr, kb, 255.0, 0.0, 255.0) } else { (kr, kb, 219.0, 16.0, 224.0) }
}

/// ITU-R BT.601 and BT.709, from the definitions of Y', Cb and Cr.
pub fn naive_rgb(color: Color, v: [f64; 3]) -> [f64; 3] {
    if color == Color::Rgb {
        return v;
    }
    let (kr, kb, span, offset, chroma_span) = yuv_numbers(color);
    let y = (v[0] - offset) / span;
    if matches!(color, Color::Gray { .. }) {
        return [255.0 * y; 3];
    }
    let (cb, cr) = ((v[1] - 128.0) / chroma_span, (v[2] - 128.0) / chroma_span);
    let r = y + 2.0 * (1.0 - kr) * cr;
    let b = y + 2.0 * (1.0 - kb) * cb;
    let g = (y - kr * r - kb * b) / (1.0 - kr - kb);
    [255.0 * r, 255.0 * g, 255.0 * b]
}

/// The change of the components that a change of RGB means.
pub fn naive_components(color: Color, d: [f64; 3]) -> [f64; 3] {
    if color == Color::Rgb {
        return d;
    }
    let (kr, kb, span, _, chroma_span) = yuv_numbers(color);
    let y = kr * d[0] + (1.0 - kr - kb) * d[1] + kb * d[2];
    let cb = (d[2] - y) / (2.0 * (1.0 - kb));
    let cr = (d[0] - y) / (2.0 * (1.0 - kr));
    [y * span / 255.0, cb * chroma_span / 255.0, cr * chroma_span / 255.0]
}

/// One coordinate of PyTorch's `interpolate(mode="bilinear", align_corners=False)`: two source positions and the
/// second's weight.
pub fn source(i: usize, input: usize, output: usize) -> (usize, usize, f64) {
    let p = ((i as f64 + 0.5) * input as f64 / output as f64 - 0.5).max(0.0);
    let a = (p as usize).min(input - 1);
    (a, (a + 1).min(input - 1), p - a as f64)
}

pub fn crop_start(resized: usize, crop: usize) -> usize {
    // int(round((resized - crop) / 2)) in Python, whose halves go to even numbers.
    ((resized - crop) as f64 / 2.0).round_ties_even() as usize
}

/// A value of a view: the four pixels it is interpolated between, with their weights.
fn corners([x, y]: [usize; 2], [width, height]: [usize; 2], g: Geometry) -> [([usize; 2], f64); 4] {
    let [top, left] = [0, 1].map(|axis| crop_start(g.resized[axis], g.crop[axis]));
    let (y0, y1, fy) = source(y + top, height, g.resized[0]);
    let (x0, x1, fx) = source(x + left, width, g.resized[1]);
    [([x0, y0], (1.0 - fx) * (1.0 - fy)), ([x1, y0], fx * (1.0 - fy)), ([x0, y1], (1.0 - fx) * fy), ([x1, y1], fx * fy)]
}

/// Resize and crop of an RGB image given as a function of its pixels.
pub fn naive_view(rgb: &dyn Fn(usize, usize) -> [f64; 3], width: usize, height: usize, g: Geometry) -> Vec<f64> {
    let view = values(g, |c, at| {
        let corners = corners(at, [width, height], g);
        corners.map(|([x, y], w)| w * rgb(x, y)[c]).iter().sum()
    });
    view.collect()
}

/// The same of an image whose pixels are rounded and clipped first: all readings of each value, more than one where a
/// pixel lies on the edge between two roundings.
pub fn rounded_view(rgb: &dyn Fn(usize, usize) -> [f64; 3], width: usize, height: usize, g: Geometry) -> Vec<Vec<f64>> {
    let view = values(g, |c, at| {
        let mut readings = vec![0.0];
        for ([x, y], weight) in corners(at, [width, height], g) {
            let roundings = roundings(rgb(x, y)[c]);
            let more = readings.iter().flat_map(|sum| roundings.iter().map(move |v| sum + weight * v));
            readings = more.collect();
        }
        readings
    });
    view.collect()
}

/// What a color may be rounded to. Single precision keeps it to about 1e-4, with three terms of up to 512.
fn roundings(value: f64) -> Vec<f64> {
    let mut found = [-1e-4, 1e-4].map(|e| (value + e).round().clamp(0.0, 255.0));
    found.sort_by(f64::total_cmp);
    match found {
        [a, b] if a == b => vec![a],
        both => both.to_vec(),
    }
}

/// The values of a view, in its order.
fn values<V>(g: Geometry, value: impl Fn(usize, [usize; 2]) -> V) -> impl Iterator<Item = V> {
    let [h, w] = g.crop;
    (0..3 * h * w).map(move |i| value(i / (h * w), [i % w, i / w % h]))
}

/// Weight of view sample `i` at position `p`: a triangle of half-width `step`, at least 1, normalized over the
/// unbounded grid.
pub fn hat(p: f64, i: i64, step: f64) -> f64 {
    let support = step.max(1.0);
    let weight = |i: i64| (1.0 - (i as f64 - p).abs() / support).max(0.0);
    let around = (p - support).floor() as i64..=(p + support).ceil() as i64;
    weight(i) / around.map(weight).sum::<f64>()
}

/// The perturbation of component `c`'s sample (x, y).
pub fn naive_change(layout: &FrameLayout, g: Geometry, delta: &[f32], c: usize, x: usize, y: usize) -> f64 {
    let [h, w] = g.crop;
    let (top, left) = (crop_start(g.resized[0], h), crop_start(g.resized[1], w));
    let k = &layout.components[c];
    let (cover_x, cover_y) = (f64::from(1 << k.shift_x), f64::from(1 << k.shift_y));
    let scale_x = g.resized[1] as f64 / layout.width as f64;
    let scale_y = g.resized[0] as f64 / layout.height as f64;
    let px = (x as f64 + 0.5) * cover_x * scale_x - 0.5 - left as f64;
    let py = (y as f64 + 0.5) * cover_y * scale_y - 0.5 - top as f64;
    let mut d = [0.0; 3];
    for vy in 0..h {
        let wy = hat(py, vy as i64, scale_y * cover_y);
        for vx in 0..w {
            let weight = if wy > 0.0 { wy * hat(px, vx as i64, scale_x * cover_x) } else { 0.0 };
            for (k, d) in d.iter_mut().enumerate() {
                *d += weight * f64::from(delta[(k * h + vy) * w + vx]);
            }
        }
    }
    naive_components(layout.color, d)[c]
}

/// Samples of an axis that pixel `p` is made of, with their weights: the one that covers it, or the two around it where
/// the first lies at pixel `first` and each stands for two.
fn around(p: usize, shift: u32, first: Option<f64>, size: usize) -> [(usize, f64); 2] {
    let last = subsampled(size, shift) - 1;
    match first.filter(|_| shift > 0) {
        None => [(p >> shift, 1.0), (0, 0.0)],
        Some(first) => {
            let position = ((p as f64 - first) / 2.0).clamp(0.0, last as f64);
            let low = position.floor();
            let high = (low as usize + 1).min(last);
            [(low as usize, 1.0 - position + low), (high, position - low)]
        }
    }
}

/// RGB of pixel (x, y) with every component changed by `change`.
pub fn pixel(
    frame: &Frame,
    chroma: Chroma,
    change: &dyn Fn(usize, usize, usize) -> f64,
    x: usize,
    y: usize,
) -> [f64; 3] {
    let first = |at| (chroma == Chroma::Interpolated).then_some(at);
    let mut v = [0.0; 3];
    for (c, k) in frame.layout.components.iter().enumerate() {
        for (sx, wx) in around(x, k.shift_x, first(0.0), frame.layout.width) {
            for (sy, wy) in around(y, k.shift_y, first(0.5), frame.layout.height) {
                if wx * wy > 0.0 {
                    v[c] += wx * wy * (frame.sample(c, sx, sy) + change(c, sx, sy));
                }
            }
        }
    }
    naive_rgb(frame.layout.color, v)
}
