// SPDX-License-Identifier: MPL-2.0

//! A classifier simple enough to know every answer, and frames that are shown as they are.

use std::cell::RefCell;

use gstsparseadv::attack::criterion::argmax;
use gstsparseadv::attack::{
    Config, Delta, Differentiate, Error, FeatureGradient, Features, Goal, Outcome, Perturbation, Progress, Query,
    Reading, Search, Shape, run,
};
use gstsparseadv::torch;
use tch::{Device, Tensor};

pub const T: usize = 6;
pub const LEN: usize = 12;
const SHAPE: [i64; 3] = [3, 2, 2];

/// Frames of exact values, shown as they are: the paper's own setting, without a stream's rounding.
pub struct Exact {
    pub frames: Vec<f32>,
    pub real: usize,
    /// The same frames as another program reads them.
    pub second: Option<Vec<f32>>,
    /// What the gradient says of the second reading is wrong, as where a model is far from linear.
    pub surprising: bool,
    /// A codec that keeps multiples of eight only, or one that is broken.
    pub transport: Option<Result<(), &'static str>>,
}

impl Exact {
    /// The whole window with perturbations in it, the last frame repeated.
    pub fn window(frames: &[f32], perturbation: &Perturbation) -> Vec<f32> {
        let mut window = frames.to_vec();
        for (k, delta) in perturbation {
            window[k * LEN..][..LEN].iter_mut().zip(delta).for_each(|(v, d)| *v += d);
        }
        while window.len() < T * LEN {
            window.extend_from_within(window.len() - LEN..);
        }
        window
    }

    pub fn through(window: &[f32]) -> Vec<f32> {
        window.iter().map(|v| (v / 8.0).round() * 8.0).collect()
    }
}

/// `logits = weights * view + bias`, and a record of what it was asked.
pub struct Linear {
    weights: Vec<Vec<f32>>,
    bias: Vec<f32>,
    /// The weights of the frames by a feature map of a step a frame.
    pub features: Option<Vec<f64>>,
    /// Where some value is larger, the gradient says the contrary, as beyond the peak of what is not linear.
    pub peak: f32,
    pub asked: RefCell<Vec<Asked>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    Forward { view: Vec<f32>, label: usize },
    Backward { grad_logits: Vec<f32> },
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
            peak: f32::INFINITY,
            asked: RefCell::default(),
        }
    }

    pub fn logits(&self, view: &[f32]) -> Vec<f32> {
        let dot = |w: &Vec<f32>| w.iter().zip(view).map(|(a, b)| a * b).sum::<f32>();
        self.weights.iter().zip(&self.bias).map(|(w, b)| dot(w) + b).collect()
    }

    /// Of `sum_k grad_logits[k] * logits[k]`.
    pub fn gradient(&self, grad_logits: &[f32]) -> Vec<f32> {
        let mut gradient = vec![0.0; T * LEN];
        for (c, w) in grad_logits.iter().zip(&self.weights) {
            gradient.iter_mut().zip(w).for_each(|(g, w)| *g += c * w);
        }
        gradient
    }

    /// The all_grad_logits it was asked to go back from.
    pub fn all_grad_logits(&self) -> Vec<Vec<f32>> {
        let asked = self.asked.borrow();
        let backward = asked.iter().filter_map(|a| match a {
            Asked::Backward { grad_logits } => Some(grad_logits.clone()),
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

/// Frames in front of the classifier.
pub struct Target<'a> {
    scene: &'a Exact,
    model: &'a mut Linear,
    readings: Vec<Reading>,
}

impl<'a> Target<'a> {
    pub fn new(scene: &'a Exact, model: &'a mut Linear) -> Self {
        let mut readings = match scene.transport {
            None => vec![Reading::Always],
            Some(_) => vec![Reading::Transport],
        };
        readings.extend(scene.second.as_ref().map(|_| Reading::Confirm));
        Self { scene, model, readings }
    }

    fn pass(&mut self, view: Vec<f32>) -> Result<Tensor, Error> {
        let logits = self.model.logits(&view);
        self.model.asked.borrow_mut().push(Asked::Forward { view, label: argmax(&logits) });
        tensor(&logits, &[1, 3])
    }

    fn by_view(&self, grad_logits: &Tensor) -> Result<Tensor, Error> {
        let mut gradient = self.model.gradient(&torch::download(grad_logits)?);
        let beyond = |(view, _): &(Vec<f32>, usize)| view.iter().any(|v| v.abs() > self.model.peak);
        if self.model.views().last().is_some_and(beyond) {
            gradient.iter_mut().for_each(|g| *g = -*g);
        }
        tensor(&gradient, &[1, T as i64, 3, 2, 2])
    }
}

pub fn tensor(values: &[f32], shape: &[i64]) -> Result<Tensor, Error> {
    Ok(torch::upload(values, shape, Device::Cpu)?)
}

pub fn perturbation(delta: &Delta) -> Perturbation {
    let values = torch::download(&delta.values).unwrap();
    delta.frames.iter().copied().zip(values.chunks_exact(LEN).map(<[f32]>::to_vec)).collect()
}

impl Query for Target<'_> {
    fn shape(&self) -> Shape {
        Shape { frames: T, real: self.scene.real, height: 2, width: 2, classes: self.model.weights.len() }
    }

    fn device(&self) -> Device {
        Device::Cpu
    }

    fn readings(&self) -> &[Reading] {
        &self.readings
    }

    fn clean(&self) -> Result<Tensor, Error> {
        tensor(&self.scene.frames[..self.scene.real * LEN], &[self.scene.real as i64, 3, 2, 2])
    }

    fn observe(&mut self, delta: &Delta) -> Result<Tensor, Error> {
        assert_eq!(delta.values.size()[2..], SHAPE);
        Ok(delta.values.shallow_clone())
    }

    fn logits_of(&mut self, frames: &[usize]) -> Result<Tensor, Error> {
        let clean = Exact::window(&self.scene.frames[..self.scene.real * LEN], &Vec::new());
        let mut view = clean.clone();
        for (k, from) in frames.iter().enumerate() {
            view[k * LEN..][..LEN].copy_from_slice(&clean[from * LEN..][..LEN]);
        }
        self.pass(view)
    }

    fn logits(&mut self, delta: &Delta, reading: usize) -> Result<Tensor, Error> {
        let real = self.scene.real * LEN;
        let frames = match (self.readings[reading], &self.scene.second) {
            (Reading::Confirm, Some(second)) => second,
            _ => &self.scene.frames,
        };
        let view = Exact::window(&frames[..real], &perturbation(delta));
        match (self.readings[reading], self.scene.transport) {
            (Reading::Transport, Some(Err(broken))) => Err(Error::Transport(broken.into())),
            (Reading::Transport, _) => self.pass(Exact::through(&view)),
            _ => self.pass(view),
        }
    }
}

impl Differentiate for Target<'_> {
    fn backward(&mut self, grad_logits: &Tensor, frames: &[usize]) -> Result<Tensor, Error> {
        self.model.asked.borrow_mut().push(Asked::Backward { grad_logits: torch::download(grad_logits)? });
        let by_view = self.by_view(grad_logits)?;
        Ok(by_view.f_index_select(1, &torch::index(frames, Device::Cpu)?)?)
    }

    fn change(&mut self, _: &Delta, reading: usize, frames: &[usize], by_view: &Tensor) -> Result<f64, Error> {
        assert!(frames.iter().copied().eq(0..T), "{frames:?}");
        let Some(second) = self.scene.second.as_ref().filter(|_| self.readings[reading] == Reading::Confirm) else {
            panic!("reading {reading} is none that confirms");
        };
        let window = |frames: &[f32]| Exact::window(&frames[..self.scene.real * LEN], &Vec::new());
        let known = if self.scene.surprising { 0.0 } else { 1.0 };
        let pairs = window(second).into_iter().zip(window(&self.scene.frames));
        let changes = pairs.zip(torch::download(by_view)?).map(|((other, own), by)| known * (other - own) * by);
        Ok(changes.map(f64::from).sum())
    }

    fn pull(&mut self, delta: &Delta, _reading: usize, grad_view: &Tensor) -> Result<Tensor, Error> {
        assert_eq!(grad_view.size(), delta.values.size());
        Ok(grad_view.shallow_clone())
    }
}

impl Features for Target<'_> {
    fn feature_gradient(&mut self, grad_logits: &Tensor) -> Result<Option<FeatureGradient>, Error> {
        self.model.asked.borrow_mut().push(Asked::Features);
        let by_view = Some(self.by_view(grad_logits)?);
        let Some(weights) = &self.model.features else { return Ok(None) };
        let weights: Vec<f32> = weights.iter().map(|w| *w as f32).collect();
        let by_features = tensor(&weights, &[1, T as i64, 1])?;
        Ok(Some(FeatureGradient { by_features, time_axis: 1, steps: (0..T).map(|k| vec![k]).collect(), by_view }))
    }
}

pub fn scene() -> Exact {
    Exact { frames: vec![0.0; T * LEN], real: T, second: None, surprising: false, transport: None }
}

/// Of the two-stage search.
pub fn config(goal: Goal) -> Config {
    Config { confidence: 0.0, grow_after: 0, ..Config::of(goal, Search::TwoStage) }
}

pub const UNTARGETED: Goal = Goal::Untargeted { label: None };
pub const RISING: [f32; T] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6];

pub fn attack(scene: &Exact, model: &mut Linear, config: &Config) -> Outcome {
    attack_from(scene, model, config, &Vec::new(), &|| false).unwrap()
}

pub fn attack_from(
    scene: &Exact,
    model: &mut Linear,
    config: &Config,
    start: &Perturbation,
    canceled: &dyn Fn() -> bool,
) -> Result<Outcome, Error> {
    let mut progress = |_: Progress| {};
    run(&mut Target::new(scene, model), config, start, canceled, &mut progress)
}

/// A selection by its name.
pub fn select(name: &str) -> gstsparseadv::attack::Selection {
    name.parse().unwrap()
}
