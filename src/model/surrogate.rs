// SPDX-License-Identifier: MPL-2.0

//! A model that stands in for the one that is attacked: one of pictures (layout `BCHW`), or another one of video. Without
//! metadata it is taken for a classifier of ImageNet's pictures, as torchvision trains them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tch::{Kind, TchError, Tensor};

use super::archive::{self, Origin};
use super::cudnn;
use super::engine::How;
use super::lens::Lens;
use super::loaded::load_module;
use super::metadata::{Layout, Resize};
use super::module::Module;
use super::refusal;
use super::shared::Files;
use super::tensor::{gradient, run_error};
use super::{Error, Metadata, Model, Options};
use crate::attack::surrogate::{self, Loss, Seen};
use crate::threads::home::Home;

/// A surrogate, on the device and the thread of the model that it stands in for.
pub struct Surrogate {
    module: Module,
    home: Arc<Home>,
    path: PathBuf,
    sha256: String,
    files: Files,
}

// SAFETY: what is not safe to use from several threads at a time are the lens's tensors, which nobody writes to, and the
// leaf and the pass that a module may keep, which this one never does.
unsafe impl Sync for Surrogate {}

/// What goes to another thread and back while this one waits.
struct Lent<T>(T);

// SAFETY: `Home::run` returns when the other thread is through with it, so that no two threads use it at a time.
unsafe impl<T> Send for Lent<T> {}

impl<T> Lent<T> {
    fn take(self) -> T {
        self.0
    }
}

/// What torchvision's classifiers of pictures are shown.
fn of_pictures() -> Metadata {
    Metadata {
        window: 1,
        layout: Layout::Bchw,
        resize: Resize::Exact([224, 224]),
        crop: [224, 224],
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
        ..Metadata::default()
    }
}

fn options(path: &Path) -> Options {
    Options { path: path.to_path_buf(), ..Options::default() }
}

impl Surrogate {
    /// Loads a surrogate for the windows of a model, and asks it for a gradient once.
    pub fn load(path: &Path, model: &Model) -> Result<Self, Error> {
        let (frames, device) = (model.metadata().window, model.device());
        let files = Files::of(&options(path));
        let archive = archive::read(path, None)?;
        let metadata = match archive.origin {
            Origin::Defaults => of_pictures(),
            _ => archive.metadata.clone(),
        };
        if metadata.layout != Layout::Bchw && metadata.window != frames {
            let found = format!("one of {} frames", metadata.window);
            return Err(Error::Surrogate { path: path.display().to_string(), frames, found });
        }
        let lens = Lens::new(metadata, device).map_err(run_error)?;
        let home = model.home().clone();
        let (module, kind) = home.run(|| load_module(&options(path), device, &archive))?;
        let mut module = Module::new(module, kind, lens);
        // Whether it writes into what it is given need not be found out.
        module.giving.copies = true;
        let sha256 = archive.sha256.clone();
        let mut surrogate = Self { module, home, path: path.to_path_buf(), sha256, files };
        let [height, width] = model.metadata().crop.map(|n| n as i64);
        let gray =
            Tensor::f_full([frames as i64, 3, height, width], 127.0, (Kind::Float, device)).map_err(run_error)?;
        let probe =
            |surrogate: &Self| surrogate.there(|| surrogate.slope(&gray, &|seen| seen.logits.f_sum(Kind::Float)));
        let mut probed = {
            let _as_it_is = cudnn::as_it_is();
            probe(&surrogate)
        };
        if matches!(&probed, Err(Error::Run { reason }) if cudnn::lacks_backward(reason)) {
            surrogate.module.giving.without_cudnn = true;
            probed = probe(&surrogate);
        }
        let probed = probed.map_err(|e| refusal::of_code(e, &archive.code))?;
        let finite = probed.f_isfinite().and_then(|finite| finite.f_all()?.f_double_value(&[])).map_err(run_error)?;
        if finite == 0.0 {
            return Err(Error::GradientNotFinite);
        }
        Ok(surrogate)
    }

    /// Whether a file is still the one that was loaded, for this model.
    pub fn is_of(&self, path: &Path, model: &Model) -> bool {
        self.path == path && Arc::ptr_eq(&self.home, model.home()) && self.files == Files::of(&options(path))
    }

    /// SHA-256 of the file, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Does it where the model's passes are made: a thread of its own would have a team of its own.
    fn there<T>(&self, work: impl FnOnce() -> T) -> T {
        let work = Lent(work);
        self.home.run(move || Lent(work.take()())).take()
    }

    fn slope(&self, frames: &Tensor, loss: Loss) -> Result<Tensor, Error> {
        let leaf = frames.f_detach().and_then(|frames| frames.f_set_requires_grad(true)).map_err(run_error)?;
        let seen = self.seen(&leaf)?;
        let loss = loss(&seen).map_err(run_error)?;
        gradient(&loss, &leaf, false)?.ok_or(Error::NoGradient)
    }

    fn seen(&self, frames: &Tensor) -> Result<Seen, Error> {
        let how = How { keep: false, reduced: false };
        let input = self.input(frames).map_err(run_error)?;
        let pass = self.module.run(&input, how)?;
        let shows = frames.size()[0];
        let found = pass.logits.size();
        match found[..] {
            [n, _] if n == 1 || n == shows => {}
            _ => {
                return Err(Error::Surrogate {
                    path: self.path.display().to_string(),
                    frames: shows as usize,
                    found: format!("one that returns {found:?}"),
                });
            }
        }
        let features = pass.features.unwrap_or_else(|| pass.logits.shallow_clone());
        Ok(Seen { logits: pass.logits, features })
    }

    /// Frames as it takes them: what the other model sees, in its own size and values.
    fn input(&self, frames: &Tensor) -> Result<Tensor, TchError> {
        let lens = &self.module.lens;
        let size = lens.metadata.crop.map(|n| n as i64);
        let resized = match (frames.size()[2..] == size, lens.metadata.antialias) {
            (true, _) => frames.shallow_clone(),
            (false, true) => frames.f_internal_upsample_bilinear2d_aa(size, false, None, None)?,
            (false, false) => frames.f_upsample_bilinear2d(size, false, None, None)?,
        };
        let given = lens.of_view(&resized)?;
        match lens.metadata.layout {
            Layout::Bchw => Ok(given),
            Layout::Btchw => given.f_unsqueeze(0),
            Layout::Bcthw => given.f_unsqueeze(0)?.f_movedim_int(1, 2),
        }
    }
}

impl surrogate::Surrogate for Surrogate {
    fn look(&self, frames: &Tensor) -> Result<Seen, crate::attack::Error> {
        Ok(self.there(|| tch::no_grad(|| self.seen(frames)))?)
    }

    fn gradient(&self, frames: &Tensor, loss: Loss) -> Result<Tensor, crate::attack::Error> {
        Ok(self.there(|| self.slope(frames, loss))?)
    }
}
