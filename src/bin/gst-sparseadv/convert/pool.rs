// SPDX-License-Identifier: MPL-2.0

//! The worker processes, and what becomes of their answers.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use gstsparseadv::files;

use super::disk;
use super::plan::Job;
use super::record::{Outcome, Record, Records};
use super::truth::Truth;
use super::worker::{Answer, Request, Spec};
use crate::{element, interrupt};

/// How often it is looked whether the user has asked for the end.
const POLL: Duration = Duration::from_millis(100);

/// A worker process, its model loaded.
struct Worker {
    child: Child,
    requests: ChildStdin,
    /// The lines it answers, read by a thread, so that one can be waited for only so long.
    answers: mpsc::Receiver<std::io::Result<String>>,
}

impl Worker {
    fn start(spec: &Spec) -> anyhow::Result<Self> {
        static TOLD: AtomicBool = AtomicBool::new(false);
        let mut command = Command::new(std::env::current_exe()?);
        // The first worker says what is doubtful about the model.
        if TOLD.swap(true, Ordering::Relaxed) {
            command.env(element::TOLD, "1");
        }
        let mut child = command
            .arg("convert-worker")
            .arg(serde_json::to_string(spec)?)
            .env("OMP_NUM_THREADS", spec.threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for the parent, which tells a clip that was cut short from one that failed.
            .process_group(0)
            .spawn()
            .context("a worker process could not be started")?;
        let requests = child.stdin.take().context("a pipe")?;
        let lines = BufReader::new(child.stdout.take().context("a pipe")?).lines();
        let (send, answers) = mpsc::channel();
        std::thread::spawn(move || lines.into_iter().try_for_each(|line| send.send(line)));
        let mut worker = Self { child, requests, answers };
        match worker.answer(None)? {
            Answer::Ready => Ok(worker),
            Answer::Unfit(reason) => bail!("{reason}"),
            answer => bail!("expected a worker to be ready, found {answer:?}"),
        }
    }

    /// The next answer, within `limit`.
    fn answer(&mut self, limit: Option<Duration>) -> anyhow::Result<Answer> {
        let began = Instant::now();
        loop {
            match self.answers.recv_timeout(POLL) {
                Ok(line) => return Ok(serde_json::from_str(&line?)?),
                Err(RecvTimeoutError::Timeout) => interrupt::check()?,
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    bail!("the process that converted it ended ({status})");
                }
            }
            if let Some(limit) = limit.filter(|limit| began.elapsed() > *limit) {
                bail!("it took longer than the {} s allowed (--time-limit)", limit.as_secs());
            }
        }
    }

    fn ask(&mut self, request: &Request, limit: Option<Duration>) -> anyhow::Result<Answer> {
        writeln!(self.requests, "{}", serde_json::to_string(request)?)?;
        self.requests.flush()?;
        self.answer(limit)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Gone already where a clip has crashed it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What all workers convert by, and where to.
pub struct Pool<'a> {
    pub spec: &'a Spec,
    pub truth: &'a Truth,
    pub root: &'a Path,
    pub records: &'a Records,
}

impl Pool<'_> {
    /// Converts `jobs`, so many at a time, and calls `done` with each record as it is written.
    pub fn convert(&self, jobs: &[Job], workers: usize, mut done: impl FnMut(&Record)) -> anyhow::Result<()> {
        let next = AtomicUsize::new(0);
        let (send, receive) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..workers.min(jobs.len()) {
                let (send, next) = (send.clone(), &next);
                scope.spawn(move || {
                    let mut worker = None;
                    while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let record = self.convert_one(job, &mut worker);
                        let failed = record.is_err();
                        if send.send(record).is_err() || failed {
                            return;
                        }
                    }
                });
            }
            drop(send);
            for record in receive {
                match record {
                    Ok(record) => done(&record),
                    Err(error) => {
                        next.store(jobs.len(), Ordering::Relaxed);
                        return Err(error);
                    }
                }
            }
            Ok(())
        })
    }

    /// An error is not the clip's: nothing could be converted or written.
    fn convert_one(&self, job: &Job, worker: &mut Option<Worker>) -> anyhow::Result<Record> {
        interrupt::check()?;
        let path = self.root.join(&job.output);
        if let Err(reason) = self.records.may_write(job) {
            return self.keep(job, Outcome::Skipped { reason });
        }
        let source = match self.records.reachable(job) {
            Ok(source) => source,
            Err(error) => return self.keep(job, Outcome::Skipped { reason: format!("{}: {error}", job.clip) }),
        };
        files::remove_parts(&path);
        let part = disk::part_of(&path)?;
        let label = self.truth.label(&job.class).cloned();
        let request = Request { source, part: part.part().to_path_buf(), label };
        let asked = match worker {
            Some(worker) => worker,
            None => worker.insert(Worker::start(self.spec)?),
        };
        let outcome = match asked.ask(&request, self.spec.time_limit.map(Duration::from_secs)) {
            Ok(Answer::Converted { frames, windows, notes, seconds }) => {
                let bytes = std::fs::metadata(part.part())
                    .with_context(|| format!("{} could not be written", path.display()))?
                    .len();
                disk::publish(part, &path)?;
                Outcome::Converted { output: job.output.clone(), bytes, frames, windows, notes, seconds }
            }
            Ok(Answer::Skipped(reason)) => Outcome::Skipped { reason },
            Ok(answer) => bail!("expected an answer about a clip, found {answer:?}"),
            Err(error) if error.is::<interrupt::Interrupted>() => return Err(error),
            Err(error) => {
                *worker = None;
                Outcome::Skipped { reason: format!("{error:#}") }
            }
        };
        if matches!(outcome, Outcome::Skipped { .. }) {
            // Of a worker that was killed; a full disk is no clip's fault.
            files::remove_parts(&path);
            self.records.check_space()?;
        }
        self.keep(job, outcome)
    }

    /// Writes the record of a clip.
    fn keep(&self, job: &Job, outcome: Outcome) -> anyhow::Result<Record> {
        let (clip, class) = (job.clip.clone(), job.class.clone());
        let record = Record { clip, class, settings: self.records.settings.clone(), outcome };
        self.records.put(&record)?;
        Ok(record)
    }
}
