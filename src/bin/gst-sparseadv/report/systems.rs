// SPDX-License-Identifier: MPL-2.0

//! The systems without the model's gradient: a table, what ours saves, and a figure of fooling rate against queries.

use super::figure::{self, Curve};
use super::table::Table;
use super::tables::{GOALS, share, with_interval};
use crate::reproduce::metrics::{Summary, fooled_by, reduction_from};
use crate::reproduce::results::{Attack, Results};
use crate::reproduce::rivals::Rival;
use crate::reproduce::systems::{Goal, System};

/// Name of the table that the figure follows.
pub const TABLE: &str = "systems";
pub const FIGURE: &str = "Fooling rate against queries";
pub const FIGURE_NOTE: &str = "Untargeted attacks without the model's gradient: windows fooled with a MAP of at most 5 gray levels. The axis of queries is \
     logarithmic.";

/// Every system by its name and what the model tells it: those without the gradient, and some with it to compare with.
fn systems() -> Vec<(String, &'static str, System)> {
    let black = Rival::ALL.map(|rival| (rival.name().to_string(), rival.access(), System::BlackBox { rival }));
    let white = System::with_gradient().into_iter().map(|system| (system.name(), "gradient", system));
    black.into_iter().chain(white).collect()
}

/// The MAP in gray levels of a perturbation that counts as small: a clip in another one's place fools too.
const SMALL: f64 = 5.0;

/// Queries until an attack had a small success. Attacks with the gradient have no trail.
fn until_small(attack: &Attack) -> Option<u32> {
    attack.trail.until(SMALL)
}

/// Whether anything was measured without the gradient.
fn has_any(results: &Results) -> bool {
    results.attacks.iter().any(|attack| matches!(attack.system, System::BlackBox { .. }))
}

/// The mean of queries until a small success, and how many had one.
fn small(attacks: &[&Attack]) -> String {
    let queries: Vec<u32> = attacks.iter().filter_map(|attack| until_small(attack)).collect();
    match queries.len() {
        0 if attacks.iter().all(|attack| attack.trail.trail_map.is_empty()) => "-".into(),
        0 => format!("none of {}", attacks.len()),
        n => format!("{:.0}, {n} of {}", queries.iter().sum::<u32>() as f64 / n as f64, attacks.len()),
    }
}

pub fn table(results: &Results) -> Table {
    let mut rows = Vec::new();
    for pair in results.pairs() {
        for goal in GOALS.into_iter().filter(|_| has_any(results)) {
            for (name, access, system) in systems() {
                let attacks = results.of(pair, goal, &system);
                let Some(s) = Summary::of(&attacks) else { continue };
                let mut row = [pair.0, pair.1, goal.name(), &name, access].map(str::to_string).to_vec();
                row.extend([
                    s.clips.to_string(),
                    with_interval(Some(s.fooling_rate), 0),
                    with_interval(Some(s.verified_rate), 0),
                    with_interval(s.mean_queries, 0),
                    small(&attacks),
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
               confirming a success too. MQ: queries up to the first success, over fooled windows. Some begin with another \
               clip in place of the window, which is a success of no use. Small: up to one with a MAP of at most 5, and over how many windows. In all: the mean over all windows. The result is \
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
            "MQ, small",
            "queries in all",
            "MAP",
            "frames perturbed",
        ],
        rows,
    }
}

/// By how much each of ours asks less than each of the others for a perturbation that is no larger than theirs.
pub fn saved(results: &Results) -> Table {
    let mut rows = Vec::new();
    for pair in results.pairs() {
        for goal in GOALS {
            for ours in Rival::ALL.into_iter().filter(|rival| rival.ours()) {
                for other in Rival::ALL.into_iter().filter(|rival| !rival.ours()) {
                    let of = |rival| results.of(pair, goal, &System::BlackBox { rival });
                    let Some(cells) = saved_cells(&of(ours), of(other)) else { continue };
                    let names = [pair.0, pair.1, goal.name(), ours.name(), other.name()].map(str::to_string);
                    rows.push(names.into_iter().chain(cells).collect());
                }
            }
        }
    }
    Table {
        name: "saved",
        title: "What ours saves".into(),
        note: "Windows that both fool. As small: those where ours comes to a perturbation of no larger MAP than the other's result. By how many \
               per cent ours needs fewer queries for that than the other for its result, over all of them, with 95 % intervals. Where ours never is \
               as small, all of its queries count."
            .into(),
        header: vec!["data set", "model", "goal", "ours", "against", "as small", "queries fewer by %"],
        rows,
    }
}

/// How often ours is as small, and what it saves, on the windows that both fool.
fn saved_cells(ours: &[&Attack], theirs: Vec<&Attack>) -> Option<[String; 2]> {
    let both: Vec<(&Attack, &Attack)> = theirs
        .into_iter()
        .filter(|other| other.success)
        .filter_map(|other| Some((*ours.iter().find(|own| own.clip == other.clip && own.success)?, other)))
        .collect();
    if both.is_empty() {
        return None;
    }
    // Until ours is as small as their result. Where it never is, all that it asked counts.
    let as_small = |own: &Attack| {
        let other = both.iter().find(|(ours, _)| ours.clip == own.clip)?.1;
        own.trail.until(other.size.map)
    };
    let asked = |own: &Attack| Some(f64::from(as_small(own).unwrap_or(own.calls.queries)));
    let (own, other): (Vec<&Attack>, Vec<&Attack>) = both.iter().copied().unzip();
    let reached = own.iter().filter(|own| as_small(own).is_some()).count();
    let queries = reduction_from(&own, &other, asked, |other| other.trail.to_result().map(f64::from));
    Some([share(reached, both.len()), with_interval(queries, 0)])
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
        let curves: Vec<Curve> = all
            .iter()
            .map(|(rival, attacks)| Curve { name: rival.name(), points: fooled_by(attacks, most, until_small) })
            .collect();
        let name = format!("systems-{}-{}", super::file_name(pair.0), super::file_name(pair.1));
        figures.push((name, figure::by_queries(&format!("{}, {}", pair.1, pair.0), &curves, most)?));
    }
    Ok(figures)
}
