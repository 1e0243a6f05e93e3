// SPDX-License-Identifier: MPL-2.0

//! File names as GStreamer's properties take them: in UTF-8, which a file's name need not be.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// A name for a file, valid as long as this lives.
#[derive(Debug)]
pub struct Location {
    text: String,
    _open: Option<File>,
}

impl Location {
    /// Of a file to read.
    pub fn to_read(path: &Path) -> io::Result<Self> {
        Self::new(path, || File::open(path))
    }

    /// Of a file to write.
    pub fn to_write(path: &Path) -> io::Result<Self> {
        Self::new(path, || File::create(path))
    }

    fn new(path: &Path, open: impl FnOnce() -> io::Result<File>) -> io::Result<Self> {
        if let Some(text) = path.to_str() {
            let text = text.to_string();
            return Ok(Self { text, _open: None });
        }
        // The system's own name for a file that is open.
        let file = open()?;
        Ok(Self { text: format!("/proc/self/fd/{}", file.as_raw_fd()), _open: Some(file) })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}
