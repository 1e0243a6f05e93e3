// SPDX-License-Identifier: MPL-2.0

//! Whether the promised latency is kept: live streams, undisturbed and disturbed, through `identity` and through
//! `sparseadv` with models that are fast, five times and fifty times too slow, into a sink that drops what is late.
//! `cargo run --release --example latency` writes the table of examples/results/latency.md to its output.

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Duration;

use common::live::{Disturb, disturbances, run, slow_model};
use common::models::{Good, good};

/// Frames of the model's window, and of the stream at thirty a second.
const WINDOW: u32 = 4;
const RATE: u32 = 30;
const FRAMES: u32 = 150;

/// A stream's name, its real rate, what its caps say, properties of the attack, and what happens.
type Case = (String, u32, Option<&'static str>, &'static str, Disturb);

fn cases() -> Vec<Case> {
    let nothing = || -> Disturb { Box::new(|_, _, _, _| true) };
    let mut cases: Vec<Case> = vec![
        ("caps say 0/1, really 5 a second".into(), 5, Some("0/1"), "", nothing()),
        ("caps say 30/1, really 10 a second".into(), 10, Some("30/1"), "", nothing()),
        ("caps say 5/1, really 30 a second".into(), RATE, Some("5/1"), "", nothing()),
        ("stride of two windows".into(), RATE, None, "stride=8", nothing()),
        ("overlapping windows".into(), RATE, None, "stride=2", nothing()),
        ("time-budget of 2 s".into(), RATE, None, "time-budget=2000000000", nothing()),
    ];
    cases.extend(disturbances().into_iter().map(|(name, disturb)| (name.into(), RATE, None, "", disturb)));
    cases
}

fn main() {
    common::init();
    let budget = Duration::from_secs(1) * WINDOW / RATE;
    let models = [
        ("identity", None),
        ("fast", Some(good(Good::default()))),
        ("5 times too slow", Some(slow_model(budget * 5))),
        ("50 times too slow", Some(slow_model(budget * 50))),
    ];
    println!("| stream | element | promised, ms | sent | arrived | dropped | latest, ms after due |");
    println!("|---|---|---|---|---|---|---|");
    for number in 0..cases().len() {
        for (name, model) in &models {
            let (case, rate, caps, properties, disturb) = cases().swap_remove(number);
            let element = match model {
                None => "identity".into(),
                Some(model) => format!("sparseadv model={} {properties}", model.location()),
            };
            let figures = run(FRAMES * rate / RATE, rate, caps, &element, disturb);
            println!(
                "| {case} | {name} | {} | {} | {} | {} | {:.1} |",
                figures.promised.as_millis(),
                figures.sent,
                figures.came,
                figures.dropped,
                figures.latest
            );
        }
    }
}
