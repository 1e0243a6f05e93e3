// SPDX-License-Identifier: MPL-2.0

//! A trained agent picks the frames, as in Wang et al. (*Reinforcement Learning Based Sparse Black-box Adversarial Attack on
//! Video Recognition Models*, IJCAI 2021). It asks the victim nothing.
//!
//! The abstract of that paper says what its agent sees, the difference to a clip of another class, and that the victim's
//! answers reward it. No size of its network and no formula of the reward were found. Both are those of its published
//! neighbors: SVA (Wei, Yan and Li, *Sparse Black-box Video Attack with Reinforcement Learning*, IJCV 2022) and EARL (ACM MM
//! 2021). [`crate::agent`] has them.
//!
//! An agent says of each frame how probable it is that it is picked. While it learns, that is drawn. Here those above one
//! half are picked, so that a window gets the same keyframes every time. SVA draws five sets instead and takes the smallest,
//! which is by chance.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tch::{TchError, Tensor};

use super::{Blind, Keyframes, Known, Select};
use crate::attack::{Donors, Error};
use crate::torch;

/// Whoever runs an agent.
pub trait Weigh: Send + Sync {
    /// The probability of each frame of `shown`, `[1, 6, frames, height, width]` as [`shown`] makes it. No call of the victim.
    fn weigh(&self, shown: &Tensor) -> Result<Vec<f64>, Error>;
}

/// Above this probability a frame is picked.
const PICKED: f64 = 0.5;

/// `agent:FILE`. Whoever reads files gives it what they hold, by [`Agent::given`].
#[derive(Clone)]
pub struct Agent {
    file: PathBuf,
    weigh: Option<Arc<dyn Weigh>>,
    donors: Donors,
}

impl Agent {
    pub(super) fn parse(name: &str, argument: Option<&str>) -> Option<Arc<dyn Select>> {
        let file = argument.filter(|file| name == "agent" && !file.is_empty())?;
        Some(Arc::new(Self { file: file.into(), weigh: None, donors: Donors::default() }))
    }

    /// The agent of a file, and the clips that the attack begins with, of which it sees the first.
    pub fn given(file: &Path, weigh: Arc<dyn Weigh>, donors: Donors) -> Self {
        Self { file: file.into(), weigh: Some(weigh), donors }
    }
}

impl Blind for Agent {
    fn name(&self) -> String {
        format!("agent:{}", self.file.display())
    }

    fn choose(&self, window: &Known) -> Result<Keyframes, Error> {
        let no_agent = || Error::NoAgent { file: self.file.display().to_string() };
        let weigh = self.weigh.as_ref().ok_or_else(no_agent)?;
        let donor = self.donors.windows().first().map(Vec::as_slice);
        Ok(keyframes(&weigh.weigh(&shown(&window.target.clean()?, donor)?)?))
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.file)
    }
}

/// The frames that are more probable than not, at least one. Those that join later follow by their probability.
pub fn keyframes(probabilities: &[f64]) -> Keyframes {
    Keyframes::ranked(probabilities, probabilities.iter().filter(|p| **p > PICKED).count())
}

/// What an agent sees of views `[frames, 3, height, width]` in gray levels: `[1, 6, frames, height, width]`. The first three
/// channels are the frames from 0 to 1. The others are the donor less the frames, from -1 to 1, and zero without a donor.
pub fn shown(views: &Tensor, donor: Option<&[f32]>) -> Result<Tensor, TchError> {
    let size = views.size();
    let towards = match donor {
        // A window that is cut short is compared with as much of the donor.
        Some(donor) if donor.len() >= views.numel() => {
            torch::upload(&donor[..views.numel()], &size, views.device())?.f_sub(views)?
        }
        _ => views.f_zeros_like()?,
    };
    let both = Tensor::f_cat(&[views, &towards], 1)?.f_div_scalar(255.0)?;
    both.f_transpose(0, 1)?.f_unsqueeze(0)?.f_contiguous()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn it_is_shown_frames_and_what_a_donor_has_more() {
        let views = torch::upload(&[0.0, 51.0, 102.0, 153.0, 204.0, 255.0], &[2, 3, 1, 1], Device::Cpu).expect("views");
        let donor = [255.0, 51.0, 0.0, 0.0, 204.0, 255.0, 7.0, 7.0, 7.0];
        let values = |donor| {
            let shown = shown(&views, donor).expect("what is shown");
            assert_eq!(shown.size(), [1, 6, 2, 1, 1]);
            torch::download(&shown).expect("values").iter().map(|v| (v * 5.0).round() as i32).collect::<Vec<_>>()
        };
        // By channels, each of two frames.
        assert_eq!(values(Some(&donor[..])), [0, 3, 1, 4, 2, 5, 5, -3, 0, 0, -2, 0]);
        // Too short to be a window.
        assert_eq!(values(Some(&donor[..3])), [0, 3, 1, 4, 2, 5, 0, 0, 0, 0, 0, 0]);
        assert_eq!(values(None)[6..], [0; 6]);
    }

    #[test]
    fn an_agent_is_named_with_its_file() {
        for text in ["agent:a.pt", "agent:/some/folder/a:b.pt"] {
            assert_eq!(
                Agent::parse("agent", text.split_once(':').map(|(_, file)| file)).map(|a| a.name()),
                Some(text.into())
            );
        }
        assert!(Agent::parse("agent", None).is_none() && Agent::parse("agent", Some("")).is_none());
    }
}
