// SPDX-License-Identifier: MPL-2.0

use std::io;
use std::path::{Path, PathBuf};

/// Why a data set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("Expected a data set's folder, found no folder at {}.", .0.display())]
    NoFolder(PathBuf),
    #[error("The {what} {} could not be read", path.display())]
    Unreadable {
        /// `list` or `folder`.
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("Expected split 1, 2 or 3, found {0}.")]
    Split(u32),
    #[error("Expected the lists of split {split} in {}, found none.", folder.display())]
    NoListsIn { split: u32, folder: PathBuf },
    #[error(
        "Expected lists of split {split}, found only those of other splits in {}. Name one of theirs with --split, or the folder of \
         the lists with --splits.",
        folder.display()
    )]
    OtherSplits { split: u32, folder: PathBuf },
    #[error(
        "Expected the lists of split {split} (trainlist{split:02}.txt or <class>_test_split{split}.txt) in or beside {}, found none. \
         Unpack them there, name their folder, or read the set as plain folders.",
        root.display()
    )]
    NoLists { split: u32, root: PathBuf },
    #[error("Expected lists <class>{suffix} in {}, found none.", folder.display())]
    NoListsOfClasses { suffix: String, folder: PathBuf },
    #[error("Expected lines such as \"1 ApplyEyeMakeup\" in {}, found none. Unpack the lists again.", .0.display())]
    NoClasses(PathBuf),
    /// With what lies in the folder instead, and what to do.
    #[error("Expected videos in class folders in {}, found {hint}", root.display())]
    NoVideos { root: PathBuf, hint: String },
    #[error(
        "Expected the clips of the lists in {}, found none of {named}: {first}: {reason}. Name the folder that has the class folders.",
        root.display()
    )]
    NoClips { root: PathBuf, named: usize, first: String, reason: String },
    #[error(
        "Expected {side} clips, found none among {clips} clips ({missing} more that are named are missing); {sides}."
    )]
    NoClipsOfSide { side: &'static str, clips: usize, missing: usize, sides: String },
    #[error("Expected test groups of {}, found {unknown:?}; there are {known}", root.display())]
    UnknownGroups { root: PathBuf, unknown: Vec<String>, known: String },
}

impl Error {
    pub(super) fn unreadable(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Unreadable { what, path, source }
    }
}
