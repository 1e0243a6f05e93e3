// SPDX-License-Identifier: MPL-2.0

//! Which side of a data set: the options that all commands on data sets share.

use std::path::PathBuf;

use gstsparseadv::dataset::Options;

#[derive(clap::Args)]
pub struct DatasetOptions {
    /// Which of the set's three splits
    #[arg(long, default_value_t = 1)]
    split: u32,
    /// Folder of the split lists, if not in or beside the set
    #[arg(long)]
    splits: Option<PathBuf>,
    /// Groups (actors, source films) that are the test clips of plain folders, with commas between; by default 30 % of them
    #[arg(long, value_delimiter = ',')]
    test_groups: Vec<String>,
}

impl DatasetOptions {
    pub fn options(&self) -> Options {
        Options {
            layout: None,
            split: self.split,
            splits: self.splits.clone(),
            test_groups: self.test_groups.clone(),
        }
    }
}
