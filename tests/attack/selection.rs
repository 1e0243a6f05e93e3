// SPDX-License-Identifier: MPL-2.0

//! Which frames become keyframes.

use std::cell::Cell;

use gstsparseadv::attack::criterion::{self, Loss};
use gstsparseadv::attack::select::normalized;
use gstsparseadv::attack::{Config, Error, Goal, Selection};

use super::toy::*;

#[test]
fn keyframes_by_descending_weight_to_the_boundary() {
    let mut model = Linear::new(RISING, 3.0);
    let outcome = attack(&scene(), &mut model, &config(UNTARGETED));
    // Weights are in proportion to 1..6, up to the pattern's differences: the last frame has 6/21 < 0.3, the last two
    // more.
    let weights = &outcome.keyframes.weights;
    assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    assert!(weights.windows(2).all(|w| w[0] < w[1]), "{weights:?}");
    assert_eq!(outcome.keyframes.chosen(), [5, 4]);
    assert!(outcome.success);
    let perturbed: Vec<usize> = outcome.perturbation.iter().map(|p| p.0).collect();
    assert_eq!(perturbed, [4, 5]);
    // Nothing but keyframes was ever touched, at any query.
    for (view, _) in model.views() {
        assert!(view[..4 * LEN].iter().all(|v| *v == 0.0));
    }
}

#[test]
fn features_weigh_where_there_are_any() {
    let mut model = Linear::new(RISING, 3.0);
    model.features = Some(vec![5.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    let outcome = attack(&scene(), &mut model, &config(UNTARGETED));
    assert_eq!(outcome.keyframes.chosen(), [0]);
    assert_eq!(outcome.keyframes.weights[0], 0.5);

    let by_input = Config { selection: select("gradient:input"), ..config(UNTARGETED) };
    assert_eq!(attack(&scene(), &mut model, &by_input).keyframes.chosen(), [5, 4]);
}

/// The selection's backward pass is the first step's too: the clean pass, it, and the pass that shows the success.
#[test]
fn by_the_loss_one_backward_serves_selection_and_first_step() {
    for goal in [UNTARGETED, Goal::new(None, Some(2))] {
        let mut model = Linear::new(RISING, 0.5);
        let by_loss =
            Config { selection: select("gradient:loss"), learning_rate: 60.0, stop_early: true, ..config(goal) };
        let outcome = attack(&scene(), &mut model, &by_loss);
        assert!(outcome.success, "{goal:?}");
        let grad_logits = criterion::grad_logits(&model.logits(&[0.0; T * LEN]), goal, 0, Loss::CrossEntropy);
        let gradient = model.gradient(&grad_logits);
        let mean = |frame: &[f32]| frame.iter().map(|g| f64::from(g.abs())).sum::<f64>() / LEN as f64;
        let expected = normalized(&gradient.chunks_exact(LEN).map(mean).collect::<Vec<_>>());
        for (found, expected) in outcome.keyframes.weights.iter().zip(expected) {
            // Both are means in double precision, in another order.
            assert!((found - expected).abs() < 1e-12, "{goal:?}");
        }
        assert_eq!(model.all_grad_logits(), [grad_logits], "{goal:?}");
        assert_eq!((outcome.calls.forwards, outcome.calls.backwards), (2, 1));
    }
}

#[test]
fn baselines_choose_as_published() {
    let chosen = |selection: Selection, frames: Vec<f32>| {
        let mut model = Linear::new([0.3; T], 1.0);
        let config = Config { selection, ..config(UNTARGETED) };
        let scene = Exact { frames, ..scene() };
        let mut chosen = attack(&scene, &mut model, &config).keyframes.chosen().to_vec();
        chosen.sort_unstable();
        chosen
    };
    let black = vec![0.0; T * LEN];
    assert_eq!(chosen(select("fixed:2"), black.clone()), [0, 1]);
    // 4/16 of six frames, rounded.
    assert_eq!(chosen(select("fixed"), black.clone()), [0, 1]);
    assert_eq!(chosen(select("all"), black.clone()), [0, 1, 2, 3, 4, 5]);
    assert_eq!(chosen(select("3,1"), black.clone()), [1, 3]);
    // Frame 4 differs from both neighbors: it and its successor move most.
    let mut flash = black.clone();
    flash[4 * LEN..5 * LEN].fill(-0.5);
    assert_eq!(chosen(select("ifd:2"), flash), [4, 5]);
    let random = select("random:3");
    assert_eq!(chosen(random.clone(), black.clone()), chosen(random, black));
}

#[test]
fn heuristic_weighs_by_the_drop_in_probability() {
    // Only frame 2 speaks for class 0, so only its removal lowers it.
    let mut model = Linear::new([0.0, 0.0, -1.0, 0.0, 0.0, 0.0], 0.5);
    let mut frames = vec![0.0; T * LEN];
    frames[2 * LEN..3 * LEN].fill(1.0);
    let config = Config { selection: select("heuristic:1"), max_iterations: 1, ..config(UNTARGETED) };
    let outcome = attack(&Exact { frames, ..scene() }, &mut model, &config);
    assert_eq!(outcome.keyframes.chosen(), [2]);
    // One query a frame, beside the clean pass before, its repetition after, and the one update.
    assert_eq!(outcome.calls.forwards, 1 + T as u32 + 1 + 1);
}

#[test]
fn a_selection_that_nobody_waits_for_ends() {
    let mut model = Linear::new(RISING, 3.0);
    let config = Config { selection: select("heuristic"), ..config(UNTARGETED) };
    let asked = Cell::new(0);
    let canceled = || asked.replace(asked.get() + 1) >= 4;
    let result = attack_from(&scene(), &mut model, &config, &Vec::new(), &canceled);
    assert!(matches!(result, Err(Error::Canceled)));
    assert!(model.views().len() < T, "it asks about all frames");
}

#[test]
fn a_stalled_attack_takes_one_frame_more() {
    let stalled = |grow_after| {
        let mut model = Linear::new(RISING, 3.0);
        let config = Config { epsilon: 1.5, grow_after, max_iterations: 60, ..config(UNTARGETED) };
        attack(&scene(), &mut model, &config)
    };
    let never = stalled(0);
    assert!(!never.success && never.keyframes.count == 2);
    let grown = stalled(5);
    assert!(grown.success && grown.keyframes.count > 2);
    let perturbed: Vec<usize> = grown.perturbation.iter().map(|p| p.0).collect();
    assert_eq!(perturbed.last(), Some(&5));
}

/// The features speak for the first frames, the gradient at the input for the last ones.
#[test]
fn frames_that_join_are_weighed_where_the_attack_stands() {
    let stalled = |selection, grow_by| {
        let mut model = Linear::new(RISING, 30.0);
        model.features = Some(vec![6.0, 5.0, 4.0, 3.0, 2.0, 1.0]);
        let config =
            Config { selection, epsilon: 1.5, grow_after: 2, grow_by, max_iterations: 4, ..config(UNTARGETED) };
        let outcome = attack(&scene(), &mut model, &config);
        // The gradient that weighs them is the next step's too, as the selection's was the first one's.
        assert_eq!(outcome.calls.backwards, 4);
        (outcome.keyframes.chosen().to_vec(), outcome.keyframes.weights)
    };
    let gradient = || select("gradient");
    let (chosen, weights) = stalled(gradient(), 1);
    assert_eq!(chosen, [0, 1, 5]);
    assert!(weights.windows(2).all(|w| w[0] > w[1]), "{weights:?}");
    assert_eq!(stalled(gradient(), 2).0, [0, 1, 5, 4]);
    assert_eq!(stalled(gradient(), 9).0, [0, 1, 5, 4, 3, 2]);
}

#[test]
fn other_selections_go_on_in_their_own_order() {
    let mut model = Linear::new(RISING, 30.0);
    let config =
        Config { selection: select("fixed:1"), epsilon: 1.5, grow_after: 2, max_iterations: 4, ..config(UNTARGETED) };
    let outcome = attack(&scene(), &mut model, &config);
    assert_eq!(outcome.keyframes.chosen(), [0, 1]);
}

#[test]
fn repeated_last_frame_carries_its_perturbation() {
    let mut model = Linear::new(RISING, 1.0);
    let short = Exact { real: 3, ..scene() };
    let outcome = attack(&short, &mut model, &config(UNTARGETED));
    assert!(outcome.success);
    assert_eq!(outcome.keyframes.weights.len(), 3);
    assert_eq!(outcome.perturbation[0].0, 2, "the last real frame stands for four of six");
    for (view, _) in model.views().iter().skip(1) {
        let last = &view[2 * LEN..3 * LEN];
        assert!((3..T).all(|k| view[k * LEN..][..LEN] == *last));
    }
}
