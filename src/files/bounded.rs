// SPDX-License-Identifier: MPL-2.0

//! Files that are read whole, and are expected to be small.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Reads a file of at most `most` bytes. An error where it has more, or is a pipe or device, which may never end.
pub fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // Before it is opened: to open a pipe that nobody writes to waits for ever.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    let mut bytes = Vec::new();
    // One more byte than there may be: a file that grows meanwhile is none too large.
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {most} bytes"))),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_large_is_not_read_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        fs::write(&path, b"1234").expect("a file");
        assert_eq!(read_at_most(&path, 4).expect("a file"), b"1234");
        let error = read_at_most(&path, 3).expect_err("a refusal");
        assert!(error.to_string().contains("more than 3 bytes"), "{error}");
        // Nothing of that size could be read.
        File::options().write(true).open(&path).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
        assert!(read_at_most(&path, 4).is_err());
    }

    #[test]
    fn what_never_ends_is_refused() {
        for path in ["/dev/zero", "/"] {
            let error = read_at_most(Path::new(path), 4).expect_err(path);
            assert!(error.to_string().contains("no file"), "{error}");
        }
    }
}
