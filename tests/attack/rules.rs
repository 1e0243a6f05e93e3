// SPDX-License-Identifier: MPL-2.0

//! The two stages, bounds, goals and what is returned.

use std::cell::RefCell;

use gstsparseadv::attack::criterion::{self, Loss, argmax, margin};
use gstsparseadv::attack::{Config, Error, Goal, Search};

use super::toy::*;

#[test]
fn class_term_while_the_label_holds_and_norm_while_fooled() {
    let mut model = Linear::new(RISING, 3.0);
    let outcome = attack(&scene(), &mut model, &config(UNTARGETED));
    assert!(outcome.iterations > 10, "both stages must have come up");
    let asked = model.asked.borrow();
    let first_step = asked.iter().skip(1).position(|a| matches!(a, Asked::Backward { .. }));
    // The selection's own backward comes first.
    let mut last_label = None;
    let mut switches = 0;
    for (i, pair) in asked.windows(2).enumerate().skip(first_step.unwrap() + 2) {
        if let Asked::Forward { label, .. } = &pair[0] {
            let held = *label == 0;
            let descends_class = matches!(pair[1], Asked::Backward { .. });
            assert_eq!(held, descends_class, "query {i}");
            switches += usize::from(last_label.is_some_and(|l| l != held));
            last_label = Some(held);
        }
    }
    assert!(switches >= 2, "fooled and not fooled must alternate near the boundary");
    // In the class stage the gradient is that of minus the cross-entropy of the clean label: label 0 is left.
    for a in asked.iter().skip(first_step.unwrap() + 2) {
        if let Asked::Backward { grad_logits } = a {
            assert_eq!(grad_logits[0], 1.0);
            assert!(grad_logits[1] <= 0.0 && grad_logits[2] <= 0.0);
            assert!(grad_logits.iter().sum::<f32>().abs() < 1e-6);
        }
    }
}

#[test]
fn norm_stage_shrinks_along_the_perturbation() {
    let mut model = Linear::new(RISING, 0.01);
    let one = Config {
        learning_rate: 0.01,
        optimizer: gstsparseadv::attack::optimizer::Kind::Normalized,
        patience: 3,
        ..config(UNTARGETED)
    };
    attack(&scene(), &mut model, &one);
    let views = model.views();
    let fooled = views.iter().position(|(_, label)| *label != 0).unwrap();
    let (before, after) = (&views[fooled].0, &views[fooled + 1].0);
    for k in 4..T {
        let (b, a) = (&before[k * LEN..][..LEN], &after[k * LEN..][..LEN]);
        let ratio: Vec<f32> = b.iter().zip(a).filter(|(b, _)| b.abs() > 1e-6).map(|(b, a)| a / b).collect();
        // d/dx ||x|| = x / ||x||: every value of a frame shrinks in the same proportion.
        assert!(ratio.iter().all(|r| *r < 1.0 && (r - ratio[0]).abs() < 1e-3), "{ratio:?}");
    }
}

/// The sum of the frames' Euclidean norms.
fn l21(view: &[f32]) -> f64 {
    let norm = |frame: &[f32]| frame.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    view.chunks_exact(LEN).map(norm).sum()
}

#[test]
fn the_smallest_success_is_kept() {
    for patience in [0, 5] {
        let mut model = Linear::new(RISING, 3.0);
        let config = Config { patience, max_iterations: 120, ..config(UNTARGETED) };
        let outcome = attack(&scene(), &mut model, &config);
        let sizes = model.views().into_iter().filter(|(_, label)| *label != 0);
        let smallest = sizes.map(|(view, _)| l21(&view)).fold(f64::INFINITY, f64::min);
        // Both are sums in double precision, in another order.
        assert!((outcome.size.l21 - smallest).abs() < 1e-12 * smallest);
        // And it is what is returned: put back on the clean frames it fools.
        let mut view = vec![0.0; T * LEN];
        for (k, delta) in &outcome.perturbation {
            view[k * LEN..][..LEN].copy_from_slice(delta);
        }
        assert_eq!(argmax(&model.logits(&view)), outcome.final_label);
        assert_ne!(outcome.final_label, outcome.clean_label);
        if patience == 0 {
            assert_eq!(outcome.iterations, 120, "patience 0 uses all iterations");
        } else {
            assert!(outcome.iterations < 120);
        }
    }
}

#[test]
fn iterations_are_bounded() {
    for bound in [0, 1, 7] {
        let mut model = Linear::new(RISING, 1e6);
        let config = Config { max_iterations: bound, ..config(UNTARGETED) };
        let outcome = attack(&scene(), &mut model, &config);
        assert!(!outcome.success && outcome.perturbation.is_empty());
        assert_eq!(outcome.final_label, outcome.clean_label);
        assert_eq!(outcome.iterations, bound);
        // The clean pass, and one after each update.
        assert_eq!(outcome.calls.forwards, 1 + bound);
        // The selection's backward serves the first step too.
        assert_eq!(outcome.calls.backwards, bound);
        assert_eq!(outcome.calls.queries, 1 + bound);
    }
}

#[test]
fn targeted_reaches_its_class_and_no_other() {
    for target in [1, 2] {
        let mut model = Linear::new(RISING, 2.0);
        let outcome = attack(&scene(), &mut model, &config(Goal::new(None, Some(target))));
        assert!(outcome.success);
        assert_eq!(outcome.final_label, target);
    }
    let mut model = Linear::new(RISING, 2.0);
    let trivial = attack(&scene(), &mut model, &config(Goal::new(None, Some(0))));
    assert!(trivial.already_fooled && !trivial.success && trivial.perturbation.is_empty());
    assert_eq!(trivial.calls.queries, 1);
    // Wrong already: reaching the target would be no success of an attack on a right answer.
    let wrong = config(Goal::new(Some(1), Some(2)));
    let wrong = attack(&scene(), &mut model, &wrong);
    assert!(wrong.already_fooled && !wrong.success && wrong.perturbation.is_empty());
    let right = config(Goal::new(Some(0), Some(2)));
    assert_eq!(attack(&scene(), &mut model, &right).final_label, 2);
}

#[test]
fn a_label_given_is_the_one_to_leave() {
    let mut model = Linear::new(RISING, 2.0);
    let given = config(Goal::Untargeted { label: Some(1) });
    assert!(attack(&scene(), &mut model, &given).already_fooled);
    let given = config(Goal::Untargeted { label: Some(3) });
    let error = attack_from(&scene(), &mut model, &given, &Vec::new(), &|| false).unwrap_err();
    assert!(matches!(error, Error::LabelOutOfRange { classes: 3, found: 3 }));
}

#[test]
fn epsilon_bounds_every_value() {
    let mut model = Linear::new(RISING, 3.0);
    let config = Config { epsilon: 0.25, max_iterations: 30, grow_after: 0, ..config(UNTARGETED) };
    attack(&scene(), &mut model, &config);
    let largest = model.views().iter().flat_map(|(v, _)| v.clone()).fold(0.0f32, |m, v| m.max(v.abs()));
    assert_eq!(largest, 0.25);
}

#[test]
fn a_carried_perturbation_that_fools_is_left_alone() {
    let mut model = Linear::new(RISING, 1.0);
    let first = attack(&scene(), &mut model, &config(UNTARGETED));
    let start = first.perturbation.clone();
    let again = attack_from(&scene(), &mut model, &config(UNTARGETED), &start, &|| false).unwrap();
    assert!(again.success);
    assert_eq!(again.iterations, 0);
    assert_eq!(again.perturbation, start);
}

#[test]
fn canceled_at_once_and_in_the_middle() {
    for after in [0, 3] {
        let mut model = Linear::new(RISING, 1e6);
        let left = RefCell::new(after);
        let canceled = || {
            let mut left = left.borrow_mut();
            *left -= 1;
            *left < 0
        };
        let error = attack_from(&scene(), &mut model, &config(UNTARGETED), &Vec::new(), &canceled).unwrap_err();
        assert!(matches!(error, Error::Canceled));
        assert!(model.views().len() <= 3);
    }
}

#[test]
fn output_that_is_not_finite_is_an_error() {
    let mut model = Linear::new(RISING, f32::NAN);
    let error = attack_from(&scene(), &mut model, &config(UNTARGETED), &Vec::new(), &|| false).unwrap_err();
    assert!(error.to_string().contains("not finite"), "{error}");
}

#[test]
fn grad_logits_is_the_cross_entropys_gradient_up_to_scale() {
    let cross_entropy = |z: &[f64], y: usize| {
        let max = z.iter().copied().fold(f64::MIN, f64::max);
        z.iter().map(|v| (v - max).exp()).sum::<f64>().ln() + max - z[y]
    };
    let logits = [1.5f32, -0.3, 0.2, 2.1];
    for (goal, y, sign) in [(UNTARGETED, 0, -1.0), (Goal::new(None, Some(2)), 2, 1.0)] {
        let found = criterion::grad_logits(&logits, goal, 0, Loss::CrossEntropy);
        let numeric: Vec<f64> = (0..4)
            .map(|k| {
                let at = |h: f64| {
                    let mut z: Vec<f64> = logits.iter().map(|v| f64::from(*v)).collect();
                    z[k] += h;
                    sign * cross_entropy(&z, y)
                };
                (at(1e-5) - at(-1e-5)) / 2e-5
            })
            .collect();
        let scale = numeric[y].abs();
        for (f, n) in found.iter().zip(&numeric) {
            // The grad_logits is in single precision.
            assert!((f64::from(*f) - n / scale).abs() < 1e-6, "{found:?} {numeric:?}");
        }
    }
    // A sure model still has a direction to leave by.
    let sure = criterion::grad_logits(&[200.0, 0.0, -1.0], UNTARGETED, 0, Loss::CrossEntropy);
    assert_eq!(sure[0], 1.0);
    assert!(sure[1] < -0.5 && sure.iter().all(|v| v.is_finite()));
}

#[test]
fn the_margins_grad_logits_is_the_leads_gradient() {
    let logits = [1.5f32, -0.3, 0.25, 2.0];
    for goal in [UNTARGETED, Goal::new(None, Some(2))] {
        let found = criterion::grad_logits(&logits, goal, 0, Loss::Margin);
        for k in 0..logits.len() {
            let at = |h: f32| {
                let mut z = logits;
                z[k] += h;
                margin(&z, goal, 0)
            };
            // Linear between these, and all numbers exact in binary: no tolerance. Descending the term raises the lead.
            assert_eq!(found[k], -(at(0.125) - at(-0.125)) / 0.25, "{goal:?} {k}");
        }
    }
}

#[test]
fn by_the_margin_the_first_step_goes_for_the_nearest_class() {
    let mut model = Linear::new(RISING, 1.0);
    let config = Config { loss: Loss::Margin, ..config(UNTARGETED) };
    let outcome = attack(&scene(), &mut model, &config);
    assert!(outcome.success);
    let grads = model.all_grad_logits();
    // The label's score weighs the frames; classes 1 and 2 have 0 and -0.1 of it.
    let (first, later) = grads.split_first().expect("a backward pass");
    assert_eq!(*first, [1.0, 0.0, 0.0]);
    let ways = [[1.0, -1.0, 0.0], [1.0, 0.0, -1.0]];
    assert!(!later.is_empty() && later.iter().all(|c| ways.iter().any(|w| c == w)), "{later:?}");
}

/// A success that was found by then is the result, whatever the bound.
#[test]
fn no_window_has_more_queries_than_are_allowed() {
    let second = scene().frames.iter().map(|v| v + 0.5).collect();
    for search in [Search::Walk, Search::TwoStage, Search::WeightedSum] {
        for selection in ["gradient", "heuristic", "all"] {
            let (mut fooled, mut enough) = (0, None);
            for most in 1..60 {
                let mut model = Linear::new(RISING, 2.0);
                let scene = Exact { second: Some(Vec::clone(&second)), ..scene() };
                let config =
                    Config { max_queries: Some(most), selection: select(selection), ..Config::of(UNTARGETED, search) };
                let outcome = attack(&scene, &mut model, &config);
                let by = outcome.calls.purposes;
                let queries = outcome.calls.queries;
                assert!(queries <= most, "{search:?} {selection}: {queries} of {most}");
                // A further backward pass on the same forward pass is a query too.
                assert!(model.views().len() as u32 <= queries, "{search:?} {selection} {most}");
                let sum = by.queries_clean + by.queries_selection + by.queries_start + by.queries_search;
                assert_eq!(sum + by.queries_confirmation, queries, "{by:?}");
                assert_eq!((by.queries_clean, by.queries_start), (1, 0));
                assert_eq!(by.queries_selection > 0, selection == "heuristic" && most > 1);
                assert!(!outcome.success || by.queries_confirmation > 0);
                assert!(outcome.success || outcome.out_of_queries, "{search:?} {selection} {most}");
                fooled += u32::from(outcome.success);
                // What is enough for a success stays enough.
                enough = enough.or(outcome.success.then_some(most));
                assert!(
                    outcome.success || enough.is_none(),
                    "{search:?} {selection}: {enough:?} were enough, {most} are not"
                );
            }
            // Selection by removal takes seven queries, and a descent some ten steps.
            assert!(fooled > 30, "{search:?} {selection}: {fooled}");
        }
    }
}
