// SPDX-License-Identifier: MPL-2.0

//! Observing and rendering against per-pixel references.

#[path = "../common/mod.rs"]
mod common;
mod device;
mod reference;

use common::chance;
use gstsparseadv::video::observe::{Scratch, Tape};
use gstsparseadv::video::{Chroma, Geometry, View};
use proptest::prelude::*;
use reference::*;

/// Every value is what the definition gives. Where a color lies on the edge between two roundings, as close as single
/// precision can tell, either rounding is right, and nothing else is.
fn assert_close(found: &[f32], expected: &[Vec<f64>]) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), expected.len());
    for (i, (f, readings)) in found.iter().zip(expected).enumerate() {
        let agrees = |e: &f64| (f64::from(*f) - e).abs() <= 1e-3;
        prop_assert!(readings.iter().any(agrees), "value {i}: expected {readings:?}, found {f}");
    }
    Ok(())
}

fn chroma() -> impl Strategy<Value = Chroma> {
    prop_oneof![Just(Chroma::Repeated), Just(Chroma::Interpolated)]
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
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    }
}

fn perturbation(view: &View, strength: f32, byte: &mut impl FnMut() -> u8) -> Vec<f32> {
    (0..view.len()).map(|_| (f32::from(byte()) / 127.5 - 1.0) * strength).collect()
}

proptest! {
    #![proptest_config(chance::cases(150))]

    #[test]
    fn observe_agrees_with_the_definition(
        chroma in chroma(),
        kind in 0usize..8, w in 16usize..50, h in 16usize..50, pad in 0usize..9, g in geometry(), seed: u64,
    ) {
        observe_agrees(chroma, kind, [w, h], pad, g, seed)?;
    }

    #[test]
    fn render_agrees_with_the_definition(
        kind in 0usize..8, w in 16usize..40, h in 16usize..40, pad in 0usize..9, g in geometry(), seed: u64, strength in 0.0f32..60.0,
    ) {
        let mut byte = noise(seed);
        let frame = Frame::new(layout(kind, w, h), pad, &mut byte);
        let view = View::new(&frame.layout, g, Chroma::Repeated);
        let delta = perturbation(&view, strength, &mut byte);
        let mut rendered = frame.planes.clone();
        let mut planes: Vec<(&mut [u8], usize)> =
            rendered.iter_mut().map(|(d, s)| (d.as_mut_slice(), *s)).collect();
        view.render(&mut planes, &delta);

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
                }
            }
        }
        // Alpha and what lies between the rows stay.
        for (p, (data, _)) in rendered.iter().enumerate() {
            for (at, byte) in data.iter().enumerate() {
                prop_assert!(touched.contains(&(p, at)) || *byte == frame.planes[p].0[at]);
            }
        }
    }

    #[test]
    fn what_the_attack_sees_is_what_the_bytes_show(
        chroma in chroma(),
        kind in 0usize..8, w in 16usize..70, h in 16usize..70, g in geometry(), seed: u64, strength in 0.0f32..60.0, antialias: bool,
    ) {
        let g = Geometry { antialias, ..g };
        let mut byte = noise(seed);
        let frame = Frame::new(layout(kind, w, h), 0, &mut byte);
        let view = View::new(&frame.layout, g, chroma);
        let delta = perturbation(&view, strength, &mut byte);
        let mut expected = vec![0.0; view.len()];
        view.observe_perturbed(&view.sample(&frame.refs()), Some(&delta), &mut Tape::default(), &mut Scratch::default(), &mut expected);
        let mut rendered = frame;
        let mut planes: Vec<(&mut [u8], usize)> =
            rendered.planes.iter_mut().map(|(d, s)| (d.as_mut_slice(), *s)).collect();
        view.render(&mut planes, &delta);
        let mut found = vec![0.0; view.len()];
        view.observe(&view.sample(&rendered.refs()), &mut found);
        prop_assert_eq!(expected, found);
    }

    /// `backward` is the adjoint of the map without rounding, which is linear as long as nothing clips: <L d, g> = <d,
    /// L^T g>.
    #[test]
    fn backward_is_the_adjoint(
        chroma in chroma(),
        kind in 0usize..8, w in 16usize..34, h in 16usize..34, g in geometry(), seed: u64,
    ) {
        let mut byte = noise(seed);
        // Mid-gray, so that no color is near its bounds.
        let frame = Frame::new(layout(kind, w, h), 0, &mut || 126);
        let view = View::new(&frame.layout, g, chroma);
        let delta = perturbation(&view, 4.0, &mut byte);
        let grad: Vec<f32> = perturbation(&view, 1.0, &mut byte);
        let mut tape = Tape::default();
        let mut seen = vec![0.0; view.len()];
        view.observe_perturbed(&view.sample(&frame.refs()), Some(&delta), &mut tape, &mut Scratch::default(), &mut seen);
        let mut adjoint = vec![0.0; view.len()];
        view.backward(&tape, &mut Scratch::default(), &grad, &mut adjoint);

        let changed = |x: usize, y: usize| {
            pixel(&frame, chroma, &|c, x, y| naive_change(&frame.layout, g, &delta, c, x, y), x, y)
        };
        let clean = |x: usize, y: usize| pixel(&frame, chroma, &|_, _, _| 0.0, x, y);
        let with = naive_view(&changed, w, h, g);
        let without = naive_view(&clean, w, h, g);
        let left: f64 = with.iter().zip(&without).zip(&grad).map(|((a, b), g)| (a - b) * f64::from(*g)).sum();
        let right: f64 = delta.iter().zip(&adjoint).map(|(d, a)| f64::from(*d) * f64::from(*a)).sum();
        let scale: f64 = adjoint.iter().zip(&delta).map(|(a, d)| f64::from((a * d).abs())).sum();
        // Single precision over some thousand terms of either sign.
        prop_assert!((left - right).abs() <= 1e-4 * scale + 1e-6, "{left} {right} of {scale}");
    }
}

fn observe_agrees(
    chroma: Chroma,
    kind: usize,
    [w, h]: [usize; 2],
    pad: usize,
    g: Geometry,
    seed: u64,
) -> Result<(), TestCaseError> {
    let mut byte = noise(seed);
    let frame = Frame::new(layout(kind, w, h), pad, &mut byte);
    let view = View::new(&frame.layout, g, chroma);
    let mut found = vec![0.0; view.len()];
    view.observe(&view.sample(&frame.refs()), &mut found);
    let rgb = |x: usize, y: usize| pixel(&frame, chroma, &|_, _, _| 0.0, x, y);
    assert_close(&found, &rounded_view(&rgb, w, h, g))
}

/// Full-range BT.601 makes blue of 1.772 * (Cb - 128), which for Cb = 3 and 253 ends in exactly a half. This frame has
/// four such pixels in a view of 192 values.
#[test]
fn blue_on_the_edge_between_two_roundings() {
    let g = Geometry { resized: [32, 5], crop: [32, 2], antialias: false };
    let seed = 17_271_907_435_701_614_594;
    let agrees = observe_agrees(Chroma::Repeated, 5, [43, 18], 1, g, seed);
    assert!(agrees.is_ok(), "{agrees:?}");
}

#[test]
fn rgb_of_the_views_own_size_is_the_papers_case() {
    let mut byte = noise(5);
    let frame = Frame::new(layout(0, 24, 20), 0, &mut byte);
    let g = Geometry { resized: [20, 24], crop: [20, 24], antialias: false };
    let view = View::new(&frame.layout, g, Chroma::Repeated);
    let delta = perturbation(&view, 3.0, &mut byte);
    let mut seen = vec![0.0; view.len()];
    let samples = view.sample(&frame.refs());
    view.observe_perturbed(&samples, Some(&delta), &mut Tape::default(), &mut Scratch::default(), &mut seen);
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
