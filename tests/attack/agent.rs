// SPDX-License-Identifier: MPL-2.0

//! An agent that picks keyframes: what it learns where one frame decides, and what becomes of what it says.

use std::path::Path;
use std::sync::{Arc, Mutex};

use gstsparseadv::agent::trial::{LOST, attempt, reward};
use gstsparseadv::agent::{Config as Learning, Episode, Learner};
use gstsparseadv::attack::select::Agent;
use gstsparseadv::attack::select::agent::{Weigh, shown};
use gstsparseadv::attack::{Access, Config, Donors, Error, Search};
use gstsparseadv::torch;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use crate::toy::*;

/// The frame that decides.
const KEY: usize = 3;

/// A model that looks at one frame, and a donor of another label.
fn decided() -> (Linear, Vec<f32>) {
    let mut weights = [0.0; T];
    weights[KEY] = 1.0;
    (Linear::new(weights, 40.0), vec![120.0; T * LEN])
}

/// Frames of other values each.
fn frames() -> Vec<f32> {
    (0..T * LEN).map(|i| (i / LEN * 3 + i % LEN) as f32 / 10.0).collect()
}

fn views() -> Tensor {
    torch::upload(&frames(), &[T as i64, 3, 2, 2], Device::Cpu).unwrap()
}

/// What is seen of the window and the donor, and the worth of a set of frames by an attack on them.
fn worth(picked: &[bool]) -> f64 {
    let (mut model, donor) = decided();
    let scene = Exact { frames: frames(), ..scene() };
    let donor = Donors::new(vec![donor]);
    let outcome = attempt(&mut Target::new(&scene, &mut model), picked, &donor, &|| false).unwrap();
    assert!(model.views().len() <= 8 && model.all_grad_logits().is_empty());
    reward(outcome.as_ref())
}

#[test]
fn a_set_is_worth_what_an_attack_on_it_comes_to() {
    let set = |frames: &[usize]| (0..T).map(|k| frames.contains(&k)).collect::<Vec<_>>();
    assert_eq!(worth(&set(&[])), LOST);
    assert_eq!(worth(&set(&[0, 1, 2, 4, 5])), LOST);
    let (one, two, all) = (worth(&set(&[KEY])), worth(&set(&[0, KEY])), worth(&[true; T]));
    assert!(one > two && two > all && all > 0.0 && one < 1.0, "{one} {two} {all}");
}

/// From even chances: the frame that decides becomes certain, and the others become unlikely.
#[test]
fn the_frame_that_decides_is_learned() {
    let (_, donor) = decided();
    let shown = shown(&views(), Some(&donor)).unwrap();
    let mut learner = Learner::new(Learning::default(), 1).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let even = learner.probabilities(&shown).unwrap();
    assert!(even.iter().all(|p| (p - 0.5).abs() < 1e-6), "{even:?}");
    for _ in 0..400 {
        let sets = learner.draw(&learner.probabilities(&shown).unwrap(), &mut rng);
        let episode = |picked: Vec<bool>| Episode { reward: worth(&picked), picked };
        let episodes: Vec<Episode> = sets.into_iter().map(episode).collect();
        let gradient = learner.gradient(&shown, 0, &episodes).unwrap();
        learner.step(&gradient).unwrap();
        learner.expect(0, &episodes);
    }
    let learned = learner.probabilities(&shown).unwrap();
    println!("{learned:?}");
    assert!(learned[KEY] > 0.95, "{learned:?}");
    assert!((0..T).all(|k| k == KEY || learned[k] < 0.3), "{learned:?}");
}

fn logarithm(probabilities: &[f64], picked: &[bool]) -> f64 {
    let each = probabilities.iter().zip(picked).map(|(p, picked)| if *picked { p.ln() } else { (1.0 - p).ln() });
    each.sum::<f64>() / picked.len() as f64
}

/// Cut off from the network, as in a published program, a reward would teach nothing.
#[test]
fn a_reward_has_the_gradient_of_the_logarithm_of_what_was_drawn() {
    let shown = shown(&views(), None).unwrap();
    let learner = || Learner::new(Learning { learning_rate: 1e-4, ..Learning::default() }, 1).unwrap();
    let picked: Vec<bool> = (0..T).map(|k| k != 1).collect();
    let length = |gradient: &Tensor| {
        torch::download_f64(&gradient.f_square().unwrap().f_sum(Kind::Double).unwrap()).unwrap()[0].sqrt()
    };
    for reward in [1.0, -1.0, 0.25] {
        let episodes = [Episode { picked: picked.clone(), reward }];
        let mut learner = learner();
        let before = logarithm(&learner.probabilities(&shown).unwrap(), &picked);
        let gradient = learner.gradient(&shown, 0, &episodes).unwrap();
        assert!(length(&gradient) > 1e-3, "{reward}");
        // In proportion to the reward.
        let of_one = learner.gradient(&shown, 0, &[Episode { picked: picked.clone(), reward: 1.0 }]).unwrap();
        assert!((length(&gradient) / length(&of_one) - f64::abs(reward)).abs() < 1e-4);
        learner.step(&gradient).unwrap();
        let gained = logarithm(&learner.probabilities(&shown).unwrap(), &picked) - before;
        assert!(gained * reward > 0.0, "{reward}: {gained}");
    }
    // What was to be expected teaches nothing.
    let mut learner = learner();
    let episodes = [Episode { picked, reward: 0.5 }];
    (0..400).for_each(|_| learner.expect(0, &episodes));
    assert!(length(&learner.gradient(&shown, 0, &episodes).unwrap()) < 1e-6);
}

#[test]
fn draws_are_as_frequent_as_they_are_probable() {
    let learner = Learner::new(Learning { draws: 4000, ..Learning::default() }, 1).unwrap();
    let probabilities = [0.0, 0.2, 0.9, 1.0];
    let sets = learner.draw(&probabilities, &mut ChaCha8Rng::seed_from_u64(1));
    for (k, probability) in probabilities.iter().enumerate() {
        let share = sets.iter().filter(|set| set[k]).count() as f64 / 4000.0;
        assert!((share - probability).abs() < 0.03, "{k}: {share}");
    }
}

/// One that says this, and notes what it is shown.
struct Saying(Vec<f64>, Mutex<Vec<Vec<i64>>>);

impl Saying {
    fn these(probabilities: &[f64]) -> Arc<Self> {
        Arc::new(Self(probabilities.to_vec(), Mutex::default()))
    }
}

impl Weigh for Saying {
    fn weigh(&self, shown: &Tensor) -> Result<Vec<f64>, Error> {
        self.1.lock().unwrap().push(shown.size());
        Ok(self.0[..shown.size()[2] as usize].to_vec())
    }
}

fn by(agent: &Arc<Saying>, config: Config) -> Config {
    Config { selection: Agent::given(Path::new("a.pt"), agent.clone(), Donors::default()).into(), ..config }
}

/// At every level of access, and without a query of its own.
#[test]
fn keyframes_are_those_that_are_more_probable_than_not() {
    let gradient = config(UNTARGETED);
    let asking = |access, search| Config { access, epsilon: 20.0, max_iterations: 5, ..Config::of(UNTARGETED, search) };
    let configs = [
        asking(Access::Label, Search::SignOpt),
        asking(Access::Label, Search::Opt),
        asking(Access::Scores, Search::Squares),
        asking(Access::Logits, Search::VBad),
        gradient,
    ];
    for config in configs {
        for (probabilities, expected) in [
            ([0.2, 0.51, 0.4, 0.9, 0.5, 0.1], &[3, 1][..]),
            ([0.1, 0.2, 0.4, 0.3, 0.0, 0.0], &[2]),
            ([1.0; T], &[0, 1, 2, 3, 4, 5]),
        ] {
            let agent = Saying::these(&probabilities);
            let mut model = Linear::new([0.5; T], 1.0);
            let outcome = attack(&scene(), &mut model, &by(&agent, config.clone()));
            assert_eq!(outcome.keyframes.chosen(), expected, "{:?}", config.search);
            assert!(outcome.success && outcome.calls.purposes.queries_selection == 0, "{:?}", outcome.calls);
            assert_eq!(*agent.1.lock().unwrap(), [[1, 6, T as i64, 2, 2]], "once a window");
        }
    }
}

/// The next most probable ones.
#[test]
fn frames_that_join_are_the_next_most_probable() {
    let agent = Saying::these(&[0.1, 0.3, 0.9, 0.2, 0.4, 0.0]);
    let mut model = Linear::new(RISING, 30.0);
    let config = Config { epsilon: 1.5, grow_after: 2, max_iterations: 6, ..config(UNTARGETED) };
    assert_eq!(attack(&scene(), &mut model, &by(&agent, config)).keyframes.chosen(), [2, 4, 1]);
}

#[test]
fn a_short_window_is_shown_as_it_is() {
    let agent = Saying::these(&[0.1, 0.9, 0.2]);
    let short = Exact { real: 3, ..scene() };
    let outcome = attack(&short, &mut Linear::new(RISING, 1.0), &by(&agent, config(UNTARGETED)));
    assert_eq!(outcome.keyframes.chosen(), [1]);
    assert_eq!(*agent.1.lock().unwrap(), [[1, 6, 3, 2, 2]]);
}

#[test]
fn a_file_that_nobody_has_read_is_an_error() {
    let config = Config { selection: select("agent:some.pt"), ..config(UNTARGETED) };
    let found = attack_from(&scene(), &mut Linear::new(RISING, 1.0), &config, &Vec::new(), &|| false);
    assert!(found.is_err_and(|error| error.to_string().contains("agent:some.pt")));
}
