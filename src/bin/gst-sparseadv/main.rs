// SPDX-License-Identifier: MPL-2.0

//! Command-line companion of the `sparseadv` element. Everything that attacks runs through the element in a real pipeline.

use clap::{Parser, Subcommand};

mod attack;
mod decode;
mod inspect;
mod picture;
mod print;

#[derive(Parser)]
#[command(name = "gst-sparseadv", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Attack one file, and show what became of it after encoding and decoding again
    Attack(attack::Arguments),
    /// Show what a TorchScript archive contains and whether it fits the model contract
    Inspect(inspect::Arguments),
}

fn main() -> std::process::ExitCode {
    let result = match Arguments::parse().command {
        Command::Attack(arguments) => attack::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gst-sparseadv: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
