// SPDX-License-Identifier: MPL-2.0

//! Models that encode frame by frame: an attack by halves is the attack by the whole.

mod common;

#[path = "../examples/train/halve.rs"]
mod halve;

use common::models::{ModelFile, SIDE, edit_code, load, traced, weights};
use common::views::{samples, view};
use gstsparseadv::attack::{Config, Goal, Outcome, Search, run, select};
use gstsparseadv::model::Model;
use gstsparseadv::target::WindowTarget;
use gstsparseadv::video::Chroma;
use serde_json::json;
use tch::Tensor;

const T: usize = 6;

/// A convolution a frame, and all frames' maps together through a layer that bends.
fn whole() -> ModelFile {
    let convolution = weights(1, &[4, 3, 3, 3], 0.6);
    let linear = weights(3, &[T as i64 * 4 * 49, 4], 0.3);
    let file = traced(T, true, move |x: &Tensor| {
        let maps = x.flatten(0, 1).conv2d(&convolution, None::<&Tensor>, [2, 2], [0, 0], [1, 1], 1).relu();
        let maps = maps.f_unflatten(0, [-1, T as i64]).expect("a window");
        vec![maps.flatten(1, -1).tanh().matmul(&linear), maps]
    });
    let metadata = json!({
        "window": T, "layout": "BTCHW", "channels": "BGR", "resize": [SIDE + 2, SIDE + 4], "crop": [SIDE, SIDE],
        "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.75, 1.5],
    });
    file.with_metadata(&metadata.to_string())
}

fn halves() -> ModelFile {
    let file = whole();
    edit_code(&file.path, |code| halve::halve(code).expect("a method to cut"));
    file
}

/// Attacks a window of `real` frames. The second reading has other chroma, so that it is expected and confirmed.
fn attack(model: &mut Model, real: usize, tensors: bool, config: &Config) -> Outcome {
    let (first, second) = (view(model, Chroma::Repeated), view(model, Chroma::Interpolated));
    let (near, far) = (samples(&first, real), samples(&second, real));
    let make = if tensors { WindowTarget::by_tensors } else { WindowTarget::new };
    let mut target = make(model, &first, &near).expect("a target");
    target.confirm_by(&second, &far).expect("another reading");
    run(&mut target, config, &Vec::new(), &|| false, &mut |_| {}).expect("an outcome")
}

#[test]
fn an_attack_by_halves_is_the_attack_by_the_whole() {
    let (mut whole, mut halves) = (load(&whole()), load(&halves()));
    assert_eq!((whole.warnings(), halves.warnings()), (vec![], vec![]));
    assert!(!whole.encodes_frames() && halves.encodes_frames());
    let mut fooled = 0;
    for search in [Search::Walk, Search::TwoStage, Search::WeightedSum] {
        for selection in [select::Gradient(select::Source::Auto).into(), select::Removal(Some(2)).into()] {
            for (real, tensors) in [(T, false), (T, true), (4, false), (1, false)] {
                let goal = Goal::Untargeted { label: None };
                // Frames that join are chosen by other gradients.
                let config = Config {
                    selection: Clone::clone(&selection),
                    grow_after: 0,
                    max_iterations: 12,
                    ..Config::of(goal, search)
                };
                let what = format!("{search:?} {selection} {real} {tensors}");
                let expected = attack(&mut whole, real, tensors, &config);
                let found = attack(&mut halves, real, tensors, &config);
                fooled += u32::from(found.success);
                assert_eq!(found.keyframes.order, expected.keyframes.order, "{what}");
                assert_eq!((found.clean_label, found.success), (expected.clean_label, expected.success), "{what}");
                assert_eq!(found.final_label, expected.final_label, "{what}");
                // Sums in another order, which now and then round to another gray level.
                let apart = (found.size.map - expected.size.map).abs();
                assert!(apart <= 0.03 * expected.size.map, "{what}: {} {}", found.size.map, expected.size.map);
                let (a, b) = (found.calls, expected.calls);
                assert!(
                    a.backwards.abs_diff(b.backwards) <= 1 && a.queries.abs_diff(b.queries) <= 1,
                    "{what}: {a:?} {b:?}"
                );
            }
        }
    }
    assert!(fooled >= 12, "{fooled}");
}

#[test]
fn frames_join_by_the_gradient_of_their_codes() {
    let mut halves = load(&halves());
    let config = Config {
        selection: select::Fixed(Some(1)).into(),
        grow_after: 1,
        confidence: 3.0,
        ..Config::of(Goal::Untargeted { label: None }, Search::Walk)
    };
    let selection = select::Gradient(select::Source::Auto).into();
    let config = Config { boundary: 0.01, selection, ..config };
    let found = attack(&mut halves, T, false, &config);
    assert!(found.success && found.keyframes.count > 1, "{:?}", found.keyframes);
    // A further one for each pass over all frames in the other reading before the end.
    assert!(found.calls.forwards > found.iterations, "{:?}", found.calls);
}

#[test]
fn halves_that_are_not_the_whole_are_told_of_and_not_used() {
    let broken = |edit: fn(&str) -> String| {
        let file = halves();
        edit_code(&file.path, |code| {
            let edited = edit(code);
            assert_ne!(edited, code);
            edited
        });
        let model = load(&file);
        assert!(!model.encodes_frames());
        let warnings = model.warnings();
        assert!(
            warnings.iter().any(|w| w.contains("encode_frames and classify_features are not used")),
            "{warnings:?}"
        );
        warnings.concat()
    };
    let other = broken(|code| code.replace("return ((self)", "return (torch.neg((self)").replace(", ), _", ", )), _"));
    assert!(other.contains("logits and gradients that differ"), "{other}");
    let among =
        broken(|code| code.replacen("(argument_1, ", "(torch.sub(argument_1, torch.mean(argument_1, [0], True)), ", 1));
    assert!(among.contains("differ by"), "{among}");
}
