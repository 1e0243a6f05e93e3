// SPDX-License-Identifier: MPL-2.0

//! Damaged and malicious model files: mutations of the embedded models, each loaded in a child process with a bound on its
//! time and memory, and asked for one classification. No child may crash for what a check before libtorch can see.
//!
//! `cargo test` tries some. `cargo test --release --locked --test hostile -- --count 10000 --seed 2` tries more, and
//! prints what came of them. `--keep FOLDER` keeps the files that ended a child.

mod archive;
mod child;
mod code;
mod draw;
mod kinds;
mod mutate;
mod pickle;
mod tally;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use draw::Draw;
use mutate::Original;
use tally::Tally;
use worker::Worker;

/// What `cargo test` tries.
const COUNT: u64 = 150;

struct Options {
    count: u64,
    seed: u64,
    keep: Option<PathBuf>,
    /// Of these kinds alone.
    only: Option<String>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == child::FLAG) {
        child::run();
        return ExitCode::SUCCESS;
    }
    let Some(options) = options(&arguments) else {
        return ExitCode::SUCCESS;
    };
    let began = Instant::now();
    let tally = run(&options);
    println!("{tally}");
    println!("{} mutations of seed {} in {:.0} s", options.count, options.seed, began.elapsed().as_secs_f64());
    match tally.faults() {
        0 => ExitCode::SUCCESS,
        n => {
            eprintln!("{n} mutations ended a child for what a check before libtorch can see");
            ExitCode::FAILURE
        }
    }
}

/// Nothing where a filter names another test.
fn options(arguments: &[String]) -> Option<Options> {
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let number = |name: &str, default| value(name).map_or(default, |text| text.parse().expect(name));
    let filter = arguments.first().filter(|first| !first.starts_with('-'));
    let asked = filter.is_none_or(|filter| "hostile".contains(filter.as_str()));
    (asked && !arguments.iter().any(|a| a == "--list")).then(|| Options {
        count: number("--count", COUNT),
        seed: number("--seed", 1),
        keep: value("--keep").map(PathBuf::from),
        only: value("--only").cloned(),
    })
}

fn run(options: &Options) -> Tally {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/data");
    let originals = ["figures-c3d.pt", "figures-lrcn.pt"].map(|name| Original::read(&data.join(name)));
    let folder = tempfile::tempdir().expect("a folder");
    let mut worker = Worker::new(folder.path());
    let mut tally = Tally::default();
    for number in 0..options.count {
        // Each by itself: a mutation is the same whatever came before it.
        let mut draw = Draw::new(options.seed.wrapping_mul(1 << 32).wrapping_add(number));
        let original = draw.pick(&originals);
        let (kind, bytes) = match &options.only {
            Some(only) => (only.as_str(), mutate::of(original, only, &mut draw)),
            None => mutate::any(original, &mut draw),
        };
        let path = folder.path().join(format!("{number}.pt"));
        std::fs::write(&path, &bytes).expect("a file");
        let end = worker.load(&path);
        if let Some(keep) = options.keep.as_ref().filter(|_| end.is_of_note()) {
            std::fs::create_dir_all(keep).expect("a folder");
            std::fs::copy(&path, keep.join(format!("{number}.{kind}.pt"))).expect("a copy");
            println!("{number} {kind}: {end:?}");
        }
        tally.add(kind, end);
        std::fs::remove_file(&path).expect("the file");
    }
    tally
}
