// SPDX-License-Identifier: MPL-2.0

//! SA's own objective, stopping early, second readings and channels.

use gstsparseadv::attack::{Config, Error, Goal, Objective, Scene, Selection, loss, weighted_sum};

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
            let p = loss::probabilities(&model.logits(&gray));
            let class = match goal {
                Goal::Untargeted { .. } => -(1.0 - p[label]).ln(),
                Goal::Targeted { target, .. } => -p[target].ln(),
            };
            let rms = |d: &[f64]| (d.iter().map(|v| v * v).sum::<f64>() / LEN as f64).sqrt();
            class + weighted_sum::LAMBDA * delta.chunks_exact(LEN).map(rms).sum::<f64>()
        };
        let at: Vec<f64> = delta.iter().map(|d| f64::from(*d) / 255.0).collect();
        let cotangent = weighted_sum::cotangent(&model.logits(&delta), goal, label);
        let mut found = model.gradient(&cotangent);
        weighted_sum::add_norm(&delta, LEN, &mut found);
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
        objective: Objective::WeightedSum,
        selection: Selection::Fixed(Some(2)),
        max_iterations: 60,
        patience: 0,
        ..config(UNTARGETED)
    };
    let outcome = attack(&mut scene(), &mut model, &config);
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
        attack(&mut scene(), &mut model, &config)
    };
    let (early, patient) = (run(true), run(false));
    assert!(early.success && patient.success);
    assert_eq!(Some(early.iterations), early.iterations_first_success);
    assert_eq!(early.queries_first_success, patient.queries_first_success);
    assert!(patient.size.l21 < early.size.l21);
    assert!(patient.calls.forwards > early.calls.forwards);
}

/// Frames that another program reads darker: less of the lead is left there.
struct Darker {
    first: Exact,
    second: Exact,
}

impl Darker {
    fn new() -> Self {
        let frames = (0..T * LEN).map(|i| -((i % 5) as f32)).collect();
        Self { first: scene(), second: Exact { frames, real: T } }
    }
}

impl Scene for Darker {
    fn frames(&self) -> usize {
        T
    }

    fn frame_len(&self) -> usize {
        LEN
    }

    fn second_reading(&mut self) -> Option<&mut dyn Scene> {
        Some(&mut self.second)
    }

    fn clean(&self, frame: usize, view: &mut [f32]) {
        self.first.clean(frame, view);
    }

    fn perturbed(&mut self, frames: &[usize], delta: &[f32], views: &mut [f32]) {
        self.first.perturbed(frames, delta, views);
    }

    fn backward(&mut self, frames: &[usize], grad_views: &[f32], grad_delta: &mut [f32]) {
        self.first.backward(frames, grad_views, grad_delta);
    }
}

#[test]
fn a_success_holds_in_the_second_reading() {
    for lead in [0.5, 2.0, 4.0] {
        let mut model = Linear::new(RISING, lead);
        let mut scene = Darker::new();
        let outcome = attack_scene(&mut scene, &mut model, &config(UNTARGETED));
        assert!(outcome.success);
        for reading in [&scene.first, &scene.second] {
            let mut view = reading.frames.clone();
            for (k, delta) in &outcome.perturbation {
                let frame = &mut view[k * LEN..][..LEN];
                frame.iter_mut().zip(delta).for_each(|(v, d)| *v += d);
            }
            assert_ne!(loss::top(&model.logits(&view)), 0, "lead {lead}");
        }
    }
}

/// A channel that keeps multiples of eight only.
struct Coarse {
    inner: Exact,
    window: Vec<f32>,
    broken: bool,
}

impl Scene for Coarse {
    fn frames(&self) -> usize {
        T
    }

    fn frame_len(&self) -> usize {
        LEN
    }

    fn channels(&self) -> usize {
        1
    }

    fn received(&mut self, _channel: usize, view: &mut [f32]) -> Result<(), Error> {
        if self.broken {
            return Err(Error::Channel("it lost a frame".into()));
        }
        let through = self.window.iter().map(|v| (v / 8.0).round() * 8.0);
        view.iter_mut().zip(through).for_each(|(v, t)| *v = t);
        Ok(())
    }

    fn clean(&self, frame: usize, view: &mut [f32]) {
        self.inner.clean(frame, view);
    }

    fn perturbed(&mut self, frames: &[usize], delta: &[f32], views: &mut [f32]) {
        self.inner.perturbed(frames, delta, views);
        self.window = self.inner.frames.clone();
        for (frame, view) in frames.iter().zip(views.chunks_exact(LEN)) {
            self.window[frame * LEN..][..LEN].copy_from_slice(view);
        }
    }

    fn backward(&mut self, frames: &[usize], grad_views: &[f32], grad_delta: &mut [f32]) {
        self.inner.backward(frames, grad_views, grad_delta);
    }
}

fn coarse(broken: bool) -> Coarse {
    Coarse { inner: scene(), window: vec![0.0; T * LEN], broken }
}

#[test]
fn a_success_is_one_behind_the_channel() {
    let mut model = Linear::new(RISING, 2.0);
    let mut scene = coarse(false);
    let outcome = attack_scene(&mut scene, &mut model, &config(UNTARGETED));
    assert!(outcome.success);
    // One channel run a forward but for the clean window's.
    assert_eq!(outcome.calls.channel_runs + 1, outcome.calls.forwards);
    let mut views = vec![0.0; LEN];
    let mut window = vec![0.0; T * LEN];
    for (k, delta) in &outcome.perturbation {
        scene.inner.perturbed(&[*k], delta, &mut views);
        window[k * LEN..][..LEN].copy_from_slice(&views);
    }
    let through: Vec<f32> = window.iter().map(|v| (v / 8.0).round() * 8.0).collect();
    assert_ne!(loss::top(&model.logits(&through)), 0);
}

#[test]
fn a_broken_channel_is_an_error() {
    let mut model = Linear::new(RISING, 2.0);
    let error =
        gstsparseadv::attack::run(&mut coarse(true), &mut model, &config(UNTARGETED), &[], &|| false, &mut |_| {})
            .unwrap_err();
    assert_eq!(error.to_string(), "it lost a frame");
}
