// SPDX-License-Identifier: MPL-2.0

//! A window of a stream as a model sees it: the target of an attack. Between the attack and the model lie the stream's
//! bytes, which hold less than a perturbation asks for, and the ways they take to whoever classifies them.

mod show;
mod ways;

use tch::{Device, Tensor};

use crate::attack::select::step_weights;
use crate::attack::{
    Beyond, ByFrames, Delta, Differentiate, Error, FeatureGradient, Features, Query, Reading, Shape, norm,
};
use crate::model::{self, Encoded, Model};
use crate::torch;
use crate::video::DeviceView;
use crate::video::observer::{HostView, Observe};
use crate::video::view::{Samples, View};

pub use ways::Transport;
use ways::{Behind, Other, Way};

/// A window under attack.
pub struct WindowTarget<'a> {
    model: &'a mut Model,
    view: &'a View,
    shape: Shape,
    observer: Box<dyn Observe + 'a>,
    /// Its view of the clean frames, `[1, real, 3, height, width]`.
    clean: Tensor,
    /// That of the frames last observed, and which they are.
    clean_of: (Vec<usize>, Tensor),
    /// Its last view of perturbed ones.
    observed: Option<Tensor>,
    readings: Vec<Reading>,
    ways: Vec<Way<'a>>,
    /// The clean window as the model encodes it, if it does so frame by frame.
    encoded: Option<Encoded>,
    /// The last pass was in a lower precision than the model's.
    reduced: bool,
    answers_only: bool,
    beyond: Beyond,
    /// Frames that were encoded once more.
    encoded_again: usize,
    /// What the model is shown: the reading of its clean frames, and which frames are perturbed.
    shown: Option<(usize, Vec<usize>)>,
}

impl<'a> WindowTarget<'a> {
    /// A window by the samples of its real frames, at least one: observed by the row kernels on the CPU, by tensor
    /// operations on other devices.
    pub fn new(model: &'a mut Model, view: &'a View, samples: &[Samples]) -> Result<Self, Error> {
        match model.device() {
            Device::Cpu => {
                let mut target = Self::of(model, view, samples, Box::new(HostView::new(view, samples.to_vec())))?;
                if target.model.reduces() {
                    target.readings.push(Reading::Exact);
                    target.ways.push(Way::Exact);
                }
                Ok(target)
            }
            _ => Self::by_tensors(model, view, samples),
        }
    }

    /// The same by tensor operations on any device. A success has to hold in the view of the host too, which has the last
    /// word on the bytes pushed.
    pub fn by_tensors(model: &'a mut Model, view: &'a View, samples: &[Samples]) -> Result<Self, Error> {
        let observer = DeviceView::new(view, &[samples], model.device())?;
        let mut target = Self::of(model, view, samples, Box::new(observer))?;
        target.confirm_by(view, samples)?;
        if target.model.reduces() {
            target.readings[1] = Reading::Exact;
        }
        Ok(target)
    }

    fn of(
        model: &'a mut Model,
        view: &'a View,
        samples: &[Samples],
        observer: Box<dyn Observe + 'a>,
    ) -> Result<Self, Error> {
        let [height, width] = view.size();
        let shape =
            Shape { frames: model.metadata().window, real: samples.len(), height, width, classes: model.classes() };
        let clean = observer.clean()?.f_unsqueeze(0)?;
        Ok(Self {
            model,
            view,
            shape,
            observer,
            clean_of: ((0..shape.real).collect(), clean.shallow_clone()),
            clean,
            observed: None,
            readings: vec![Reading::Always],
            ways: vec![Way::Own],
            encoded: None,
            reduced: false,
            answers_only: false,
            beyond: Beyond::default(),
            encoded_again: 0,
            shown: None,
        })
    }

    /// Nobody asks for a gradient: passes are the model's own, without what a way back needs.
    pub fn answer_only(&mut self) {
        self.answers_only = true;
        if let Some(exact) = self.ways.iter().position(|way| matches!(way, Way::Exact)) {
            self.ways.remove(exact);
            self.readings.remove(exact);
        }
    }

    /// A success has to hold in the view of another reader of the same frames too.
    pub fn confirm_by(&mut self, view: &'a View, samples: &[Samples]) -> Result<(), Error> {
        let other = HostView::new(view, samples.to_vec());
        let clean = other.clean()?.f_to_device(self.device())?.f_unsqueeze(0)?;
        self.readings.push(Reading::Confirm);
        self.ways.push(Way::Other(Box::new(Other { observer: Box::new(other), clean, encoded: None, prepaid: false })));
        Ok(())
    }

    /// A success has to hold behind each of these, and nowhere else; with another reader's view of the stream, by that
    /// too. None of them changes nothing.
    pub fn behind(&mut self, transports: impl Iterator<Item = &'a dyn Transport>, other: Option<&'a View>) {
        let ways: Vec<Way> = transports.map(|t| Way::Transport(Behind::new(t, self.view, other))).collect();
        if ways.is_empty() {
            return;
        }
        let count = ways.len();
        self.readings = vec![Reading::Transport; count];
        self.ways = ways;
        if other.is_some() {
            self.readings.extend(vec![Reading::Confirm; count]);
            self.ways.extend((0..count).map(Way::Behind));
        }
    }

    /// The frames behind the transport of a way.
    fn transport(&mut self, way: usize) -> Result<&mut Behind<'a>, Error> {
        match &mut self.ways[way] {
            Way::Transport(behind) => Ok(behind),
            _ => Err(Error::Transport("Expected a reading behind a transport, found another one.".into())),
        }
    }

    /// The logits of frames as they came out of the transport of a way, by one of the views of the stream.
    fn logits_behind(&mut self, way: usize, number: usize) -> Result<Tensor, Error> {
        let device = self.device();
        let views = self.transport(way)?.views(number, device)?;
        let frames: Vec<usize> = (0..self.shape.real).collect();
        self.pass(|model| model.forward(false), |target| target.show(way, &frames, &views))
    }

    /// The view of perturbed frames, which was the last one that was observed.
    fn own_views(&mut self, delta: &Delta) -> Result<Tensor, Error> {
        match &self.observed {
            Some(views) => Ok(views.shallow_clone()),
            None => Ok(self.observer.observe(&delta.frames, &delta.values)?),
        }
    }

    /// Encodes the clean frames of another observer, if that is still to be done. Returns whether it was.
    fn encode_clean(&mut self, reading: usize) -> Result<bool, Error> {
        let Way::Other(other) = &mut self.ways[reading] else { return Ok(false) };
        if other.encoded.is_some() {
            return Ok(false);
        }
        other.encoded = self.model.encode(&other.clean)?.map(|clean| clean.at(&self.shape.sources())).transpose()?;
        Ok(other.encoded.is_some())
    }

    /// The logits of what `show` shows.
    fn pass(
        &mut self,
        forward: impl Fn(&mut Model) -> Result<Tensor, model::Error>,
        show: impl Fn(&mut Self) -> Result<(), Error>,
    ) -> Result<Tensor, Error> {
        self.reduced = false;
        show(self)?;
        match forward(self.model) {
            Err(model::Error::WritesInput) => {
                // What it has been shown is no more; from now on it gets a copy.
                self.shown = None;
                show(self)?;
                Ok(forward(self.model)?)
            }
            done => Ok(done?),
        }
    }
}

impl Drop for WindowTarget<'_> {
    fn drop(&mut self) {
        self.model.forget();
    }
}

impl Query for WindowTarget<'_> {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn device(&self) -> Device {
        self.model.device()
    }

    fn readings(&self) -> &[Reading] {
        &self.readings
    }

    fn clean(&self) -> Result<Tensor, Error> {
        Ok(self.clean.f_squeeze_dim(0)?)
    }

    fn observe(&mut self, delta: &Delta) -> Result<Tensor, Error> {
        let views = self.observer.observe(&delta.frames, &delta.values)?;
        if self.clean_of.0 != delta.frames {
            let clean = self.clean.f_index_select(1, &torch::index(&delta.frames, self.device())?)?;
            self.clean_of = (delta.frames.clone(), clean);
        }
        let observed = views.f_sub(&self.clean_of.1)?;
        self.observed = Some(views);
        Ok(observed)
    }

    fn logits_of(&mut self, frames: &[usize]) -> Result<Tensor, Error> {
        let logits = self.pass(|model| model.forward(true), |target| target.show_moved(frames))?;
        if self.encoded.is_none() && frames.iter().copied().eq(0..self.shape.real) {
            self.encoded = self.model.encoded();
        }
        Ok(logits)
    }

    fn logits(&mut self, delta: &Delta, reading: usize) -> Result<Tensor, Error> {
        match &mut self.ways[reading] {
            Way::Own => {
                let views = self.own_views(delta)?;
                if self.answers_only {
                    return self.pass(|model| model.forward(false), |t| t.show(reading, &delta.frames, &views));
                }
                let logits = self.pass(Model::forward_for_gradient, |t| t.show(reading, &delta.frames, &views))?;
                self.reduced = self.model.reduces();
                Ok(logits)
            }
            Way::Exact => {
                let views = self.observer.observe(&delta.frames, &delta.values)?;
                self.pass(|model| model.forward(false), |target| target.show(reading, &delta.frames, &views))
            }
            Way::Other(other) => {
                let views = other.observe(delta)?;
                if std::mem::take(&mut other.prepaid) {
                    self.beyond.forwards -= 1;
                } else {
                    self.encode_clean(reading)?;
                }
                self.pass(|model| model.forward(false), |target| target.show(reading, &delta.frames, &views))
            }
            Way::Transport(behind) => {
                behind.send(delta, self.shape.frame_len())?;
                self.logits_behind(reading, 0)
            }
            Way::Behind(way) => {
                let (way, len) = (*way, self.shape.frame_len());
                let behind = self.transport(way)?;
                if !behind.knows(delta)? {
                    behind.send(delta, len)?;
                    self.beyond.codec_runs += 1;
                }
                self.logits_behind(way, 1)
            }
        }
    }
}

impl Differentiate for WindowTarget<'_> {
    fn backward(&mut self, grad_logits: &Tensor, frames: &[usize]) -> Result<Tensor, Error> {
        let gradient = self.model.backward(grad_logits, frames)?;
        if !self.reduced || torch::download(&gradient.f_isfinite()?.f_all()?)? != [0.0] {
            return Ok(gradient);
        }
        self.reduced = false;
        self.beyond.forwards += 1;
        self.beyond.backwards += 1;
        let _ = self.model.forward(false)?;
        Ok(self.model.backward(grad_logits, frames)?)
    }

    fn by_frames(&mut self) -> Option<&mut dyn ByFrames> {
        if self.model.encodes_frames() { Some(self) } else { None }
    }

    fn change(&mut self, delta: &Delta, reading: usize, frames: &[usize], by_view: &Tensor) -> Result<f64, Error> {
        let (own, device) = (self.own_views(delta)?, self.device());
        // The last frame is shown several times.
        let sources = self.shape.sources();
        let shown = torch::index(&frames.iter().map(|k| sources[*k]).collect::<Vec<_>>(), device)?;
        let encoded_now = self.encode_clean(reading)?;
        let other = match &mut self.ways[reading] {
            Way::Other(other) => other,
            // Of the same view.
            Way::Exact => return Ok(0.0),
            Way::Behind(way) => {
                let way = *way;
                let behind = self.transport(way)?;
                let different = behind.views(1, device)?.f_sub(&behind.views(0, device)?)?;
                return Ok(norm::dot(by_view, &different.f_index_select(1, &shown)?)?);
            }
            _ => return Err(Error::Transport("Expected a reading that confirms, found another one.".into())),
        };
        if encoded_now {
            self.beyond.forwards += 1;
            other.prepaid = true;
        }
        let index = torch::index(&delta.frames, device)?;
        let different = other.observe(delta)?.f_sub(&own)?;
        let different = other.clean.f_sub(&self.clean)?.f_index_copy(1, &index, &different)?;
        let mut change = norm::dot(by_view, &different.f_index_select(1, &shown)?)?;
        let rest: Vec<usize> = (0..self.shape.frames).filter(|k| !frames.contains(k)).collect();
        let encoded = self.encoded.as_ref().zip(other.encoded.as_ref()).zip(self.model.by_codes());
        if let Some(((own, other), by_codes)) = encoded.filter(|_| !rest.is_empty()) {
            let rest = torch::index(&rest, device)?;
            change += norm::dot(&by_codes.f_index_select(1, &rest)?, &other.less(own, &rest)?)?;
        }
        Ok(change)
    }

    fn beyond(&mut self) -> Beyond {
        // As many frames as a window has are a pass, and part of one counts as a whole.
        let passes = |frames: usize| frames.div_ceil(self.shape.frames) as i32;
        let before = passes(self.encoded_again);
        let again = self.encoded_again + self.model.encoded_again();
        self.beyond.forwards += passes(again) - before;
        self.encoded_again = again;
        std::mem::take(&mut self.beyond)
    }

    fn pull(&mut self, delta: &Delta, reading: usize, grad_view: &Tensor) -> Result<Tensor, Error> {
        match &mut self.ways[reading] {
            Way::Own | Way::Transport(_) => Ok(self.observer.backward(&delta.frames, grad_view)?),
            Way::Exact | Way::Behind(_) => {
                // A success that was asked about may have been another perturbation.
                self.observed = Some(self.observer.observe(&delta.frames, &delta.values)?);
                Ok(self.observer.backward(&delta.frames, grad_view)?)
            }
            Way::Other(other) => {
                // A frame that has just joined was not in the last look.
                let _ = other.observe(delta)?;
                let gradient = other.observer.backward(&delta.frames, &grad_view.f_to_device(Device::Cpu)?)?;
                Ok(gradient.f_to_device(self.device())?)
            }
        }
    }
}

impl ByFrames for WindowTarget<'_> {
    fn complete(&mut self, frames: &[usize]) -> Result<Tensor, Error> {
        Ok(self.model.complete(frames)?)
    }

    fn frame_weights(&self) -> Result<Vec<f64>, Error> {
        let by_codes = self.model.by_codes().ok_or(model::Error::NoGradient)?;
        Ok(step_weights(by_codes, 1, false)?)
    }
}

impl Features for WindowTarget<'_> {
    fn feature_gradient(&mut self, grad_logits: &Tensor) -> Result<Option<FeatureGradient>, Error> {
        Ok(self.model.feature_gradient(grad_logits)?)
    }
}
