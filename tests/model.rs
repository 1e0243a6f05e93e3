// SPDX-License-Identifier: MPL-2.0

//! Gradients through a loaded model against finite differences, and Eq. 3 and Eq. 4 against weights worked out by hand.

mod common;

use common::models::{ModelFile, SIDE, load, traced, weights};
use gstsparseadv::attack::select::{frame_weights, step_weights};
use gstsparseadv::model::{DeviceChoice, Model};
use gstsparseadv::torch;
use serde_json::json;
use tch::{Device, Kind, Tensor};

const T: usize = 5;
const FRAME: usize = 3 * SIDE * SIDE;

fn view() -> Vec<f32> {
    (0..T * FRAME).map(|i| ((i * 97 + i / 31) % 256) as f32).collect()
}

/// Makes the pass over a window; its graph is kept.
fn pass(model: &mut Model, view: &[f32]) -> Vec<f32> {
    let shape = [1, T as i64, 3, SIDE as i64, SIDE as i64];
    model.show(&[0, 1, 2, 3, 4], &torch::upload(view, &shape, Device::Cpu).unwrap()).unwrap();
    torch::download(&model.forward(true).unwrap()).unwrap()
}

fn row(values: &[f32]) -> Tensor {
    torch::upload(values, &[1, values.len() as i64], Device::Cpu).unwrap()
}

#[test]
fn input_gradient_by_finite_differences() {
    for (btchw, channels, range) in [
        (false, "RGB", [0.0, 1.0]),
        (true, "RGB", [0.0, 1.0]),
        (false, "BGR", [0.0, 255.0]),
        (true, "BGR", [-1.0, 1.0]),
    ] {
        let span: f64 = range[1] - range[0];
        let n = (T * FRAME) as i64;
        let linear = weights(3, &[n, 3], 0.05 / span as f32);
        // Smooth everywhere, and curved: a wrong scale or place cannot hide.
        let file = traced(T, btchw, move |x| vec![x.reshape([1, n]).matmul(&linear).tanh() * 2.0]);
        let metadata = json!({
            "window": T, "layout": if btchw { "BTCHW" } else { "BCTHW" }, "resize": [SIDE, SIDE], "crop": [SIDE, SIDE],
            "channels": channels, "range": range, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.75, 1.5],
        });
        let mut model = load(&file.with_metadata(&metadata.to_string()));
        let view = view();
        let grad_logits = [1.0, -0.5, 0.25];
        pass(&mut model, &view);
        let gradient = torch::download(&model.backward(&row(&grad_logits), &[0, 1, 2, 3, 4]).unwrap()).unwrap();
        let some = torch::download(&model.backward(&row(&grad_logits), &[3, 1]).unwrap()).unwrap();
        assert_eq!(some, [&gradient[3 * FRAME..4 * FRAME], &gradient[FRAME..2 * FRAME]].concat());
        let mut value = |i: usize, h: f32| {
            let mut moved = view.clone();
            moved[i] += h;
            let logits = model.classify(&moved).unwrap();
            logits.iter().zip(grad_logits).map(|(z, c)| f64::from(z * c)).sum::<f64>()
        };
        let largest = gradient.iter().fold(0.0f32, |m, g| m.max(g.abs()));
        for i in (0..view.len()).step_by(view.len() / 61) {
            let h = 4.0;
            let numeric = (value(i, h) - value(i, -h)) / f64::from(2.0 * h);
            let error = (numeric - f64::from(gradient[i])).abs();
            // The logits' seven digits over eight gray levels, and the curvature within them.
            assert!(error < 2e-2 * f64::from(largest), "{i}: {numeric} {}", gradient[i]);
        }
    }
}

/// Logits that are a fixed linear map of the feature map `features`.
fn linear_of(features: impl Fn(&Tensor) -> Tensor + 'static, linear: &Tensor) -> ModelFile {
    let linear = linear.shallow_clone();
    let file = traced(T, false, move |x| {
        let map = features(x);
        vec![map.flatten(1, -1).matmul(&linear), map]
    });
    let metadata = json!({ "window": T, "resize": [SIDE, SIDE], "crop": [SIDE, SIDE] });
    file.with_metadata(&metadata.to_string())
}

/// Mean absolute weight by step of logit `label`, where the map is [1, channels, steps, 1, 1].
fn mean_weights(linear: &Tensor, channels: i64, steps: i64, label: i64) -> Vec<f64> {
    let column = linear.select(1, label).reshape([channels, steps]).abs();
    let mean = column.mean_dim(&[0i64][..], false, Kind::Double);
    Vec::<f64>::try_from(mean).unwrap()
}

/// Weights, with the score's gradient checked against the pass that is for gradients alone.
fn weigh(model: &mut Model, label: usize) -> Option<Vec<f64>> {
    let mut score = vec![0.0; model.classes()];
    score[label] = 1.0;
    let features = model.feature_gradient(&row(&score)).unwrap()?;
    let expected = model.backward(&row(&score), &(0..T).collect::<Vec<_>>()).unwrap();
    let by_view = features.by_view.as_ref().unwrap();
    assert_eq!(torch::download(by_view).unwrap(), torch::download(&expected).unwrap());
    let steps = step_weights(&features.by_features, features.time_axis, false).unwrap();
    Some(frame_weights(&steps, &features.steps, T))
}

fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (f, e) in found.iter().zip(expected) {
        // Means of a few numbers in single precision.
        assert!((f - e).abs() < 1e-6 * e.abs().max(1e-3), "{found:?} {expected:?}");
    }
}

#[test]
fn equation_3_weighs_each_frame_by_its_own_step() {
    let linear = weights(7, &[3 * T as i64, 2], 1.0);
    // Color means: channels 3, steps T.
    let map = |x: &Tensor| x.mean_dim(&[3i64, 4][..], true, Kind::Float);
    let mut model = load(&linear_of(map, &linear));
    assert_eq!(model.feature_shape().unwrap(), [1, 3, T as i64, 1, 1]);
    pass(&mut model, &view());
    for label in 0..2 {
        let found = weigh(&mut model, label).unwrap();
        assert_close(&found, &mean_weights(&linear, 3, T as i64, label as i64));
    }
}

#[test]
fn equation_4_averages_the_steps_that_cover_a_frame() {
    let linear = weights(8, &[3 * T as i64, 2], 1.0);
    let kernel = weights(6, &[3, 3, 3, 1, 1], 1.0);
    // A window of three frames, one to each side, as C3D's convolutions.
    let map = move |x: &Tensor| {
        let map = x.conv3d(&kernel, None::<&Tensor>, [1, 1, 1], [1, 0, 0], [1, 1, 1], 1);
        map.mean_dim(&[3i64, 4][..], true, Kind::Float)
    };
    let mut model = load(&linear_of(map, &linear));
    let steps = [vec![0, 1], vec![0, 1, 2], vec![1, 2, 3], vec![2, 3, 4], vec![3, 4]];
    assert_eq!(model.feature_coverage().unwrap().steps(), steps);
    pass(&mut model, &view());
    let w = mean_weights(&linear, 3, T as i64, 1);
    let expected = [
        (w[0] + w[1]) / 2.0,
        (w[0] + w[1] + w[2]) / 3.0,
        (w[1] + w[2] + w[3]) / 3.0,
        (w[2] + w[3] + w[4]) / 3.0,
        (w[3] + w[4]) / 2.0,
    ];
    assert_close(&weigh(&mut model, 1).unwrap(), &expected);
}

#[test]
fn a_collapsed_time_axis_is_said_and_not_used() {
    let linear = weights(9, &[3, 2], 1.0);
    let map = |x: &Tensor| x.mean_dim(&[2i64, 3, 4][..], true, Kind::Float);
    let mut model = load(&linear_of(map, &linear));
    assert!(model.features_unused().unwrap().contains("collapsed"));
    pass(&mut model, &view());
    assert_eq!(weigh(&mut model, 0), None);
}

/// What is shown to a batch gives each window what it gives by itself.
#[test]
fn a_batch_is_its_windows_side_by_side() {
    let n = (T * FRAME) as i64;
    let linear = weights(3, &[n, 3], 0.05);
    for btchw in [false, true] {
        let linear = linear.shallow_clone();
        // Traced with one window, and good for any number.
        let file = traced(T, btchw, move |x| vec![x.flatten(1, -1).matmul(&linear).tanh()]);
        let layout = if btchw { "BTCHW" } else { "BCTHW" };
        let metadata = json!({ "window": T, "layout": layout, "resize": [SIDE, SIDE], "crop": [SIDE, SIDE] });
        let mut model = load(&file.with_metadata(&metadata.to_string()));
        let [first, second] = [view(), view().into_iter().rev().collect()];
        let mut alone = Vec::new();
        for window in [&first, &second] {
            let logits = pass(&mut model, window);
            let gradient = torch::download(&model.backward(&row(&[0.5, -1.0, 2.0]), &[4, 0]).unwrap()).unwrap();
            alone.push((logits, gradient));
        }
        let shape = [2, T as i64, 3, SIDE as i64, SIDE as i64];
        let both = torch::upload(&[first, second].concat(), &shape, Device::Cpu).unwrap();
        model.show(&[0, 1, 2, 3, 4], &both).unwrap();
        let logits = torch::download(&model.forward(true).unwrap()).unwrap();
        let grad_logits = torch::upload(&[0.5, -1.0, 2.0, 0.5, -1.0, 2.0], &[2, 3], Device::Cpu).unwrap();
        let gradient = torch::download(&model.backward(&grad_logits, &[4, 0]).unwrap()).unwrap();
        for (i, (of_logits, of_gradient)) in alone.iter().enumerate() {
            // A product of other sizes may sum in another order: some hundred roundings of numbers below one.
            let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
            assert!(close(&logits[i * 3..][..3], of_logits), "{logits:?} {of_logits:?}");
            assert!(close(&gradient[i * 2 * FRAME..][..2 * FRAME], of_gradient));
        }
    }
}

#[test]
fn devices() {
    for (text, found) in [
        ("auto", true),
        ("cpu", true),
        ("cuda", true),
        ("cuda:3", true),
        ("gpu", false),
        ("cuda:x", false),
        ("", false),
    ] {
        assert_eq!(text.parse::<DeviceChoice>().is_ok(), found, "{text}");
    }
    let missing = DeviceChoice::Cuda(900).open().unwrap_err().to_string();
    assert!(missing.contains("cuda:900") && missing.contains("found") && missing.contains("device=auto"), "{missing}");
}
