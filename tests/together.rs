// SPDX-License-Identifier: MPL-2.0

//! Several windows, and several elements, with one model: passes that are made together say what each alone says.

mod common;

use common::frames::{bytes, frame, rgb};
use common::models::{Good, ModelFile, SIDE, good, load, plain_metadata, traced, weights};
use common::oracle::{number, real, reports};
use common::rig::Rig;
use common::wait_until;
use gst::prelude::*;
use gstsparseadv::model::Model;
use gstsparseadv::torch;
use serde_json::Value;
use tch::{Device, Tensor};

const T: usize = 4;

fn windows(count: usize) -> Vec<Tensor> {
    let window = |n| weights(n as u64 + 1, &[1, T as i64, 3, SIDE as i64, SIDE as i64], 120.0) + 128.0;
    (0..count).map(window).collect()
}

/// The logits of a window and the gradient of the first of them by two of its frames.
fn look(model: &mut Model, window: &Tensor) -> Vec<f32> {
    model.show(&[0, 1, 2, 3], window).expect("a window");
    let logits = torch::download(&model.forward(false).expect("a pass")).expect("logits");
    let row = torch::upload(&[1.0, 0.0, 0.0, 0.0], &[1, 4], Device::Cpu).expect("a row");
    let gradient = torch::download(&model.backward(&row, &[1, 3]).expect("a gradient")).expect("values");
    [logits, gradient].concat()
}

#[track_caller]
fn alike(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        // Sums in another order.
        assert!((a - b).abs() <= 1e-4 * (1.0 + b.abs()), "{a} {b}");
    }
}

#[test]
fn a_model_is_loaded_once_while_its_file_is_the_same() {
    let file = good(Good::default());
    let first = load(&file);
    let second = load(&file);
    assert!(first.is_shared_with(&second));
    assert!(first.is_shared_with(&first.share()));
    std::fs::copy(&good(Good { btchw: true, ..Good::default() }).path, &file.path).expect("another model");
    let third = load(&file);
    assert!(!first.is_shared_with(&third));
    assert_ne!(third.sha256(), first.sha256());
    let other = file.beside("tiny.pt.json");
    std::fs::write(&other, r#"{"window": 4, "layout": "BTCHW", "resize": [16, 16], "crop": [16, 16]}"#)
        .expect("a file");
    assert!(!third.is_shared_with(&load(&file)), "metadata beside it are part of it");
}

#[test]
fn passes_together_say_what_each_says_alone() {
    let file = good(Good::default());
    let mut model = load(&file);
    let windows = windows(5);
    let alone: Vec<Vec<f32>> = windows.iter().map(|window| look(&mut model, window)).collect();
    let mut models: Vec<Model> = windows.iter().map(|_| model.share()).collect();
    models.iter_mut().for_each(Model::join);
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (n, (mut model, window)) in models.into_iter().zip(windows).enumerate() {
            // Some leave while the others go on.
            threads.push(scope.spawn(move || (0..=n).map(|_| look(&mut model, &window)).collect::<Vec<_>>()));
        }
        for (thread, expected) in threads.into_iter().zip(&alone) {
            thread.join().expect("a thread").iter().for_each(|found| alike(found, expected));
        }
    });
}

#[test]
fn a_model_that_takes_one_window_at_a_time_is_given_one() {
    let n = (3 * T * SIDE * SIDE) as i64;
    let linear = weights(3, &[n, 4], 0.1);
    let model = |net: &dyn Fn(&Tensor) -> Tensor| {
        let file = traced(T, false, |x| vec![net(x)]).with_metadata(&plain_metadata(T).to_string());
        load(&file).windows_a_pass()
    };
    // As tracing leaves it, and one that mixes its windows.
    assert_eq!(model(&|x| x.reshape([1, n]).matmul(&linear)), 1);
    assert_eq!(model(&|x| (x + x.mean_dim(&[0i64][..], true, tch::Kind::Float)).flatten(1, -1).matmul(&linear)), 1);
    assert_eq!(model(&|x| x.flatten(1, -1).matmul(&linear)), 4);
}

/// Two models that wait for each other, a window, and what it looks like alone.
fn two_seated() -> (Model, Model, Tensor, Vec<f32>) {
    let mut model = load(&good(Good::default()));
    let mut other = model.share();
    let window = windows(1).remove(0);
    let expected = look(&mut model, &window);
    model.join();
    other.join();
    (model, other, window, expected)
}

#[test]
fn a_thread_that_panics_keeps_nobody_waiting() {
    let (mut model, other, window, expected) = two_seated();
    let panicked = std::thread::spawn(move || {
        let _other = other;
        panic!("on purpose");
    });
    alike(&look(&mut model, &window), &expected);
    assert!(panicked.join().is_err());
}

#[test]
fn who_fails_fails_alone() {
    let (mut model, mut other, window, expected) = two_seated();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // Nothing was shown.
            assert!(other.forward(false).is_err());
            let row = torch::upload(&[1.0; 4], &[1, 4], Device::Cpu).expect("a row");
            assert!(other.backward(&row, &[0]).is_err());
        });
        alike(&look(&mut model, &window), &expected);
    });
}

fn attacked(model: &ModelFile, together: &str, frames: u64) -> (Vec<Vec<u8>>, Vec<Value>) {
    let rig = Rig::new(model, &[("batch-windows", together)]);
    rig.begin(&rgb());
    rig.feed((0..frames).map(|n| frame(&rgb(), n)));
    rig.finish();
    let came = rig.buffers().iter().map(|buffer| bytes(buffer)).collect();
    rig.stop();
    (came, reports(&rig))
}

#[test]
fn windows_attacked_together_are_those_attacked_alone() {
    let model = good(Good::default());
    let (alone, expected) = attacked(&model, "1", 50);
    for together in ["2", "3", "0"] {
        let (came, found) = attacked(&model, together, 50);
        assert_eq!(came.len(), alone.len());
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            for key in ["window", "first_frame", "frames", "clean_label", "final_label"] {
                assert_eq!(number(found, key), number(expected, key), "{together} {key}");
            }
            assert_eq!(found["success"], expected["success"]);
            assert_eq!(found["keyframes"], expected["keyframes"]);
            // What rounds to another gray level now and then.
            let (a, b) = (real(found, "map"), real(expected, "map"));
            assert!((a - b).abs() <= 0.1 * b, "{together}: {a} {b}");
        }
        assert_eq!(attacked(&model, together, 50).0, came, "another run has another result");
    }
}

#[test]
fn elements_that_share_a_model_have_their_own_windows() {
    let model = good(Good::default());
    let (alone, _) = attacked(&model, "1", 40);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| attacked(&model, "2", 40))).collect();
        for thread in threads {
            let (came, reports) = thread.join().expect("an element");
            assert_eq!((came.len(), reports.len()), (alone.len(), 10));
            assert!(reports.iter().filter(|report| report["success"] == true).count() >= 9);
        }
    });
}

/// Whether it is written over or another one takes its name.
#[test]
fn a_model_that_was_replaced_is_loaded_anew() {
    let (first, second) = (good(Good::default()), good(Good { features: false, ..Good::default() }));
    let rig = Rig::new(&first, &[]);
    let sha256_now = || {
        rig.begin(&rgb());
        rig.feed((0..4).map(|n| frame(&rgb(), n)));
        rig.finish();
        // The rig has seen an end of stream before, and does not wait for the second one.
        let mut found = Vec::new();
        wait_until("a report", || {
            found.extend(reports(&rig));
            !found.is_empty()
        });
        found[0]["model_sha256"].as_str().expect("a hash").to_string()
    };
    let before = sha256_now();
    assert!(rig.element.set_state(gst::State::Ready).is_ok());
    std::fs::copy(&second.path, &first.path).expect("a copy");
    rig.play();
    assert_ne!(sha256_now(), before);
}
