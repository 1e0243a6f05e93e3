// SPDX-License-Identifier: MPL-2.0

//! What the labels of a window come to, and the rates over many windows. Both elements, the tool, its manifests and its
//! pages count by this and by nothing else, so that one clip has one number.
//!
//! - A window is **already fooled** where the attack's goal holds before any attack, or where the ground truth is known
//!   and the model is wrong already. Nobody attacks it, and the fooling rate does not count it.
//! - **Clean accuracy** is the share of windows that the model classifies rightly before the attack, **robust
//!   accuracy** after it. Both need the ground truth.
//! - The **fooling rate** is the share of attacked windows that reached the goal. With the ground truth, these are the
//!   windows that were classified rightly; without it, the model's own label of the clean window takes its place.

use serde::{Deserialize, Serialize};

use crate::attack::Goal;

/// The labels of one window, as indices of the model's classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// The ground truth, where it is known.
    pub truth: Option<usize>,
    /// What a targeted attack is to reach.
    pub target: Option<usize>,
    /// What the model says of the clean window; unknown where it had no time to say it.
    pub clean: Option<usize>,
    /// What it says of the window as it left, or as it arrived behind a codec.
    pub last: Option<usize>,
}

impl Labels {
    /// Whether the window was fooled before any attack.
    pub fn already_fooled(self) -> bool {
        let goal = Goal::new(self.truth, self.target);
        self.clean.is_some_and(|clean| goal.already_fooled(clean))
    }

    /// Whether the last label reaches the goal; unknown for a window that is in no rate.
    pub fn fooled(self) -> Option<bool> {
        let (clean, last) = (self.clean?, self.last?);
        (!self.already_fooled()).then(|| Goal::new(self.truth, self.target).reached(clean, last))
    }
}

/// Counts over windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Tally {
    /// Windows so far.
    pub windows: u64,
    /// Windows that the model never classified before they had to leave; they are in no rate.
    pub unclassified: u64,
    /// Windows that were fooled before any attack; they are in no fooling rate.
    pub already_fooled: u64,
    /// Windows that the fooling rate is over.
    pub attacked: u64,
    /// Those of them that are fooled.
    pub fooled: u64,
    /// Windows of known truth with a label before the attack.
    pub labeled_clean: u64,
    /// Those of them that are right.
    pub correct_clean: u64,
    /// Windows of known truth with a label after the attack.
    pub labeled: u64,
    /// Those of them that are right.
    pub correct: u64,
    /// Windows whose truth is not known: the labels they are judged by are the model's own.
    pub unlabeled: u64,
}

/// The rates that there are.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Rates {
    /// Share of windows of known truth that are right before the attack, from 0 to 1.
    pub clean_accuracy: Option<f64>,
    /// Share of windows of known truth that are right after the attack, from 0 to 1.
    pub robust_accuracy: Option<f64>,
    /// Share of attacked windows that are fooled, from 0 to 1.
    pub fooling_rate: Option<f64>,
}

impl Tally {
    pub fn add(&mut self, labels: Labels) {
        let Labels { truth, clean, last, .. } = labels;
        self.windows += 1;
        self.unclassified += u64::from(clean.is_none());
        self.already_fooled += u64::from(labels.already_fooled());
        if let Some(fooled) = labels.fooled() {
            self.attacked += 1;
            self.fooled += u64::from(fooled);
        }
        if truth.is_some() {
            self.labeled_clean += u64::from(clean.is_some());
            self.correct_clean += u64::from(clean == truth);
            self.labeled += u64::from(last.is_some());
            self.correct += u64::from(last == truth);
        } else {
            self.unlabeled += 1;
        }
    }

    pub fn merge(&mut self, other: &Self) {
        self.windows += other.windows;
        self.unclassified += other.unclassified;
        self.already_fooled += other.already_fooled;
        self.attacked += other.attacked;
        self.fooled += other.fooled;
        self.labeled_clean += other.labeled_clean;
        self.correct_clean += other.correct_clean;
        self.labeled += other.labeled;
        self.correct += other.correct;
        self.unlabeled += other.unlabeled;
    }

    /// Of the attacked windows, the fooled ones.
    pub fn fooling_rate(&self) -> Option<f64> {
        share(self.fooled, self.attacked)
    }

    /// Of the windows of known truth, those that are right before the attack.
    pub fn clean_accuracy(&self) -> Option<f64> {
        share(self.correct_clean, self.labeled_clean)
    }

    /// Of the windows of known truth, those that are right after it.
    pub fn robust_accuracy(&self) -> Option<f64> {
        share(self.correct, self.labeled)
    }

    pub fn rates(&self) -> Rates {
        Rates {
            clean_accuracy: self.clean_accuracy(),
            robust_accuracy: self.robust_accuracy(),
            fooling_rate: self.fooling_rate(),
        }
    }

    /// Whose labels the windows are judged by: `ground-truth`, the `model`'s own, or `mixed`.
    pub fn judge(&self) -> Option<&'static str> {
        match (self.unlabeled, self.windows) {
            (_, 0) => None,
            (0, _) => Some("ground-truth"),
            (unlabeled, windows) if unlabeled < windows => Some("mixed"),
            _ => Some("model"),
        }
    }

    /// The numbers as a sentence, for people. It says whose labels they are of.
    pub fn sentence(&self) -> String {
        let Self { fooled, attacked, .. } = self;
        let mut text = if self.labeled_clean > 0 {
            let percent = |rate: Option<f64>| rate.map_or("-".into(), |r| format!("{:.1} %", 100.0 * r));
            let of = if self.unlabeled > 0 { "attacked" } else { "rightly classified" };
            format!(
                "clean accuracy {}, robust accuracy {}, fooling rate {} ({fooled} of {attacked} {of} windows)",
                percent(self.clean_accuracy()),
                percent(self.robust_accuracy()),
                percent(self.fooling_rate()),
            )
        } else {
            format!("{fooled} of {attacked} windows fooled")
        };
        if self.already_fooled > 0 {
            text += &format!(", {} already fooled and not attacked", self.already_fooled);
        }
        if self.unclassified > 0 {
            text += &format!(", {} left before they were classified", self.unclassified);
        }
        match self.unlabeled {
            0 => {}
            n if n == self.windows => text += "; labels are the model's own, no ground truth was given",
            n => text += &format!("; {n} windows have no ground truth, their labels are the model's own"),
        }
        text
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(truth: Option<usize>, target: Option<usize>, clean: usize, last: usize) -> Labels {
        Labels { truth, target, clean: Some(clean), last: Some(last) }
    }

    #[test]
    fn a_window_is_fooled_against_the_truth_where_it_is_known() {
        // Truth, target, clean, last; already fooled, fooled.
        let cases = [
            (None, None, 1, 2, false, Some(true)),
            (None, None, 1, 1, false, Some(false)),
            (Some(1), None, 1, 2, false, Some(true)),
            // Wrong already, and a repair.
            (Some(1), None, 2, 2, true, None),
            (Some(1), None, 2, 1, true, None),
            (None, Some(3), 1, 3, false, Some(true)),
            // Another wrong label is not the target.
            (None, Some(3), 1, 2, false, Some(false)),
            (None, Some(3), 3, 3, true, None),
            (Some(1), Some(3), 1, 3, false, Some(true)),
            (Some(1), Some(3), 2, 3, true, None),
            (Some(3), Some(3), 3, 3, true, None),
        ];
        for (truth, target, clean, last, already, fooled) in cases {
            let labels = labels(truth, target, clean, last);
            assert_eq!((labels.already_fooled(), labels.fooled()), (already, fooled), "{labels:?}");
        }
    }

    #[test]
    fn robust_accuracy_is_what_the_attack_leaves_of_the_clean_one() {
        let mut tally = Tally::default();
        for (clean, last) in [(1, 1), (1, 2), (1, 0), (2, 2), (1, 1)] {
            tally.add(labels(Some(1), None, clean, last));
        }
        tally.add(Labels { truth: Some(1), ..Labels::default() });
        assert_eq!(tally.clean_accuracy(), Some(0.8));
        assert_eq!(tally.robust_accuracy(), Some(0.4));
        assert_eq!(tally.fooling_rate(), Some(0.5));
        assert_eq!((tally.windows, tally.unclassified, tally.already_fooled), (6, 1, 1));
        assert_eq!(tally.correct, tally.attacked - tally.fooled);
        let mut twice = tally;
        twice.merge(&tally);
        assert_eq!((twice.windows, twice.robust_accuracy()), (12, Some(0.4)));
    }

    #[test]
    fn without_the_truth_the_sentence_says_whose_labels_they_are() {
        let mut tally = Tally::default();
        tally.add(labels(None, None, 1, 2));
        assert!(tally.sentence().contains("the model's own"), "{}", tally.sentence());
        assert_eq!(tally.clean_accuracy(), None);
        let mut tally = Tally::default();
        tally.add(labels(Some(1), None, 1, 2));
        assert!(!tally.sentence().contains("the model's own"), "{}", tally.sentence());
    }
}
