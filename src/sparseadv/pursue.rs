// SPDX-License-Identifier: MPL-2.0

//! Causal mode: what is learned on the last windows of the stream goes into the frames that arrive.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gst::subclass::prelude::*;

use super::attack::judge;
use super::imp::{CAT, Loaded, SparseAdv};
use super::state::Seen;
use crate::attack::criterion::argmax;
use crate::attack::{self, Goal};
use crate::element::stream::Stream;
use crate::model::{Metadata, Model};
use crate::target::WindowTarget;
use crate::torch;
use crate::universal::Universal;
use crate::universal::learn::{Aim, Config};
use crate::universal::pursuit::Pursuit;
use crate::video::view::Samples;
use crate::window::Windowing;

/// Bound in gray levels where `epsilon` has none: that of C-DUP.
const BOUND: f32 = 10.0;

/// Frames get what was learned no more often than this.
const PUBLISH: Duration = Duration::from_millis(100);

/// What the model sees of a window.
#[derive(Clone)]
pub(super) struct Window {
    stream: Arc<Stream>,
    samples: Arc<Vec<Samples>>,
}

/// What the element's `epsilon` bounds the values by: whole levels, and no more than a file holds.
fn bound(epsilon: f32) -> f32 {
    if epsilon > 0.0 { epsilon.floor().min(127.0) } else { BOUND }
}

/// Begins as `universal` is. An error says which property does not fit.
pub(super) fn begin(
    universal: &Universal,
    config: &attack::Config,
    metadata: &Metadata,
    windowing: Windowing,
) -> Result<Pursuit<Window>, String> {
    let learned = &universal.header.view;
    let view =
        |metadata: &Metadata, step: usize| format!("{:?} of {:?}, every {step} frames", metadata.crop, metadata.resize);
    let (expected, found) = (view(metadata, windowing.step), view(learned, learned.frame_step));
    if expected != found {
        return Err(format!(
            "Expected a perturbation for what this model sees, {expected}, found one for {found}. Set mode=window, or leave the \
             perturbation property out."
        ));
    }
    let aim = match config.goal {
        Goal::Targeted { target, .. } => Aim::Target(target),
        Goal::Untargeted { .. } => Aim::Untargeted,
    };
    let config = Config { seed: config.seed, ..Config::new(universal.header.kind, aim, bound(config.epsilon)) };
    Pursuit::new(universal, config).map_err(|e| torch::message(&e))
}

impl SparseAdv {
    /// A step of learning. Returns whether one was due.
    pub(super) fn pursue(&self, loaded: &mut Loaded) -> bool {
        let Loaded { model, pursuit: Some(pursuit), published, .. } = loaded else { return false };
        let settings = self.settings();
        let newest = {
            let state = self.state();
            let goes_on = settings.enabled && state.is_working() && state.downstream.flow().is_ok();
            let Some(watch) = state.watch.as_ref().filter(|_| goes_on) else { return false };
            let (frames, scene) = watch.position();
            // Asked in any case: another scene begins whether there is a whole window of it or not.
            let due = pursuit.is_due(frames, scene);
            watch.newest().filter(|_| due).map(|seen| (frames, seen))
        };
        let Some((frames, seen)) = newest else { return false };
        pursuit.set_bound(bound(settings.attack.epsilon));
        if let Err(error) = self.improve(model, pursuit, frames, &seen) {
            self.fail(&format!("Nothing more is learned of this stream. {error}"));
            loaded.pursuit = None;
            return true;
        }
        // To work out what changes in a large frame takes a while.
        if published.is_none_or(|at| at.elapsed() >= PUBLISH) {
            *published = Some(Instant::now());
            match pursuit.universal() {
                Ok(universal) => {
                    let universal = Arc::new(universal);
                    seen[0].stream.set_universal(&universal);
                    self.state().set_universal(universal);
                }
                Err(error) => gst::warning!(CAT, imp = self, "What was learned cannot be read: {error}"),
            }
        }
        true
    }

    /// One step on the last windows.
    fn improve(
        &self,
        model: &mut Model,
        pursuit: &mut Pursuit<Window>,
        frames: u64,
        seen: &[Seen],
    ) -> Result<(), attack::Error> {
        let common = &self.settings().common;
        let windowing = common.windowing(model.metadata());
        if pursuit.wants(frames, windowing.span) {
            let stream = &seen[0].stream;
            let taken = windowing.offsets(seen.len()).filter_map(|place| seen.get(place));
            let samples: Vec<Samples> = taken.map(|seen| Samples::clone(&seen.clean)).collect();
            let given = common.true_label(model.metadata(), model.classes()).ok().flatten();
            let label = match given {
                Some(label) => label,
                None => argmax(&judge(model, stream, &samples)?),
            };
            pursuit.see(Window { stream: stream.clone(), samples: Arc::new(samples) }, label, frames);
        }
        let Some((Window { stream, samples }, label, phase)) = pursuit.choose() else { return Ok(()) };
        let mut target = WindowTarget::new(model, &stream.view, &samples)?;
        pursuit.improve(&mut target, label, phase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_bounded_by_whole_levels() {
        assert_eq!([0.0, 0.6, 1.0, 2.6, 200.0].map(bound), [BOUND, 0.0, 1.0, 2.0, 127.0]);
    }
}
