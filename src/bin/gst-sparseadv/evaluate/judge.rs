// SPDX-License-Identifier: MPL-2.0

//! What the model says of a clip's windows behind each channel, while the whole clip goes through. It is another handle of
//! the model than the attack's, and sees what was pushed alone.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::ensure;
use gst::prelude::*;
use gstsparseadv::attack::criterion::{argmax, softmax};
use gstsparseadv::model::Model;
use gstsparseadv::window::Windowing;
use serde::{Deserialize, Serialize};

use super::channels::Channel;
use crate::media;
use crate::seen::{Keep, Place, Seen};

/// An answer of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub label: String,
    pub probability: f64,
}

/// By window, and then by channel; nothing where the clip has no such window.
pub type Answers = Vec<Vec<Option<Answer>>>;

/// Judges of the channels. Those with one bin share its frames.
pub struct Judges {
    bins: Vec<String>,
    stages: Vec<Arc<Mutex<Stage>>>,
    /// Place of each channel among the stages, and among the answers there.
    places: Vec<(usize, usize)>,
}

struct Stage {
    seen: Seen,
    model: Model,
    /// Windows that were not judged yet, by where they begin: with the channel among the stage's and their number.
    open: VecDeque<(Place, usize, usize)>,
    /// By channel and window; nothing where the clip has no such window.
    answers: Vec<Vec<Option<Answer>>>,
    failed: Option<anyhow::Error>,
}

impl Judges {
    /// Of a clip's windows that begin with these frames; the clip has so many frames.
    pub fn new(channels: &[Channel], model: &Model, windowing: Windowing, firsts: &[usize], frames: usize) -> Self {
        let mut judges = Self { bins: Vec::new(), stages: Vec::new(), places: Vec::new() };
        let mut phases: Vec<Vec<usize>> = Vec::new();
        for channel in channels {
            let stage = judges.bins.iter().position(|bin| *bin == channel.bin).unwrap_or_else(|| {
                judges.bins.push(channel.bin.clone());
                phases.push(Vec::new());
                phases.len() - 1
            });
            judges.places.push((stage, phases[stage].len()));
            phases[stage].push(channel.phase);
        }
        let windows = |phases: &Vec<usize>| {
            let all = phases.iter().enumerate().flat_map(|(channel, phase)| {
                let of = move |(number, first): (usize, &usize)| {
                    let place = Place { first: first + phase, frames: windowing.frames };
                    (place.first + windowing.span <= frames).then_some((place, channel, number))
                };
                firsts.iter().enumerate().filter_map(of)
            });
            let mut open: Vec<_> = all.collect();
            open.sort_by_key(|(place, ..)| place.first);
            open
        };
        let keep = Keep { samples: true, frames: false, most: usize::MAX };
        let stage = |phases: &Vec<usize>| Stage {
            seen: Seen::new(model.metadata().clone(), windowing, keep),
            model: model.share(),
            open: windows(phases).into(),
            answers: vec![vec![None; firsts.len()]; phases.len()],
            failed: None,
        };
        judges.stages = phases.iter().map(|phases| Arc::new(Mutex::new(stage(phases)))).collect();
        judges
    }

    /// Sinks for the clip.
    pub fn sink(&self) -> anyhow::Result<gst::Element> {
        let bins: Vec<&str> = self.bins.iter().map(String::as_str).collect();
        media::branches("--channel", None, &bins, |n, pad| {
            let stage = self.stages[n].clone();
            pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
                if let (Some(buffer), Some(caps)) = (info.buffer(), pad.current_caps()) {
                    lock(&stage).add(buffer, &caps);
                }
                gst::PadProbeReturn::Ok
            });
        })
    }

    /// The answers of a clip of so many frames that has gone through.
    pub fn answers(self, channels: &[Channel], windows: usize, frames: usize) -> anyhow::Result<Answers> {
        let mut all = vec![Vec::new(); windows];
        for (channel, (stage, place)) in channels.iter().zip(&self.places) {
            let mut stage = lock(&self.stages[*stage]);
            if let Some(error) = stage.failed.take() {
                return Err(error.context(format!("channel {}", channel.name)));
            }
            let found = stage.seen.end();
            ensure!(
                found == frames,
                "Expected {frames} frames behind the channel {}, found {found}. Windows cannot be told apart behind it: use one that keeps all frames.",
                channel.name
            );
            let answers = std::mem::take(&mut stage.answers[*place]);
            all.iter_mut().zip(answers).for_each(|(of_window, answer)| of_window.push(answer));
        }
        Ok(all)
    }
}

impl Stage {
    fn add(&mut self, buffer: &gst::Buffer, caps: &gst::Caps) {
        let result = self.seen.add(buffer, caps).and_then(|()| self.judge());
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
    }

    fn judge(&mut self) -> anyhow::Result<()> {
        while let Some((place, channel, number)) = self.open.front().copied() {
            if !self.seen.has(place) {
                break;
            }
            self.open.pop_front();
            if let Some(view) = self.seen.view(place) {
                let logits = self.model.classify(&view)?;
                let label = argmax(&logits);
                let answer =
                    Answer { label: self.model.metadata().label_name(label), probability: softmax(&logits)[label] };
                self.answers[channel][number] = Some(answer);
            }
        }
        let first = self.open.front().map_or(self.seen.end(), |(place, ..)| place.first);
        self.seen.forget(first);
        Ok(())
    }
}

fn lock(stage: &Mutex<Stage>) -> MutexGuard<'_, Stage> {
    stage.lock().unwrap_or_else(PoisonError::into_inner)
}
