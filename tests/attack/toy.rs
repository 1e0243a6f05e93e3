// SPDX-License-Identifier: MPL-2.0

//! A classifier simple enough to know every answer, and frames that are shown as they are.

use std::cell::RefCell;

use gstsparseadv::attack::{Classifier, Config, Error, Goal, Outcome, Scene, Weighing, loss, run};

pub const T: usize = 6;
pub const LEN: usize = 12;

/// Frames of exact values, shown as they are: the paper's own setting, without a stream's rounding.
pub struct Exact {
    pub frames: Vec<f32>,
    pub real: usize,
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
pub struct Linear {
    weights: Vec<Vec<f32>>,
    bias: Vec<f32>,
    pub features: Option<Vec<f64>>,
    pub asked: RefCell<Vec<Asked>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    Forward { view: Vec<f32>, label: usize },
    Backward { cotangent: Vec<f32> },
    Features,
}

impl Linear {
    /// Class 0 wins by `lead` on a black window; frame k moves the classes in proportion to `frame_weights[k]`.
    pub fn new(frame_weights: [f32; T], lead: f32) -> Self {
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

    pub fn logits(&self, view: &[f32]) -> Vec<f32> {
        let dot = |w: &Vec<f32>| w.iter().zip(view).map(|(a, b)| a * b).sum::<f32>();
        self.weights.iter().zip(&self.bias).map(|(w, b)| dot(w) + b).collect()
    }

    /// Of `sum_k cotangent[k] * logits[k]`.
    pub fn gradient(&self, cotangent: &[f32]) -> Vec<f32> {
        let mut gradient = vec![0.0; T * LEN];
        for (c, w) in cotangent.iter().zip(&self.weights) {
            gradient.iter_mut().zip(w).for_each(|(g, w)| *g += c * w);
        }
        gradient
    }

    /// The cotangents it was asked to go back from.
    pub fn cotangents(&self) -> Vec<Vec<f32>> {
        let asked = self.asked.borrow();
        let backward = asked.iter().filter_map(|a| match a {
            Asked::Backward { cotangent } => Some(cotangent.clone()),
            _ => None,
        });
        backward.collect()
    }

    pub fn views(&self) -> Vec<(Vec<f32>, usize)> {
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
        self.asked.borrow_mut().push(Asked::Forward { view: view.to_vec(), label: loss::top(&logits) });
        Ok(logits)
    }

    fn backward(&mut self, cotangent: &[f32], frames: &[usize], grad_view: &mut [f32]) -> Result<(), Error> {
        self.asked.borrow_mut().push(Asked::Backward { cotangent: cotangent.to_vec() });
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

    fn feature_weights(
        &mut self,
        cotangent: &[f32],
        _: Weighing,
        grad_view: &mut [f32],
    ) -> Result<Option<Vec<f64>>, Error> {
        self.asked.borrow_mut().push(Asked::Features);
        grad_view.copy_from_slice(&self.gradient(cotangent));
        Ok(self.features.clone())
    }
}

pub fn scene() -> Exact {
    Exact { frames: vec![0.0; T * LEN], real: T }
}

pub fn config(goal: Goal) -> Config {
    Config { confidence: 0.0, grow_after: 0, ..Config::new(goal) }
}

pub const UNTARGETED: Goal = Goal::Untargeted { label: None };
pub const RISING: [f32; T] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6];

pub fn attack(scene: &mut Exact, model: &mut Linear, config: &Config) -> Outcome {
    attack_scene(scene, model, config)
}

pub fn attack_scene(scene: &mut dyn Scene, model: &mut Linear, config: &Config) -> Outcome {
    run(scene, model, config, &[], &|| false, &mut |_| {}).unwrap()
}
