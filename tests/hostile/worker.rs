// SPDX-License-Identifier: MPL-2.0

//! A child process as its parent sees it: bounded in memory and time, and begun again where a file has ended it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use crate::child::{CLASSIFIES, FLAG, LOADS, MARK};
use crate::kinds::End;

/// Bytes that a child may write to, beside its code.
const MEMORY: &str = "--data=4294967296";

/// A model of this size is loaded in a fraction of it.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Worker {
    folder: PathBuf,
    running: Option<Running>,
}

struct Running {
    child: Child,
    paths: ChildStdin,
    lines: Receiver<String>,
}

impl Worker {
    /// Children work in this folder: a model can write files.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), running: None }
    }

    /// What comes of a file by itself: libtorch keeps memory of every program that it has compiled, so that one may end a
    /// child for those before it.
    pub fn load(&mut self, path: &Path) -> End {
        let is_fresh = self.running.is_none();
        let running = self.running.get_or_insert_with(|| Running::begin(&self.folder));
        let end = running.load(path);
        if !end.is_of_note() {
            return end;
        }
        self.end();
        if is_fresh { end } else { self.load(path) }
    }

    fn end(&mut self) {
        if let Some(mut running) = self.running.take() {
            // It may have ended by itself.
            let _ = running.child.kill();
            running.child.wait().expect("the child's end");
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

impl Running {
    fn begin(folder: &Path) -> Self {
        let own = std::env::current_exe().expect("this program");
        let mut child = Command::new("prlimit")
            .args([MEMORY, "--core=0"])
            .arg(own)
            .arg(FLAG)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("prlimit");
        let paths = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in output.split(b'\n') {
                let line = line.map(|line| String::from_utf8_lossy(&line).into_owned()).unwrap_or_default();
                // A model may print before what is said.
                let said = line.split_once(MARK).map(|(_, said)| said.to_owned());
                if said.is_some_and(|said| send.send(said).is_err()) {
                    return;
                }
            }
        });
        Self { child, paths, lines }
    }

    fn load(&mut self, path: &Path) -> End {
        // Where the child has ended, its lines tell.
        let _ = writeln!(self.paths, "{}", path.display());
        let mut stage = "begins".to_owned();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(said) if said == LOADS || said == CLASSIFIES => stage = said,
                Ok(said) => return parsed(&said),
                Err(RecvTimeoutError::Timeout) => return End::TimedOut,
                Err(RecvTimeoutError::Disconnected) => return End::Died { how: self.how(), stage },
            }
        }
    }

    fn how(&mut self) -> String {
        let status = self.child.wait().expect("the child's end");
        match (status.signal(), status.code()) {
            (Some(signal), _) => format!("signal {signal}"),
            (None, Some(code)) => format!("exit {code}"),
            (None, None) => "unknown".into(),
        }
    }
}

/// The end that a child has told of.
fn parsed(said: &str) -> End {
    let kind = |name: &str| Some(said.strip_prefix(name)?.trim_matches(['(', ')', '"']).to_owned());
    if said == "loaded" {
        End::Loaded
    } else if said == "OutOfMemory" {
        End::OutOfMemory
    } else if let Some(kind) = kind("Refused") {
        End::Refused(kind)
    } else {
        End::ByTorch(kind("ByTorch").unwrap_or_default())
    }
}
