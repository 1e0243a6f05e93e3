// SPDX-License-Identifier: MPL-2.0

//! The attack's rules, on a classifier simple enough to know every answer: logits that are linear in the view.

use std::cell::RefCell;

use gstsparseadv::attack::keyframes::Source;
use gstsparseadv::attack::{
    loss, norm, run, Classifier, Config, Error, Goal, Outcome, Scene, Selection,
};

const T: usize = 6;
const LEN: usize = 12;

/// Frames of exact values, shown as they are: the paper's own setting, without a stream's rounding.
struct Exact {
    frames: Vec<f32>,
    real: usize,
}

impl Scene for Exact {
    fn frames(&self) -> usize {
        T
    }

    fn real_frames(&self) -> usize {
        self.real
    }

    fn frame_len(&self) -> usize {
        LEN
    }

    fn clean(&self, frame: usize, view: &mut [f32]) {
        let frame = frame.min(self.real - 1);
        view.copy_from_slice(&self.frames[frame * LEN..][..LEN]);
    }

    fn perturbed(&mut self, frames: &[usize], delta: &[f32], views: &mut [f32]) {
        let pairs = views.chunks_exact_mut(LEN).zip(delta.chunks_exact(LEN));
        for (frame, (view, delta)) in frames.iter().zip(pairs) {
            self.clean(*frame, view);
            view.iter_mut().zip(delta).for_each(|(v, d)| *v += d);
        }
    }

    fn backward(&mut self, _frames: &[usize], grad_views: &[f32], grad_delta: &mut [f32]) {
        grad_delta.copy_from_slice(grad_views);
    }
}

/// `logits = weights * view + bias`, and a record of what it was asked.
struct Linear {
    weights: Vec<Vec<f32>>,
    bias: Vec<f32>,
    features: Option<Vec<f64>>,
    asked: RefCell<Vec<Asked>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Asked {
    Forward { view: Vec<f32>, label: usize },
    Backward { cotangent: Vec<f32> },
    Features,
}

impl Linear {
    /// Class 0 wins by `lead` on a black window; frame k moves the classes in proportion to `frame_weights[k]`.
    fn new(frame_weights: [f32; T], lead: f32) -> Self {
        let row = |class: usize| {
            (0..T * LEN)
                .map(|i| frame_weights[i / LEN] * ((i * 7 + class * 5) % 11) as f32 / 100.0)
                .map(|w| if class == 0 { -w } else { w })
                .collect()
        };
        Self {
            weights: (0..3).map(row).collect(),
            bias: vec![lead, 0.0, -0.1],
            features: None,
            asked: RefCell::default(),
        }
    }

    fn logits(&self, view: &[f32]) -> Vec<f32> {
        let dot = |w: &Vec<f32>| w.iter().zip(view).map(|(a, b)| a * b).sum::<f32>();
        self.weights
            .iter()
            .zip(&self.bias)
            .map(|(w, b)| dot(w) + b)
            .collect()
    }

    fn views(&self) -> Vec<(Vec<f32>, usize)> {
        let asked = self.asked.borrow();
        let forward = asked.iter().filter_map(|a| match a {
            Asked::Forward { view, label } => Some((view.clone(), *label)),
            _ => None,
        });
        forward.collect()
    }
}

impl Classifier for Linear {
    fn classes(&self) -> usize {
        self.weights.len()
    }

    fn forward(&mut self, view: &[f32]) -> Result<Vec<f32>, Error> {
        let logits = self.logits(view);
        self.asked.borrow_mut().push(Asked::Forward {
            view: view.to_vec(),
            label: loss::top(&logits),
        });
        Ok(logits)
    }

    fn backward(
        &mut self,
        cotangent: &[f32],
        frames: &[usize],
        grad_view: &mut [f32],
    ) -> Result<(), Error> {
        self.asked.borrow_mut().push(Asked::Backward {
            cotangent: cotangent.to_vec(),
        });
        grad_view.fill(0.0);
        // What was not asked for must not be used.
        for k in (0..T).filter(|k| !frames.contains(k)) {
            grad_view[k * LEN..][..LEN].fill(f32::NAN);
        }
        for (c, w) in cotangent.iter().zip(&self.weights) {
            grad_view.iter_mut().zip(w).for_each(|(g, w)| *g += c * w);
        }
        Ok(())
    }

    fn feature_weights(&mut self, _label: usize) -> Result<Option<Vec<f64>>, Error> {
        self.asked.borrow_mut().push(Asked::Features);
        Ok(self.features.clone())
    }
}

fn scene() -> Exact {
    Exact {
        frames: vec![0.0; T * LEN],
        real: T,
    }
}

fn config(goal: Goal) -> Config {
    Config {
        confidence: 0.0,
        grow_after: 0,
        ..Config::new(goal)
    }
}

const UNTARGETED: Goal = Goal::Untargeted { label: None };
const RISING: [f32; T] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6];

fn attack(scene: &mut Exact, model: &mut Linear, config: &Config) -> Outcome {
    run(scene, model, config, &[], &|| false, &mut |_| {}).unwrap()
}

#[test]
fn keyframes_by_descending_weight_to_the_boundary() {
    let mut model = Linear::new(RISING, 3.0);
    let outcome = attack(&mut scene(), &mut model, &config(UNTARGETED));
    // Weights are in proportion to 1..6, up to the pattern's differences: the last frame has 6/21 < 0.3, the last two more.
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
    let outcome = attack(&mut scene(), &mut model, &config(UNTARGETED));
    assert_eq!(outcome.keyframes.chosen(), [0]);
    assert_eq!(outcome.keyframes.weights[0], 0.5);

    let by_input = Config {
        selection: Selection::Gradient(Source::Input),
        ..config(UNTARGETED)
    };
    assert_eq!(
        attack(&mut scene(), &mut model, &by_input)
            .keyframes
            .chosen(),
        [5, 4]
    );
}

#[test]
fn class_term_while_the_label_holds_and_norm_while_fooled() {
    let mut model = Linear::new(RISING, 3.0);
    let outcome = attack(&mut scene(), &mut model, &config(UNTARGETED));
    assert!(outcome.iterations > 10, "both stages must have come up");
    let asked = model.asked.borrow();
    let first_step = asked
        .iter()
        .skip(1)
        .position(|a| matches!(a, Asked::Backward { .. }));
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
    assert!(
        switches >= 2,
        "fooled and not fooled must alternate near the boundary"
    );
    // In the class stage the gradient is that of minus the cross-entropy of the clean label: label 0 is left.
    for a in asked.iter().skip(first_step.unwrap() + 2) {
        if let Asked::Backward { cotangent } = a {
            assert_eq!(cotangent[0], 1.0);
            assert!(cotangent[1] <= 0.0 && cotangent[2] <= 0.0);
            assert!(cotangent.iter().sum::<f32>().abs() < 1e-6);
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
    attack(&mut scene(), &mut model, &one);
    let views = model.views();
    let fooled = views.iter().position(|(_, label)| *label != 0).unwrap();
    let (before, after) = (&views[fooled].0, &views[fooled + 1].0);
    for k in 4..T {
        let (b, a) = (&before[k * LEN..][..LEN], &after[k * LEN..][..LEN]);
        let ratio: Vec<f32> = b
            .iter()
            .zip(a)
            .filter(|(b, _)| b.abs() > 1e-6)
            .map(|(b, a)| a / b)
            .collect();
        // d/dx ||x|| = x / ||x||: every value of a frame shrinks in the same proportion.
        assert!(
            ratio
                .iter()
                .all(|r| *r < 1.0 && (r - ratio[0]).abs() < 1e-3),
            "{ratio:?}"
        );
    }
}

#[test]
fn the_smallest_success_is_kept() {
    for patience in [0, 5] {
        let mut model = Linear::new(RISING, 3.0);
        let config = Config {
            patience,
            max_iterations: 120,
            ..config(UNTARGETED)
        };
        let outcome = attack(&mut scene(), &mut model, &config);
        let sizes = model.views().into_iter().filter(|(_, label)| *label != 0);
        let smallest = sizes
            .map(|(view, _)| norm::l21(&view, LEN))
            .fold(f64::INFINITY, f64::min);
        assert_eq!(outcome.size.l21, smallest);
        // And it is what is returned: put back on the clean frames it fools.
        let mut view = vec![0.0; T * LEN];
        for (k, delta) in &outcome.perturbation {
            view[k * LEN..][..LEN].copy_from_slice(delta);
        }
        assert_eq!(loss::top(&model.logits(&view)), outcome.final_label);
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
        let config = Config {
            max_iterations: bound,
            ..config(UNTARGETED)
        };
        let outcome = attack(&mut scene(), &mut model, &config);
        assert!(!outcome.success && outcome.perturbation.is_empty());
        assert_eq!(outcome.final_label, outcome.clean_label);
        assert_eq!(outcome.iterations, bound);
        // The clean pass, and one after each update.
        assert_eq!(outcome.calls.forwards, 1 + bound);
        let selection = u32::from(bound > 0);
        assert_eq!(outcome.calls.backwards, bound + selection);
        // The first step's backward is a second one on the clean pass.
        assert_eq!(outcome.calls.queries, 1 + bound + selection);
    }
}

#[test]
fn targeted_reaches_its_class_and_no_other() {
    for target in [1, 2] {
        let mut model = Linear::new(RISING, 2.0);
        let outcome = attack(&mut scene(), &mut model, &config(Goal::Targeted { target }));
        assert!(outcome.success);
        assert_eq!(outcome.final_label, target);
    }
    let mut model = Linear::new(RISING, 2.0);
    let trivial = attack(
        &mut scene(),
        &mut model,
        &config(Goal::Targeted { target: 0 }),
    );
    assert!(trivial.trivial && trivial.success && trivial.perturbation.is_empty());
    assert_eq!(trivial.calls.queries, 1);
}

#[test]
fn a_label_given_is_the_one_to_leave() {
    let mut model = Linear::new(RISING, 2.0);
    let given = config(Goal::Untargeted { label: Some(1) });
    assert!(attack(&mut scene(), &mut model, &given).trivial);
    let given = config(Goal::Untargeted { label: Some(3) });
    let error = run(
        &mut scene(),
        &mut model,
        &given,
        &[],
        &|| false,
        &mut |_| {},
    )
    .unwrap_err();
    assert!(matches!(
        error,
        Error::LabelOutOfRange {
            classes: 3,
            found: 3
        }
    ));
}

#[test]
fn epsilon_bounds_every_value() {
    let mut model = Linear::new(RISING, 3.0);
    let config = Config {
        epsilon: 0.25,
        max_iterations: 30,
        grow_after: 0,
        ..config(UNTARGETED)
    };
    attack(&mut scene(), &mut model, &config);
    let largest = model
        .views()
        .iter()
        .flat_map(|(v, _)| v.clone())
        .fold(0.0f32, |m, v| m.max(v.abs()));
    assert_eq!(largest, 0.25);
}

#[test]
fn baselines_choose_as_published() {
    let chosen = |selection: Selection, frames: Vec<f32>| {
        let mut model = Linear::new([0.3; T], 1.0);
        let config = Config {
            selection,
            ..config(UNTARGETED)
        };
        let mut scene = Exact { frames, real: T };
        let mut chosen = attack(&mut scene, &mut model, &config)
            .keyframes
            .chosen()
            .to_vec();
        chosen.sort_unstable();
        chosen
    };
    let black = vec![0.0; T * LEN];
    assert_eq!(chosen(Selection::Fixed(Some(2)), black.clone()), [0, 1]);
    // 4/16 of six frames, rounded.
    assert_eq!(chosen(Selection::Fixed(None), black.clone()), [0, 1]);
    assert_eq!(chosen(Selection::All, black.clone()), [0, 1, 2, 3, 4, 5]);
    assert_eq!(chosen(Selection::List(vec![1, 3]), black.clone()), [1, 3]);
    // Frame 4 differs from both neighbours: it and its successor move most.
    let mut flash = black.clone();
    flash[4 * LEN..5 * LEN].fill(-0.5);
    assert_eq!(
        chosen(Selection::InterFrameDifference(Some(2)), flash),
        [4, 5]
    );
    let random = Selection::Random(Some(3));
    assert_eq!(chosen(random.clone(), black.clone()), chosen(random, black));
}

#[test]
fn heuristic_weighs_by_the_drop_in_probability() {
    // Only frame 2 speaks for class 0, so only its removal lowers it.
    let mut model = Linear::new([0.0, 0.0, -1.0, 0.0, 0.0, 0.0], 0.5);
    let mut frames = vec![0.0; T * LEN];
    frames[2 * LEN..3 * LEN].fill(1.0);
    let config = Config {
        selection: Selection::Heuristic(Some(1)),
        max_iterations: 1,
        ..config(UNTARGETED)
    };
    let outcome = attack(&mut Exact { frames, real: T }, &mut model, &config);
    assert_eq!(outcome.keyframes.chosen(), [2]);
    // One query a frame, beside the clean pass before, its repetition after, and the one update.
    assert_eq!(outcome.calls.forwards, 1 + T as u32 + 1 + 1);
}

#[test]
fn a_stalled_attack_takes_one_frame_more() {
    let stalled = |grow_after| {
        let mut model = Linear::new(RISING, 3.0);
        let config = Config {
            epsilon: 1.5,
            grow_after,
            max_iterations: 60,
            ..config(UNTARGETED)
        };
        attack(&mut scene(), &mut model, &config)
    };
    let never = stalled(0);
    assert!(!never.success && never.keyframes.count == 2);
    let grown = stalled(5);
    assert!(grown.success && grown.keyframes.count > 2);
    let perturbed: Vec<usize> = grown.perturbation.iter().map(|p| p.0).collect();
    assert_eq!(perturbed.last(), Some(&5));
}

#[test]
fn repeated_last_frame_carries_its_perturbation() {
    let mut model = Linear::new(RISING, 1.0);
    let mut short = Exact {
        frames: vec![0.0; T * LEN],
        real: 3,
    };
    let outcome = attack(&mut short, &mut model, &config(UNTARGETED));
    assert!(outcome.success);
    assert_eq!(outcome.keyframes.weights.len(), 3);
    assert_eq!(
        outcome.perturbation[0].0, 2,
        "the last real frame stands for four of six"
    );
    for (view, _) in model.views().iter().skip(1) {
        let last = &view[2 * LEN..3 * LEN];
        assert!((3..T).all(|k| view[k * LEN..][..LEN] == *last));
    }
}

#[test]
fn a_carried_perturbation_that_fools_is_left_alone() {
    let mut model = Linear::new(RISING, 1.0);
    let first = attack(&mut scene(), &mut model, &config(UNTARGETED));
    let start = first.perturbation.clone();
    let again = run(
        &mut scene(),
        &mut model,
        &config(UNTARGETED),
        &start,
        &|| false,
        &mut |_| {},
    )
    .unwrap();
    assert!(again.success);
    assert_eq!(again.iterations, 0);
    assert_eq!(again.perturbation, start);
}

#[test]
fn cancelled_at_once_and_in_the_middle() {
    for after in [0, 3] {
        let mut model = Linear::new(RISING, 1e6);
        let left = RefCell::new(after);
        let cancelled = || {
            let mut left = left.borrow_mut();
            *left -= 1;
            *left < 0
        };
        let error = run(
            &mut scene(),
            &mut model,
            &config(UNTARGETED),
            &[],
            &cancelled,
            &mut |_| {},
        )
        .unwrap_err();
        assert!(matches!(error, Error::Cancelled));
        assert!(model.views().len() <= 3);
    }
}

#[test]
fn output_that_is_not_finite_is_an_error() {
    let mut model = Linear::new(RISING, f32::NAN);
    let error = run(
        &mut scene(),
        &mut model,
        &config(UNTARGETED),
        &[],
        &|| false,
        &mut |_| {},
    )
    .unwrap_err();
    assert!(error.to_string().contains("not finite"), "{error}");
}

#[test]
fn cotangent_is_the_cross_entropys_gradient_up_to_scale() {
    let cross_entropy = |z: &[f64], y: usize| {
        let max = z.iter().copied().fold(f64::MIN, f64::max);
        z.iter().map(|v| (v - max).exp()).sum::<f64>().ln() + max - z[y]
    };
    let logits = [1.5f32, -0.3, 0.2, 2.1];
    for (goal, y, sign) in [
        (UNTARGETED, 0, -1.0),
        (Goal::Targeted { target: 2 }, 2, 1.0),
    ] {
        let found = loss::cotangent(&logits, goal, 0);
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
            // The cotangent is in single precision.
            assert!(
                (f64::from(*f) - n / scale).abs() < 1e-6,
                "{found:?} {numeric:?}"
            );
        }
    }
    // A sure model still has a direction to leave by.
    let sure = loss::cotangent(&[200.0, 0.0, -1.0], UNTARGETED, 0);
    assert_eq!(sure[0], 1.0);
    assert!(sure[1] < -0.5 && sure.iter().all(|v| v.is_finite()));
}
