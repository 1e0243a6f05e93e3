// SPDX-License-Identifier: MPL-2.0

//! The passes of a module for any number of windows: those of one kind that are asked for together are one pass.

use std::collections::HashMap;

use tch::{TchError, Tensor};

use super::Error;
use super::module::{Module, Pass};
use super::tensor::{gradient, gradients, pulled, run_error};
use crate::torch;

/// How a forward pass is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct How {
    /// Whether its graph outlives a backward pass.
    pub keep: bool,
    /// In bfloat16.
    pub reduced: bool,
}

/// What a model is shown, in its own values.
pub(super) enum Shown {
    /// `[batch, ...]` in the model's layout.
    Windows(Tensor),
    /// Frames `[n, 3, height, width]` that go to `places` of a window, whose other frames have the codes `[1, T, ...]`.
    Frames { codes: Option<Tensor>, places: Vec<usize>, frames: Tensor },
}

/// A pass that was made, and the windows in it of whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pass: u64,
    first: i64,
    count: i64,
}

/// One wish.
pub(super) enum Ask {
    Forward(Shown, How),
    /// The gradient of `sum(weights * logits)` at windows of an earlier pass, by the features too if wanted.
    Backward {
        at: Place,
        weights: Tensor,
        features: bool,
    },
    /// The codes of frames `[n, 3, height, width]`.
    Encode(Tensor),
    /// The gradient by frames of `sum(by_codes * codes)`.
    Pull {
        frames: Tensor,
        by_codes: Tensor,
        reduced: bool,
    },
}

pub(super) enum Answer {
    /// The logits `[batch, classes]`, and the codes of the whole window where it was shown by frames.
    Pass {
        at: Place,
        logits: Tensor,
        codes: Option<Tensor>,
    },
    Gradient(Gradient),
    Frames(Tensor),
}

/// By what was shown at a pass.
#[derive(Default)]
pub(super) struct Gradient {
    /// In the model's layout.
    pub by_windows: Option<Tensor>,
    pub by_features: Option<Tensor>,
    /// Of a window shown by frames: by all of its codes, and by the frames whose codes were found in that pass.
    pub by_codes: Option<Tensor>,
    pub by_frames: Option<Tensor>,
}

/// A pass, and how many of its windows may still be asked about.
struct Held {
    pass: Pass,
    /// The frames that were encoded in it, where the graph reaches them.
    encoded: Option<Encoded>,
    by_frames: bool,
    windows: i64,
}

struct Encoded {
    frames: Tensor,
    codes: Tensor,
    /// Where each lies in the windows' codes laid end to end.
    places: Vec<i64>,
}

pub(super) struct Engine {
    module: Module,
    /// Windows a pass at the most.
    most: i64,
    passes: HashMap<u64, Held>,
    made: u64,
}

impl Engine {
    /// `most` windows are in a pass at the most.
    pub fn new(mut module: Module, most: usize) -> Self {
        module.forget();
        Self { module, most: most as i64, passes: HashMap::new(), made: 0 }
    }

    /// From now on the model gets a copy of its input.
    pub fn copy_input(&mut self) {
        self.module.copy_input();
    }

    /// Nobody asks about these windows any more.
    pub fn forget(&mut self, at: Place) {
        if let Some(held) = self.passes.get_mut(&at.pass) {
            held.windows -= at.count;
            if held.windows <= 0 {
                self.passes.remove(&at.pass);
            }
        }
    }

    /// Answers in the order of the asks.
    pub fn serve(&mut self, asks: Vec<Ask>) -> Vec<Result<Answer, Error>> {
        let mut answers: Vec<Option<Result<Answer, Error>>> = asks.iter().map(|_| None).collect();
        let mut asks: Vec<(usize, Ask)> = asks.into_iter().enumerate().collect();
        let most = self.most;
        while let Some((_, first)) = asks.first() {
            let kind = kind_of(first);
            let mut windows = 0;
            let (alike, rest): (Vec<_>, Vec<_>) = asks.into_iter().partition(|(_, ask)| {
                if kind_of(ask) != kind {
                    return false;
                }
                windows += windows_of(ask);
                windows <= most || windows == windows_of(ask)
            });
            asks = rest;
            let (places, alike): (Vec<usize>, Vec<Ask>) = alike.into_iter().unzip();
            for (place, answer) in places.into_iter().zip(self.serve_alike(&alike)) {
                answers[place] = Some(answer);
            }
        }
        answers.into_iter().flatten().collect()
    }

    fn serve_alike(&mut self, asks: &[Ask]) -> Vec<Result<Answer, Error>> {
        match self.together(asks) {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(error) if asks.len() == 1 => vec![Err(error)],
            Err(Error::WritesInput) => asks.iter().map(|_| Err(Error::WritesInput)).collect(),
            // The graph that all of them need may be gone.
            Err(error) if matches!(asks, [Ask::Backward { .. }, ..]) => {
                let reason = error.to_string();
                asks.iter().map(|_| Err(Error::Run { reason: reason.clone() })).collect()
            }
            // There may be too little memory for all of them.
            Err(_) => asks.chunks(1).flat_map(|ask| self.serve_alike(ask)).collect(),
        }
    }

    fn together(&mut self, asks: &[Ask]) -> Result<Vec<Answer>, Error> {
        match asks {
            [Ask::Forward(Shown::Windows(_), how), ..] => self.forward(asks, *how),
            [Ask::Forward(Shown::Frames { .. }, how), ..] => self.forward_by_frames(asks, *how),
            [Ask::Backward { at, features, .. }, ..] => self.backward(asks, at.pass, *features),
            [Ask::Encode(_) | Ask::Pull { .. }, ..] => asks.iter().map(|ask| self.encode(ask)).collect(),
            [] => Ok(Vec::new()),
        }
    }

    fn hold(&mut self, held: Held) -> u64 {
        self.made += 1;
        self.passes.insert(self.made, held);
        self.made
    }

    fn forward(&mut self, asks: &[Ask], how: How) -> Result<Vec<Answer>, Error> {
        let shown = asks.iter().filter_map(|ask| match ask {
            Ask::Forward(Shown::Windows(windows), _) => Some(windows),
            _ => None,
        });
        let shown: Vec<&Tensor> = shown.collect();
        let input = joined(&shown).map_err(run_error)?;
        let pass = self.module.run(&input, how)?;
        let logits = logits_of(&pass, input.size()[0])?;
        let windows = input.size()[0];
        let id = self.hold(Held { pass, encoded: None, by_frames: false, windows });
        let mut first = 0;
        let mut answer = |count: i64| -> Result<Answer, TchError> {
            let at = Place { pass: id, first, count };
            first += count;
            Ok(Answer::Pass { at, logits: logits.f_narrow(0, at.first, count)?, codes: None })
        };
        shown.iter().map(|windows| answer(windows.size()[0]).map_err(run_error)).collect()
    }

    fn forward_by_frames(&mut self, asks: &[Ask], how: How) -> Result<Vec<Answer>, Error> {
        let shown = asks.iter().filter_map(|ask| match ask {
            Ask::Forward(Shown::Frames { codes, places, frames }, _) => Some((codes, places, frames)),
            _ => None,
        });
        let shown: Vec<_> = shown.collect();
        let frames: Vec<&Tensor> = shown.iter().map(|(_, _, frames)| *frames).collect();
        let frames = joined(&frames).map_err(run_error)?;
        // Of a pass that is kept most frames are asked about by their codes alone.
        let codes = match how.keep {
            true => tch::no_grad(|| self.module.encode(&frames, how.reduced))?,
            false => self.module.encode(&frames.f_set_requires_grad(true).map_err(run_error)?, how.reduced)?,
        };
        let length = self.module.lens.metadata.window as i64;
        let mut windows = Vec::new();
        let (mut places, mut first) = (Vec::new(), 0);
        for (window, (known, shown, _)) in shown.iter().enumerate() {
            let count = shown.len() as i64;
            let fresh = codes.f_narrow(0, first, count).and_then(|fresh| fresh.f_detach()?.f_unsqueeze(0));
            windows.push(fresh.and_then(|fresh| completed(known.as_ref(), shown, &fresh)).map_err(run_error)?);
            places.extend(shown.iter().map(|place| window as i64 * length + *place as i64));
            first += count;
        }
        let input = joined(&windows.iter().collect::<Vec<_>>()).map_err(run_error)?;
        let pass = self.module.classify_codes(&input, how)?;
        let logits = logits_of(&pass, windows.len() as i64)?;
        let encoded = (!how.keep).then_some(Encoded { frames, codes, places });
        let id = self.hold(Held { pass, encoded, by_frames: true, windows: windows.len() as i64 });
        let answer = |(first, codes): (usize, Tensor)| -> Result<Answer, TchError> {
            let at = Place { pass: id, first: first as i64, count: 1 };
            Ok(Answer::Pass { at, logits: logits.f_narrow(0, at.first, 1)?, codes: Some(codes.f_detach()?) })
        };
        windows.into_iter().enumerate().map(|window| answer(window).map_err(run_error)).collect()
    }

    fn backward(&mut self, asks: &[Ask], pass: u64, features: bool) -> Result<Vec<Answer>, Error> {
        let held = self.passes.get(&pass).ok_or_else(Error::no_pass)?;
        let asked = asks.iter().filter_map(|ask| match ask {
            Ask::Backward { at, weights, .. } => Some((at, weights)),
            _ => None,
        });
        let asked: Vec<_> = asked.collect();
        let sum = held.pass.weighted(&weights_of(&held.pass, &asked).map_err(run_error)?).map_err(run_error)?;
        let found = held.gradient(&sum, features)?;
        let of = |whole: &Option<Tensor>, at: &Place| -> Result<Option<Tensor>, TchError> {
            whole.as_ref().map(|whole| whole.f_narrow(0, at.first, at.count)).transpose()
        };
        let part = |at: &Place| -> Result<Answer, TchError> {
            Ok(Answer::Gradient(Gradient {
                by_windows: of(&found.by_windows, at)?,
                by_features: of(&found.by_features, at)?,
                by_codes: of(&found.by_codes, at)?,
                by_frames: held.frames_of(&found.by_frames, at)?,
            }))
        };
        asked.iter().map(|(at, _)| part(at).map_err(run_error)).collect()
    }

    fn encode(&self, ask: &Ask) -> Result<Answer, Error> {
        match ask {
            Ask::Pull { frames, by_codes, reduced } => {
                Ok(Answer::Frames(self.module.pull(frames, by_codes, *reduced)?))
            }
            Ask::Encode(frames) => Ok(Answer::Frames(tch::no_grad(|| self.module.encode(frames, false))?)),
            Ask::Forward(..) | Ask::Backward { .. } => Err(Error::no_pass()),
        }
    }
}

impl Held {
    fn gradient(&self, sum: &Tensor, features: bool) -> Result<Gradient, Error> {
        let Pass { input, keep, .. } = &self.pass;
        if !self.by_frames {
            return match self.pass.features.as_ref().filter(|_| features) {
                Some(map) => {
                    let [by_features, by_windows] = gradients(sum, [map, input], true)?;
                    let by_features = Some(by_features.ok_or(Error::FeaturesOffPath)?);
                    Ok(Gradient {
                        by_windows: Some(by_windows.ok_or(Error::NoGradient)?),
                        by_features,
                        ..Gradient::default()
                    })
                }
                None => {
                    let by_windows = Some(gradient(sum, input, *keep)?.ok_or(Error::NoGradient)?);
                    Ok(Gradient { by_windows, ..Gradient::default() })
                }
            };
        }
        let by_codes = gradient(sum, input, *keep)?.ok_or(Error::NoGradient)?;
        let by_frames = match &self.encoded {
            Some(Encoded { frames, codes, places }) if !places.is_empty() => {
                let theirs = || -> Result<Tensor, TchError> {
                    let index = Tensor::f_from_slice(places)?.f_to_device(by_codes.device())?;
                    by_codes.f_flatten(0, 1)?.f_index_select(0, &index)
                };
                Some(pulled(codes, &theirs().map_err(run_error)?, frames)?)
            }
            _ => None,
        };
        Ok(Gradient { by_codes: Some(by_codes), by_frames, ..Gradient::default() })
    }

    /// That part of a gradient by the encoded frames which is of one window.
    fn frames_of(&self, by_frames: &Option<Tensor>, at: &Place) -> Result<Option<Tensor>, TchError> {
        let (Some(by_frames), Some(encoded)) = (by_frames, &self.encoded) else { return Ok(None) };
        let length = self.pass.input.size()[1];
        let window = |place: &i64| place / length;
        let first = encoded.places.iter().take_while(|place| window(place) < at.first).count();
        let count = encoded.places.iter().filter(|place| window(place) == at.first).count();
        by_frames.f_narrow(0, first as i64, count as i64).map(Some)
    }
}

/// The logits of a pass, a row for each of so many windows.
fn logits_of(pass: &Pass, windows: i64) -> Result<Tensor, Error> {
    let size = pass.logits.size();
    if size.first() != Some(&windows) {
        return Err(Error::Run { reason: format!("expected logits of {windows} windows, found {size:?}") });
    }
    pass.logits.f_detach().map_err(run_error)
}

/// What can be one pass.
fn kind_of(ask: &Ask) -> (u8, u64) {
    match ask {
        Ask::Backward { at, features, .. } => (u8::from(*features), at.pass),
        Ask::Forward(shown, how) => {
            let of_frames = matches!(shown, Shown::Frames { .. });
            (2 + u8::from(of_frames), u64::from(how.keep) << 1 | u64::from(how.reduced))
        }
        Ask::Encode(_) => (4, 0),
        Ask::Pull { .. } => (5, 0),
    }
}

fn windows_of(ask: &Ask) -> i64 {
    match ask {
        Ask::Forward(Shown::Windows(windows), _) => windows.size()[0],
        Ask::Forward(Shown::Frames { .. }, _) => 1,
        // Those of one pass go together.
        _ => 0,
    }
}

/// One behind the other, without a copy where there is but one.
fn joined(parts: &[&Tensor]) -> Result<Tensor, TchError> {
    match parts {
        [one] => one.f_detach(),
        _ => Tensor::f_cat(parts, 0),
    }
}

/// The weights of all logits of a pass; those of windows that nobody asks about are zero.
fn weights_of(pass: &Pass, asked: &[(&Place, &Tensor)]) -> Result<Tensor, TchError> {
    if let [(at, weights)] = asked
        && at.count == pass.logits.size()[0]
    {
        return Ok(weights.shallow_clone());
    }
    let weights = pass.logits.f_detach()?.f_zeros_like()?;
    for (at, of) in asked {
        weights.f_narrow(0, at.first, at.count)?.f_copy_(of)?;
    }
    Ok(weights)
}

/// The codes of a window with those of some frames, `[1, frames, ...]`, in place of the ones known.
fn completed(known: Option<&Tensor>, places: &[usize], fresh: &Tensor) -> Result<Tensor, TchError> {
    match known {
        Some(known) if places.is_empty() => known.f_mul_scalar(1.0),
        Some(known) => known.f_index_copy(1, &torch::index(places, known.device())?, fresh),
        None => fresh.f_contiguous(),
    }
}
