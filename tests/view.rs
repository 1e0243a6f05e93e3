// SPDX-License-Identifier: MPL-2.0

//! Observing and rendering against references that go pixel by pixel, in double precision, straight from the definitions: no taps, no
//! touched samples, nothing shared with the code under test.

use gstsparseadv::video::layout::{BT601, BT709};
use gstsparseadv::video::view::Tape;
use gstsparseadv::video::{Color, Component, FrameLayout, Geometry, View};
use proptest::prelude::*;

/// A frame with a stride of its own for every plane.
struct Frame {
    layout: FrameLayout,
    planes: Vec<(Vec<u8>, usize)>,
}

impl Frame {
    fn new(layout: FrameLayout, padding: usize, byte: &mut impl FnMut() -> u8) -> Self {
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

    fn refs(&self) -> Vec<(&[u8], usize)> {
        self.planes
            .iter()
            .map(|(d, s)| (d.as_slice(), *s))
            .collect()
    }

    fn sample(&self, c: usize, x: usize, y: usize) -> f64 {
        let component = &self.layout.components[c];
        let (data, stride) = &self.planes[component.plane];
        let at = y * stride + component.offset + x * component.pixel_stride;
        f64::from(data[at])
    }
}

fn subsampled(size: usize, shift: u32) -> usize {
    (size + (1 << shift) - 1) >> shift
}

fn component(plane: usize, offset: usize, pixel_stride: usize, x: u32, y: u32) -> Component {
    Component {
        plane,
        offset,
        pixel_stride,
        shift_x: x,
        shift_y: y,
    }
}

fn layout(kind: usize, width: usize, height: usize) -> FrameLayout {
    let yuv = |(kr, kb), full_range| Color::Yuv { kr, kb, full_range };
    let (components, color) = match kind {
        // Packed RGB, and four bytes a pixel in another order.
        0 => (
            (0..3).map(|i| component(0, i, 3, 0, 0)).collect(),
            Color::Rgb,
        ),
        1 => (
            (0..3).map(|i| component(0, 3 - i, 4, 0, 0)).collect(),
            Color::Rgb,
        ),
        // Planar 4:2:0, semi-planar 4:2:0, planar 4:2:2, planar 4:4:4.
        2 => (
            vec![
                component(0, 0, 1, 0, 0),
                component(1, 0, 1, 1, 1),
                component(2, 0, 1, 1, 1),
            ],
            yuv(BT601, false),
        ),
        3 => (
            vec![
                component(0, 0, 1, 0, 0),
                component(1, 1, 2, 1, 1),
                component(1, 0, 2, 1, 1),
            ],
            yuv(BT709, true),
        ),
        4 => (
            vec![
                component(0, 0, 1, 0, 0),
                component(1, 0, 1, 1, 0),
                component(2, 0, 1, 1, 0),
            ],
            yuv(BT709, false),
        ),
        5 => (
            vec![
                component(0, 0, 1, 0, 0),
                component(1, 0, 1, 0, 0),
                component(2, 0, 1, 0, 0),
            ],
            yuv(BT601, true),
        ),
        _ => (
            vec![component(0, 0, 1, 0, 0)],
            Color::Gray {
                full_range: kind == 6,
            },
        ),
    };
    FrameLayout {
        width,
        height,
        components,
        color,
    }
}

/// (Kr, Kb, span and offset of luma, span of chroma).
fn yuv_numbers(color: Color) -> (f64, f64, f64, f64, f64) {
    let (kr, kb, full) = match color {
        Color::Yuv { kr, kb, full_range } => (f64::from(kr), f64::from(kb), full_range),
        Color::Gray { full_range } => (0.299, 0.114, full_range),
        Color::Rgb => unreachable!(),
    };
    if full {
        (kr, kb, 255.0, 0.0, 255.0)
    } else {
        (kr, kb, 219.0, 16.0, 224.0)
    }
}

/// ITU-R BT.601 and BT.709, from the definitions of Y', Cb and Cr.
fn naive_rgb(color: Color, v: [f64; 3]) -> [f64; 3] {
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
fn naive_components(color: Color, d: [f64; 3]) -> [f64; 3] {
    if color == Color::Rgb {
        return d;
    }
    let (kr, kb, span, _, chroma_span) = yuv_numbers(color);
    let y = kr * d[0] + (1.0 - kr - kb) * d[1] + kb * d[2];
    let cb = (d[2] - y) / (2.0 * (1.0 - kb));
    let cr = (d[0] - y) / (2.0 * (1.0 - kr));
    [
        y * span / 255.0,
        cb * chroma_span / 255.0,
        cr * chroma_span / 255.0,
    ]
}

/// One coordinate of PyTorch's `interpolate(mode="bilinear", align_corners=False)`: two source positions and the second's weight.
fn source(i: usize, input: usize, output: usize) -> (usize, usize, f64) {
    let p = ((i as f64 + 0.5) * input as f64 / output as f64 - 0.5).max(0.0);
    let a = (p as usize).min(input - 1);
    (a, (a + 1).min(input - 1), p - a as f64)
}

fn crop_start(resized: usize, crop: usize) -> usize {
    // int(round((resized - crop) / 2)) in Python, whose halves go to even numbers.
    ((resized - crop) as f64 / 2.0).round_ties_even() as usize
}

/// Resize and crop of an RGB image given as a function of its pixels.
fn naive_view(
    rgb: &dyn Fn(usize, usize) -> [f64; 3],
    width: usize,
    height: usize,
    g: Geometry,
) -> Vec<f64> {
    let [h, w] = g.crop;
    let (top, left) = (crop_start(g.resized[0], h), crop_start(g.resized[1], w));
    let mut out = vec![0.0; 3 * h * w];
    for y in 0..h {
        for x in 0..w {
            let (y0, y1, fy) = source(y + top, height, g.resized[0]);
            let (x0, x1, fx) = source(x + left, width, g.resized[1]);
            let corners = [rgb(x0, y0), rgb(x1, y0), rgb(x0, y1), rgb(x1, y1)];
            for c in 0..3 {
                let upper = corners[0][c] * (1.0 - fx) + corners[1][c] * fx;
                let lower = corners[2][c] * (1.0 - fx) + corners[3][c] * fx;
                out[(c * h + y) * w + x] = upper * (1.0 - fy) + lower * fy;
            }
        }
    }
    out
}

/// Weight of view sample `i` at position `p`: a triangle of half-width `step`, at least 1, normalised over the unbounded grid.
fn hat(p: f64, i: i64, step: f64) -> f64 {
    let support = step.max(1.0);
    let weight = |i: i64| (1.0 - (i as f64 - p).abs() / support).max(0.0);
    let around = (p - support).floor() as i64..=(p + support).ceil() as i64;
    weight(i) / around.map(weight).sum::<f64>()
}

/// The perturbation of component `c`'s sample (x, y).
fn naive_change(
    layout: &FrameLayout,
    g: Geometry,
    delta: &[f32],
    c: usize,
    x: usize,
    y: usize,
) -> f64 {
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
            let weight = if wy > 0.0 {
                wy * hat(px, vx as i64, scale_x * cover_x)
            } else {
                0.0
            };
            for (k, d) in d.iter_mut().enumerate() {
                *d += weight * f64::from(delta[(k * h + vy) * w + vx]);
            }
        }
    }
    naive_components(layout.color, d)[c]
}

/// RGB of pixel (x, y) with every component changed by `change`.
fn pixel(
    frame: &Frame,
    change: &dyn Fn(usize, usize, usize) -> f64,
    x: usize,
    y: usize,
) -> [f64; 3] {
    let mut v = [0.0; 3];
    for (c, k) in frame.layout.components.iter().enumerate() {
        let (sx, sy) = (x >> k.shift_x, y >> k.shift_y);
        v[c] = frame.sample(c, sx, sy) + change(c, sx, sy);
    }
    naive_rgb(frame.layout.color, v)
}

/// Most values agree closely; where a value lies on the edge between two roundings, single and double precision may fall to either side,
/// which moves a view value by at most one grey level. Such edges are rare.
fn assert_close(found: &[f32], expected: &[f64]) -> Result<(), TestCaseError> {
    let far = |(f, e): (&f32, &f64)| (f64::from(*f) - e).abs();
    let edges = found
        .iter()
        .zip(expected)
        .filter(|p| far(*p) > 1e-3)
        .count();
    let worst = found.iter().zip(expected).map(far).fold(0.0, f64::max);
    prop_assert!(worst <= 1.001, "worst difference {worst}");
    prop_assert!(
        edges * 50 <= found.len(),
        "{edges} of {} values differ",
        found.len()
    );
    Ok(())
}

fn geometry() -> impl Strategy<Value = Geometry> {
    (4usize..40, 4usize..40, 0usize..12, 0usize..12).prop_map(|(rh, rw, ch, cw)| Geometry {
        resized: [rh, rw],
        crop: [rh - ch.min(rh - 2), rw - cw.min(rw - 2)],
        antialias: false,
    })
}

/// Bytes and perturbations without a pattern, from a seed.
fn noise(seed: u64) -> impl FnMut() -> u8 {
    let mut state = seed | 1;
    move || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 56) as u8
    }
}

fn perturbation(view: &View, strength: f32, byte: &mut impl FnMut() -> u8) -> Vec<f32> {
    (0..view.len())
        .map(|_| (f32::from(byte()) / 127.5 - 1.0) * strength)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn observe_agrees_with_the_definition(
        kind in 0usize..8, w in 16usize..50, h in 16usize..50, pad in 0usize..9, g in geometry(), seed: u64,
    ) {
        let mut byte = noise(seed);
        let frame = Frame::new(layout(kind, w, h), pad, &mut byte);
        let view = View::new(&frame.layout, g);
        let mut found = vec![0.0; view.len()];
        view.observe(&view.sample(&frame.refs()), &mut found);
        let rgb = |x: usize, y: usize| {
            pixel(&frame, &|_, _, _| 0.0, x, y).map(|v| v.round_ties_even().clamp(0.0, 255.0))
        };
        assert_close(&found, &naive_view(&rgb, w, h, g))?;
    }

    #[test]
    fn render_agrees_with_the_definition(
        kind in 0usize..8, w in 16usize..40, h in 16usize..40, pad in 0usize..9, g in geometry(), seed: u64, strength in 0.0f32..60.0,
    ) {
        let mut byte = noise(seed);
        let frame = Frame::new(layout(kind, w, h), pad, &mut byte);
        let view = View::new(&frame.layout, g);
        let delta = perturbation(&view, strength, &mut byte);
        let mut rendered = frame.planes.clone();
        let mut planes: Vec<(&mut [u8], usize)> =
            rendered.iter_mut().map(|(d, s)| (d.as_mut_slice(), *s)).collect();
        view.render(&mut planes, &delta);

        let mut edges = 0;
        let mut touched = std::collections::HashSet::new();
        for (c, k) in frame.layout.components.iter().enumerate() {
            let m = frame.layout.color.matrix();
            for y in 0..subsampled(h, k.shift_y) {
                for x in 0..subsampled(w, k.shift_x) {
                    let base = frame.sample(c, x, y);
                    let (lo, hi) = (f64::from(m.lo[c]).min(base), f64::from(m.hi[c]).max(base));
                    let value = base + naive_change(&frame.layout, g, &delta, c, x, y);
                    let expected = value.clamp(lo, hi).round_ties_even();
                    let (data, stride) = &rendered[k.plane];
                    let at = y * stride + k.offset + x * k.pixel_stride;
                    touched.insert((k.plane, at));
                    let error = (f64::from(data[at]) - expected).abs();
                    // On the edge between two roundings the precisions may part.
                    let edge = ((value - value.floor()) - 0.5).abs() < 1e-3;
                    prop_assert!(error == 0.0 || (edge && error <= 1.0), "{value} became {}", data[at]);
                    edges += usize::from(error > 0.0);
                }
            }
        }
        prop_assert!(edges * 20 <= touched.len());
        // Alpha and what lies between the rows stay.
        for (p, (data, _)) in rendered.iter().enumerate() {
            for (at, byte) in data.iter().enumerate() {
                prop_assert!(touched.contains(&(p, at)) || *byte == frame.planes[p].0[at]);
            }
        }
    }

    #[test]
    fn what_the_attack_sees_is_what_the_bytes_show(
        kind in 0usize..8, w in 16usize..70, h in 16usize..70, g in geometry(), seed: u64, strength in 0.0f32..60.0, antialias: bool,
    ) {
        let g = Geometry { antialias, ..g };
        let mut byte = noise(seed);
        let frame = Frame::new(layout(kind, w, h), 0, &mut byte);
        let view = View::new(&frame.layout, g);
        let delta = perturbation(&view, strength, &mut byte);
        let mut expected = vec![0.0; view.len()];
        view.observe_perturbed(&view.sample(&frame.refs()), Some(&delta), &mut Tape::default(), &mut expected);
        let mut rendered = frame;
        let mut planes: Vec<(&mut [u8], usize)> =
            rendered.planes.iter_mut().map(|(d, s)| (d.as_mut_slice(), *s)).collect();
        view.render(&mut planes, &delta);
        let mut found = vec![0.0; view.len()];
        view.observe(&view.sample(&rendered.refs()), &mut found);
        prop_assert_eq!(expected, found);
    }

    /// `backward` is the adjoint of the map without rounding, which is linear as long as nothing clips: <L d, g> = <d, L^T g>.
    #[test]
    fn backward_is_the_adjoint(
        kind in 0usize..8, w in 16usize..34, h in 16usize..34, g in geometry(), seed: u64,
    ) {
        let mut byte = noise(seed);
        // Mid-grey, so that no colour is near its bounds.
        let frame = Frame::new(layout(kind, w, h), 0, &mut || 126);
        let view = View::new(&frame.layout, g);
        let delta = perturbation(&view, 4.0, &mut byte);
        let grad: Vec<f32> = perturbation(&view, 1.0, &mut byte);
        let mut tape = Tape::default();
        let mut seen = vec![0.0; view.len()];
        view.observe_perturbed(&view.sample(&frame.refs()), Some(&delta), &mut tape, &mut seen);
        let mut adjoint = vec![0.0; view.len()];
        view.backward(&mut tape, &grad, &mut adjoint);

        let changed = |x: usize, y: usize| {
            pixel(&frame, &|c, x, y| naive_change(&frame.layout, g, &delta, c, x, y), x, y)
        };
        let clean = |x: usize, y: usize| pixel(&frame, &|_, _, _| 0.0, x, y);
        let with = naive_view(&changed, w, h, g);
        let without = naive_view(&clean, w, h, g);
        let left: f64 = with.iter().zip(&without).zip(&grad).map(|((a, b), g)| (a - b) * f64::from(*g)).sum();
        let right: f64 = delta.iter().zip(&adjoint).map(|(d, a)| f64::from(*d) * f64::from(*a)).sum();
        let scale: f64 = adjoint.iter().zip(&delta).map(|(a, d)| f64::from((a * d).abs())).sum();
        // Single precision over some thousand terms of either sign.
        prop_assert!((left - right).abs() <= 1e-4 * scale + 1e-6, "{left} {right} of {scale}");
    }
}

#[test]
fn rgb_of_the_views_own_size_is_the_papers_case() {
    let mut byte = noise(5);
    let frame = Frame::new(FrameLayout::rgb(24, 20), 0, &mut byte);
    let g = Geometry {
        resized: [20, 24],
        crop: [20, 24],
        antialias: false,
    };
    let view = View::new(&frame.layout, g);
    let delta = perturbation(&view, 3.0, &mut byte);
    let mut seen = vec![0.0; view.len()];
    let samples = view.sample(&frame.refs());
    view.observe_perturbed(&samples, Some(&delta), &mut Tape::default(), &mut seen);
    for c in 0..3 {
        for y in 0..20 {
            for x in 0..24 {
                let i = (c * 20 + y) * 24 + x;
                let expected = (frame.sample(c, x, y) as f32 + delta[i]).clamp(0.0, 255.0);
                assert_eq!(seen[i], expected.round_ties_even());
            }
        }
    }
}
