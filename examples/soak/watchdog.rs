// SPDX-License-Identifier: MPL-2.0

//! Ends a process that hangs, and says in which round.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

pub struct Watchdog(Sender<Option<u64>>);

impl Watchdog {
    pub fn start(patience: Duration) -> Self {
        let (sender, rounds) = channel::<Option<u64>>();
        std::thread::spawn(move || {
            let mut round = None;
            loop {
                let heard = match round {
                    Some(_) => rounds.recv_timeout(patience),
                    None => rounds.recv().map_err(|_| RecvTimeoutError::Disconnected),
                };
                match heard {
                    Ok(now) => round = now,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        eprintln!("hangs: round --seed {} has no end after {patience:?}", round.unwrap_or(0));
                        // A core or a debugger says where.
                        std::process::abort();
                    }
                }
            }
        });
        Self(sender)
    }

    pub fn begin(&self, seed: u64) {
        let _ = self.0.send(Some(seed));
    }

    pub fn end(&self) {
        let _ = self.0.send(None);
    }
}
