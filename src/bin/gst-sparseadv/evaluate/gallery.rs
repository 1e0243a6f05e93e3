// SPDX-License-Identifier: MPL-2.0

//! The clips that people can look at: of each model and threat model those of which the attack fooled the most, and their
//! videos in the result folder. What is shown does not depend on the order in which clips are evaluated.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::preview::{Recorder, VIDEOS};
use super::results::{Results, Unit, Window};
use super::summary::judged;
use crate::out::errln;
use crate::provenance::digest;

/// Name of the folder.
pub const FOLDER: &str = "page";
/// Clips that are shown by default.
pub const MOST: usize = 12;

/// What a clip's videos are named by.
fn stem((dataset, model, threat, clip): Unit) -> String {
    digest([dataset, model, threat, clip].join("\t").as_bytes())[..16].to_string()
}

pub fn video(out: &Path, stem: &str, which: &str) -> PathBuf {
    out.join(FOLDER).join(format!("{stem}-{which}.webm"))
}

/// Whether all videos are there.
pub fn has(out: &Path, stem: &str) -> bool {
    VIDEOS.iter().all(|which| video(out, stem, which).is_file())
}

/// Windows of a clip that are fooled behind its channels, for each that was right there.
fn fooled(windows: &[&Window]) -> f64 {
    let Some(first) = windows.first() else { return 0.0 };
    let judged = first.clean.keys().flat_map(|channel| judged(windows, channel));
    let fooled: Vec<bool> = judged.filter_map(|one| one.labels.fooled()).collect();
    fooled.iter().filter(|fooled| **fooled).count() as f64 / fooled.len().max(1) as f64
}

/// A clip in the order of which are shown first. Among equals the names' hash decides, so that no class is in front.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(Reverse<u64>, pub String);

impl Rank {
    pub fn of(unit: Unit, windows: &[&Window]) -> Self {
        Self(Reverse((1e6 * fooled(windows)) as u64), stem(unit))
    }
}

/// The videos that a result folder has.
pub struct Gallery {
    out: PathBuf,
    most: usize,
    shown: BTreeMap<(String, String), Vec<Rank>>,
    failed: bool,
}

impl Gallery {
    /// Of results that are there already.
    pub fn open(out: &Path, most: usize, known: &Results) -> Self {
        let mut gallery = Self { out: out.to_path_buf(), most, shown: BTreeMap::new(), failed: false };
        for (unit, windows) in known.units() {
            let rank = Rank::of(unit, &windows);
            if has(out, &rank.1) {
                gallery.group(unit).push(rank);
            }
        }
        gallery
    }

    pub fn is_wanted(&self) -> bool {
        self.most > 0 && !self.failed
    }

    fn group(&mut self, (_, model, threat, _): Unit) -> &mut Vec<Rank> {
        self.shown.entry((model.into(), threat.into())).or_default()
    }

    /// Keeps the videos of a clip if it is among those to show. Without them the results are as good, so that a failure is
    /// told and no more is tried.
    pub fn offer(&mut self, windows: &[&Window], recorder: &Recorder) {
        if let Err(error) = self.put(windows, recorder) {
            errln!("warning: the page will lack videos: {error:#}");
            self.failed = true;
        }
    }

    fn put(&mut self, windows: &[&Window], recorder: &Recorder) -> anyhow::Result<()> {
        let Some(unit) = windows.first().map(|window| window.unit()) else { return Ok(()) };
        let rank = Rank::of(unit, windows);
        let most = self.most;
        let group = self.group(unit);
        if group.len() >= most && group.iter().all(|other| *other < rank) {
            return Ok(());
        }
        group.push(rank.clone());
        group.sort();
        let gone = group.split_off(most.min(group.len()));
        for rank in gone {
            for which in VIDEOS {
                // What cannot be removed takes a little room.
                let _ = fs::remove_file(video(&self.out, &rank.1, which));
            }
        }
        let folder = self.out.join(FOLDER);
        fs::create_dir_all(&folder).with_context(|| format!("the folder {} could not be made", folder.display()))?;
        let paths = VIDEOS.map(|which| video(&self.out, &rank.1, which));
        recorder.write(paths.each_ref().map(PathBuf::as_path))
    }
}
