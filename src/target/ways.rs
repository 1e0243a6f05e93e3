// SPDX-License-Identifier: MPL-2.0

//! The ways from a window's bytes to whoever classifies them.

use std::collections::VecDeque;

use tch::{Device, TchError, Tensor};

use crate::attack::{Delta, Error, Perturbation};
use crate::model::Encoded;
use crate::torch;
use crate::video::observer::{HostView, Observe};
use crate::video::view::{Samples, View};

/// A codec, or whatever else a window's frames go through before they are classified.
pub trait Transport {
    /// What each of some views of the stream touches of the window's real frames as they come out, with a perturbation
    /// rendered into them.
    fn transmit(&self, perturbation: &Perturbation, views: &[&View]) -> Result<Vec<Vec<Samples>>, Error>;
}

/// How a reading's view of the window is come by.
pub(super) enum Way<'a> {
    /// By the observer of the window.
    Own,
    /// By another one.
    Other(Box<Other<'a>>),
    Transport(Behind<'a>),
    /// By another reader's view of what comes out of the transport that is the way of this number.
    Behind(usize),
    /// By the observer of the window, and the model as it is where gradients are taken in a lower precision.
    Exact,
}

/// The frames behind a transport.
pub(super) struct Behind<'a> {
    transport: &'a dyn Transport,
    /// The model's view of the stream, and another reader's where there is one.
    views: Vec<&'a View>,
    /// What was sent, and what came out as each of them sees it.
    sent: VecDeque<(Delta, Vec<Vec<Samples>>)>,
}

/// How many of the last perturbations are kept as they came out: those that may be looked at once more.
const KEPT: usize = 24;

impl<'a> Behind<'a> {
    pub fn new(transport: &'a dyn Transport, view: &'a View, other: Option<&'a View>) -> Self {
        Self { transport, views: [view].into_iter().chain(other).collect(), sent: VecDeque::new() }
    }

    /// Sends a perturbation, of frames of `len` values each.
    pub fn send(&mut self, delta: &Delta, len: usize) -> Result<(), Error> {
        let values = torch::download(&delta.values)?;
        let values = values.chunks_exact(len).map(<[f32]>::to_vec);
        let perturbation = delta.frames.iter().copied().zip(values).collect();
        let received = self.transport.transmit(&perturbation, &self.views)?;
        // Where there is no other reader, nobody asks again.
        self.sent.truncate(if self.views.len() > 1 { KEPT - 1 } else { 0 });
        self.sent.push_front((delta.clone(), received));
        Ok(())
    }

    /// Whether it knows what comes out of a perturbation. It is the first of those that it knows from now on.
    pub fn knows(&mut self, delta: &Delta) -> Result<bool, TchError> {
        for place in 0..self.sent.len() {
            if same(&self.sent[place].0, delta)? {
                self.sent.swap(0, place);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What the first perturbation it knows came out as, by the view of this number: `[1, real, 3, height, width]`.
    pub fn views(&self, number: usize, device: Device) -> Result<Tensor, Error> {
        let missing = || Error::Transport("Expected a window that was sent and another view of it, found none.".into());
        let (_, received) = self.sent.front().ok_or_else(missing)?;
        let samples = received.get(number).ok_or_else(missing)?;
        Ok(HostView::new(self.views[number], samples.clone()).clean()?.f_to_device(device)?.f_unsqueeze(0)?)
    }
}

/// Whether two perturbations change the same: frames that one of them leaves as they are may be missing there.
fn same(a: &Delta, b: &Delta) -> Result<bool, TchError> {
    let (longer, shorter) = if a.frames.len() < b.frames.len() { (b, a) } else { (a, b) };
    for (i, frame) in longer.frames.iter().enumerate() {
        let values = longer.values.f_narrow(1, i as i64, 1)?;
        let equal = match shorter.frames.iter().position(|k| k == frame) {
            Some(place) => values.f_equal(&shorter.values.f_narrow(1, place as i64, 1)?)?,
            None => torch::download(&values.f_count_nonzero(None)?)? == [0.0],
        };
        if !equal {
            return Ok(false);
        }
    }
    Ok(shorter.frames.iter().all(|frame| longer.frames.contains(frame)))
}

/// Another observer of the window.
pub(super) struct Other<'a> {
    pub observer: Box<dyn Observe + 'a>,
    /// Its view of the clean frames.
    pub clean: Tensor,
    /// The same as the model encodes it, frame by frame, once that was needed.
    pub encoded: Option<Encoded>,
    /// It was, before a pass over it was asked for, which has been counted.
    pub prepaid: bool,
}

impl Other<'_> {
    /// Its view of the perturbed frames, on the model's device.
    pub fn observe(&mut self, delta: &Delta) -> Result<Tensor, TchError> {
        let views = self.observer.observe(&delta.frames, &delta.values.f_to_device(Device::Cpu)?)?;
        views.f_to_device(delta.values.device())
    }
}
