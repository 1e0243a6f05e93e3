// SPDX-License-Identifier: MPL-2.0

//! Which split of a data set, as arguments.

use std::path::PathBuf;

use gstsparseadv::dataset::Options;

// Of its own name: commands that take these have arguments of their own.
#[derive(clap::Args)]
#[group(id = "dataset")]
pub struct Arguments {
    /// Which of the set's three splits
    #[arg(long, default_value_t = 1)]
    split: u32,
    /// Folder of the split lists, if not in or beside the set
    #[arg(long)]
    splits: Option<PathBuf>,
    /// Groups (actors, source films) that are the test clips of plain folders, with commas between; by default the
    /// split's 30 % of them
    #[arg(long, value_delimiter = ',')]
    test_groups: Vec<String>,
}

impl Arguments {
    pub fn options(&self) -> Options {
        let Self { split, splits, test_groups } = self;
        Options { layout: None, split: *split, splits: splits.clone(), test_groups: test_groups.clone() }
    }
}
