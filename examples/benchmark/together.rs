// SPDX-License-Identifier: MPL-2.0

//! Passes of several windows together, as windows that are attacked side by side have them.

use std::time::Instant;

use anyhow::anyhow;
use gstsparseadv::model::Model;
use gstsparseadv::torch;
use tch::{Kind, Tensor};

use crate::timed::least;

const ROUNDS: usize = 12;
const PASSES: usize = 8;

/// Seconds of a forward and backward pass of so many windows.
pub fn pass(model: &Model, windows: usize) -> anyhow::Result<f64> {
    least((0..=ROUNDS).map(|_| round(model, windows)))
}

fn round(model: &Model, windows: usize) -> anyhow::Result<f64> {
    let all: Vec<usize> = (0..model.metadata().window).collect();
    let [height, width] = model.metadata().crop.map(|n| n as i64);
    let (shape, device) = ([1, all.len() as i64, 3, height, width], model.device());
    let mut models: Vec<Model> = (0..windows).map(|_| model.share()).collect();
    for model in &mut models {
        model.show(&all, &Tensor::f_rand(shape, (Kind::Float, device))?.f_mul_scalar(255.0)?)?;
        model.join();
    }
    let began = Instant::now();
    std::thread::scope(|scope| {
        let threads = models.into_iter().map(|mut model| {
            let all = &all;
            scope.spawn(move || -> anyhow::Result<()> {
                let row = Tensor::f_ones([1, model.classes() as i64], (Kind::Float, model.device()))?;
                for _ in 0..PASSES {
                    let _ = model.forward_for_gradient()?;
                    let gradient = model.backward(&row, all)?;
                    // Waits for the device.
                    let _ = torch::download(&gradient.f_sum(Kind::Float)?)?;
                }
                Ok(())
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
    })?;
    Ok(began.elapsed().as_secs_f64() / PASSES as f64)
}
