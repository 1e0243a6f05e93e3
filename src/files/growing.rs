// SPDX-License-Identifier: MPL-2.0

//! Files of JSON lines that grow under another name until they are whole.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{LONGEST_NAME, shortened};

/// A file that is added to line by line, under the name `FILE.part` until it is whole. A reader may follow it there.
#[derive(Debug)]
pub struct Growing {
    path: PathBuf,
    file: File,
    /// It has the name that it is for, now or from the beginning: a device or pipe is written to as it is.
    named: bool,
}

impl Growing {
    /// Begins a file at `path`; one of that name stays until [`Growing::publish`]. An error where another element or
    /// process is writing it.
    pub fn create(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(found) if !found.is_file() => {
                return Ok(Self {
                    path: path.to_path_buf(),
                    file: open_at_once(File::options().append(true), path)?,
                    named: true,
                });
            }
            Ok(_) => replaceable(path)?,
            Err(_) => {}
        }
        let part = growing_path(path);
        if part.exists() {
            replaceable(&part)?;
        }
        let mut options = File::options();
        options.create(true).read(true).append(true);
        let file = options.custom_flags(libc::O_NOFOLLOW).open(&part)?;
        match file.try_lock() {
            // What a killed run has left is not locked.
            Ok(()) => file.set_len(0)?,
            Err(TryLockError::WouldBlock) => {
                let busy = "another element or process is writing it";
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, busy));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(Self { path: path.to_path_buf(), file, named: false })
    }

    /// Adds a line, in one write: a reader that follows the file sees whole lines.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        self.file.write_all(format!("{text}\n").as_bytes())
    }

    /// Gives the whole file its name. Lines may be added later, when the stream begins again after its end. A file
    /// without a line does not take the place of one that is there.
    pub fn publish(&mut self) -> io::Result<()> {
        if self.named || self.file.metadata()?.len() == 0 && self.path.exists() {
            return Ok(());
        }
        if self.path.exists() {
            // Something else may have been written there meanwhile.
            replaceable(&self.path)?;
        }
        self.file.sync_all()?;
        fs::rename(growing_path(&self.path), &self.path)?;
        self.named = true;
        Ok(())
    }

    /// Keeps what there is of a file that did not become whole as `FILE.incomplete`. Returns that name, or nothing
    /// where there is no line.
    pub fn abandon(mut self) -> io::Result<Option<PathBuf>> {
        self.keep()
    }

    fn keep(&mut self) -> io::Result<Option<PathBuf>> {
        if self.named {
            return Ok(None);
        }
        self.named = true;
        let part = growing_path(&self.path);
        if self.file.metadata()?.len() == 0 {
            fs::remove_file(part)?;
            return Ok(None);
        }
        let kept = with_suffix(&self.path, ".incomplete");
        if kept.exists() && replaceable(&kept).is_err() {
            return Ok(Some(part));
        }
        fs::rename(part, &kept)?;
        Ok(Some(kept))
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        // Whoever wants to hear of an error has called abandon().
        let _ = self.keep();
    }
}

/// An error where a file is none that a [`Growing`] may take the place of: only a file of JSON lines is, or an empty
/// one.
fn replaceable(path: &Path) -> io::Result<()> {
    let foreign = |found: &str| {
        let text = format!("{} is there, {found}; move it away", path.display());
        io::Error::new(io::ErrorKind::AlreadyExists, text)
    };
    let about = fs::metadata(path)?;
    if !about.is_file() {
        return Err(foreign("which is no file"));
    }
    if about.len() == 0 {
        return Ok(());
    }
    let mut line = Vec::new();
    let mut file = BufReader::new(File::open(path)?).take(LONGEST_LINE);
    io::BufRead::read_until(&mut file, b'\n', &mut line)?;
    // Whatever an object has in it: reports of all versions are older reports.
    match serde_json::from_slice::<serde_json::Map<_, _>>(&line) {
        Ok(_) => Ok(()),
        Err(_) => Err(foreign("which is no older report")),
    }
}

/// The most bytes of a line that is read back. A report's line is some thousand bytes long.
pub const LONGEST_LINE: u64 = 1 << 20;

/// Opens a pipe or device without waiting for somebody at its other end.
fn open_at_once(options: &mut fs::OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.custom_flags(libc::O_NONBLOCK).open(path)?;
    // Only the opening must not wait.
    // SAFETY: the descriptor is the open file's; both commands take and give plain numbers.
    let changed = unsafe {
        let flags = libc::fcntl(file.as_raw_fd(), libc::F_GETFL);
        libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags & !libc::O_NONBLOCK)
    };
    match changed {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(file),
    }
}

/// Opens a file that may still be growing: under the name it has until it is whole while somebody writes it, else under
/// its own.
pub fn open_growing(path: &Path) -> io::Result<File> {
    let part = growing_path(path);
    if fs::symlink_metadata(&part).is_ok_and(|m| m.is_file()) {
        let part = File::open(part)?;
        if matches!(part.try_lock_shared(), Err(TryLockError::WouldBlock)) {
            return Ok(part);
        }
    }
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    File::open(path)
}

/// The names under which a growing file lies before and instead of its own.
pub fn growing_names(path: &Path) -> [PathBuf; 2] {
    [growing_path(path), with_suffix(path, ".incomplete")]
}

fn growing_path(path: &Path) -> PathBuf {
    with_suffix(path, ".part")
}

/// A name that would be too long for the file system is shortened.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    if name.len() + suffix.len() > LONGEST_NAME {
        name = shortened(&name.to_string_lossy(), LONGEST_NAME - suffix.len()).into();
    }
    name.push(suffix);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_growing_file_replaces_the_older_one_when_it_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("r.jsonl");
        let line = |n: usize| format!("{{\"window\":{n}}}");
        let lines = |numbers: &[usize]| -> String { numbers.iter().map(|n| line(*n) + "\n").collect() };
        let read = |path: &Path| io::read_to_string(open_growing(path).expect("a file")).expect("text");
        let is = |path: &Path, numbers: &[usize]| {
            assert_eq!(fs::read_to_string(path).expect("a file"), lines(numbers));
        };
        fs::write(&path, lines(&[0])).expect("a file");
        let mut growing = Growing::create(&path).expect("a growing file");
        growing.line(&line(1)).expect("a line");
        is(&path, &[0]);
        assert_eq!(read(&path), lines(&[1]), "a reader follows what grows");
        assert!(Growing::create(&path).is_err(), "two write one file");
        growing.publish().expect("a name");
        assert_eq!(read(&path), lines(&[1]));

        let mut growing = Growing::create(&path).expect("a growing file");
        growing.line(&line(2)).expect("a line");
        is(&growing.abandon().expect("a name").expect("a line was kept"), &[2]);
        is(&path, &[1]);
        let empty = Growing::create(&path).expect("a growing file");
        assert_eq!(empty.abandon().expect("nothing to keep"), None);
        drop(Growing::create(&path).expect("a growing file"));
        assert!(!growing_path(&path).exists());

        // Of a killed run.
        fs::write(growing_path(&path), lines(&[3])).expect("a file");
        assert_eq!(read(&path), lines(&[1]));
        let mut growing = Growing::create(&path).expect("a growing file");
        growing.line(&line(4)).expect("a line");
        growing.publish().expect("a name");
        is(&path, &[4]);
        // The stream goes on after its end.
        growing.line(&line(5)).expect("a line");
        growing.publish().expect("the same name");
        drop(growing);
        is(&path, &[4, 5]);
    }

    #[test]
    fn a_growing_file_takes_the_place_of_no_other_kind_of_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let video = |name: &str| fs::write(at(name), "\0\0\0 ftypisom").expect("a file");
        let kept = |name: &str| {
            assert_eq!(fs::read_to_string(at(name)).expect("a file"), "\0\0\0 ftypisom");
        };
        video("a.mp4");
        assert!(Growing::create(&at("a.mp4")).is_err());
        // What it would lie in until it is whole.
        video("b.part");
        assert!(Growing::create(&at("b")).is_err());
        symlink(at("a.mp4"), at("c.part")).expect("a link");
        assert!(Growing::create(&at("c")).is_err());
        symlink(at("nothing"), at("d.part")).expect("a link");
        assert!(Growing::create(&at("d")).is_err(), "a link that leads nowhere");
        // What it would be kept as.
        video("e.incomplete");
        let mut growing = Growing::create(&at("e")).expect("a growing file");
        growing.line("{}").expect("a line");
        assert_eq!(growing.abandon().expect("a name"), Some(at("e.part")));
        // What came in the meantime.
        let mut growing = Growing::create(&at("f")).expect("a growing file");
        growing.line("{}").expect("a line");
        video("f");
        assert!(growing.publish().is_err());
        drop(growing);
        for name in ["a.mp4", "b.part", "c.part", "e.incomplete", "f"] {
            kept(name);
        }
        assert!(!at("nothing").exists());
    }

    #[test]
    fn nobody_waits_for_the_other_end_of_a_pipe() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo").success());
        assert!(Growing::create(&pipe).is_err(), "nobody reads it");
        assert!(open_growing(&pipe).is_err(), "it is no file");
        let name = folder.path().join("x".repeat(255));
        let mut growing = Growing::create(&name).expect("the longest name");
        growing.publish().expect("a name");
        assert!(name.exists());
    }
}
