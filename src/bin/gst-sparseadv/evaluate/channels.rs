// SPDX-License-Identifier: MPL-2.0

//! What clips go through before they are judged: nothing, a codec, a resizer, or windows that begin elsewhere.

use anyhow::{Context, bail, ensure};
use gst_video::VideoInfo;
use serde::{Deserialize, Serialize};

use super::settings::{Settings, is_name};
use crate::media;

/// The bytes that were pushed, in the windows that were attacked.
pub const IDENTITY: &str = "identity";

/// Something that a clip is judged behind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Channel {
    pub name: String,
    /// From raw video to raw video, as gst-launch-1.0 takes it.
    pub bin: String,
    /// Frames by which its windows begin later than those attacked.
    pub phase: usize,
}

/// Those that the settings ask for; the first is [`IDENTITY`].
pub fn all(settings: &Settings) -> anyhow::Result<Vec<Channel>> {
    let plain = |name: &str, phase| Channel { name: name.into(), bin: "identity".into(), phase };
    let mut channels = vec![plain(IDENTITY, 0)];
    for text in &settings.channel {
        let (name, bin) =
            text.split_once('=').with_context(|| format!("Expected --channel NAME=BIN, found {text}."))?;
        if !is_name(name) {
            bail!("Expected a name of letters, digits, '-', '_' and '.' in --channel NAME=BIN, found {text}.");
        }
        media::bin("--channel", bin)?;
        channels.push(Channel { name: name.into(), bin: bin.trim().into(), phase: 0 });
    }
    for phase in &settings.phases {
        ensure!(*phase > 0, "Expected --phases of one frame or more, found 0. Windows as attacked are judged anyway.");
        channels.push(plain(&format!("phase+{phase}"), *phase));
    }
    for (n, channel) in channels.iter().enumerate() {
        let twice = channels[..n].iter().any(|other| other.name == channel.name);
        ensure!(!twice, "Expected one channel of the name {}, found two. Rename one.", channel.name);
    }
    Ok(channels)
}

/// Tries frames of these kinds in each channel.
pub fn check(channels: &[Channel], kinds: &[VideoInfo]) -> anyhow::Result<()> {
    let mut bins = channels.iter().filter(|channel| channel.bin != IDENTITY);
    bins.try_for_each(|channel| media::try_bin(&format!("--channel {}", channel.name), &channel.bin, kinds))
}
