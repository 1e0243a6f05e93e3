// SPDX-License-Identifier: MPL-2.0

//! Command-line companion of the `sparseadv` element. Everything that attacks runs through the element in a real
//! pipeline.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

mod attack;
mod chart;
mod container;
mod convert;
mod dataset;
mod decode;
mod element;
mod evaluate;
mod fields;
mod html;
mod inspect;
mod interrupt;
mod journal;
mod manual;
mod media;
mod out;
mod page;
mod picture;
mod print;
mod provenance;
mod report;
mod reproduce;
mod seen;
mod universal;

#[derive(Parser)]
#[command(
    name = "gst-sparseadv",
    about,
    after_help = "Exit status: 0 done, 1 failed, 2 done but some clips were skipped or missing, 130 interrupted. Of evaluate: 1 a gate has \
        failed, 3 it could not run."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Attack one file, and show what became of it after encoding and decoding again
    Attack(attack::Arguments),
    /// Attack a data set: a mirrored tree of videos, and a manifest
    Convert(convert::Arguments),
    /// Evaluate the robustness of models on clips, and pass or fail by gates
    Evaluate(evaluate::Arguments),
    /// Make one of what was converted or evaluated in parts
    Merge(convert::MergeArguments),
    #[command(hide = true)]
    ConvertWorker(convert::worker::Arguments),
    /// Learn a perturbation that fools a model wherever it is put, for streams that wait for no model
    Learn(universal::learn::Arguments),
    /// Judge learned perturbations on clips that they were not learned from
    Judge(universal::judge::Arguments),
    /// Measure the paper's tables and figure on data sets and models
    Reproduce(reproduce::Arguments),
    /// Make pages of what reproduce has measured
    Report(report::Arguments),
    /// Show what a TorchScript archive contains and whether it fits the model contract
    Inspect(inspect::Arguments),
    /// Write manual pages and the completions of shells
    #[command(hide = true)]
    Manual(manual::Arguments),
    /// Print the tables of examples/fields.md, from the types
    #[command(hide = true)]
    Fields,
}

/// Exit status where clips were skipped.
const SKIPPED: u8 = 2;

fn main() -> ExitCode {
    // MKL otherwise adds in an order that depends on where the memory lies, and an attack is sensitive enough to show
    // it: results would differ from call to call.
    if std::env::var_os("MKL_CBWR").is_none() {
        // SAFETY: no other thread is running yet, and MKL has not looked.
        unsafe { std::env::set_var("MKL_CBWR", "AUTO") };
    }
    let done = |()| ExitCode::SUCCESS;
    let counted = |skipped| match skipped {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(SKIPPED),
    };
    let parsed = Arguments::command()
        .version(&*version().leak())
        .try_get_matches()
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => {
            // The parser's own status of a wrong argument is 2, which says here that clips were skipped.
            let _ = error.print();
            let wrong = if judges(std::env::args_os().nth(1)) { evaluate::COULD_NOT_RUN } else { 1 };
            return if error.use_stderr() { ExitCode::from(wrong) } else { ExitCode::SUCCESS };
        }
    };
    // Its status 1 says that a gate has failed.
    let failure = match &arguments.command {
        Command::Evaluate(_) => evaluate::COULD_NOT_RUN,
        Command::Merge(arguments) if evaluate::is_there(&arguments.tree) => evaluate::COULD_NOT_RUN,
        _ => 1,
    };
    let result = match arguments.command {
        Command::Attack(arguments) => attack::run(&arguments).map(done),
        Command::Convert(arguments) => convert::run(&arguments).map(counted),
        Command::ConvertWorker(arguments) => convert::worker::run(&arguments).map(done),
        Command::Evaluate(arguments) => evaluate::run(&arguments).map(ExitCode::from),
        Command::Merge(arguments) if evaluate::is_there(&arguments.tree) => {
            evaluate::merge(&arguments.tree, &arguments.evaluation).map(ExitCode::from)
        }
        Command::Merge(arguments) => convert::merge(&arguments).map(counted),
        Command::Learn(arguments) => universal::learn::run(&arguments).map(counted),
        Command::Judge(arguments) => universal::judge::run(&arguments).map(counted),
        Command::Reproduce(arguments) => reproduce::run(&arguments).and_then(|(skipped, results)| {
            report::pages(&results)?;
            Ok(counted(skipped))
        }),
        Command::Report(arguments) => report::pages(&arguments.folder).map(done),
        Command::Inspect(arguments) => inspect::run(&arguments).map(done),
        Command::Manual(arguments) => manual::run(&arguments, &Arguments::command()).map(done),
        Command::Fields => {
            fields::run();
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        out::errln!("gst-sparseadv: {error:#}");
        ExitCode::from(if error.is::<interrupt::Interrupted>() { interrupt::STATUS } else { failure })
    })
}

/// Whether a command's status 1 is a verdict.
fn judges(command: Option<std::ffi::OsString>) -> bool {
    command.is_some_and(|command| command == "evaluate")
}

/// Of everything that results depend on.
fn version() -> String {
    let versions = provenance::Versions::here();
    format!("{} (libtorch {}, {})", versions.plugin, versions.libtorch, versions.gstreamer)
}
