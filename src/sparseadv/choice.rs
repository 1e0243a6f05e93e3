// SPDX-License-Identifier: MPL-2.0

//! `mode=auto`: window by window or causal, by the first caps of a stream, which say how fast frames come.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst::subclass::prelude::*;
use serde::Serialize;

use super::imp::{CAT, Loaded, SparseAdv};
use crate::attack::{self, Search};
use crate::element::message;
use crate::element::stream::Stream;
use crate::model::{Error, Model};
use crate::universal::Universal;

/// What an attack costs in forward passes at the most. An iteration has a forward and a backward pass, which takes twice as
/// long, and before and after it the window is classified. A walk is through after six to fifteen iterations and a descent
/// after forty, by the tables of `examples/results`.
fn forwards(config: &attack::Config) -> u32 {
    let iterations = match config.search {
        Search::Walk => 10,
        // A black box has no choice of modes.
        _ => 40,
    };
    3 * iterations.min(config.max_iterations) + 2
}

/// What a choice is made by.
#[derive(Clone)]
pub(super) struct Choice {
    /// What causal mode begins with.
    pub universal: Arc<Universal>,
    /// What an attack is reckoned to take.
    pub attack: Duration,
}

/// What is said of a choice.
#[derive(Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub(super) struct Chosen {
    /// The mode that was chosen: `causal` or `window`.
    mode: &'static str,
    /// Whether the stream is live.
    live: bool,
    /// What an attack is reckoned to take. Unit: ns.
    attack: u64,
    /// From one window to the next. Unit: ns.
    window: u64,
}

impl Choice {
    /// By how long a forward pass takes, which is measured once.
    pub fn of(loaded: &mut Loaded, config: &attack::Config, universal: Arc<Universal>) -> Result<Self, Error> {
        let forward = match loaded.forward {
            Some(forward) => forward,
            None => *loaded.forward.insert(pass(&mut loaded.model)?),
        };
        Ok(Self { universal, attack: forward.saturating_mul(forwards(config)) })
    }
}

/// How long a forward pass takes.
fn pass(model: &mut Model) -> Result<Duration, Error> {
    let [height, width] = model.metadata().crop;
    let gray = vec![127.0; model.metadata().window * 3 * height * width];
    let mut pass = || -> Result<Duration, Error> {
        let began = Instant::now();
        model.classify(&gray)?;
        Ok(began.elapsed())
    };
    // The first pass warms up.
    pass()?;
    Ok(pass()?.min(pass()?))
}

impl SparseAdv {
    /// Chooses the mode for a stream that begins, where that is asked for and open still, and says which. Returns whether
    /// it is causal from now on.
    pub(super) fn choose(&self, stream: &Stream) -> bool {
        if !self.state().has_choice() {
            return false;
        }
        self.ask_whether_live();
        let settings = self.settings();
        let mut state = self.state();
        let live = state.latency.is_live();
        let Some((choice, windowing)) = state.take_choice() else { return false };
        let strides = u32::try_from(windowing.stride).unwrap_or(u32::MAX);
        let window = Duration::from(stream.frame_duration).saturating_mul(strides);
        // Only windows that are attacked one by one go through codecs.
        let causal = live && settings.survive().is_none() && choice.attack > window;
        if causal {
            state.go_causal(choice.universal.clone(), &settings);
        }
        let mode = if causal { "causal" } else { "window" };
        state.provenance_mut().settings.insert("mode".into(), mode.into());
        drop(state);
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let chosen = Chosen { mode, live, attack: nanoseconds(choice.attack), window: nanoseconds(window) };
        gst::info!(CAT, imp = self, "Chosen: {}", message::json(&chosen));
        let structure = message::of_totals("sparseadv-mode", &chosen);
        let message = gst::message::Element::builder(structure).src(&*self.obj()).build();
        let _ = self.obj().post_message(message);
        causal
    }
}
