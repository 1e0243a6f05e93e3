// SPDX-License-Identifier: MPL-2.0

//! The systems without the model's gradient: a table, what ours saves, and a figure of fooling rate against queries.

use super::figure::{self, Curve};
use super::table::Table;
use super::tables::{GOALS, share, with_interval};
use crate::reproduce::metrics::{Summary, fooled_by, reduction_from};
use crate::reproduce::results::{Attack, Results};
use crate::reproduce::rivals::Rival;
use crate::reproduce::systems::{Goal, Optimization, Selection, System};

/// Name of the table that the figure follows.
pub const TABLE: &str = "systems";
pub const FIGURE: &str = "Fooling rate against queries";
pub const FIGURE_NOTE: &str = "Untargeted attacks without the model's gradient. The axis of queries is logarithmic.";

const OURS: System = System::BlackBox { rival: Rival::Squares };

/// Every system by its name and what the model tells it: those without the gradient, and two with it to compare with.
fn systems() -> Vec<(&'static str, &'static str, System)> {
    let black = Rival::ALL.map(|rival| (rival.name(), rival.access(), System::BlackBox { rival }));
    let white = [
        ("The paper's", "gradient", System::new(Selection::Ours, Optimization::Paper)),
        ("Ours, walk", "gradient", System::new(Selection::Ours, Optimization::Element)),
    ];
    black.into_iter().chain(white).collect()
}

/// Whether anything was measured without the gradient.
fn has_any(results: &Results) -> bool {
    results.attacks.iter().any(|attack| matches!(attack.system, System::BlackBox { .. }))
}

pub fn table(results: &Results) -> Table {
    let mut rows = Vec::new();
    for pair in results.pairs() {
        for goal in GOALS.into_iter().filter(|_| has_any(results)) {
            for (name, access, system) in systems() {
                let Some(s) = Summary::of(&results.of(pair, goal, &system)) else { continue };
                let mut row = [pair.0, pair.1, goal.name(), name, access].map(str::to_string).to_vec();
                row.extend([
                    s.clips.to_string(),
                    with_interval(Some(s.fooling_rate), 0),
                    with_interval(Some(s.verified_rate), 0),
                    with_interval(s.mean_queries, 0),
                    format!("{:.0}", s.queries as f64 / s.clips as f64),
                    with_interval(s.map, 3),
                    with_interval(s.perturbed_frames, 1),
                ]);
                rows.push(row);
            }
        }
    }
    Table {
        name: TABLE,
        title: "Systems without the model's gradient".into(),
        note: "Every view that the model is shown is a query: those for the clean window, for keyframes, for clips to begin with and for \
               confirming a success too. MQ: queries up to the first success, over fooled windows. In all: the mean over all windows. The result is \
               the smallest success when the search ended or its queries were spent. MAP as in Table 2. The last rows have the gradient, and count \
               its passes as queries."
            .into(),
        header: vec![
            "data set",
            "model",
            "goal",
            "system",
            "access",
            "clips",
            "FR %",
            "FR % u8-verified",
            "MQ",
            "queries in all",
            "MAP",
            "frames perturbed",
        ],
        rows,
    }
}

/// By how much ours asks less than each of the others for a perturbation that is no larger than theirs.
pub fn saved(results: &Results) -> Table {
    let mut rows = Vec::new();
    for pair in results.pairs() {
        for goal in GOALS {
            let ours = results.of(pair, goal, &OURS);
            for rival in Rival::ALL.into_iter().filter(|rival| *rival != Rival::Squares) {
                let theirs = results.of(pair, goal, &System::BlackBox { rival });
                let both: Vec<(&Attack, &Attack)> = theirs
                    .into_iter()
                    .filter(|other| other.success)
                    .filter_map(|other| Some((*ours.iter().find(|own| own.clip == other.clip && own.success)?, other)))
                    .collect();
                // Theirs: queries until the result was there. Ours: until one was that is no larger.
                let as_small = |own: &Attack| {
                    let other = both.iter().find(|(ours, _)| ours.clip == own.clip)?.1;
                    own.trail.until(other.size.map).map(f64::from)
                };
                let until_result = |other: &Attack| other.trail.until(other.size.map).map(f64::from);
                let (own, other): (Vec<&Attack>, Vec<&Attack>) = both.iter().copied().unzip();
                let reached = own.iter().filter(|own| as_small(own).is_some()).count();
                let Some(queries) = reduction_from(&own, &other, as_small, until_result) else { continue };
                let mut row = [pair.0, pair.1, goal.name(), rival.name()].map(str::to_string).to_vec();
                row.extend([share(reached, both.len()), with_interval(Some(queries), 0)]);
                rows.push(row);
            }
        }
    }
    Table {
        name: "saved",
        title: "What ours saves".into(),
        note: "Windows that both fool. As small: those where ours comes to a perturbation of no larger MAP than the other's result. By how many \
               per cent ours needs fewer queries for that than the other for its result, over these windows, with 95 % intervals."
            .into(),
        header: vec!["data set", "model", "goal", "against", "as small", "queries fewer by %"],
        rows,
    }
}

/// A curve for each system without the gradient, untargeted, of each data set and model: by the file's name.
pub fn figures(results: &Results) -> anyhow::Result<Vec<(String, String)>> {
    let mut figures = Vec::new();
    for pair in results.pairs() {
        let of = |rival: Rival| results.of(pair, Goal::Untargeted, &System::BlackBox { rival });
        let all: Vec<(Rival, Vec<&Attack>)> = Rival::ALL.into_iter().map(|rival| (rival, of(rival))).collect();
        let all: Vec<_> = all.into_iter().filter(|(_, attacks)| !attacks.is_empty()).collect();
        let most = all.iter().flat_map(|(_, attacks)| attacks).map(|attack| attack.calls.queries).max();
        let Some(most) = most else { continue };
        let curves: Vec<Curve> =
            all.iter().map(|(rival, attacks)| Curve { name: rival.name(), points: fooled_by(attacks, most) }).collect();
        let name = format!("systems-{}-{}", super::file_name(pair.0), super::file_name(pair.1));
        figures.push((name, figure::by_queries(&format!("{}, {}", pair.1, pair.0), &curves, most)?));
    }
    Ok(figures)
}
