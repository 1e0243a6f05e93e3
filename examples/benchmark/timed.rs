// SPDX-License-Identifier: MPL-2.0

//! Seconds of what is measured more than once.

use std::time::Instant;

use anyhow::Context;
use gst::prelude::*;
use gstsparseadv::attack::{self, Config, Goal, select};
use gstsparseadv::model::Model;
use gstsparseadv::target::WindowTarget;
use gstsparseadv::video::View;
use gstsparseadv::video::view::Samples;

/// The least of rounds: a busy machine only ever adds time.
pub fn least(times: impl Iterator<Item = anyhow::Result<f64>>) -> anyhow::Result<f64> {
    // The first round warms up.
    let times = times.skip(1).collect::<anyhow::Result<Vec<f64>>>()?;
    Ok(times.into_iter().fold(f64::INFINITY, f64::min))
}

/// Seconds of an attack that cannot succeed, with keyframes that need no selection.
pub fn attack(
    model: &mut Model,
    view: &View,
    samples: &[Samples],
    iterations: u32,
    keyframes: usize,
) -> anyhow::Result<f64> {
    let config = Config {
        max_iterations: iterations,
        confidence: f32::MAX,
        grow_after: 0,
        selection: select::Fixed(Some(keyframes)).into(),
        ..Config::new(Goal::Untargeted { label: None })
    };
    let began = Instant::now();
    let mut target = WindowTarget::new(model, view, samples)?;
    attack::run(&mut target, &config, &Vec::new(), &|| false, &mut |_| {})?;
    Ok(began.elapsed().as_secs_f64())
}

/// Seconds of a pipeline from READY to its end, and of the attacks in it.
pub fn pipeline(text: &str) -> anyhow::Result<(f64, f64)> {
    let pipeline = gst::parse::launch(text)?;
    // Loading the model is no part of it.
    pipeline.set_state(gst::State::Ready)?;
    let began = Instant::now();
    pipeline.set_state(gst::State::Playing)?;
    let mut attacking = 0.0;
    for message in pipeline.bus().context("a bus")?.iter_timed(gst::ClockTime::NONE) {
        match message.view() {
            gst::MessageView::Eos(_) => break,
            gst::MessageView::Error(error) => anyhow::bail!("{}", error.error()),
            gst::MessageView::Element(element) => {
                let seconds = element
                    .structure()
                    .and_then(|s| s.get::<f64>("seconds").ok().filter(|_| s.name() == "sparseadv-stats"));
                attacking = seconds.unwrap_or(attacking);
            }
            _ => {}
        }
    }
    let wall = began.elapsed().as_secs_f64();
    pipeline.set_state(gst::State::Null)?;
    Ok((wall, attacking))
}
