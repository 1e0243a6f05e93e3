// SPDX-License-Identifier: MPL-2.0

//! Files of JSON lines that a run adds to and a later one goes on with. Each line says its kind first.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::{Context, bail};

/// What each line begins with.
const BEGINNING: &[u8] = b"{\"kind\":\"";

/// How many bytes are whole lines.
pub fn whole_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1)
}

/// Whether what follows the last whole line was cut off by a kill, and is nothing else.
pub fn is_cut_line(bytes: &[u8]) -> bool {
    bytes.starts_with(BEGINNING) || BEGINNING.starts_with(bytes)
}

/// Opens one that this command adds to, in one process at a time.
pub fn open(path: &Path, command: &str) -> anyhow::Result<File> {
    let file = File::options().create(true).append(true).open(path);
    let file = file.with_context(|| format!("{} could not be written", path.display()))?;
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        bail!(
            "Expected {} to be nobody's, found that another gst-sparseadv {command} is writing it. Wait until it has ended, or use another \
             --out.",
            path.display()
        );
    }
    Ok(file)
}
