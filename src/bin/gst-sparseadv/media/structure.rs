// SPDX-License-Identifier: MPL-2.0

/// What the outer structure of a file says.
#[derive(Debug, Default)]
pub struct Structure {
    /// Bytes that the file should have, and those it has.
    pub cut: Option<(u64, u64)>,
    /// Frames that the video stream should have.
    pub frames: Option<u64>,
    /// The frames stated are those to be decoded: there are no lists of edits.
    pub counts: bool,
    /// What is wrong where nothing can be decoded.
    pub fault: Option<&'static str>,
}
