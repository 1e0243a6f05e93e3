// SPDX-License-Identifier: MPL-2.0

//! What the windows come to: a row for each model, threat model and channel of a data set, in sum and by class.

use std::collections::{BTreeMap, BTreeSet};

use gstsparseadv::tally::{Labels, Tally};
use serde::{Deserialize, Serialize};

use super::baseline::Comparison;
use super::gate::{Checked, Verdict};
use super::interval::{Estimate, mean, rate};
use super::results::{Conditions, ModelFile, Results, Skipped, ThreatLine, Window};

/// Of the file. It grows when a field changes its meaning or goes.
pub const FORMAT: u32 = 1;

/// All of `summary.json`. `examples/README.md` has its fields.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    pub format: u32,
    /// What the gates say, in a word, and the exit status for it.
    pub verdict: Verdict,
    pub status: u8,
    /// When it was made, in UTC.
    pub date: String,
    /// The last call of the tool.
    pub command: String,
    #[serde(flatten)]
    pub conditions: Conditions,
    pub models: BTreeMap<String, ModelFile>,
    pub threats: BTreeMap<String, ThreatLine>,
    /// Clips that were evaluated on all models by all threat models, and windows of all of these.
    pub clips: usize,
    pub windows: usize,
    pub skipped: Vec<Skipped>,
    pub rows: Vec<Row>,
    pub gates: Vec<Checked>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Comparison>,
}

/// The figures of one model, threat model and channel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    #[serde(flatten)]
    pub cell: Cell,
    /// The data set's class; absent in the sum of all.
    pub class: Option<String>,
    pub clips: usize,
    pub windows: usize,
    /// Shares of the windows that are classified rightly behind the channel: of the clean clip, and of the attacked one.
    pub clean_accuracy: Option<Estimate>,
    pub robust_accuracy: Option<Estimate>,
    /// Of the windows that are classified rightly behind the channel, the share that the attack fools there.
    pub fooling_rate: Option<Estimate>,
    /// Calls of the model for a window that was attacked.
    pub calls: Option<Estimate>,
    /// Means over the windows that are fooled behind the channel: mean absolute perturbation and largest one in gray levels,
    /// and the frames that were perturbed.
    pub map: Option<Estimate>,
    pub max_abs: Option<Estimate>,
    pub perturbed_frames: Option<Estimate>,
    /// Windows whose gradient was zero throughout: that these are not fooled is no robustness.
    pub zero_gradient: usize,
    /// Against the baseline: what the robust accuracy has gained, the p-value of that, and 1 where it is a loss by more than
    /// chance.
    pub robust_accuracy_change: Option<f64>,
    pub change_p: Option<f64>,
    pub significant_loss: Option<u8>,
}

/// What a row is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cell {
    pub dataset: String,
    pub model: String,
    pub threat: String,
    pub channel: String,
}

impl Cell {
    /// As gates name it.
    pub fn path(&self) -> String {
        format!("{}/{}/{}", self.model, self.threat, self.channel)
    }
}

/// What becomes of a window behind a channel.
pub struct Judged<'a> {
    pub window: &'a Window,
    pub labels: Labels,
}

/// The windows that there are behind a channel.
pub fn judged<'a>(windows: &[&'a Window], channel: &str) -> Vec<Judged<'a>> {
    let of = |window: &&'a Window| {
        let (clean, last) = (&window.clean.get(channel)?.label, &window.attacked.get(channel)?.label);
        // Only which of them are the same counts.
        let names = [Some(&window.truth), window.target.as_ref(), Some(clean), Some(last)];
        let place = |name: &String| names.iter().position(|other| *other == Some(name));
        let labels = Labels {
            truth: place(&window.truth),
            target: window.target.as_ref().and_then(place),
            clean: place(clean),
            last: place(last),
        };
        Some(Judged { window, labels })
    };
    windows.iter().filter_map(of).collect()
}

/// The rows of some results, sorted; in each data set the sums come before the classes.
pub fn rows(results: &Results, channels: &[String]) -> Vec<Row> {
    let mut groups: BTreeMap<(&str, &str, &str), Vec<&Window>> = BTreeMap::new();
    for window in &results.windows {
        groups.entry((&window.dataset, &window.model, &window.threat)).or_default().push(window);
    }
    let mut rows = Vec::new();
    for ((dataset, model, threat), windows) in groups {
        let classes: BTreeSet<&str> = windows.iter().map(|window| window.class.as_str()).collect();
        for channel in channels {
            let cell =
                Cell { dataset: dataset.into(), model: model.into(), threat: threat.into(), channel: channel.clone() };
            rows.push(row(&cell, None, &judged(&windows, channel)));
            for class in &classes {
                let of_class: Vec<&Window> = windows.iter().copied().filter(|w| w.class == *class).collect();
                rows.push(row(&cell, Some(class), &judged(&of_class, channel)));
            }
        }
    }
    rows
}

fn row(cell: &Cell, class: Option<&str>, judged: &[Judged]) -> Row {
    let mut clips: BTreeMap<&str, Vec<&Judged>> = BTreeMap::new();
    for one in judged {
        clips.entry(&one.window.clip).or_default().push(one);
    }
    let tallies: Vec<Tally> = clips
        .values()
        .map(|of_clip| {
            let mut tally = Tally::default();
            of_clip.iter().for_each(|one| tally.add(one.labels));
            tally
        })
        .collect();
    let share = |counts: &dyn Fn(&Tally) -> (u64, u64)| {
        let pairs: Vec<(u32, u32)> = tallies.iter().map(counts).map(|(a, b)| (a as u32, b as u32)).collect();
        rate(&pairs)
    };
    let means = |value: &dyn Fn(&Judged) -> Option<f64>| {
        let pairs = clips.values().map(|of_clip| {
            let values: Vec<f64> = of_clip.iter().filter_map(|one| value(one)).collect();
            (values.iter().sum(), values.len() as u32)
        });
        mean(&pairs.collect::<Vec<_>>())
    };
    let fooled = |value: fn(&Window) -> f64| {
        means(&|one: &Judged| (one.labels.fooled() == Some(true)).then(|| value(one.window)))
    };
    Row {
        cell: cell.clone(),
        class: class.map(String::from),
        clips: clips.len(),
        windows: judged.len(),
        clean_accuracy: share(&|t| (t.correct_clean, t.labeled_clean)),
        robust_accuracy: share(&|t| (t.correct, t.labeled)),
        fooling_rate: share(&|t| (t.fooled, t.attacked)),
        calls: means(&|one| one.window.success.map(|_| f64::from(one.window.calls.queries))),
        map: fooled(|window| window.size.map),
        max_abs: fooled(|window| window.size.max_abs),
        perturbed_frames: fooled(|window| window.perturbed_frames as f64),
        zero_gradient: judged.iter().filter(|one| one.window.zero_gradient).count(),
        ..Row::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clip, the true label, then the clean label and the attacked one.
    fn windows(rows: &[(&str, &str, &str, &str)]) -> Results {
        let window = |(n, (clip, truth, clean, last)): (usize, &(&str, &str, &str, &str))| {
            let answer = |label: &str| serde_json::json!({"identity": {"label": label, "probability": 0.5}});
            let line = serde_json::json!({
                "dataset": "d", "model": "m", "threat": "t", "clip": clip, "class": truth, "truth": truth, "window": n,
                "first_frame": 16 * n, "clean": answer(clean), "attacked": answer(last), "success": clean == truth,
                "queries": 10 * n, "iterations": 1, "keyframes": [], "perturbed_frames": 4, "weights": [], "map": n,
                "queries_first_success": null, "out_of_queries": false, "zero_gradient": false, "seconds": 0.5,
            });
            serde_json::from_value(line).expect("a window")
        };
        Results { windows: rows.iter().enumerate().map(window).collect(), ..Results::default() }
    }

    #[test]
    fn the_figures_by_hand() {
        let results = windows(&[
            ("a", "walk", "walk", "run"),
            ("a", "walk", "walk", "walk"),
            // Wrong before: no attack is asked for, and none repairs it.
            ("b", "walk", "run", "run"),
            ("b", "walk", "walk", "jump"),
            ("c", "run", "run", "run"),
        ]);
        let rows = rows(&results, &["identity".into()]);
        assert_eq!(rows.iter().map(|r| r.class.as_deref()).collect::<Vec<_>>(), [None, Some("run"), Some("walk")]);
        let value = |e: Option<Estimate>| e.map(|e| e.value);
        let all = &rows[0];
        assert_eq!((all.clips, all.windows), (3, 5));
        assert_eq!(value(all.clean_accuracy), Some(0.8));
        assert_eq!(value(all.robust_accuracy), Some(0.4));
        assert_eq!(value(all.fooling_rate), Some(0.5));
        assert_eq!((value(all.map), value(all.perturbed_frames)), (Some(1.5), Some(4.0)));
        assert_eq!(value(rows[1].fooling_rate), Some(0.0));
        assert_eq!((value(rows[2].robust_accuracy), rows[2].clips), (Some(0.25), 2));
    }
}
