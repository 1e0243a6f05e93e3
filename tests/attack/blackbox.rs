// SPDX-License-Identifier: MPL-2.0

//! Attacks by answers alone: what is counted, what they are told, and whether an estimate is one of the gradient.

use std::time::Duration;

use gstsparseadv::attack::access::{Label, Logits, Scores};
use gstsparseadv::attack::blackbox::nes::Nes;
use gstsparseadv::attack::blackbox::oracle::{Bounds, Oracle};
use gstsparseadv::attack::blackbox::patches::{Patches, random_signs};
use gstsparseadv::attack::criterion::{Criterion, argmax};
use gstsparseadv::attack::{Access, Calls, Config, Delta, Donors, Error, Goal, Norm, Progress, Search};
use gstsparseadv::torch;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::toy::*;

const CRITERION: Criterion = Criterion { goal: UNTARGETED, label: 0, confidence: 0.0 };

/// By scores, and by labels.
const SCORED: [Search; 2] = [Search::VBad, Search::Squares];
const LABELED: [Search; 3] = [Search::Opt, Search::SignOpt, Search::Stde];
const BY_RADIUS: [Search; 2] = [Search::Opt, Search::SignOpt];

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
    with_oracle_of(&scene(), model, most, work)
}

/// The same of any window.
pub fn with_oracle_of<L: gstsparseadv::attack::access::Level, T>(
    scene: &Exact,
    model: &mut Linear,
    most: Option<u32>,
    work: impl FnOnce(&mut Oracle<L>) -> T,
) -> (T, Calls) {
    let mut target = Target::new(scene, model);
    let bounds = Bounds { most, deadline: None, canceled: &|| false };
    let mut progress = |_: Progress| {};
    let spent = (Calls::default(), Duration::ZERO);
    let mut oracle = Oracle::<L>::new(&mut target, bounds, CRITERION, Norm::L2, 0, spent, Vec::new(), &mut progress);
    let found = work(&mut oracle);
    (found, oracle.finish().calls)
}

#[test]
fn every_view_that_the_model_is_shown_is_a_query() {
    let accesses = [Access::Scores, Access::Logits, Access::Gradient];
    let labeled = LABELED.into_iter().flat_map(|search| [(Access::Label, search), (Access::Logits, search)]);
    for (access, search) in accesses.into_iter().flat_map(|access| SCORED.map(|search| (access, search))).chain(labeled)
    {
        for lead in [2.0, 1e6] {
            for selection in ["all", "heuristic", "2,4", "deletion"] {
                // What a label alone does not tell, and what no radius is sought for.
                let unknown = selection == "heuristic" && access == Access::Label;
                if unknown || selection == "deletion" && !BY_RADIUS.contains(&search) {
                    continue;
                }
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
                let sum = by.queries_clean + by.queries_selection + by.queries_start + by.queries_search;
                assert_eq!(sum + by.queries_confirmation, outcome.calls.queries, "{by:?}");
                // One for the whole window, and one without each frame.
                match selection {
                    "heuristic" => assert_eq!(by.queries_selection, 1 + T as u32),
                    "deletion" => assert_eq!(by.queries_selection > 0, lead < 10.0),
                    _ => assert_eq!(by.queries_selection, 0),
                }
                assert!(model.all_grad_logits().is_empty(), "it has asked for a gradient");
                assert_eq!(outcome.success, lead < 10.0, "{search:?} {access:?} {lead} {selection}");
                // A bound of whole samples is a bound in any search.
                let bounded = outcome.perturbation.iter().flat_map(|(_, delta)| delta).all(|value| value.abs() <= 20.0);
                assert!(bounded, "{search:?} {access:?} {lead} {selection}");
            }
        }
    }
}

#[test]
fn the_end_of_the_budget_is_a_result() {
    for search in SCORED {
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
            // With a bound squares begin anew, which the last query is too few for.
            let anew = search == Search::Squares;
            assert_eq!(cut.out_of_queries, most < whole.calls.queries || anew, "{search:?} {most}");
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

/// The radius of a linear model's gradient is the least there is, and a descent on radii comes near it.
#[test]
fn labels_alone_lead_to_a_small_radius() {
    let model = Linear::new(RISING, 2.0);
    let logits = model.logits(&[0.0; T * LEN]);
    let least = (1..3).map(|rival| {
        let mut towards = vec![0.0; 3];
        (towards[0], towards[rival]) = (1.0, -1.0);
        let length = model.gradient(&towards).iter().map(|g| f64::from(g * g)).sum::<f64>().sqrt();
        f64::from(logits[0] - logits[rival]) / length
    });
    let least = least.fold(f64::INFINITY, f64::min);
    for search in BY_RADIUS {
        let config = Config { max_iterations: 60, probes: Some(30), epsilon: 0.0, ..asking(search, Access::Label) };
        let outcome = attack(&scene(), &mut Linear::new(RISING, 2.0), &config);
        let found = outcome.perturbation.iter().flat_map(|(_, delta)| delta).map(|v| f64::from(v * v)).sum::<f64>();
        let ratio = found.sqrt() / least;
        // Of 72 directions. What it begins with is at more than three times the least radius.
        assert!(outcome.success && (1.0..1.5).contains(&ratio), "{search:?}: {ratio}");
    }
}

/// Frames go without which a direction still fools, and none that is needed.
#[test]
fn deletion_leaves_few_frames() {
    // Only the last two frames matter.
    let mut model = Linear::new([0.0, 0.0, 0.0, 0.0, 0.5, 0.6], 1.0);
    let config = Config {
        selection: select("deletion"),
        epsilon: 0.0,
        max_iterations: 50,
        ..asking(Search::SignOpt, Access::Label)
    };
    let outcome = attack(&scene(), &mut model, &config);
    let frames: Vec<usize> = outcome.perturbation.iter().map(|(frame, _)| *frame).collect();
    assert!(outcome.success && !frames.is_empty() && frames.iter().all(|frame| *frame > 3), "{frames:?}");
    assert!(outcome.calls.purposes.queries_selection > 0);
}

/// Another clip of the target's label is a way to it; stripes are none.
#[test]
fn a_target_is_reached_from_a_donor() {
    let goal = Goal::new(None, Some(2));
    let mut model = Linear::new(RISING, 2.0);
    let mut towards = vec![0.0; 3];
    (towards[2], towards[0], towards[1]) = (2.0, -1.0, -1.0);
    let donor: Vec<f32> = model.gradient(&towards).iter().map(|g| 200.0 * g).collect();
    assert_eq!(argmax(&model.logits(&donor)), 2);
    for search in BY_RADIUS {
        let config = Config { epsilon: 0.0, max_iterations: 10, goal, ..asking(search, Access::Label) };
        let outcome = attack(&scene(), &mut model, &config);
        assert!(!outcome.success && outcome.calls.queries == 1, "{search:?}: {:?}", outcome.calls);
        let config = Config { donors: Donors::new(vec![donor.clone()]), ..config };
        let outcome = attack(&scene(), &mut model, &config);
        assert!(outcome.success && outcome.final_label == 2, "{search:?}");
        assert!(outcome.calls.purposes.queries_start > 0);
    }
}

/// A codec that changes the label by itself needs no perturbation, and leaves no radius that is too small.
#[test]
fn a_codec_that_fools_by_itself_ends_the_search() {
    let frames = vec![4.1; T * LEN];
    // As the codec leaves them.
    let changed = vec![8.0; T * LEN];
    let margin = |lead: f32, view: &[f32]| {
        let logits = Linear::new(RISING, lead).logits(view);
        logits[0] - logits[1].max(logits[2])
    };
    let lead = (1..1000).map(|lead| lead as f32).find(|lead| margin(*lead, &frames) > 1.0).unwrap();
    assert!(margin(lead, &changed) < 0.0);
    for search in LABELED {
        let scene = Exact { frames: frames.clone(), transport: Some(Ok(())), ..scene() };
        let mut model = Linear::new(RISING, lead);
        let config = Config { max_iterations: 2, probes: Some(4), epsilon: 0.0, ..asking(search, Access::Label) };
        let outcome = attack(&scene, &mut model, &config);
        assert!(outcome.success && outcome.calls.queries < 2000, "{search:?}: {:?}", outcome.calls);
    }
}

/// What an earlier window stands on is there whatever this one changes, and what is judged is what leaves.
#[test]
fn frames_that_are_carried_are_part_of_what_is_asked() {
    let carried = vec![(0, vec![0.5; LEN])];
    for search in [Search::VBad, Search::Squares, Search::Opt, Search::SignOpt] {
        let mut model = Linear::new(RISING, 2.0);
        let config = Config { selection: select("2,4"), max_iterations: 20, ..asking(search, Access::Logits) };
        let outcome = attack_from(&scene(), &mut model, &config, &carried, &|| false).unwrap();
        assert!(outcome.success, "{search:?}");
        let kept = outcome.perturbation.iter().find(|(frame, _)| *frame == 0);
        assert_eq!(kept.map(|(_, values)| values), Some(&carried[0].1), "{search:?}");
        let view = Exact::window(&scene().frames, &outcome.perturbation);
        assert_eq!(argmax(&model.logits(&view)), outcome.final_label, "{search:?}");
        // But for the clean window, every view has it.
        let views = model.views();
        assert!(views[1..].iter().all(|(view, _)| view[..LEN] == carried[0].1[..]), "{search:?}");
    }
}

/// Scores of other labels say nothing of a target, so that nothing is known until it is on top. Signs are tried all the same.
#[test]
fn a_target_of_which_nothing_is_told_is_looked_for_all_the_same() {
    let config =
        Config { goal: Goal::new(None, Some(2)), max_iterations: 30, ..asking(Search::Squares, Access::Scores) };
    let mut model = Linear::new(RISING, 1e6);
    attack(&scene(), &mut model, &config);
    let mut views: Vec<String> = model.views().iter().map(|(view, _)| format!("{view:?}")).collect();
    views.sort();
    views.dedup();
    // A square may be turned to the signs that it has.
    assert!(views.len() > 15, "{}", views.len());
}
