// SPDX-License-Identifier: MPL-2.0

//! What a perturbation does to clips that it was not learned from: at every phase, in the bytes that would be pushed.

use std::fmt;

use gstsparseadv::attack::criterion::argmax;
use gstsparseadv::element::codec::Codec;
use gstsparseadv::element::stream::Stream;
use gstsparseadv::model::{Error, Model, together};
use gstsparseadv::universal::Universal;
use gstsparseadv::universal::learn::Aim;
use gstsparseadv::video::view::Samples;
use serde::Serialize;

use super::clips::{Clip, Clips};
use crate::interrupt;

/// Shares of windows, each by the phase that the window begins at.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verdict {
    pub windows: usize,
    /// Of the windows that are to change, which do.
    pub reached: Vec<f64>,
    /// Windows that are to keep their label, and which do.
    pub others: usize,
    pub kept: Vec<f64>,
}

/// The middle window of each clip, which goes through a codec as a whole where one is named.
pub fn judge(
    models: &mut [Model],
    universal: &Universal,
    clips: &mut Clips,
    aim: Aim,
    codec: Option<&str>,
) -> anyhow::Result<Verdict> {
    let phases = universal.period();
    let mut verdict = Verdict { reached: vec![0.0; phases], kept: vec![0.0; phases], ..Verdict::default() };
    for place in 0..clips.len() {
        let Some(clip) = clips.get(place)? else { continue };
        let span = clip.windowing().span;
        // By what it was learned for: who judges may take other steps.
        let step = universal.header.view.frame_step.max(1);
        let first = (clip.frames.len() - span) / 2;
        let stream = Stream::perturbed(clip.stream.info.clone(), &universal.header.view, universal);
        let codec = codec.map(|bin| Codec::new(bin, &stream.info, stream.frame_duration));
        let codec = codec.transpose().map_err(anyhow::Error::msg)?;
        // By its own label without a codec.
        let clean = label(&mut models[0], &clip.stream, &clip.samples(first))?;
        let keeps = match aim {
            Aim::Untargeted => false,
            Aim::Target(wanted) if wanted == clean => continue,
            Aim::Target(_) => false,
            Aim::Only(of) => of != clean,
        };
        if keeps {
            verdict.others += 1;
        } else {
            verdict.windows += 1;
        }
        // The window begins at this phase, and the frames before it go backwards from there.
        let place = |phase: usize, number: usize| {
            let steps = (number as i64 - first as i64).div_euclid(step as i64);
            (phase as i64 + steps).rem_euclid(phases as i64) as usize
        };
        let all: Vec<usize> = (0..phases).collect();
        for some in all.chunks(models.len()) {
            interrupt::check()?;
            let samples = some.iter().map(|phase| seen(&clip, &stream, first, |n| place(*phase, n), codec.as_ref()));
            let samples = samples.collect::<anyhow::Result<Vec<_>>>()?;
            let found = together(models.iter_mut(), samples, |model, samples| label(model, &clip.stream, &samples));
            for (phase, found) in some.iter().zip(found) {
                let found = found?;
                let reached = match aim {
                    Aim::Target(wanted) => found == wanted,
                    Aim::Untargeted | Aim::Only(_) => found != clean,
                };
                if keeps {
                    verdict.kept[*phase] += f64::from(u8::from(!reached));
                } else {
                    verdict.reached[*phase] += f64::from(u8::from(reached));
                }
            }
        }
    }
    verdict.reached.iter_mut().for_each(|share| *share /= verdict.windows.max(1) as f64);
    verdict.kept.iter_mut().for_each(|share| *share /= verdict.others.max(1) as f64);
    Ok(verdict)
}

/// The same behind each of these codecs.
pub fn judge_behind<'a>(
    models: &mut [Model],
    universal: &Universal,
    clips: &mut Clips,
    aim: Aim,
    bins: impl IntoIterator<Item = &'a str>,
) -> anyhow::Result<Vec<(&'a str, Verdict)>> {
    let behind = |bin| Ok((bin, judge(models, universal, clips, aim, Some(bin))?));
    bins.into_iter().map(behind).collect()
}

/// What the model sees of a window of the perturbed clip.
fn seen(
    clip: &Clip,
    stream: &Stream,
    first: usize,
    phase: impl Fn(usize) -> usize,
    codec: Option<&Codec>,
) -> anyhow::Result<Vec<Samples>> {
    let windowing = clip.windowing();
    let all = if codec.is_some() { 0..clip.frames.len() } else { first..first + windowing.span };
    let changed = |number: usize| {
        let mut frame = clip.frames[number].copy();
        stream.change(frame.make_mut(), phase(number)).map_err(anyhow::Error::msg)?;
        Ok(frame)
    };
    let begin = first - all.start;
    let mut frames = all.map(changed).collect::<anyhow::Result<Vec<_>>>()?;
    if let Some(codec) = codec {
        let received = codec.run_unless(frames.into_iter(), &|| interrupt::check().is_err());
        frames = received.map_err(anyhow::Error::msg)?.ok_or(interrupt::Interrupted)?;
    }
    let places = windowing.offsets(windowing.span);
    places.map(|place| clip.stream.sample(&frames[begin + place]).map_err(anyhow::Error::msg)).collect()
}

fn label(model: &mut Model, stream: &Stream, samples: &[Samples]) -> Result<usize, Error> {
    let view = stream.view.observe_window(samples, model.metadata().window);
    Ok(argmax(&model.classify(&view)?))
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let line = |f: &mut fmt::Formatter, what: &str, of: usize, shares: &[f64]| {
            let mean = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
            let least = shares.iter().copied().fold(1.0, f64::min);
            writeln!(
                f,
                "{what} {:.1} % of {of} held out windows over {} phases, {:.1} % at the least",
                100.0 * mean,
                shares.len(),
                100.0 * least
            )
        };
        if self.windows > 0 {
            line(f, "changed", self.windows, &self.reached)?;
        }
        if self.others > 0 {
            line(f, "kept", self.others, &self.kept)?;
        }
        Ok(())
    }
}
