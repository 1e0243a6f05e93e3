// SPDX-License-Identifier: MPL-2.0

//! Which clips there are to convert, and where each goes.

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context};
use gstsparseadv::dataset::{self, DataSet};

use super::manifest::Shard;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Side {
    /// Every video in the class folders, whatever the lists say
    All,
    Train,
    Test,
}

/// A clip to convert.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Path below the data set's folder, with `/`.
    pub clip: String,
    pub class: String,
    pub source: PathBuf,
    /// Path below the converted tree's folder, with `/`.
    pub output: String,
}

/// The clips of a set, sorted by name, with outputs of `extension`.
pub fn jobs(
    root: &Path,
    side: Side,
    options: &dataset::Options,
    extension: &str,
) -> anyhow::Result<(Vec<Job>, DataSet)> {
    let lists = dataset::open(root, options)?;
    let layout = Some(dataset::Layout::Folders);
    let files = match side {
        Side::All if Some(lists.layout) != layout => dataset::open(
            root,
            &dataset::Options {
                layout,
                ..options.clone()
            },
        )?,
        _ => lists.clone(),
    };
    let mut jobs = Vec::new();
    for clip in &files.clips {
        let wanted = match side {
            Side::All => true,
            Side::Train => !clip.held_out,
            Side::Test => clip.held_out,
        };
        if !wanted {
            continue;
        }
        let below = clip.path.strip_prefix(root)?;
        let parts: Vec<&str> = below.iter().filter_map(|p| p.to_str()).collect();
        let name = parts.join("/");
        let stem = name
            .rsplit_once('.')
            .map_or(name.as_str(), |(stem, _)| stem);
        jobs.push(Job {
            class: files.labels[clip.label].clone(),
            source: clip.path.clone(),
            output: format!("{stem}.{extension}"),
            clip: name,
        });
    }
    jobs.sort_by(|a, b| a.clip.cmp(&b.clip));
    ensure!(
        !jobs.is_empty(),
        "expected videos in class folders in {}, found none",
        root.display()
    );
    // `a.avi` and `a.mp4` of one folder would become one file.
    let mut outputs: Vec<&str> = jobs.iter().map(|job| job.output.as_str()).collect();
    outputs.sort_unstable();
    if let Some(twice) = outputs.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!(
            "expected one clip for {}, found two; rename one of them",
            twice[0]
        );
    }
    Ok((jobs, lists))
}

/// Every n-th of the clips, so that the parts are alike in classes.
pub fn take_shard(jobs: Vec<Job>, shard: Shard) -> Vec<Job> {
    let Some((index, count)) = shard else {
        return jobs;
    };
    jobs.into_iter().skip(index - 1).step_by(count).collect()
}

/// `i/n`, from 1.
pub fn parse_shard(text: &str) -> Result<(usize, usize), String> {
    let parsed = text
        .split_once('/')
        .and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    match parsed {
        Some((i, n)) if (1..=n).contains(&i) => Ok((i, n)),
        _ => Err(format!("expected i/n with i from 1 to n, found {text}")),
    }
}

/// Copies the lists that say who is held out, so that the converted tree is a data set too. Its files end in `extension`.
pub fn copy_lists(data: &DataSet, from: &Path, to: &Path, extension: &str) -> anyhow::Result<()> {
    let Some(lists) = data.lists.as_deref() else {
        return Ok(());
    };
    // From beside the set they go into the tree, under a name that is looked for there.
    let below = lists.strip_prefix(from).unwrap_or(Path::new("splits"));
    for entry in std::fs::read_dir(lists)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "txt") {
            let name = path.file_name().context("a file has a name")?;
            let text = renamed(&std::fs::read_to_string(&path)?, extension);
            super::record::write_whole(&to.join(below).join(name), text.as_bytes())?;
        }
    }
    Ok(())
}

/// A list in which videos end in `extension`.
fn renamed(list: &str, extension: &str) -> String {
    let word = |text: &str| {
        let name = text.trim_end();
        match name.rsplit_once('.') {
            Some((stem, _)) if dataset::is_video(name) => {
                format!("{stem}.{extension}{}", &text[name.len()..])
            }
            _ => text.to_string(),
        }
    };
    list.split_inclusive(char::is_whitespace)
        .map(word)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_name_the_converted_files() {
        let list = "a/v_a_g01_c01.avi 1\na/v_a_g01_c02.AVI\n1 a.b\n";
        let expected = "a/v_a_g01_c01.mkv 1\na/v_a_g01_c02.mkv\n1 a.b\n";
        assert_eq!(renamed(list, "mkv"), expected);
        assert_eq!(renamed("x.avi 2\r\n", "avi"), "x.avi 2\r\n");
    }

    fn job(n: usize) -> Job {
        Job {
            clip: format!("{n:02}"),
            class: String::new(),
            source: PathBuf::new(),
            output: String::new(),
        }
    }

    #[test]
    fn shards_cover_every_clip_once() {
        let all: Vec<Job> = (0..23).map(job).collect();
        for count in [1, 2, 7, 30] {
            let mut met: Vec<Job> = (1..=count)
                .flat_map(|i| take_shard(all.clone(), Some((i, count))))
                .collect();
            met.sort_by(|a, b| a.clip.cmp(&b.clip));
            assert_eq!(met, all);
        }
    }

    #[test]
    fn shards_are_counted_from_one() {
        assert_eq!(parse_shard("2/3"), Ok((2, 3)));
        for wrong in ["0/3", "4/3", "3", "a/b", "1/0", "-1/2"] {
            assert!(parse_shard(wrong).is_err(), "{wrong}");
        }
    }
}
