// SPDX-License-Identifier: MPL-2.0

//! Attacks with another model, or with other clips, in hand: V-BAD, I2V and STDE.

use std::sync::Arc;

use gstsparseadv::attack::access::Label;
use gstsparseadv::attack::criterion::argmax;
use gstsparseadv::attack::surrogate::{Loss, Seen, Surrogate};
use gstsparseadv::attack::{Access, Config, Donors, Error, Goal, Search};
use gstsparseadv::torch;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

use crate::blackbox::with_oracle_of;
use crate::toy::*;

/// A model of pictures: how much there is in a frame of some patterns.
struct Pictures {
    /// `[LEN, patterns]`.
    patterns: Tensor,
    /// What the first has before anything is seen.
    lead: f64,
}

// SAFETY: nobody writes to the tensor.
unsafe impl Sync for Pictures {}

impl Pictures {
    /// One for each class of the toy, as a frame of it weighs them.
    fn of(model: &Linear) -> Arc<dyn Surrogate> {
        Self::leading(model, 0.0)
    }

    fn leading(model: &Linear, lead: f64) -> Arc<dyn Surrogate> {
        let pattern = |class: usize| {
            let mut towards = vec![0.0; 3];
            towards[class] = 1.0;
            model.gradient(&towards)[(T - 1) * LEN..].to_vec()
        };
        let rows: Vec<f32> = (0..3).flat_map(pattern).collect();
        Arc::new(Self { patterns: tensor(&rows, &[3, LEN as i64]).unwrap().transpose(0, 1), lead })
    }

    fn seen(&self, frames: &Tensor) -> Result<Seen, Error> {
        assert_eq!(frames.size()[0], T as i64, "a surrogate sees all frames");
        let lead = tensor(&[self.lead as f32, 0.0, 0.0], &[3])?;
        let logits = frames.f_flatten(1, -1)?.f_matmul(&self.patterns)?.f_add(&lead)?;
        Ok(Seen { features: logits.shallow_clone(), logits })
    }
}

impl Surrogate for Pictures {
    fn look(&self, frames: &Tensor) -> Result<Seen, Error> {
        self.seen(frames)
    }

    fn gradient(&self, frames: &Tensor, loss: Loss) -> Result<Tensor, Error> {
        let leaf = frames.f_detach_copy()?.f_set_requires_grad(true)?;
        let loss = loss(&self.seen(&leaf)?)?;
        let gradient = Tensor::f_run_backward(&[&loss], &[&leaf], false, false)?;
        Ok(gradient[0].shallow_clone())
    }
}

/// Of V-BAD's model: within the bound for one who knows the way, and not for signs that are drawn.
const LEAD: f32 = 6.0;

fn gray() -> Exact {
    // Bright enough for a perturbation either way.
    Exact { frames: vec![100.0; T * LEN], ..scene() }
}

/// The lead that class 0 has on gray, with a model that leads by so much more than it needs.
fn model(lead: f32) -> Linear {
    let without = Linear::new(RISING, 0.0).logits(&gray().frames);
    let needed = without[1].max(without[2]) - without[0];
    Linear::new(RISING, needed + lead)
}

fn config(search: Search, access: Access) -> Config {
    Config { access, selection: select("all"), epsilon: 12.0, ..Config::of(UNTARGETED, search) }
}

/// Signs that a surrogate gives are those of what matters, and need fewer queries than signs that are drawn.
#[test]
fn a_surrogate_saves_queries() {
    let queries = |surrogate: Option<Arc<dyn Surrogate>>| -> u32 {
        let of = |seed: u64| {
            let config = Config { surrogate: surrogate.clone(), seed, ..config(Search::VBad, Access::Scores) };
            let mut model = model(LEAD);
            let outcome = attack(&gray(), &mut model, &config);
            assert!(outcome.success, "{seed}");
            assert_eq!(outcome.calls.queries as usize, model.views().len());
            assert!(model.all_grad_logits().is_empty(), "it has asked the model for a gradient");
            outcome.calls.queries
        };
        (0..8).map(of).sum()
    };
    let (drawn, given) = (queries(None), queries(Some(Pictures::of(&model(LEAD)))));
    assert!(f64::from(given) < 0.8 * f64::from(drawn), "{given} with, {drawn} without");
}

/// So much that a picture's label is the window's, and has no slope.
const SURE: f64 = 1e4;

/// What fools a surrogate has much smaller values than squares that fool, at the same number of queries.
#[test]
fn squares_begin_where_a_surrogate_falls() {
    let largest = |surrogate: Option<Arc<dyn Surrogate>>| -> f64 {
        let of = |seed: u64| {
            let config = Config {
                surrogate: surrogate.clone(),
                seed,
                epsilon: 0.0,
                max_queries: Some(40),
                ..config(Search::Squares, Access::Label)
            };
            let mut model = model(LEAD);
            let outcome = attack(&gray(), &mut model, &config);
            assert!(outcome.success, "{seed}");
            assert_eq!(outcome.calls.queries as usize, model.views().len());
            outcome.size.max_abs
        };
        (0..8).map(of).sum()
    };
    let (drawn, given) = (largest(None), largest(Some(Pictures::leading(&model(LEAD), SURE))));
    assert!(given < 0.5 * drawn, "{given} with, {drawn} without");
}

/// The bound is drawn in around the window until it is the one that was asked for.
#[test]
fn v_bad_comes_from_a_clip_of_the_target() {
    let goal = Goal::new(None, Some(2));
    let known = model(4.0);
    let mut towards = vec![0.0; 3];
    (towards[2], towards[0], towards[1]) = (2.0, -1.0, -1.0);
    let way = known.gradient(&towards);
    let donor: Vec<f32> = way.iter().map(|g| if *g > 0.0 { 255.0 } else { 0.0 }).collect();
    assert_eq!(argmax(&known.logits(&donor)), 2);
    for surrogate in [None, Some(Pictures::of(&known))] {
        let config = Config {
            goal,
            surrogate,
            donors: Donors::new(vec![vec![100.0; T * LEN], donor.clone()]),
            ..config(Search::VBad, Access::Scores)
        };
        let mut model = model(4.0);
        let outcome = attack(&gray(), &mut model, &config);
        assert!(outcome.success && outcome.final_label == 2);
        assert_eq!(outcome.calls.queries as usize, model.views().len());
        // The first clip is none of the target.
        assert_eq!(outcome.calls.purposes.queries_start, 2);
        let largest = outcome.perturbation.iter().flat_map(|(_, delta)| delta).fold(0.0f32, |a, v| a.max(v.abs()));
        assert!(largest <= 12.0, "{largest}");
    }
}

/// What is shown in several places of a window that is cut short has the gradient of all of them.
#[test]
fn a_cut_window_has_the_whole_gradient_of_its_last_frame() {
    let scene = Exact { real: 2, ..gray() };
    let (found, _) = with_oracle_of::<Label, _>(&scene, &mut model(1.0), None, |oracle| {
        let shape = [T as i64, 3, 2, 2];
        let places: Vec<f32> = (0..T * LEN).map(|i| (i / LEN + 1) as f32).collect();
        torch::download(&oracle.of_frames(&tensor(&places, &shape).unwrap(), &[1, 0]).unwrap()).unwrap()
    });
    let repeated: f32 = (2..=T).map(|place| place as f32).sum();
    assert_eq!(found, [vec![repeated; LEN], vec![1.0; LEN]].concat());
}

/// It asks once more than about the clean window, in the end.
#[test]
fn i2v_leads_away_from_what_a_surrogate_sees() {
    let known = model(10.0);
    let surrogate = Some(Pictures::of(&known));
    let mut asked = model(10.0);
    let config = Config { surrogate: surrogate.clone(), ..config(Search::I2v, Access::Label) };
    let outcome = attack(&gray(), &mut asked, &config);
    assert_eq!((outcome.calls.queries, asked.views().len()), (2, 2));
    assert_eq!(outcome.iterations, 60);
    let perturbed = &asked.views()[1].0;
    let distance = |frames: &[f32]| {
        let seen = |frames: &[f32]| {
            let frames = tensor(frames, &[T as i64, 3, 2, 2]).unwrap();
            surrogate.as_ref().unwrap().look(&frames).unwrap().features
        };
        let cosine = Tensor::cosine_similarity(&seen(&gray().frames), &seen(frames), 1, 1e-8).mean(Kind::Float);
        1.0 - torch::download(&cosine).unwrap()[0]
    };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let drawn: Vec<f32> = (0..T * LEN).map(|_| if rng.random() { 112.0 } else { 88.0 }).collect();
    let (led, drawn) = (distance(perturbed), distance(&drawn));
    assert!(led > 3.0 * drawn, "{led} where signs that are drawn have {drawn}");
    let largest = perturbed.iter().fold(0.0f32, |a, v| a.max((v - 100.0).abs()));
    assert!((11.9..=12.01).contains(&largest), "{largest}");
    let none = attack_from(&gray(), &mut asked, &Config { surrogate: None, ..config }, &Vec::new(), &|| false);
    assert!(none.is_err_and(|error| error.to_string().contains("surrogate")));
}

/// A patch in few frames, where few of them matter.
#[test]
fn stde_covers_little() {
    let mut asked = Linear::new([0.0, 0.0, 0.0, 0.0, 0.0, 0.6], 1.0);
    let clean = Exact { frames: vec![0.0; T * LEN], ..scene() };
    let logits = |view: &[f32]| Linear::new([0.0, 0.0, 0.0, 0.0, 0.0, 0.6], 1.0).logits(view);
    let donor = vec![200.0; T * LEN];
    assert_ne!(argmax(&logits(&donor)), 0);
    let config = Config { donors: Donors::new(vec![donor]), epsilon: 0.0, ..config(Search::Stde, Access::Label) };
    let outcome = attack(&clean, &mut asked, &config);
    assert!(outcome.success);
    assert_eq!(outcome.calls.queries as usize, asked.views().len());
    let changed: Vec<f32> = outcome.perturbation.iter().flat_map(|(_, delta)| delta.clone()).collect();
    let frames: Vec<usize> = outcome.perturbation.iter().map(|(frame, _)| *frame).collect();
    // Of 72 values a pixel of the last frame is enough, which has three colors.
    assert_eq!(frames, [T - 1]);
    assert!(changed.iter().filter(|v| **v != 0.0).count() <= 6, "{changed:?}");
    assert!(changed.iter().all(|v| *v == 0.0 || *v == 200.0), "{changed:?}");
}
