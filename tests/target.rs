// SPDX-License-Identifier: MPL-2.0

//! A window of a stream as an attack's target: what the model is shown, by either observer, and what comes back.

mod common;

use common::models::{SIDE, load_in, traced, weights};
use common::views::{flat, samples, view};
use gstsparseadv::attack::criterion::argmax;
use gstsparseadv::attack::{
    Config, Delta, Differentiate, Error, Goal, Outcome, Perturbation, Query, Reading, run, select,
};
use gstsparseadv::model::{Model, Precision};
use gstsparseadv::target::{Transport, WindowTarget};
use gstsparseadv::torch;
use gstsparseadv::video::view::Samples;
use gstsparseadv::video::{Chroma, View};
use serde_json::json;
use tch::{Device, Tensor};

const T: usize = 5;
const LEN: usize = 3 * SIDE * SIDE;

fn model(btchw: bool) -> Model {
    model_in(btchw, Precision::F32)
}

fn model_in(btchw: bool, precision: Precision) -> Model {
    let n = (T * LEN) as i64;
    let linear = weights(3, &[n, 4], 0.02);
    let file = traced(T, btchw, move |x| vec![x.flatten(1, -1).matmul(&linear).tanh() * 3.0]);
    let layout = if btchw { "BTCHW" } else { "BCTHW" };
    let channels = if btchw { "BGR" } else { "RGB" };
    let metadata = json!({
        "window": T, "layout": layout, "channels": channels, "resize": [SIDE + 2, SIDE + 4], "crop": [SIDE, SIDE],
        "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.75, 1.5],
    });
    load_in(&file.with_metadata(&metadata.to_string()), precision)
}

fn delta(frames: &[usize], seed: u64) -> Delta {
    let shape = [1, frames.len() as i64, 3, SIDE as i64, SIDE as i64];
    Delta { frames: frames.to_vec(), values: weights(seed, &shape, 25.0) }
}

fn values(tensor: &Tensor) -> Vec<f32> {
    torch::download(tensor).unwrap()
}

/// The view of a whole window, worked out apart from the target: each frame observed by itself, the last one repeated.
fn expected(view: &View, samples: &[Samples], delta: &Delta) -> Vec<f32> {
    use gstsparseadv::video::observe::{Scratch, Tape};
    let changes = values(&delta.values);
    let mut window = vec![0.0; T * LEN];
    for (place, out) in window.chunks_exact_mut(LEN).enumerate() {
        let frame = place.min(samples.len() - 1);
        let change = delta.frames.iter().position(|k| *k == frame).map(|i| &changes[i * LEN..][..LEN]);
        let (tape, scratch) = (&mut Tape::default(), &mut Scratch::default());
        view.observe_perturbed(&samples[frame], change, tape, scratch, out);
    }
    window
}

#[test]
fn the_model_is_shown_each_perturbation_and_nothing_of_the_ones_before() {
    for (btchw, real) in [(false, T), (true, T), (false, 3), (true, 1)] {
        for tensors in [false, true] {
            let (mut shown, mut judge) = (model(btchw), model(btchw));
            let (first, second) = (view(&shown, Chroma::Repeated), view(&shown, Chroma::Interpolated));
            let (near, far) = (samples(&first, real), samples(&second, real));
            let make = if tensors { WindowTarget::by_tensors } else { WindowTarget::new };
            let mut target = make(&mut shown, &first, &near).unwrap();
            target.confirm_by(&second, &far).unwrap();
            let last = target.readings().len() - 1;
            let mut sets = vec![vec![0], vec![0], vec![]];
            sets.extend([[real - 1, 0].to_vec(), (0..real).rev().collect()]);
            sets.iter_mut().for_each(|set| set.dedup());
            for (n, frames) in sets.iter().enumerate() {
                // Back and forth between the readings: each has clean frames of its own.
                for (reading, view, samples) in [(0, &first, &near), (last, &second, &far), (0, &first, &near)] {
                    let delta = delta(frames, n as u64);
                    let _ = target.observe(&delta).unwrap();
                    let found = values(&target.logits(&delta, reading).unwrap());
                    let expected = judge.classify(&expected(view, samples, &delta)).unwrap();
                    assert_eq!(found, expected, "{btchw} {real} {tensors} {frames:?} {reading}");
                }
            }
        }
    }
}

#[test]
fn a_batch_of_perturbations_is_as_many_passes() {
    let mut model = model(false);
    let view = view(&model, Chroma::Repeated);
    let samples = samples(&view, 4);
    for tensors in [false, true] {
        let make = if tensors { WindowTarget::by_tensors } else { WindowTarget::new };
        let mut target = make(&mut model, &view, &samples).unwrap();
        let deltas = [1, 2, 3].map(|seed| delta(&[3, 1], seed));
        let grad_logits = [0.5f32, -1.0, 2.0, 0.25];
        let mut alone = Vec::new();
        for delta in &deltas {
            let _ = target.observe(delta).unwrap();
            let logits = values(&target.logits(delta, 0).unwrap());
            let row = torch::upload(&grad_logits, &[1, 4], Device::Cpu).unwrap();
            let by_view = target.backward(&row, &[3, 1]).unwrap();
            alone.push((logits, values(&target.pull(delta, 0, &by_view).unwrap())));
        }
        let all = Tensor::cat(&deltas.each_ref().map(|d| d.values.shallow_clone()), 0);
        let all = Delta { frames: vec![3, 1], values: all };
        let _ = target.observe(&all).unwrap();
        let logits = values(&target.logits(&all, 0).unwrap());
        let rows = torch::upload(&grad_logits.repeat(3), &[3, 4], Device::Cpu).unwrap();
        let by_view = target.backward(&rows, &[3, 1]).unwrap();
        let gradient = values(&target.pull(&all, 0, &by_view).unwrap());
        for (i, (of_logits, of_gradient)) in alone.iter().enumerate() {
            // Products of other sizes may sum in another order: some hundred roundings of numbers up to three.
            let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
            assert!(close(&logits[i * 4..][..4], of_logits), "{logits:?} {of_logits:?}");
            assert!(close(&gradient[i * 2 * LEN..][..2 * LEN], of_gradient));
        }
        // And back to one.
        let _ = target.observe(&deltas[0]).unwrap();
        assert_eq!(values(&target.logits(&deltas[0], 0).unwrap()), alone[0].0);
    }
}

/// A codec that takes every perturbation away.
struct Erasing;

impl Transport for Erasing {
    fn transmit(&self, perturbation: &Perturbation, views: &[&View]) -> Result<Vec<Vec<Samples>>, Error> {
        let _ = perturbation;
        Ok(views.iter().map(|view| samples(view, T)).collect())
    }
}

fn attack(target: &mut WindowTarget) -> Outcome {
    let config = Config { selection: select::Fixed(Some(2)).into(), ..Config::new(Goal::new(None, None)) };
    run(target, &config, &Vec::new(), &|| false, &mut |_| {}).unwrap()
}

/// The window as anyone sees it with the result in its frames.
fn pushed(view: &View, samples: &[Samples], outcome: &Outcome) -> Vec<f32> {
    use gstsparseadv::video::observe::{Scratch, Tape};
    let mut window = expected(view, samples, &delta(&[], 0));
    for (k, change) in &outcome.perturbation {
        let out = &mut window[k * LEN..][..LEN];
        view.observe_perturbed(&samples[*k], Some(change), &mut Tape::default(), &mut Scratch::default(), out);
    }
    window
}

/// What a GPU runs, on the CPU. The view is the same to the bit, the gradient up to rounding.
#[test]
fn tensor_operations_attack_as_the_row_kernels_do() {
    let mut model = model(true);
    let view = view(&model, Chroma::Repeated);
    let samples = samples(&view, T);
    let rows = attack(&mut WindowTarget::new(&mut model, &view, &samples).unwrap());
    let tensors = attack(&mut WindowTarget::by_tensors(&mut model, &view, &samples).unwrap());
    assert!(rows.success && tensors.success);
    assert_eq!((rows.clean_label, rows.final_label), (tensors.clean_label, tensors.final_label));
    assert_eq!(rows.keyframes, tensors.keyframes);
    let apart = (rows.size.map - tensors.size.map).abs();
    assert!(apart < 0.05 * rows.size.map, "{:?} {:?}", rows.size, tensors.size);
    // The host has the last word on what the tensors found.
    let last = pushed(&view, &samples, &tensors);
    assert_eq!(argmax(&model.classify(&last).unwrap()), tensors.final_label);
}

#[test]
fn where_gradients_are_coarse_the_last_word_is_the_models_own() {
    for confidence in [0.0, 0.1] {
        let (mut exact, mut coarse) = (model(true), model_in(true, Precision::Bf16));
        assert!(coarse.reduces() && !exact.reduces());
        let view = view(&exact, Chroma::Repeated);
        let samples = samples(&view, T);
        let config = Config { confidence, ..Config::new(Goal::new(None, None)) };
        let mut target = WindowTarget::new(&mut coarse, &view, &samples).unwrap();
        assert_eq!(target.readings(), [Reading::Always, Reading::Exact]);
        let outcome = run(&mut target, &config, &Vec::new(), &|| false, &mut |_| {}).unwrap();
        assert!(outcome.success);
        let window = pushed(&view, &samples, &outcome);
        let logits = exact.classify(&window).unwrap();
        assert_eq!(argmax(&logits), outcome.final_label);
        // The same passes, and sums in the same order.
        for (a, b) in logits.iter().zip(&outcome.logits) {
            assert!((a - b).abs() < 1e-4, "{logits:?} {:?}", outcome.logits);
        }
    }
}

#[test]
fn behind_transports_nothing_else_is_asked() {
    let mut model = model(false);
    let view = view(&model, Chroma::Repeated);
    let samples = samples(&view, T);
    let mut target = WindowTarget::new(&mut model, &view, &samples).unwrap();
    target.behind([&Erasing as &dyn Transport, &Erasing].into_iter(), None);
    assert_eq!(target.readings(), [Reading::Transport; 2]);
    // A codec that gives back the clean window is never survived, and each iteration asks behind both.
    let config = Config { max_iterations: 3, grow_after: 0, ..Config::new(Goal::new(None, None)) };
    let outcome = run(&mut target, &config, &Vec::new(), &|| false, &mut |_| {}).unwrap();
    assert!(!outcome.success);
    assert_eq!(outcome.calls.codec_runs, 2 * (1 + 3));
}

/// A codec that makes frames of one color for one reader, and gives them back to the other one as they were.
struct Coloring([u8; 3]);

impl Transport for Coloring {
    fn transmit(&self, _: &Perturbation, views: &[&View]) -> Result<Vec<Vec<Samples>>, Error> {
        let mut seen: Vec<Vec<Samples>> = views.iter().map(|view| samples(view, T)).collect();
        seen[0] = flat(views[0], self.0, T);
        Ok(seen)
    }
}

#[test]
fn a_success_behind_a_transport_holds_for_every_reader() {
    let mut model = model(false);
    let (first, second) = (view(&model, Chroma::Repeated), view(&model, Chroma::Interpolated));
    let samples = samples(&first, T);
    let mut label = |window: &[Samples]| argmax(&model.classify(&expected(&first, window, &delta(&[], 0))).unwrap());
    let clean = label(&samples);
    let colors = [[16, 128, 128], [235, 128, 128], [81, 90, 240], [145, 54, 34], [41, 240, 110]];
    let color = colors.into_iter().find(|color| label(&flat(&first, *color, T)) != clean);
    let coloring = Coloring(color.expect("a color with another label"));
    let config = Config { max_iterations: 6, grow_after: 0, ..Config::new(Goal::new(None, None)) };
    for (other, success) in [(None, true), (Some(&second), false)] {
        let mut target = WindowTarget::new(&mut model, &first, &samples).unwrap();
        target.behind([&coloring as &dyn Transport].into_iter(), other);
        let outcome = run(&mut target, &config, &Vec::new(), &|| false, &mut |_| {}).unwrap();
        assert_eq!(outcome.success, success);
        // Nothing has to be sent again to be looked at by the other reader.
        assert_eq!(outcome.calls.codec_runs, outcome.iterations + 1);
    }
}

/// How well probes of a size tell the gradient, by the bytes that a stream holds: published sizes round to nothing.
#[test]
fn probes_have_to_be_seen_in_the_samples() {
    use gstsparseadv::attack::access::Logits;
    use gstsparseadv::attack::blackbox::nes::Nes;
    use gstsparseadv::attack::blackbox::oracle::{Bounds, Oracle};
    use gstsparseadv::attack::blackbox::patches::{Patches, random_signs};
    use gstsparseadv::attack::criterion::Criterion;
    use gstsparseadv::attack::{Calls, Norm, Progress};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    let (mut shown, grid) = (model(false), 4);
    let view = view(&shown, Chroma::Repeated);
    let samples = samples(&view, T);
    let mut target = WindowTarget::new(&mut shown, &view, &samples).unwrap();
    let frames: Vec<usize> = (0..T).collect();
    let shape = target.shape();
    let at =
        Delta { frames: frames.clone(), values: Tensor::zeros(shape.of_frames(T), (tch::Kind::Float, Device::Cpu)) };
    let _ = target.observe(&at).unwrap();
    let logits = values(&target.logits(&at, 0).unwrap());
    let label = argmax(&logits);
    let rival =
        argmax(&logits.iter().enumerate().map(|(k, v)| if k == label { f32::MIN } else { *v }).collect::<Vec<_>>());
    let mut towards = vec![0.0; logits.len()];
    (towards[label], towards[rival]) = (1.0, -1.0);
    let towards = torch::upload(&towards, &[1, logits.len() as i64], Device::Cpu).unwrap();
    let exact = target.backward(&towards, &frames).unwrap();
    let patches = Patches::new(T, grid, shape, Device::Cpu);
    let mut cosine = |sigma: f32| {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let tentative = random_signs(&mut rng, T, shape, Device::Cpu).unwrap();
        let bounds = Bounds { most: None, deadline: None, canceled: &|| false };
        let criterion = Criterion { goal: Goal::new(None, None), label, confidence: 0.0 };
        let (mut progress, spent) = (|_: Progress| {}, (Calls::default(), std::time::Duration::ZERO));
        let mut oracle =
            Oracle::<Logits>::new(&mut target, bounds, criterion, Norm::L2, 0, spent, Vec::new(), &mut progress);
        let nes = Nes { probes: 400, sigma };
        let Some(estimate) = nes.gradient(&mut oracle, &at, &patches, &tentative, &mut rng).unwrap() else {
            return 0.0;
        };
        // The exact gradient by the same coefficients.
        let by_sign = (&exact * &tentative).sum_dim_intlist([2i64].as_slice(), true, tch::Kind::Float).squeeze_dim(0);
        let cell = (SIDE / grid) as i64;
        let by_patch = values(&by_sign.avg_pool2d([cell, cell], [cell, cell], [0, 0], false, true, None::<i64>));
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        dot(&estimate, &by_patch) / (dot(&estimate, &estimate) * dot(&by_patch, &by_patch)).sqrt()
    };
    // V-BAD's targeted and untargeted sizes, and this project's.
    let found = [0.0003, 0.26, 2.0].map(&mut cosine);
    // Of n random directions in d dimensions the estimate's share is about sqrt(n / (n + d)): 200 and 80.
    assert!(found[0].abs() < 0.2 && found[2] > 0.6 && found[2] > found[1] + 0.05, "{found:?}");
}
