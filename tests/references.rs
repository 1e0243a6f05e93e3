// SPDX-License-Identifier: MPL-2.0

//! The numerical parts against figures that PyTorch and NumPy made (tests/python/make_references.py).

use gstsparseadv::attack::adam::Adam;
use gstsparseadv::attack::norm;
use gstsparseadv::attack::select::{count_to_boundary, descending, frame_weights, normalized, step_weights};
use gstsparseadv::model::features::Coverage;
use gstsparseadv::model::metadata::FeatureWindow;
use gstsparseadv::torch;
use gstsparseadv::video::Color;
use gstsparseadv::video::taps::Taps;
use gstsparseadv::video::taps::resample;
use serde_json::Value;
use tch::{Device, Tensor};

fn references() -> Value {
    serde_json::from_str(include_str!("data/references.json")).unwrap()
}

/// All numbers of a nested list in order.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().unwrap()],
    }
}

fn floats(value: &Value) -> Vec<f32> {
    numbers(value).into_iter().map(|v| v as f32).collect()
}

fn sizes(value: &Value) -> Vec<usize> {
    numbers(value).into_iter().map(|v| v as usize).collect()
}

/// Single precision carries seven digits, and the sums here have at most some dozen terms.
fn assert_close(found: impl IntoIterator<Item = f64>, expected: &[f64]) {
    let found: Vec<f64> = found.into_iter().collect();
    assert_eq!(found.len(), expected.len());
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() <= 2e-6 * e.abs().max(1.0), "{f} is not {e}");
    }
}

fn widen(values: Vec<f32>) -> impl Iterator<Item = f64> {
    values.into_iter().map(f64::from)
}

/// Values of some frames, as perturbations and gradients have them.
fn frames(values: &[f32], frames: usize) -> Tensor {
    let len = values.len() / frames;
    torch::upload(values, &[1, frames as i64, 1, 1, len as i64], Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    torch::download(tensor).unwrap()
}

#[test]
fn resize_and_crop() {
    let references = references();
    let cases = references["resize"]["cases"].as_array().unwrap();
    assert!(cases.len() >= 4);
    for case in cases {
        let rows = case["source"].as_array().unwrap();
        let (height, width) = (rows.len(), rows[0].as_array().unwrap().len());
        let plane = floats(&case["source"]);
        let (resize, crop) = (sizes(&case["resize"]), sizes(&case["crop"]));
        let offset = sizes(&case["offset"]);
        for (name, antialias) in [("plain", false), ("antialias", true)] {
            let taps = |input, axis: usize| {
                let range = offset[axis]..offset[axis] + crop[axis];
                Taps::resize(input, resize[axis], range, antialias)
            };
            let mut out = vec![0.0; crop[0] * crop[1]];
            resample(&plane, width, &taps(height, 0), &taps(width, 1), &mut Vec::new(), &mut out);
            assert_close(widen(out), &numbers(&case[name]));
        }
    }
}

#[test]
fn l21_and_its_gradient() {
    let references = references();
    let norms = &references["norms"];
    let delta = floats(&norms["delta"]);
    let len = delta.len() / sizes(&norms["shape"])[0];
    assert!(delta.chunks(len).any(|f| f.iter().all(|v| *v == 0.0)), "a zero frame must be among them");
    let delta = frames(&delta, delta.len() / len);
    assert_close([norm::frame_norms(&delta).unwrap().iter().sum()], &numbers(&norms["l21"]));
    assert_close(widen(values(&norm::l21_gradient(&delta).unwrap())), &numbers(&norms["l21_gradient"]));
}

#[test]
fn adam_steps() {
    let references = references();
    for run in references["adam"]["runs"].as_array().unwrap() {
        let lr = run["lr"].as_f64().unwrap() as f32;
        let (mut rows, mut tensors) = (Adam::default(), Adam::default());
        let mut by_rows = frames(&floats(&run["initial"]), 1);
        let mut by_tensors = by_rows.shallow_clone();
        let gradients = run["gradients"].as_array().unwrap();
        for (gradient, after) in gradients.iter().zip(run["after_each_step"].as_array().unwrap()) {
            let gradient = frames(&floats(gradient), 1);
            by_rows = rows.by_rows(lr, &by_rows, &gradient).unwrap();
            by_tensors = tensors.by_tensors(lr, &by_tensors, &gradient).unwrap();
            assert_close(widen(values(&by_rows)), &numbers(after));
            assert_close(widen(values(&by_tensors)), &numbers(after));
        }
    }
}

/// Frames that join later count their steps from there.
#[test]
fn adam_by_rows_and_by_tensors_agree_where_frames_join() {
    let wave = |n: usize, of: f32| (0..n).map(|i| (i as f32 * of).sin()).collect::<Vec<f32>>();
    let (mut rows, mut tensors) = (Adam::default(), Adam::default());
    let mut both = [frames(&wave(24, 0.3), 2), frames(&wave(24, 0.3), 2)];
    for step in 0..6 {
        if step == 3 {
            both = both.map(|held| Tensor::cat(&[held, frames(&[0.0; 12], 1)], 1));
        }
        let count = both[0].size()[1] as usize;
        let gradient = frames(&wave(12 * count, 0.1 + step as f32), count);
        let [by_rows, by_tensors] = &both;
        let by_rows = rows.by_rows(0.5, by_rows, &gradient).unwrap();
        both = [by_rows, tensors.by_tensors(0.5, by_tensors, &gradient).unwrap()];
        assert_close(widen(values(&both[0])), &widen(values(&both[1])).collect::<Vec<_>>());
    }
}

#[test]
fn color_matrices() {
    let references = references();
    let colors = &references["colors"];
    let triples = colors["yuv"].as_array().unwrap();
    for case in colors["cases"].as_array().unwrap() {
        let matrix = Color::Yuv {
            kr: case["kr"].as_f64().unwrap() as f32,
            kb: case["kb"].as_f64().unwrap() as f32,
            full_range: case["range"] == "full",
        }
        .matrix();
        for (yuv, expected) in triples.iter().zip(case["rgb"].as_array().unwrap()) {
            let yuv = floats(yuv);
            let rgb =
                matrix.to_rgb.map(|row| (0..3).map(|c| f64::from(row[c] * (yuv[c] - matrix.offset[c]))).sum::<f64>());
            // Products of up to 240 * 2 in single precision.
            for (f, e) in rgb.iter().zip(numbers(expected)) {
                assert!((f - e).abs() < 1e-3, "{f} is not {e}");
            }
        }
        // The way back is the inverse.
        for k in 0..3 {
            for j in 0..3 {
                let product: f32 = (0..3).map(|c| matrix.to_rgb[k][c] * matrix.from_rgb[c][j]).sum();
                assert!((product - f32::from(u8::from(k == j))).abs() < 1e-5);
            }
        }
    }
}

#[test]
fn weights_of_equation_3() {
    let references = references();
    let input = &references["weights"]["input"];
    let gradient = frames(&floats(&input["gradient"]), sizes(&input["shape"])[0]);
    let means = step_weights(&gradient, 1, false).unwrap();
    assert_close(normalized(&means), &numbers(&input["weights"]));
}

#[test]
fn weights_of_equation_4() {
    let references = references();
    let cases = references["weights"]["features"].as_array().unwrap();
    assert!(cases.len() >= 3);
    for case in cases {
        let window = FeatureWindow {
            size: sizes(&case["window"]["size"])[0],
            stride: sizes(&case["window"]["stride"])[0],
            start: case["window"]["start"].as_i64().unwrap() as isize,
        };
        let steps = numbers(&case["step_sums"]);
        let frames = sizes(&case["frames"])[0];
        let coverage = Coverage::from_window(frames, steps.len(), window);
        assert_close(normalized(&frame_weights(&steps, coverage.steps(), frames)), &numbers(&case["weights"]));
    }
}

#[test]
fn selection_to_the_boundary() {
    let references = references();
    let cases = references["weights"]["selection"].as_array().unwrap();
    assert!(cases.len() >= 10);
    for case in cases {
        let weights = numbers(&case["weights"]);
        let order = descending(&weights);
        let count = count_to_boundary(&weights, &order, case["bound"].as_f64().unwrap());
        assert_eq!(order[..count], sizes(&case["frames"]), "{case}");
    }
}
