// SPDX-License-Identifier: MPL-2.0

//! Whether the promised latency is kept: live streams, undisturbed and disturbed, through `identity` and through
//! `sparseadv` with models that are fast, five times and fifty times too slow, into a sink that drops what is late. The
//! first of them is a minute long, and goes through the modes in which no frame waits as well.
//!
//!     cargo run --release --example latency -- [--json FILE]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use clap::Parser;
use common::live::{Disturb, disturbances, run, slow_model};
use common::models::{Good, ModelFile, good};
use gstsparseadv::provenance::Versions;

/// Frames of the model's window, and of the stream at thirty a second.
const WINDOW: u32 = 4;
const RATE: u32 = 30;
const FRAMES: u32 = 150;

#[derive(clap::Parser)]
struct Arguments {
    /// Adds a line for each stream and element to this file
    #[arg(long)]
    json: Option<std::path::PathBuf>,
    /// Seconds of the first stream
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// A stream's name, its frames, its real rate, what its caps say, properties of the attack, and what happens.
struct Case {
    name: String,
    frames: u32,
    rate: u32,
    caps: Option<&'static str>,
    properties: &'static str,
    disturb: Disturb,
}

fn cases(seconds: u32) -> Vec<Case> {
    let case = |name: &str, rate: u32, caps, properties| Case {
        name: name.into(),
        frames: FRAMES * rate / RATE,
        rate,
        caps,
        properties,
        disturb: Box::new(|_, _, _, _| true),
    };
    let mut cases: Vec<Case> = vec![
        Case { frames: seconds * RATE, ..case(&format!("{seconds} seconds"), RATE, None, "") },
        case("caps say 0/1, really 5 a second", 5, Some("0/1"), ""),
        case("caps say 30/1, really 10 a second", 10, Some("30/1"), ""),
        case("caps say 5/1, really 30 a second", RATE, Some("5/1"), ""),
        case("stride of two windows", RATE, None, "stride=8"),
        case("overlapping windows", RATE, None, "stride=2"),
        case("time-budget of 2 s", RATE, None, "time-budget=2000000000"),
    ];
    cases.extend(disturbances().into_iter().map(|(name, disturb)| Case { disturb, ..case(name, RATE, None, "") }));
    cases
}

fn main() {
    let arguments = Arguments::parse();
    common::init();
    let budget = Duration::from_secs(1) * WINDOW / RATE;
    let fast = good(Good::default());
    let (slow, slower) = (slow_model(budget * 5), slow_model(budget * 50));
    let element = |model: &ModelFile, more: &str| format!("sparseadv model={} {more}", model.location());
    let elements = [
        ("identity", "identity".to_string()),
        ("fast", element(&fast, "")),
        ("5 times too slow", element(&slow, "")),
        ("50 times too slow", element(&slower, "")),
        ("causal, 5 times too slow", element(&slow, "mode=causal")),
        ("a learned file", format!("sparseadv perturbation={}", fast.adding(7))),
    ];
    println!(
        "| stream | element | promised, ms | sent | arrived | dropped | late | latest, ms | jitter, ms | apart, ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let count = cases(arguments.seconds).len();
    for number in 0..count {
        let elements = if number == 0 { &elements[..] } else { &elements[..4] };
        for (name, text) in elements {
            let case = cases(arguments.seconds).swap_remove(number);
            let text = if *name == "identity" { text.clone() } else { format!("{text} {}", case.properties) };
            let figures = run(case.frames, case.rate, case.caps, &text, case.disturb);
            let late = figures.arrived.iter().skip(WINDOW as usize).filter(|after| **after > 0.0).count();
            let apart: Vec<f64> = figures.shown.windows(2).map(|two| two[1] - two[0]).collect();
            let cells = [
                case.name,
                (*name).into(),
                figures.promised.as_millis().to_string(),
                figures.sent.to_string(),
                figures.came.to_string(),
                figures.dropped.to_string(),
                late.to_string(),
                format!("{:.1}", figures.latest),
                format!("{:.2}", deviation(&figures.shown)),
                format!("{:.2}", deviation(&apart)),
            ];
            println!("| {} |", cells.join(" | "));
            if let Some(json) = &arguments.json {
                let Versions { plugin, libtorch, gstreamer } = Versions::here();
                let line = serde_json::json!({
                    "plugin": plugin, "libtorch": libtorch, "gstreamer": gstreamer, "cells": cells,
                });
                let mut file = File::options().create(true).append(true).open(json).expect("a file");
                writeln!(file, "{line}").expect("a line");
            }
        }
    }
}

/// The standard deviation.
fn deviation(values: &[f64]) -> f64 {
    let mean = |values: &mut dyn Iterator<Item = f64>, n: usize| values.sum::<f64>() / n.max(1) as f64;
    let middle = mean(&mut values.iter().copied(), values.len());
    mean(&mut values.iter().map(|value| (value - middle).powi(2)), values.len()).sqrt()
}
