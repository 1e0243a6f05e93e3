// SPDX-License-Identifier: MPL-2.0

//! The clips: a table of all, those that the verdict is about first, and some of them to look at.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde::Serialize;

use super::super::gallery::{self, Rank};
use super::super::judge::Answer;
use super::super::preview::FRAMES;
use super::super::results::{Results, Window};
use super::super::summary::{Cell, Summary, judged};

/// Rows of the table at the most.
pub const LISTED: usize = 300;
/// Windows of a clip whose answers are shown at the most.
const WINDOWS: usize = 48;

/// A clip, attacked on a model by a threat model.
#[derive(Serialize)]
pub struct Unit<'a> {
    pub dataset: &'a str,
    pub model: &'a str,
    pub threat: &'a str,
    pub clip: &'a str,
    pub class: &'a str,
    /// It is in the sums of a gate that has failed, and the attack has fooled it there.
    pub failing: bool,
    /// Windows that are right, clean and attacked, behind each channel; nothing where it has no window.
    pub channels: Vec<Option<Right>>,
    pub id: String,
    pub frames: usize,
    /// In the order of the gallery.
    #[serde(skip)]
    rank: Rank,
    #[serde(skip)]
    windows: Vec<&'a Window>,
}

#[derive(Serialize)]
pub struct Right {
    pub windows: usize,
    pub clean: usize,
    pub attacked: usize,
}

/// A clip to look at.
#[derive(Serialize)]
pub struct Shown<'a> {
    pub unit: &'a Unit<'a>,
    pub truth: &'a str,
    /// Frames that the videos have.
    pub frames: usize,
    pub windows: Vec<Moment<'a>>,
    pub left_out: usize,
}

/// A window in the time line.
#[derive(Serialize)]
pub struct Moment<'a> {
    pub number: usize,
    pub first: usize,
    pub bars: Vec<Bar>,
    pub answers: Vec<Judgment<'a>>,
    pub window: &'a Window,
}

/// A frame's weight in per cent of the largest.
#[derive(Serialize)]
pub struct Bar {
    pub percent: f64,
    pub keyframe: bool,
}

/// What the model says of a window behind a channel.
#[derive(Serialize)]
pub struct Judgment<'a> {
    pub channel: &'a str,
    pub clean: &'a Answer,
    pub attacked: &'a Answer,
    pub verdict: &'static str,
    pub class: &'static str,
}

/// All, in the order in which people will want to see them.
pub fn units<'a>(results: &'a Results, summary: &'a Summary) -> Vec<Unit<'a>> {
    // Clips of a failed gate's rows.
    let failed: HashSet<(&str, &str)> = summary
        .gates
        .iter()
        .filter(|gate| gate.fails)
        .map(|gate| (gate.dataset.as_str(), gate.cell.as_str()))
        .collect();
    let frames: BTreeMap<_, usize> = results.clips.iter().map(|clip| (clip.unit(), clip.frames)).collect();
    let mut units = Vec::new();
    for (unit, windows) in results.units() {
        let (dataset, model, threat, clip) = unit;
        let class = windows.first().map_or("", |window| window.class.as_str());
        let mut failing = false;
        let channels = summary.conditions.channels.iter().map(|channel| {
            let judged = judged(&windows, &channel.name);
            let right = |label: fn(&gstsparseadv::tally::Labels) -> Option<usize>| {
                judged.iter().filter(|one| label(&one.labels) == one.labels.truth).count()
            };
            let cell = Cell {
                dataset: dataset.into(),
                model: model.into(),
                threat: threat.into(),
                channel: channel.name.clone(),
            };
            let path = cell.path();
            let of_class = format!("{path} class={class}");
            let is_failed = [path.as_str(), &of_class].into_iter().any(|path| failed.contains(&(dataset, path)));
            failing |= is_failed && judged.iter().any(|one| one.labels.fooled() == Some(true));
            (!judged.is_empty()).then(|| Right {
                windows: judged.len(),
                clean: right(|labels| labels.clean),
                attacked: right(|labels| labels.last),
            })
        });
        let channels = channels.collect();
        let rank = Rank::of(unit, &windows);
        units.push(Unit {
            dataset,
            model,
            threat,
            clip,
            class,
            failing,
            channels,
            id: rank.1.clone(),
            frames: frames.get(&unit).copied().unwrap_or_default(),
            rank,
            windows,
        });
    }
    units.sort_by(|a, b| (!a.failing, &a.rank).cmp(&(!b.failing, &b.rank)));
    units
}

/// At most so many of those with videos, of all models and threat models in turn.
pub fn shown<'a>(units: &'a [Unit<'a>], out: &Path, most: usize) -> Vec<Shown<'a>> {
    let mut groups: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let with_videos = units.iter().filter(|unit| gallery::has(out, &unit.id));
    let mut turns: Vec<(usize, usize, &Unit)> = with_videos
        .enumerate()
        .map(|(place, unit)| {
            let turn = groups.entry((unit.model, unit.threat)).or_default();
            *turn += 1;
            (*turn, place, unit)
        })
        .collect();
    turns.sort_by_key(|(turn, place, unit)| (!unit.failing, *turn, *place));
    turns.into_iter().take(most).map(|(.., unit)| look(unit)).collect()
}

fn look<'a>(unit: &'a Unit<'a>) -> Shown<'a> {
    let windows: Vec<Moment> = unit.windows.iter().take(WINDOWS).map(|window| moment(window)).collect();
    Shown {
        unit,
        truth: unit.windows.first().map_or("", |window| window.truth.as_str()),
        frames: unit.frames.min(FRAMES),
        left_out: unit.windows.len() - windows.len(),
        windows,
    }
}

fn moment(window: &Window) -> Moment<'_> {
    let largest = window.weights.iter().copied().fold(1e-12, f64::max);
    let bars = window
        .weights
        .iter()
        .enumerate()
        .map(|(n, weight)| Bar { percent: 100.0 * weight / largest, keyframe: window.keyframes.contains(&n) });
    let answers = window.clean.iter().filter_map(|(channel, clean)| {
        let attacked = window.attacked.get(channel)?;
        let labels = judged(&[window], channel).first()?.labels;
        let (verdict, class) = match labels.fooled() {
            Some(true) => ("fooled", "fooled"),
            Some(false) => ("not fooled", "kept"),
            None => ("wrong anyway", ""),
        };
        Some(Judgment { channel, clean, attacked, verdict, class })
    });
    Moment {
        number: window.window,
        first: window.first_frame,
        bars: bars.collect(),
        answers: answers.collect(),
        window,
    }
}
