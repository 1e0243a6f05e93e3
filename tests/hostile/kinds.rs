// SPDX-License-Identifier: MPL-2.0

//! What a mutation can come to.

/// How a child dealt with a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// It was loaded, and classified a window or said why not.
    Loaded,
    /// The library refused it before libtorch had it, or for what it found when it probed the model: the error's kind.
    Refused(String),
    /// libtorch refused it, which became an error of this kind.
    ByTorch(String),
    /// Memory was refused, which became an error.
    OutOfMemory,
    TimedOut,
    /// The child ended by a signal or with a panic, at this stage.
    Died {
        how: String,
        stage: String,
    },
}

impl End {
    /// Whether a file is worth a look.
    pub fn is_of_note(&self) -> bool {
        matches!(self, Self::TimedOut | Self::Died { .. })
    }
}
