// SPDX-License-Identifier: MPL-2.0

//! A classifier under attack: a model that is loaded, and a window that it is shown.

use std::cell::Cell;
use std::sync::Arc;

use tch::{Device, Tensor};

use super::archive::Origin;
use super::engine::{Answer, Ask, Gradient, How, Place, Shown};
use super::features::Coverage;
use super::frames::{Encoded, Frames};
use super::loaded::{Loaded, Options};
use super::shared::{self, Files};
use super::tensor::run_error;
use super::{Error, Metadata};
use crate::attack::FeatureGradient;
use crate::threads::home::Home;
use crate::torch;

/// A loaded classifier, probed and ready, and a window that it is shown. Elements that load the same file with the same
/// options share the model; a pass of one waits for those of the others.
pub struct Model {
    pub(super) loaded: Arc<Loaded>,
    seat: Option<u64>,
    /// What is shown, in the model's layout and values: only what changes is written.
    input: Option<Tensor>,
    /// The same of a model that encodes frame by frame, where a single window is shown.
    frames: Frames,
    /// Which of both is shown.
    by_frames: bool,
    /// The last pass.
    at: Option<(Place, How)>,
    /// Frames encoded once more for a gradient by them, since this was asked last.
    encoded_again: usize,
}

impl Model {
    /// Loads and probes a model, or shares it with others of this process that have loaded the same. Fails with a sentence
    /// on anything that would make an attack impossible.
    pub fn load(options: &Options) -> Result<Self, Error> {
        let precision = options.precision.settled(options.device.open()?);
        let options = &Options { precision, ..options.clone() };
        let load = || {
            let home =
                Home::start().map_err(|e| Error::Run { reason: format!("its thread cannot be started: {e}") })?;
            let home = Arc::new(home);
            home.run(|| Loaded::load(options, home.clone()))
        };
        Ok(Self::of(shared::of(options, load)?))
    }

    fn of(loaded: Arc<Loaded>) -> Self {
        let by_frames = loaded.by_frames;
        Self { loaded, seat: None, input: None, frames: Frames::default(), by_frames, at: None, encoded_again: 0 }
    }

    /// Whether the files that these options name are still those that it was loaded from.
    pub fn is_of_the_files(&self, options: &Options) -> bool {
        self.loaded.files == Files::of(options)
    }

    /// Whether both are one model that was loaded once.
    pub fn is_shared_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.loaded, &other.loaded)
    }

    /// The thread that its passes are made on.
    pub(crate) fn home(&self) -> &Arc<Home> {
        self.loaded.desk.home()
    }

    /// The same model for another window.
    pub fn share(&self) -> Self {
        Self::of(self.loaded.clone())
    }

    /// From now on its passes wait for those of the other models that share this one and have called this: theirs become
    /// one pass. Until [`leave`](Self::leave) it is to be asked again and again.
    pub fn join(&mut self) {
        if self.seat.is_none() {
            self.seat = Some(self.loaded.desk.sit());
        }
    }

    pub fn leave(&mut self) {
        if let Some(seat) = self.seat.take() {
            self.loaded.desk.leave(seat);
        }
    }

    /// What to know before believing a result of this model, a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        self.loaded.warnings.clone()
    }

    /// SHA-256 of the model's file when it was loaded, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.loaded.sha256
    }

    pub fn metadata(&self) -> &Metadata {
        &self.loaded.lens.metadata
    }

    pub fn metadata_origin(&self) -> &Origin {
        &self.loaded.origin
    }

    pub fn device(&self) -> Device {
        self.loaded.lens.device
    }

    pub fn classes(&self) -> usize {
        self.loaded.classes
    }

    /// Shape of the feature map that keyframes are weighed by, if any.
    pub fn feature_shape(&self) -> Option<&[i64]> {
        self.loaded.features.as_ref().map(|f| f.shape.as_slice())
    }

    pub fn feature_coverage(&self) -> Option<&Coverage> {
        self.loaded.features.as_ref().map(|f| &f.coverage)
    }

    /// Why a feature map that the model returns is not used, if it is not.
    pub fn features_unused(&self) -> Option<&str> {
        self.loaded.features_unused.as_deref()
    }

    /// Whether gradients are taken in bfloat16: [`forward_for_gradient`](Self::forward_for_gradient) is not the same as
    /// [`forward`](Self::forward).
    pub fn reduces(&self) -> bool {
        self.loaded.reduces
    }

    /// Whether the model encodes frame by frame, by `encode_frames` and `classify_features`: frames that do not change cost
    /// nothing, and a gradient by some frames costs less than one by all.
    pub fn encodes_frames(&self) -> bool {
        self.loaded.by_frames
    }

    /// How many windows a pass has at the most, and gains by.
    pub fn windows_a_pass(&self) -> usize {
        self.loaded.windows_a_pass
    }

    /// Shape of the tensor the model is given.
    pub fn input_shape(&self) -> [i64; 5] {
        self.loaded.lens.input_shape()
    }

    /// The logits of a window `[T, 3, height, width]` in gray levels, all of them finite. One forward pass.
    pub fn classify(&mut self, view: &[f32]) -> Result<Vec<f32>, Error> {
        let [h, w] = self.metadata().crop;
        let shape = [self.metadata().window, 3, h, w];
        let expected: usize = shape.iter().product();
        if view.len() != expected {
            let reason = format!("expected a window of {expected} values, found {}", view.len());
            return Err(Error::Run { reason });
        }
        let shape = [1, shape[0], 3, h, w].map(|n| n as i64);
        let view = torch::upload(view, &shape, self.device()).map_err(run_error)?;
        let all = self.loaded.lens.all();
        self.show(&all, &view)?;
        let logits = match self.forward(false) {
            Err(Error::WritesInput) => {
                self.show(&all, &view)?;
                self.forward(false)?
            }
            done => done?,
        };
        let logits = torch::download(&logits).map_err(run_error);
        self.forget();
        let logits = logits?;
        if logits.iter().any(|logit| !logit.is_finite()) {
            let found = format!("{logits:?}");
            return Err(Error::NotFinite { found, input: "a window of the stream".into() });
        }
        Ok(logits)
    }

    /// Lets go of the last pass, whose graph holds every activation.
    pub fn forget(&mut self) {
        if let Some((at, _)) = self.at.take() {
            self.loaded.desk.forget(at);
        }
    }

    /// Puts `views[b, i]` at place `frames[i]` of window b of the next pass: `[batch, frames, 3, height, width]`. What is
    /// shown stays until something else is shown in its place. The first call, and the next one after a change of the
    /// batch or after [`Error::WritesInput`], has to fill whole windows.
    pub fn show(&mut self, frames: &[usize], views: &Tensor) -> Result<(), Error> {
        // The old graph is freed before its input changes.
        self.forget();
        let lens = &self.loaded.lens;
        self.by_frames = self.loaded.by_frames && views.size()[0] == 1;
        if self.by_frames {
            self.input = None;
            self.frames.show(lens, frames, views).map_err(run_error)
        } else {
            self.frames.clear();
            lens.write(&mut self.input, frames, views).map_err(run_error)
        }
    }

    /// What is shown, and its codes, of a model that encodes frame by frame and has made a pass over it.
    pub fn encoded(&self) -> Option<Encoded> {
        self.frames.encoded()
    }

    /// The codes of `[1, n, 3, height, width]`. A forward pass, but for its last part. Nothing of a model that does not
    /// encode frame by frame.
    pub fn encode(&mut self, views: &Tensor) -> Result<Option<Encoded>, Error> {
        if !self.loaded.by_frames {
            return Ok(None);
        }
        let given = views.f_squeeze_dim(0).and_then(|views| self.loaded.lens.of_view(&views)).map_err(run_error)?;
        let codes = self.ask_frames(Ask::Encode(given.shallow_clone()))?.f_unsqueeze(0).map_err(run_error)?;
        Ok(Some(Encoded { frames: given, codes }))
    }

    /// Shows frames as they were encoded.
    pub fn recall(&mut self, known: &Encoded, frames: &[usize]) -> Result<(), Error> {
        self.forget();
        self.frames.recall(&self.loaded.lens, known, frames).map_err(run_error)
    }

    /// The logits `[batch, classes]` of what is shown. One forward pass. Its graph outlives a backward pass if asked for.
    pub fn forward(&mut self, keep: bool) -> Result<Tensor, Error> {
        self.pass(How { keep, reduced: false })
    }

    /// The same in the precision that gradients are taken in.
    pub fn forward_for_gradient(&mut self) -> Result<Tensor, Error> {
        self.pass(How { keep: false, reduced: self.loaded.reduces })
    }

    fn pass(&mut self, how: How) -> Result<Tensor, Error> {
        self.forget();
        let shown = match (&self.input, self.by_frames) {
            (_, true) => self.frames.shown()?,
            (Some(input), false) => Shown::Windows(input.shallow_clone()),
            (None, false) => return Err(Error::nothing_shown()),
        };
        match self.loaded.desk.ask(self.seat, Ask::Forward(shown, how)) {
            Ok(Answer::Pass { at, logits, codes }) => {
                self.at = Some((at, how));
                if let Some(codes) = codes {
                    self.frames.passed(codes);
                }
                // A model may answer some input otherwise than those it was probed with.
                let classes = self.classes();
                match logits.size()[..] {
                    [_, found] if found as usize == classes => Ok(logits),
                    ref other => Err(Error::OtherLogits { classes, found: format!("{other:?}") }),
                }
            }
            Ok(_) => Err(mixed_up()),
            Err(Error::WritesInput) => {
                // What the model has written into it shall not be seen again.
                self.input = None;
                self.frames.clear();
                self.loaded.desk.engine().copy_input();
                Err(Error::WritesInput)
            }
            Err(error) => Err(error),
        }
    }

    /// The gradient of `sum(grad_logits * logits)` at the last pass by what was shown as `frames`, `[batch, frames, 3,
    /// height, width]`. One backward pass.
    pub fn backward(&mut self, grad_logits: &Tensor, frames: &[usize]) -> Result<Tensor, Error> {
        let gradient = self.gradient(grad_logits, false)?;
        if self.by_frames {
            self.frames.found(gradient)?;
            return self.complete(frames);
        }
        let by_windows = gradient.by_windows.ok_or(Error::NoGradient)?;
        self.loaded.lens.window_to_view(&by_windows, frames).map_err(run_error)
    }

    /// The last gradient by other frames of the pass, where the model encodes frame by frame. Those that the pass did not
    /// encode are encoded once more.
    pub fn complete(&mut self, frames: &[usize]) -> Result<Tensor, Error> {
        let reduced = self.at.is_some_and(|(_, how)| how.reduced);
        let again = Cell::new(0);
        let pull = |frames: Tensor, by_codes| {
            again.set(again.get() + frames.size()[0] as usize);
            self.ask_frames(Ask::Pull { frames, by_codes, reduced })
        };
        let gradient = self.frames.gradient(frames, pull)?;
        self.encoded_again += again.get();
        self.loaded.lens.to_view(&gradient).map_err(run_error)
    }

    /// How many frames were encoded once more since this was asked last.
    pub fn encoded_again(&mut self) -> usize {
        std::mem::take(&mut self.encoded_again)
    }

    /// The last gradient by the codes of all frames, `[1, T, ...]`, where the model encodes frame by frame.
    pub fn by_codes(&self) -> Option<&Tensor> {
        self.frames.by_codes()
    }

    /// The same by the feature map, and by what was shown as all frames. `None`, and no pass, without a feature map. The
    /// last pass was one of a single window whose graph was kept. Of a model that encodes frame by frame the codes are the
    /// feature map, and the gradient by the frames is left to [`complete`](Self::complete).
    pub fn feature_gradient(&mut self, grad_logits: &Tensor) -> Result<Option<FeatureGradient>, Error> {
        if self.loaded.features.is_none() {
            return Ok(None);
        }
        let gradient = self.gradient(grad_logits, true)?;
        let Some(features) = &self.loaded.features else { return Ok(None) };
        let (by_features, by_view) = match self.by_frames {
            true => {
                let by_features = gradient.by_codes.as_ref().map(Tensor::shallow_clone);
                self.frames.found(gradient)?;
                (by_features, None)
            }
            false => {
                let lens = &self.loaded.lens;
                let by_windows = gradient.by_windows.ok_or(Error::NoGradient)?;
                let by_view = lens.window_to_view(&by_windows, &lens.all()).map_err(run_error)?;
                (gradient.by_features, Some(by_view))
            }
        };
        Ok(Some(FeatureGradient {
            by_features: by_features.ok_or(Error::FeaturesOffPath)?,
            time_axis: features.layout.time_axis(),
            steps: features.coverage.steps().to_vec(),
            by_view,
        }))
    }

    fn gradient(&self, weights: &Tensor, features: bool) -> Result<Gradient, Error> {
        let (at, _) = self.at.ok_or_else(Error::no_pass)?;
        let weights = weights.shallow_clone();
        match self.loaded.desk.ask(self.seat, Ask::Backward { at, weights, features })? {
            Answer::Gradient(gradient) => Ok(gradient),
            _ => Err(mixed_up()),
        }
    }

    fn ask_frames(&self, ask: Ask) -> Result<Tensor, Error> {
        match self.loaded.desk.ask(self.seat, ask)? {
            Answer::Frames(frames) => Ok(frames),
            _ => Err(mixed_up()),
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.forget();
        self.leave();
    }
}

fn mixed_up() -> Error {
    Error::Run { reason: "the answer is to another question, which is an error of this plugin".into() }
}

impl From<Error> for crate::attack::Error {
    fn from(error: Error) -> Self {
        Self::Classifier(Box::new(error))
    }
}
