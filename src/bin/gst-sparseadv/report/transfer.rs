// SPDX-License-Identifier: MPL-2.0

//! What fools a model that it was not made on.

use super::table::Table;
use super::tables::{GOALS, share};
use crate::reproduce::results::{Attack, Judged, Results};
use crate::reproduce::systems::System;

/// A row for each pair of models and each system whose frames another model has judged.
pub fn table(results: &Results) -> Table {
    let mut rows = Vec::new();
    for (dataset, made_on) in results.pairs() {
        for goal in GOALS {
            for system in systems(results) {
                let attacks = results.of((dataset, made_on), goal, &system);
                let mut judges: Vec<&String> = attacks.iter().flat_map(|attack| attack.judged.keys()).collect();
                judges.sort_unstable();
                judges.dedup();
                for judge in judges {
                    let judged: Vec<(&Attack, &Judged)> =
                        attacks.iter().filter_map(|attack| Some((*attack, attack.judged.get(judge)?))).collect();
                    let own = judged.iter().filter(|(attack, _)| attack.success).count();
                    // A window that the judge is wrong about anyway tells nothing.
                    let right: Vec<&Judged> =
                        judged.iter().map(|(_, judged)| *judged).filter(|judged| judged.right).collect();
                    let fooled = right.iter().filter(|judged| judged.fooled).count();
                    rows.push(
                        [dataset, made_on, judge, goal.name(), &system.name()]
                            .map(str::to_string)
                            .into_iter()
                            .chain([share(own, judged.len()), share(fooled, right.len())])
                            .collect(),
                    );
                }
            }
        }
    }
    Table {
        name: "transfer",
        title: "Transfer".into(),
        note: "Frames that were made on one model, judged by another: the windows fooled, of those that the judge classifies rightly when they are \
               clean. Beside it what they do to the model that they were made on."
            .into(),
        header: vec!["data set", "made on", "judged by", "goal", "system", "fooled there", "fooled by transfer"],
        rows,
    }
}

/// Those that something was measured of, in that order.
fn systems(results: &Results) -> Vec<System> {
    let mut systems: Vec<System> = Vec::new();
    for attack in &results.attacks {
        if !systems.contains(&attack.system) {
            systems.push(attack.system.clone());
        }
    }
    systems
}
