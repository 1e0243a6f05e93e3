// SPDX-License-Identifier: MPL-2.0

//! The training loop: AdamW under a cosine schedule, steps with non-finite gradients left out.

use anyhow::{Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tch::nn::{self, OptimizerConfig};
use tch::{Kind, Reduction, Tensor, no_grad};

use crate::dataset::{Cached, Geometry, batch};
use crate::network::Network;
use crate::score::Score;

/// Share of all steps over which the learning rate rises to its full height.
const WARM_UP: f64 = 0.05;
const WEIGHT_DECAY: f64 = 1e-3;
const LARGEST_NORM: f64 = 5.0;

pub struct Plan {
    pub epochs: usize,
    pub batch: usize,
    pub rate: f64,
    pub classes: usize,
}

/// Trains in place and returns the number of steps left out for non-finite gradients.
pub fn fit(
    network: &dyn Network,
    store: &nn::VarStore,
    train: &[Cached],
    test: &[Cached],
    geometry: &Geometry,
    plan: &Plan,
    rng: &mut StdRng,
) -> Result<usize> {
    let mut optimizer = nn::adamw(0.9, 0.999, WEIGHT_DECAY).build(store, plan.rate)?;
    let steps_an_epoch = train.len().div_ceil(plan.batch);
    let steps = plan.epochs * steps_an_epoch;
    let bar = ProgressBar::new(steps as u64)
        .with_style(ProgressStyle::with_template("{bar:30} {pos}/{len} steps, {eta} left, {msg}")?);
    let mut order: Vec<usize> = (0..train.len()).collect();
    let mut skipped = 0;
    for epoch in 0..plan.epochs {
        order.shuffle(rng);
        let (mut loss_sum, mut right, mut seen) = (0.0, 0.0, 0_usize);
        for (index, chunk) in order.chunks(plan.batch).enumerate() {
            let progress = (epoch * steps_an_epoch + index) as f64 / steps as f64;
            optimizer.set_lr(plan.rate * schedule(progress));
            let windows =
                chunk.iter().map(|&i| train[i].training_window(geometry, rng)).collect::<Result<Vec<Tensor>>>()?;
            let labels: Vec<i64> = chunk.iter().map(|&i| train[i].label).collect();
            let labels = Tensor::f_from_slice(&labels)?;
            optimizer.zero_grad();
            let logits = network.forward(&batch(geometry, &windows)?, true)?.logits;
            let loss = logits.f_cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0)?;
            loss.f_backward()?;
            bar.inc(1);
            let value = loss.f_double_value(&[])?;
            if !value.is_finite() || !gradient_norm(store)?.is_finite() {
                skipped += 1;
                continue;
            }
            optimizer.clip_grad_norm(LARGEST_NORM);
            optimizer.step();
            loss_sum += value * chunk.len() as f64;
            right += logits.f_argmax(-1, false)?.f_eq_tensor(&labels)?.f_sum(Kind::Float)?.f_double_value(&[])?;
            seen += chunk.len();
            bar.set_message(format!(
                "loss {:.3}, accuracy {:.1} %",
                loss_sum / seen as f64,
                100.0 * right / seen as f64
            ));
        }
        ensure!(
            seen > 0,
            "expected finite gradients, found none in all {steps_an_epoch} steps of epoch {}: lower --lr",
            epoch + 1
        );
        let score = Score::of_centers(network, test, geometry, plan.classes, plan.batch)?;
        bar.suspend(|| {
            println!(
                "epoch {:>3}: loss {:.3}, training accuracy {:.1} %, test accuracy {:.1} %",
                epoch + 1,
                loss_sum / seen as f64,
                100.0 * right / seen as f64,
                score.percent()
            );
        });
    }
    bar.finish_and_clear();
    Ok(skipped)
}

/// Factor of the learning rate: a short rise, then half a cosine down to nothing.
fn schedule(progress: f64) -> f64 {
    let rise = (progress / WARM_UP).min(1.0);
    // Not quite from zero, for the first step would otherwise be for nothing.
    rise.max(0.02) * (0.5 + 0.5 * (std::f64::consts::PI * progress).cos())
}

fn gradient_norm(store: &nn::VarStore) -> Result<f64> {
    no_grad(|| {
        let mut squares = 0.0;
        for variable in store.trainable_variables() {
            let gradient = variable.f_grad()?;
            if gradient.defined() {
                let norm = gradient.f_norm()?.f_double_value(&[])?;
                squares += norm * norm;
            }
        }
        Ok(squares.sqrt())
    })
}
