// SPDX-License-Identifier: MPL-2.0

//! A window of a stream as a model sees it: the target of an attack. Between the attack and the model lie the stream's
//! bytes, which hold less than a perturbation asks for, and the ways they take to whoever classifies them.

use tch::{Device, Tensor};

use crate::attack::{Delta, Differentiate, Error, FeatureGradient, Features, Perturbation, Query, Reading, Shape};
use crate::model::{self, Model};
use crate::torch;
use crate::video::DeviceView;
use crate::video::observer::{HostView, Observe};
use crate::video::view::{Samples, View};

/// A codec, or whatever else a window's frames go through before they are classified.
pub trait Transport {
    /// What the model's view touches of the window's real frames as they come out, with a perturbation rendered into
    /// them.
    fn transmit(&self, perturbation: &Perturbation) -> Result<Vec<Samples>, Error>;
}

/// How a reading's view of the window is come by.
enum Way<'a> {
    /// By the observer of the window.
    Own,
    /// By another one, and its view of the clean frames.
    Other(Box<dyn Observe + 'a>, Tensor),
    Transport(&'a dyn Transport),
}

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
    /// What the model is shown: the reading of its clean frames, and which frames are perturbed.
    shown: Option<(usize, Vec<usize>)>,
}

impl<'a> WindowTarget<'a> {
    /// A window by the samples of its real frames, at least one: observed by the row kernels on the CPU, by tensor
    /// operations on other devices.
    pub fn new(model: &'a mut Model, view: &'a View, samples: &[Samples]) -> Result<Self, Error> {
        match model.device() {
            Device::Cpu => Self::of(model, view, samples, Box::new(HostView::new(view, samples.to_vec()))),
            _ => Self::by_tensors(model, view, samples),
        }
    }

    /// The same by tensor operations on any device. A success has to hold in the view of the host too, which has the last
    /// word on the bytes pushed.
    pub fn by_tensors(model: &'a mut Model, view: &'a View, samples: &[Samples]) -> Result<Self, Error> {
        let observer = DeviceView::new(view, &[samples], model.device())?;
        let mut target = Self::of(model, view, samples, Box::new(observer))?;
        target.confirm_by(view, samples)?;
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
            shown: None,
        })
    }

    /// A success has to hold in the view of another reader of the same frames too.
    pub fn confirm_by(&mut self, view: &'a View, samples: &[Samples]) -> Result<(), Error> {
        let other = HostView::new(view, samples.to_vec());
        let clean = other.clean()?.f_to_device(self.device())?.f_unsqueeze(0)?;
        self.readings.push(Reading::Confirm);
        self.ways.push(Way::Other(Box::new(other), clean));
        Ok(())
    }

    /// A success has to hold behind each of these, and nowhere else. None of them changes nothing.
    pub fn behind(&mut self, transports: impl Iterator<Item = &'a dyn Transport>) {
        let ways: Vec<Way> = transports.map(Way::Transport).collect();
        if !ways.is_empty() {
            self.readings = vec![Reading::Transport; ways.len()];
            self.ways = ways;
        }
    }

    /// Shows the model the clean frames of a reading, and perturbed ones in their place.
    fn show(&mut self, reading: usize, frames: &[usize], views: &Tensor) -> Result<(), Error> {
        let clean = match &self.ways[reading] {
            Way::Other(_, clean) => clean,
            Way::Own | Way::Transport(_) => &self.clean,
        };
        let batch = views.size()[0];
        let stale: Vec<usize> = match self.shown.take() {
            Some((shown, perturbed)) if shown == reading && batch == 1 => {
                perturbed.into_iter().filter(|k| !frames.contains(k)).collect()
            }
            _ => (0..self.shape.real).collect(),
        };
        if !stale.is_empty() {
            let clean = clean.f_index_select(1, &torch::index(&stale, clean.device())?)?;
            self.put(&stale, &batched(&clean, batch)?)?;
        }
        self.put(frames, views)?;
        if batch == 1 {
            self.shown = Some((reading, frames.to_vec()));
        }
        Ok(())
    }

    /// Shows the model the clean window with some frames in the places of others.
    fn show_moved(&mut self, frames: &[usize]) -> Result<(), Error> {
        let moved: Vec<usize> = (0..frames.len()).filter(|k| frames[*k] != *k).collect();
        let from: Vec<usize> = moved.iter().map(|k| frames[*k]).collect();
        let views = self.clean.f_index_select(1, &torch::index(&from, self.device())?)?;
        // Those that repeat the last frame stay clean: what is removed is one frame.
        self.shown = None;
        self.show(0, &[], &views)?;
        if !moved.is_empty() {
            self.model.show(&moved, &views)?;
            self.shown = None;
        }
        Ok(())
    }

    /// Shows the model real frames, the last one in place of those that repeat it too.
    fn put(&mut self, frames: &[usize], views: &Tensor) -> Result<(), Error> {
        let shape = self.shape;
        let places = frames.iter().enumerate().flat_map(|(i, k)| shape.shown(*k).map(move |place| (place, i)));
        let (places, of): (Vec<usize>, Vec<usize>) = places.unzip();
        if places.len() == frames.len() {
            return Ok(self.model.show(&places, views)?);
        }
        let views = views.f_index_select(1, &torch::index(&of, views.device())?)?;
        Ok(self.model.show(&places, &views)?)
    }

    /// The logits of what `show` shows.
    fn pass(&mut self, keep: bool, show: impl Fn(&mut Self) -> Result<(), Error>) -> Result<Tensor, Error> {
        show(self)?;
        match self.model.forward(keep) {
            Err(model::Error::WritesInput) => {
                // What it has been shown is no more; from now on it gets a copy.
                self.shown = None;
                show(self)?;
                Ok(self.model.forward(keep)?)
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

/// One window's views for each of a batch.
fn batched(views: &Tensor, batch: i64) -> Result<Tensor, tch::TchError> {
    match views.size()[0] == batch {
        true => Ok(views.shallow_clone()),
        false => {
            let mut shape = views.size();
            shape[0] = batch;
            views.f_expand(shape, false)
        }
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
        self.pass(true, |target| target.show_moved(frames))
    }

    fn logits(&mut self, delta: &Delta, reading: usize) -> Result<Tensor, Error> {
        match &mut self.ways[reading] {
            Way::Own => {
                let views = match self.observed.take() {
                    Some(views) => views,
                    None => self.observer.observe(&delta.frames, &delta.values)?,
                };
                self.pass(false, |target| target.show(reading, &delta.frames, &views))
            }
            Way::Other(other, _) => {
                let views = other.observe(&delta.frames, &delta.values.f_to_device(Device::Cpu)?)?;
                let views = views.f_to_device(self.device())?;
                self.pass(false, |target| target.show(reading, &delta.frames, &views))
            }
            Way::Transport(transport) => {
                let values = torch::download(&delta.values)?;
                let values = values.chunks_exact(self.shape.frame_len()).map(<[f32]>::to_vec);
                let samples = transport.transmit(&delta.frames.iter().copied().zip(values).collect())?;
                let frames: Vec<usize> = (0..self.shape.real).collect();
                let views = HostView::new(self.view, samples).clean()?.f_to_device(self.device())?.f_unsqueeze(0)?;
                self.pass(false, |target| target.show(reading, &frames, &views))
            }
        }
    }
}

impl Differentiate for WindowTarget<'_> {
    fn backward(&mut self, grad_logits: &Tensor, frames: &[usize]) -> Result<Tensor, Error> {
        Ok(self.model.backward(grad_logits, frames)?)
    }

    fn pull(&mut self, delta: &Delta, reading: usize, grad_view: &Tensor) -> Result<Tensor, Error> {
        let Way::Other(other, _) = &mut self.ways[reading] else {
            return Ok(self.observer.backward(&delta.frames, grad_view)?);
        };
        // A frame that has just joined was not in the last look.
        let _ = other.observe(&delta.frames, &delta.values.f_to_device(Device::Cpu)?)?;
        let gradient = other.backward(&delta.frames, &grad_view.f_to_device(Device::Cpu)?)?;
        Ok(gradient.f_to_device(self.device())?)
    }
}

impl Features for WindowTarget<'_> {
    fn feature_gradient(&mut self, grad_logits: &Tensor) -> Result<Option<FeatureGradient>, Error> {
        Ok(self.model.feature_gradient(grad_logits)?)
    }
}
