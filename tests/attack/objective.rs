// SPDX-License-Identifier: MPL-2.0

//! SA's own objective, stopping early, second readings and transports.

use gstsparseadv::attack::criterion::{argmax, softmax};
use gstsparseadv::attack::objective::weighted_sum;
use gstsparseadv::attack::{Config, Goal, Search};
use gstsparseadv::torch;

use crate::toy::*;

#[test]
fn the_weighted_sum_objective_by_finite_differences() {
    let model = Linear::new(RISING, 1.0);
    let label = 0;
    let delta: Vec<f32> = (0..T * LEN).map(|i| ((i * 5 % 13) as f32 - 6.0) * 0.7).collect();
    for goal in [UNTARGETED, Goal::new(None, Some(2))] {
        // In 0..1, as the program has it.
        let value = |delta: &[f64]| {
            let gray: Vec<f32> = delta.iter().map(|d| (d * 255.0) as f32).collect();
            let p = softmax(&model.logits(&gray));
            let class = match goal {
                Goal::Untargeted { .. } => -(1.0 - p[label]).ln(),
                Goal::Targeted { target, .. } => -p[target].ln(),
            };
            let rms = |d: &[f64]| (d.iter().map(|v| v * v).sum::<f64>() / LEN as f64).sqrt();
            class + weighted_sum::LAMBDA * delta.chunks_exact(LEN).map(rms).sum::<f64>()
        };
        let at: Vec<f64> = delta.iter().map(|d| f64::from(*d) / 255.0).collect();
        let grad_logits = weighted_sum::grad_logits(&model.logits(&delta), goal, label);
        let shape = [1, T as i64, 3, 2, 2];
        let class = tensor(&model.gradient(&grad_logits), &shape).unwrap();
        let found = weighted_sum::add_norm(&tensor(&delta, &shape).unwrap(), &class).unwrap();
        let found = torch::download(&found).unwrap();
        for i in 0..found.len() {
            // Logits are in single precision: a step large enough for their digits.
            let h = 2.0 / 255.0;
            let moved = |by: f64| {
                let mut d = at.clone();
                d[i] += by;
                value(&d)
            };
            let numeric = (moved(h) - moved(-h)) / (2.0 * h);
            let error = (f64::from(found[i]) - numeric).abs();
            assert!(error < 0.02 * numeric.abs().max(0.5), "{i}: {} {numeric}", found[i]);
        }
    }
}

#[test]
fn the_weighted_sum_objective_begins_at_its_initial_value_and_fools() {
    let mut model = Linear::new(RISING, 1.0);
    let config = Config {
        search: Search::WeightedSum,
        selection: select("fixed:2"),
        max_iterations: 60,
        patience: 0,
        ..config(UNTARGETED)
    };
    let outcome = attack(&scene(), &mut model, &config);
    assert!(outcome.success);
    assert_eq!(outcome.iterations, 60);
    // The second pass is the first after a step: no further from the initial value than the step.
    let (view, _) = model.views()[1].clone();
    for (i, v) in view.iter().enumerate() {
        let initial = if i < 2 * LEN { weighted_sum::INITIAL } else { 0.0 };
        let step = if i < 2 * LEN { config.learning_rate } else { 0.0 };
        assert!((v - initial).abs() <= step * 1.001, "{i}: {v}");
    }
}

#[test]
fn stopping_early_takes_the_first_success() {
    let run = |stop_early| {
        let mut model = Linear::new(RISING, 2.0);
        let config = Config { stop_early, learning_rate: 0.5, ..config(UNTARGETED) };
        attack(&scene(), &mut model, &config)
    };
    let (early, patient) = (run(true), run(false));
    assert!(early.success && patient.success);
    assert_eq!(Some(early.iterations), early.iterations_first_success);
    assert_eq!(early.queries_first_success, patient.queries_first_success);
    assert!(patient.size.l21 < early.size.l21);
    assert!(patient.calls.forwards > early.calls.forwards);
}

/// Another program reads these frames darker: less of the margin is left there.
#[test]
fn a_success_holds_in_the_second_reading() {
    for lead in [0.5, 2.0, 4.0] {
        let mut model = Linear::new(RISING, lead);
        let darker: Vec<f32> = (0..T * LEN).map(|i| -((i % 5) as f32)).collect();
        let scene = Exact { second: Some(darker.clone()), ..scene() };
        let outcome = attack(&scene, &mut model, &config(UNTARGETED));
        assert!(outcome.success);
        for frames in [&scene.frames, &darker] {
            let view = Exact::window(frames, &outcome.perturbation);
            assert_ne!(argmax(&model.logits(&view)), 0, "lead {lead}");
        }
    }
}

#[test]
fn a_success_is_one_behind_the_transport() {
    let mut model = Linear::new(RISING, 2.0);
    let scene = Exact { transport: Some(Ok(())), ..scene() };
    let outcome = attack(&scene, &mut model, &config(UNTARGETED));
    assert!(outcome.success);
    // One codec run a forward but for the clean window's.
    assert_eq!(outcome.calls.codec_runs + 1, outcome.calls.forwards);
    let window = Exact::window(&scene.frames, &outcome.perturbation);
    assert_ne!(argmax(&model.logits(&Exact::through(&window))), 0);
}

#[test]
fn a_broken_transport_is_an_error() {
    let mut model = Linear::new(RISING, 2.0);
    let scene = Exact { transport: Some(Err("it lost a frame")), ..scene() };
    let error = attack_from(&scene, &mut model, &config(UNTARGETED), &Vec::new(), &|| false).unwrap_err();
    assert_eq!(error.to_string(), "it lost a frame");
}
