// SPDX-License-Identifier: MPL-2.0

//! Clean accuracy, robust accuracy and fooling rate of each class and of all, counted as everywhere else.

use gstsparseadv::tally::{Labels, Tally};

use super::table::Table;
use crate::reproduce::results::{Accuracy, Attack, Results};
use crate::reproduce::systems::{Goal, Optimization, Selection, System};

/// The row of all classes.
const ALL: &str = "(all)";

/// Names of labels by numbers, for counting.
#[derive(Default)]
struct Names<'a>(Vec<&'a str>);

impl<'a> Names<'a> {
    fn index(&mut self, name: &'a str) -> usize {
        self.0.iter().position(|n| *n == name).unwrap_or_else(|| {
            self.0.push(name);
            self.0.len() - 1
        })
    }

    fn clean(&mut self, line: &'a Accuracy) -> Labels {
        Labels { truth: Some(self.index(&line.class)), clean: Some(self.index(&line.label)), ..Labels::default() }
    }

    /// Lines that do not say what the window was before and after have been measured on windows that were right.
    fn attacked(&mut self, line: &'a Attack) -> Labels {
        let target = line.target.as_deref();
        let last = match (&line.final_label, line.success, target) {
            (Some(label), ..) => Some(label.as_str()),
            (None, true, Some(target)) => Some(target),
            (None, false, None) => Some(line.class.as_str()),
            // Some other class; which one does not count.
            (None, true, None) => Some(""),
            (None, false, Some(_)) => None,
        };
        let clean = line.clean_label.as_deref().unwrap_or(&line.class);
        Labels {
            truth: Some(self.index(&line.class)),
            target: target.map(|t| self.index(t)),
            clean: Some(self.index(clean)),
            last: last.map(|l| self.index(l)),
        }
    }
}

/// Both accuracies of the models. Each class for the paper's method, all classes for each selection.
pub fn table(results: &Results) -> Table {
    let mut rows = Vec::new();
    for (dataset, model) in results.pairs() {
        let lines: Vec<&Accuracy> =
            results.accuracy.iter().filter(|a| a.dataset == dataset && a.model == model).collect();
        let mut classes: Vec<&str> = lines.iter().map(|a| a.class.as_str()).collect();
        classes.sort_unstable();
        classes.dedup();
        for goal in [Goal::Untargeted, Goal::Targeted] {
            for selection in Selection::ALL {
                let system = System::new(selection, Optimization::Paper);
                let attacks = results.of((dataset, model), goal, &system);
                if attacks.is_empty() {
                    continue;
                }
                let own = (selection == Selection::Ours).then_some(classes.iter());
                let shown = own.into_iter().flatten().copied().chain([ALL]);
                for class in shown {
                    let mut row = [dataset, model, goal.name(), selection.name(), class].map(str::to_string).to_vec();
                    row.extend(numbers(&lines, &attacks, class));
                    rows.push(row);
                }
            }
        }
    }
    Table {
        name: "accuracy",
        title: "Clean accuracy, robust accuracy and fooling rate (%)".into(),
        note: "Against the classes of the data set. Clean accuracy: the middle windows of all test clips that are classified rightly. Attacked: \
               windows drawn from these, and no other. Fooling rate: the share of them that reached the attack's goal. Robust accuracy: the clean \
               accuracy times the share of attacked windows that were still classified rightly after the attack."
            .into(),
        header: vec![
            "data set",
            "model",
            "goal",
            "method",
            "class",
            "clean accuracy",
            "robust accuracy",
            "fooling rate",
            "test windows",
            "right",
            "attacked",
            "fooled",
        ],
        rows,
    }
}

fn numbers(lines: &[&Accuracy], attacks: &[&Attack], class: &str) -> Vec<String> {
    let mut names = Names::default();
    let (mut clean, mut after) = (Tally::default(), Tally::default());
    for line in lines.iter().filter(|a| class == ALL || a.class == class) {
        clean.add(names.clean(line));
    }
    for attack in attacks.iter().filter(|a| class == ALL || a.class == class) {
        after.add(names.attacked(attack));
    }
    let percent = |share: Option<f64>| share.map_or("none".into(), |s| format!("{:.1}", 100.0 * s));
    let robust = clean.clean_accuracy().zip(after.robust_accuracy()).map(|(clean, kept)| clean * kept);
    vec![
        percent(clean.clean_accuracy()),
        percent(robust),
        percent(after.fooling_rate()),
        clean.labeled_clean.to_string(),
        clean.correct_clean.to_string(),
        after.attacked.to_string(),
        after.fooled.to_string(),
    ]
}
