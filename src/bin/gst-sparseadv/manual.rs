// SPDX-License-Identifier: MPL-2.0

//! Manual pages and the completions of shells, made from what the parser knows. An installation calls this.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap_complete::Shell;

#[derive(clap::Args)]
pub struct Arguments {
    /// The folder that gets share/man, share/bash-completion, share/zsh and share/fish
    prefix: PathBuf,
}

pub fn run(arguments: &Arguments, command: &clap::Command) -> anyhow::Result<()> {
    // Shells would offer the commands that the tool calls itself with.
    let visible = command.get_subcommands().filter(|c| !c.is_hide_set()).cloned();
    let visible = clap::Command::new("gst-sparseadv").version(env!("CARGO_PKG_VERSION")).subcommands(visible);
    let folder = |path: &str| {
        let folder = arguments.prefix.join("share").join(path);
        fs::create_dir_all(&folder).with_context(|| format!("{} could not be made", folder.display()))?;
        anyhow::Ok(folder)
    };
    let man = folder("man/man1")?;
    clap_mangen::generate_to(command.clone().version(env!("CARGO_PKG_VERSION")), &man)
        .with_context(|| format!("{} could not be written", man.display()))?;
    // Where each shell looks in every data folder.
    let shells = [
        (Shell::Bash, "bash-completion/completions"),
        (Shell::Zsh, "zsh/site-functions"),
        (Shell::Fish, "fish/vendor_completions.d"),
    ];
    for (shell, place) in shells {
        let place = folder(place)?;
        clap_complete::generate_to(shell, &mut visible.clone(), visible.get_name(), &place)
            .with_context(|| format!("{} could not be written", place.display()))?;
    }
    Ok(())
}
