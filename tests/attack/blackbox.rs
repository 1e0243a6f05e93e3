// SPDX-License-Identifier: MPL-2.0

//! Attacks by answers alone: what is counted, what they are told, and whether an estimate is one of the gradient.

use gstsparseadv::attack::access::{Label, Logits, Scores};
use gstsparseadv::attack::blackbox::nes::Nes;
use gstsparseadv::attack::blackbox::oracle::{Bounds, Oracle};
use gstsparseadv::attack::blackbox::patches::{Patches, random_signs};
use gstsparseadv::attack::criterion::Criterion;
use gstsparseadv::attack::{Access, Calls, Config, Delta, Error, Norm, Progress, Search};
use gstsparseadv::torch;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::toy::*;

const CRITERION: Criterion = Criterion { goal: UNTARGETED, label: 0, confidence: 0.0 };

const SEARCHES: [Search; 2] = [Search::VBad, Search::Squares];

fn asking(search: Search, access: Access) -> Config {
    // Values of the toy are single numbers, and its logits move by hundredths.
    Config { access, selection: select("all"), epsilon: 20.0, ..Config::of(UNTARGETED, search) }
}

fn v_bad(access: Access) -> Config {
    asking(Search::VBad, access)
}

/// Works with an oracle of a window of the toy, as far as so many queries go.
fn with_oracle<L: gstsparseadv::attack::access::Level, T>(
    model: &mut Linear,
    most: Option<u32>,
    work: impl FnOnce(&mut Oracle<L>) -> T,
) -> (T, Calls) {
    let scene = scene();
    let mut target = Target::new(&scene, model);
    let bounds = Bounds { most, deadline: None, canceled: &|| false };
    let mut progress = |_: Progress| {};
    let mut oracle = Oracle::<L>::new(&mut target, bounds, CRITERION, Norm::L2, 0, Calls::default(), &mut progress);
    let found = work(&mut oracle);
    (found, oracle.finish().calls)
}

#[test]
fn every_view_that_the_model_is_shown_is_a_query() {
    let accesses = [Access::Scores, Access::Logits, Access::Gradient];
    for (access, search) in accesses.into_iter().flat_map(|access| SEARCHES.map(|search| (access, search))) {
        for lead in [2.0, 1e6] {
            for selection in ["all", "heuristic", "2,4"] {
                let mut model = Linear::new(RISING, lead);
                let second = Some(scene().frames.iter().map(|v| v + 0.5).collect());
                let config = Config { selection: select(selection), max_iterations: 20, ..asking(search, access) };
                let outcome = attack(&Exact { second, ..scene() }, &mut model, &config);
                let by = outcome.calls.purposes;
                assert_eq!(
                    outcome.calls.queries as usize,
                    model.views().len(),
                    "{search:?} {access:?} {lead} {selection}"
                );
                assert_eq!(outcome.calls.forwards, outcome.calls.queries);
                assert_eq!(outcome.calls.backwards, 0);
                let sum = by.queries_clean + by.queries_selection + by.queries_search + by.queries_confirmation;
                assert_eq!(sum, outcome.calls.queries, "{by:?}");
                // One for the whole window, and one without each frame.
                assert_eq!(by.queries_selection, if selection == "heuristic" { 1 + T as u32 } else { 0 });
                assert!(model.all_grad_logits().is_empty(), "it has asked for a gradient");
                assert_eq!(outcome.success, lead < 10.0, "{search:?} {access:?} {lead} {selection}");
                let bounded = outcome.perturbation.iter().flat_map(|(_, delta)| delta).all(|value| value.abs() <= 20.0);
                assert!(bounded, "{search:?} {access:?} {lead} {selection}");
            }
        }
    }
}

#[test]
fn the_end_of_the_budget_is_a_result() {
    for search in SEARCHES {
        for most in 1..120 {
            let mut model = Linear::new(RISING, 1e6);
            let config = Config { max_queries: Some(most), ..asking(search, Access::Scores) };
            let outcome = attack(&scene(), &mut model, &config);
            assert_eq!(model.views().len() as u32, most);
            assert!(outcome.out_of_queries && !outcome.success && outcome.perturbation.is_empty());
        }
        let mut model = Linear::new(RISING, 2.0);
        let whole = attack(&scene(), &mut model, &asking(search, Access::Scores));
        assert!(whole.success && !whole.out_of_queries);
        let first = whole.queries_first_success.unwrap();
        for most in first..=whole.calls.queries {
            let mut model = Linear::new(RISING, 2.0);
            let config = Config { max_queries: Some(most), ..asking(search, Access::Scores) };
            let cut = attack(&scene(), &mut model, &config);
            // Whatever ends it, what was found by then is the result.
            assert!(cut.success && cut.calls.queries == most, "{search:?} {most}");
            assert_eq!(cut.queries_first_success, Some(first));
            assert_eq!(cut.perturbation == whole.perturbation, cut.size == whole.size);
            assert_eq!(cut.out_of_queries, most < whole.calls.queries, "{search:?} {most}");
        }
    }
}

#[test]
fn a_seed_gives_the_same_attack_and_another_one_another() {
    let of = |seed: u64| attack(&scene(), &mut Linear::new(RISING, 4.0), &Config { seed, ..v_bad(Access::Scores) });
    assert_eq!(of(3).perturbation, of(3).perturbation);
    assert_ne!(of(3).perturbation, of(4).perturbation);
}

/// Of a linear model, whose gradient is known.
#[test]
fn an_estimate_points_where_the_gradient_does() {
    let mut model = Linear::new(RISING, 2.0);
    let mut towards = vec![0.0; 3];
    let logits = model.logits(&[0.0; T * LEN]);
    let rival = if logits[1] > logits[2] { 1 } else { 2 };
    (towards[0], towards[rival]) = (1.0, -1.0);
    let exact = model.gradient(&towards);
    let (estimate, calls) = with_oracle::<Logits, _>(&mut model, None, |oracle| {
        let (shape, device) = (oracle.shape(), oracle.device());
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let patches = Patches::new(T, 2, shape, device);
        let tentative = random_signs(&mut rng, T, shape, device).unwrap();
        let values = tensor(&[0.0; T * LEN], &[1, T as i64, 3, 2, 2]).unwrap();
        let at = Delta { frames: (0..T).collect(), values };
        let nes = Nes { probes: 400, sigma: 0.01 };
        let gradient = nes.gradient(oracle, &at, &patches, &tentative, &mut rng).unwrap().unwrap();
        // By a coefficient: the sum over a patch's colors, each by its sign.
        let signs = torch::download(&tentative).unwrap();
        let true_gradient = (0..patches.count()).map(|i| {
            let (frame, place) = (i / 4, i % 4);
            (0..3).map(|color| frame * LEN + color * 4 + place).map(|k| f64::from(exact[k] * signs[k])).sum::<f64>()
        });
        let pairs: Vec<(f64, f64)> = gradient.iter().map(|g| f64::from(*g)).zip(true_gradient).collect();
        let dot = |f: fn(&(f64, f64)) -> f64| pairs.iter().map(f).sum::<f64>();
        dot(|(a, b)| a * b) / (dot(|(a, _)| a * a) * dot(|(_, b)| b * b)).sqrt()
    });
    // Of n random directions in d dimensions the estimate's share of the gradient is about sqrt(n / (n + d)): 200 and 24.
    assert!(estimate > 0.85, "{estimate}");
    assert_eq!(calls.queries, 400);
}

#[test]
fn a_label_alone_tells_no_probability_and_a_score_none_of_other_classes() {
    let mut model = Linear::new(RISING, 2.0);
    let (label, _) = with_oracle::<Label, _>(&mut model, None, |oracle| {
        gstsparseadv::attack::select::Ask::probability(oracle, &Vec::from_iter(0..T))
    });
    assert!(matches!(label, Err(Error::NeedsScores { .. })));
    let (score, _) =
        with_oracle::<Scores, _>(&mut model, None, |oracle| oracle.ask_moved(&Vec::from_iter(0..T)).unwrap());
    let logits = model.logits(&[0.0; T * LEN]);
    assert_eq!(score.label(), 0);
    assert!((score.probability() - gstsparseadv::attack::criterion::softmax(&logits)[0]).abs() < 1e-12);
}

#[test]
fn keyframes_by_a_gradient_are_refused() {
    let mut model = Linear::new(RISING, 2.0);
    let config = Config { selection: select("gradient"), ..v_bad(Access::Logits) };
    let found = attack_from(&scene(), &mut model, &config, &Vec::new(), &|| false);
    assert!(found.is_err_and(|error| error.to_string().contains("keyframes")));
    assert!(model.all_grad_logits().is_empty());
}

/// What was found for another window is tried before anything else, at the cost of one query.
#[test]
fn a_start_that_holds_is_the_result() {
    let mut model = Linear::new(RISING, 2.0);
    let first = attack(&scene(), &mut model, &v_bad(Access::Scores));
    let again = attack_from(&scene(), &mut model, &v_bad(Access::Scores), &first.perturbation, &|| false).unwrap();
    assert_eq!(again.perturbation, first.perturbation);
    assert_eq!((again.calls.queries, again.calls.purposes.queries_start), (2, 1));
}
