// SPDX-License-Identifier: MPL-2.0

//! Gradients through a loaded model against finite differences, and Eq. 3 and Eq. 4 against weights worked out by hand.

mod common;

use common::models::{ModelFile, SIDE, load, traced, weights};
use gstsparseadv::attack::{Classifier, Weighing};
use gstsparseadv::model::{DeviceChoice, Model};
use serde_json::json;
use tch::{Kind, Tensor};

const T: usize = 5;
const FRAME: usize = 3 * SIDE * SIDE;

fn view() -> Vec<f32> {
    (0..T * FRAME).map(|i| ((i * 97 + i / 31) % 256) as f32).collect()
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
        let cotangent = [1.0, -0.5, 0.25];
        model.forward(&view).unwrap();
        let mut gradient = vec![0.0; view.len()];
        model.backward(&cotangent, &[0, 1, 2, 3, 4], &mut gradient).unwrap();
        let mut value = |i: usize, h: f32| {
            let mut moved = view.clone();
            moved[i] += h;
            let logits = model.forward(&moved).unwrap();
            logits.iter().zip(cotangent).map(|(z, c)| f64::from(z * c)).sum::<f64>()
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
fn step_weights(linear: &Tensor, channels: i64, steps: i64, label: i64) -> Vec<f64> {
    let column = linear.select(1, label).reshape([channels, steps]).abs();
    let mean = column.mean_dim(&[0i64][..], false, Kind::Double);
    Vec::<f64>::try_from(mean).unwrap()
}

/// Weights, with the score's gradient checked against the pass that is for gradients alone.
fn weigh(model: &mut Model, label: usize) -> Result<Option<Vec<f64>>, gstsparseadv::attack::Error> {
    let (mut found, mut expected) = (vec![0.0; view().len()], vec![0.0; view().len()]);
    let mut cotangent = vec![0.0; model.classes()];
    cotangent[label] = 1.0;
    let weights = model.feature_weights(&cotangent, Weighing::Absolute, &mut found)?;
    if weights.is_some() {
        let all: Vec<usize> = (0..T).collect();
        model.backward(&cotangent, &all, &mut expected)?;
        assert_eq!(found, expected);
    }
    Ok(weights)
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
    model.forward(&view()).unwrap();
    for label in 0..2 {
        let found = weigh(&mut model, label).unwrap().unwrap();
        assert_close(&found, &step_weights(&linear, 3, T as i64, label as i64));
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
    model.forward(&view()).unwrap();
    let w = step_weights(&linear, 3, T as i64, 1);
    let expected = [
        (w[0] + w[1]) / 2.0,
        (w[0] + w[1] + w[2]) / 3.0,
        (w[1] + w[2] + w[3]) / 3.0,
        (w[2] + w[3] + w[4]) / 3.0,
        (w[3] + w[4]) / 2.0,
    ];
    assert_close(&weigh(&mut model, 1).unwrap().unwrap(), &expected);
}

#[test]
fn a_collapsed_time_axis_is_said_and_not_used() {
    let linear = weights(9, &[3, 2], 1.0);
    let map = |x: &Tensor| x.mean_dim(&[2i64, 3, 4][..], true, Kind::Float);
    let mut model = load(&linear_of(map, &linear));
    assert!(model.features_unused().unwrap().contains("collapsed"));
    model.forward(&view()).unwrap();
    assert_eq!(weigh(&mut model, 0).unwrap(), None);
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
