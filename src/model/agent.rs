// SPDX-License-Identifier: MPL-2.0

//! An agent that picks keyframes ([`crate::attack::select::agent`]): a small TorchScript file. Its `forward` takes what
//! [`shown`] makes of a window, `[1, 6, T, H, W]`, and returns a probability for each frame, `[T]`. T is smaller at the end of
//! a stream.
//!
//! The file is a program, and loading it runs it: it has to be trusted as the model is. It goes through the same checks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tch::{CModule, Device, IValue, Tensor};

use super::shared::Files;
use super::tensor::run_error;
use super::{Error, Model, Options, archive, refusal};
use crate::attack::select::agent::{Weigh, shown};
use crate::threads::home::Home;
use crate::torch;

/// An agent, on the device and the thread of a victim.
pub struct Agent {
    path: PathBuf,
    module: CModule,
    device: Device,
    home: Arc<Home>,
    sha256: String,
    files: Files,
}

impl Agent {
    /// Loads the agent of a file, and shows it a window of the victim's size.
    pub fn load(path: &Path, victim: &Model) -> Result<Self, Error> {
        let (home, device) = (victim.home().clone(), victim.device());
        let files = files_of(path);
        let (bytes, code) = archive::read_program(path)?;
        let sha256 = format!("{:x}", Sha256::digest(&bytes));
        let module = home.run(|| {
            let mut module = CModule::load_data_on_device(&mut &bytes[..], device)?;
            module.f_set_eval()?;
            Ok(module)
        });
        let module = module.map_err(|e: tch::TchError| {
            let reason = torch::message(&e);
            let remedy = refusal::of_load(&reason, &code).into();
            Error::Load { path: path.display().to_string(), reason, remedy }
        })?;
        let agent = Self { path: path.to_path_buf(), module, device, home, sha256, files };
        agent.try_out(victim)?;
        Ok(agent)
    }

    fn try_out(&self, victim: &Model) -> Result<(), Error> {
        let [height, width] = victim.metadata().crop;
        let shape = [victim.metadata().window, 3, height, width];
        // As gray as pictures are, and not all the same.
        let gray: Vec<f32> = (0..shape.iter().product()).map(|i: usize| (i * 37 % 251) as f32).collect();
        let views = torch::upload(&gray, &shape.map(|n| n as i64), self.device);
        self.probabilities(&views.and_then(|views| shown(&views, None)).map_err(run_error)?).map(|_| ())
    }

    /// Whether a file is still the one that was loaded, for this victim.
    pub fn is_of(&self, path: &Path, victim: &Model) -> bool {
        self.path == path && Arc::ptr_eq(&self.home, victim.home()) && self.files == files_of(path)
    }

    /// SHA-256 of the file, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    fn probabilities(&self, shown: &Tensor) -> Result<Vec<f64>, Error> {
        let frames = shown.size().get(2).map_or(0, |n| *n as usize);
        let wrong = |found: String| Error::Agent { path: self.path.display().to_string(), frames, found };
        let (module, given) = (&self.module, shown.shallow_clone());
        // Where the victim's passes are made: a thread of its own would have a team of its own.
        let answer = self.home.run(move || {
            // Per thread: without it the second call is ten times as slow as the others.
            tch::jit::f_set_graph_executor_optimize(false)?;
            tch::no_grad(|| match module.forward_is(&[IValue::Tensor(given)])? {
                IValue::Tensor(all) => Ok(Some((all.size(), torch::download_f64(&all)?))),
                _ => Ok(None),
            })
        });
        let answer = answer.map_err(|e: tch::TchError| wrong(format!("that it fails ({})", torch::message(&e))))?;
        let (size, all) = answer.ok_or_else(|| wrong("something else than a tensor".into()))?;
        if size != [frames as i64] {
            return Err(wrong(format!("one of shape {size:?}")));
        }
        match all.iter().find(|p| !(0.0..=1.0).contains(*p)) {
            Some(found) => Err(wrong(format!("the number {found}"))),
            None => Ok(all),
        }
    }
}

impl Weigh for Agent {
    fn weigh(&self, shown: &Tensor) -> Result<Vec<f64>, crate::attack::Error> {
        Ok(self.probabilities(shown)?)
    }
}

fn files_of(path: &Path) -> Files {
    Files::of(&Options { path: path.to_path_buf(), ..Options::default() })
}
