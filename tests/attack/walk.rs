// SPDX-License-Identifier: MPL-2.0

//! The walk along the boundary, where the smallest perturbation is known: a linear model's is the margin over the dual
//! norm of its gradient.

use std::time::Duration;

use gstsparseadv::attack::criterion::argmax;
use gstsparseadv::attack::{Config, Goal, Norm, Progress, Search, run};

use crate::toy::*;

fn walk(goal: Goal, norm: Norm) -> Config {
    Config { search: Search::Walk, norm, patience: 8, selection: select("all"), ..config(goal) }
}

/// The smallest perturbation of all frames, in L2, by which `to` leads over label 0.
fn smallest(model: &Linear, to: usize) -> f64 {
    let mut towards = [0.0; 3];
    (towards[0], towards[to]) = (1.0, -1.0);
    let gradient = model.gradient(&towards);
    let clean = model.logits(&[0.0; T * LEN]);
    f64::from(clean[0] - clean[to]) / gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt()
}

fn l2(outcome: &gstsparseadv::attack::Outcome) -> f64 {
    outcome.perturbation.iter().flat_map(|(_, d)| d).map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
}

/// What a window takes that has to leave before its attack is over.
#[test]
fn news_is_what_came_of_an_attack_so_far() {
    let mut model = Linear::new(RISING, 3.0);
    let config = Config { time_budget: Some(Duration::from_secs(600)), ..Config::new(UNTARGETED) };
    let (mut found, mut last) = (Vec::new(), None);
    let mut progress = |news: Progress| match news {
        Progress::Improved(best) => found.push(best.size),
        Progress::Made(calls, iterations) => last = Some((calls, iterations)),
        Progress::CleanLabel(label, _) => assert_eq!(label, 0),
    };
    let scene = scene();
    let outcome = run(&mut Target::new(&scene, &mut model), &config, &Vec::new(), &|| false, &mut progress).unwrap();
    assert!(found.len() > 1, "it tells of the first success alone");
    assert_eq!(found.last(), Some(&outcome.size));
    assert_eq!(last, Some((outcome.calls, outcome.iterations)));
}

#[test]
fn the_smallest_perturbation_is_found_in_a_few_calls() {
    let mut model = Linear::new(RISING, 2.0);
    let outcome = attack(&scene(), &mut model, &walk(UNTARGETED, Norm::L2));
    assert!(outcome.success);
    let best = (1..3).map(|to| smallest(&model, to)).fold(f64::INFINITY, f64::min);
    // A success is to lead by three per cent of the clean margin and what is left of the bias, at first ten per cent; the
    // last five per cent are not waited for.
    let found = l2(&outcome) / best;
    assert!((1.0..1.10).contains(&found), "{found}");
    assert!(outcome.queries_first_success.unwrap() <= 3);
    assert!(outcome.calls.queries <= 24, "{:?}", outcome.calls);
}

#[test]
fn a_target_is_reached_at_its_own_distance() {
    for target in [1, 2] {
        let mut model = Linear::new(RISING, 2.0);
        let outcome = attack(&scene(), &mut model, &walk(Goal::new(None, Some(target)), Norm::L2));
        assert!(outcome.success && outcome.final_label == target);
        // Between the other two there is a boundary too.
        let found = l2(&outcome) / smallest(&model, target);
        assert!((1.0..1.6).contains(&found), "{target}: {found}");
    }
}

#[test]
fn every_norm_is_the_smallest_of_its_own_kind() {
    let norms = [Norm::L21, Norm::L2, Norm::L1, Norm::Linf];
    let sizes: Vec<[f64; 4]> = norms
        .iter()
        .map(|norm| {
            let outcome = attack(&scene(), &mut Linear::new(RISING, 12.0), &walk(UNTARGETED, *norm));
            assert!(outcome.success, "{norm:?}");
            [outcome.size.l21, l2(&outcome), outcome.size.map, outcome.size.max_abs]
        })
        .collect();
    for kind in 0..4 {
        let least = (0..4).min_by(|a, b| sizes[*a][kind].total_cmp(&sizes[*b][kind])).unwrap();
        assert_eq!(least, kind, "{sizes:?}");
    }
}

/// A first step may go so far that the gradient there says nothing of the way back.
#[test]
fn a_success_beyond_a_peak_is_no_place_to_stand() {
    for norm in [Norm::L21, Norm::L2, Norm::L1] {
        let mut model = Linear::new(RISING, 2.0);
        let found = attack(&scene(), &mut model, &walk(UNTARGETED, norm)).size.max_abs;
        model.peak = 1.05 * found as f32;
        let outcome = attack(&scene(), &mut model, &walk(UNTARGETED, norm));
        assert!(outcome.success && outcome.size.max_abs <= 1.05 * found, "{norm:?}: {}", outcome.size.max_abs);
    }
}

#[test]
fn a_bound_is_kept() {
    for norm in [Norm::L21, Norm::L2, Norm::L1, Norm::Linf] {
        let config = Config { epsilon: 1.5, ..walk(UNTARGETED, norm) };
        let outcome = attack(&scene(), &mut Linear::new(RISING, 2.0), &config);
        assert!(outcome.success && outcome.size.max_abs <= 1.5, "{norm:?}: {:?}", outcome.size);
    }
}

#[test]
fn what_an_earlier_window_stands_on_stays() {
    let held = vec![(0, (0..LEN).map(|i| 0.25 * i as f32).collect::<Vec<f32>>())];
    let config = Config { selection: select("fixed:2"), ..walk(UNTARGETED, Norm::L2) };
    let mut model = Linear::new(RISING, 4.0);
    let outcome = attack_from(&scene(), &mut model, &config, &held, &|| false).unwrap();
    assert!(outcome.success);
    assert_eq!(outcome.perturbation[0], held[0]);
    let view = Exact::window(&scene().frames, &outcome.perturbation);
    assert_ne!(argmax(&model.logits(&view)), 0);
}

#[test]
fn behind_a_transport_and_in_a_second_reading_it_holds() {
    let darker: Vec<f32> = (0..T * LEN).map(|i| -((i % 5) as f32)).collect();
    for lead in [2.0, 9.0] {
        let behind = Exact { transport: Some(Ok(())), ..scene() };
        let mut model = Linear::new(RISING, lead);
        let outcome = attack(&behind, &mut model, &walk(UNTARGETED, Norm::L2));
        assert!(outcome.success, "lead {lead}");
        let view = Exact::through(&Exact::window(&behind.frames, &outcome.perturbation));
        assert_ne!(argmax(&model.logits(&view)), 0, "lead {lead}");
        assert_eq!(outcome.calls.codec_runs + 1, outcome.calls.forwards);

        let two = Exact { second: Some(darker.clone()), ..scene() };
        let outcome = attack(&two, &mut model, &walk(UNTARGETED, Norm::L2));
        assert!(outcome.success, "lead {lead}");
        for frames in [&two.frames, &darker] {
            let view = Exact::window(frames, &outcome.perturbation);
            assert_ne!(argmax(&model.logits(&view)), 0, "lead {lead}");
        }
        // What the second reading says of a linear model is known before it is asked: at the end, and every twenty
        // iterations, where the walk's own look has to be taken anew.
        let between = (outcome.iterations - outcome.iterations_first_success.unwrap()) / 20;
        assert_eq!(outcome.calls.forwards, 1 + outcome.iterations + 1 + 2 * between, "lead {lead}");
    }
}

#[test]
fn where_the_walk_is_lost_the_two_stage_search_goes_on_from_the_clean_window() {
    let mut model = Linear::new(RISING, 1e6);
    let config = Config { max_iterations: 20, ..walk(UNTARGETED, Norm::L2) };
    assert!(!attack(&scene(), &mut model, &config).success);
    let largest: Vec<f32> =
        model.views().iter().map(|(view, _)| view.iter().fold(0.0, |most: f32, v| most.max(v.abs()))).collect();
    assert!(largest[1..=15].iter().all(|most| *most > 0.0), "{largest:?}");
    assert_eq!(largest[16], 0.0);
    // Adam's first step is of its learning rate in every value.
    assert!((largest[17] - 2.0).abs() < 1e-3, "{largest:?}");
}

#[test]
fn frames_join_where_the_second_reading_is_a_surprise() {
    let darker: Vec<f32> = (0..T * LEN).map(|i| -((i % 5) as f32)).collect();
    let scene = Exact { second: Some(darker.clone()), surprising: true, ..scene() };
    for norm in [Norm::L21, Norm::L2, Norm::L1, Norm::Linf] {
        let config = Config { selection: select("fixed:1"), epsilon: 3.0, grow_after: 1, ..walk(UNTARGETED, norm) };
        let mut model = Linear::new([0.6; T], 0.5);
        let outcome = attack(&scene, &mut model, &config);
        assert!(outcome.success && outcome.keyframes.count > 1, "{norm:?}: {:?}", outcome.keyframes);
        let view = Exact::window(&darker, &outcome.perturbation);
        assert_ne!(argmax(&model.logits(&view)), 0, "{norm:?}");
        // It is asked where the first success is about to be the result, and once more for each that fails there.
        let asked = outcome.calls.forwards - 1 - outcome.iterations;
        assert!((2..8).contains(&asked), "{norm:?}: {:?}", outcome.calls);
    }
}

/// Where the other reading is no success, a walk that was not told goes on to where none is.
#[test]
fn iterations_are_no_loss_where_the_second_reading_is_a_surprise() {
    let darker: Vec<f32> = (0..T * LEN).map(|i| -((i % 5) as f32)).collect();
    let scene = Exact { second: Some(darker.clone()), surprising: true, ..scene() };
    let mut sizes = Vec::new();
    for iterations in [6, 10, 30, 60, 100] {
        let config = Config { patience: 0, max_iterations: iterations, ..walk(UNTARGETED, Norm::L2) };
        let mut model = Linear::new(RISING, 2.0);
        let outcome = attack(&scene, &mut model, &config);
        assert!(outcome.success, "{iterations} iterations");
        let view = Exact::window(&darker, &outcome.perturbation);
        assert_ne!(argmax(&model.logits(&view)), 0, "{iterations} iterations");
        sizes.push(l2(&outcome));
    }
    // More of them may end a per cent further: the last ones are for asking.
    assert!(sizes.windows(2).all(|pair| pair[1] <= 1.02 * pair[0]), "{sizes:?}");
}

#[test]
fn frames_join_where_two_are_too_few() {
    let config = Config { selection: select("fixed:1"), epsilon: 1.5, grow_after: 2, ..walk(UNTARGETED, Norm::L2) };
    let outcome = attack(&scene(), &mut Linear::new(RISING, 2.0), &config);
    assert!(outcome.success && outcome.keyframes.count > 1, "{:?}", outcome.keyframes);
}
