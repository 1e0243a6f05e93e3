// SPDX-License-Identifier: MPL-2.0

//! UCF-101's names of clips and its lists of classes and splits.

use std::{fmt::Write, fs, path::Path};

use anyhow::{Context, Result};

use crate::action::Action;

/// Groups up to this one are held out by split 1, as in UCF-101.
const LAST_TEST_GROUP: u32 = 7;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClipName {
    pub action: Action,
    /// The actor, from 1.
    pub group: u32,
    /// The take, from 1.
    pub clip: u32,
}

impl ClipName {
    /// Reads `Walk_g03_c01`, with or without UCF-101's `v_`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("v_").unwrap_or(text);
        let (rest, clip) = text.rsplit_once("_c")?;
        let (title, group) = rest.rsplit_once("_g")?;
        Some(Self {
            action: Action::ALL.into_iter().find(|a| a.title() == title)?,
            group: group.parse().ok()?,
            clip: clip.parse().ok()?,
        })
    }

    pub fn file(self, extension: &str) -> String {
        format!("v_{}_g{:02}_c{:02}.{extension}", self.action.title(), self.group, self.clip)
    }

    pub fn relative_path(self, extension: &str) -> String {
        format!("{}/{}", self.action.folder(), self.file(extension))
    }
}

/// Writes `ucfTrainTestlist/{classInd,trainlist01,testlist01}.txt`.
pub fn write(out: &Path, clips: &[ClipName], extension: &str) -> Result<()> {
    let mut classes = String::new();
    for (index, action) in Action::ALL.into_iter().enumerate() {
        writeln!(classes, "{} {}", index + 1, action.folder())?;
    }
    let (mut train, mut test) = (String::new(), String::new());
    for clip in clips {
        let path = clip.relative_path(extension);
        if clip.group <= LAST_TEST_GROUP {
            writeln!(test, "{path}")?;
        } else {
            writeln!(train, "{path} {}", clip.action as usize + 1)?;
        }
    }
    let folder = out.join("ucfTrainTestlist");
    fs::create_dir_all(&folder).with_context(|| format!("the folder {} could not be made", folder.display()))?;
    for (name, text) in [("classInd.txt", classes), ("trainlist01.txt", train), ("testlist01.txt", test)] {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("{} could not be written", path.display()))?;
    }
    Ok(())
}
