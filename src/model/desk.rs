// SPDX-License-Identifier: MPL-2.0

//! One engine for all windows that are attacked with a model, whichever threads they are attacked on. Those that are
//! attacked together wait for one another, so that their passes are one.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::Error;
use super::engine::{Answer, Ask, Engine, Place};
use crate::threads::home::Home;

/// What there is of a window that is attacked together with others.
enum Seat {
    /// It will ask again, or leave.
    Thinking,
    Asking(Ask),
    Answered(Result<Answer, Error>),
}

#[derive(Default)]
struct Seats {
    /// In an order that says which window of a pass each is.
    taken: BTreeMap<u64, Seat>,
    given: u64,
    /// A thread is serving all of them.
    serving: bool,
}

impl Seats {
    fn all_wait(&self) -> bool {
        // Whoever has not yet taken its answer is about to think.
        !self.serving && self.taken.values().all(|seat| matches!(seat, Seat::Asking(_)))
    }

    /// What is to be asked next. Forward passes wait until nothing else is asked for, so that they are of all windows.
    fn collect(&mut self) -> (Vec<u64>, Vec<Ask>) {
        let is_forward = |seat: &Seat| matches!(seat, Seat::Asking(Ask::Forward(..)));
        let others = self.taken.values().any(|seat| matches!(seat, Seat::Asking(_)) && !is_forward(seat));
        let mut asks = (Vec::new(), Vec::new());
        for (number, seat) in &mut self.taken {
            if !matches!(seat, Seat::Asking(_)) || others && is_forward(seat) {
                continue;
            }
            if let Seat::Asking(ask) = std::mem::replace(seat, Seat::Thinking) {
                asks.0.push(*number);
                asks.1.push(ask);
            }
        }
        asks
    }
}

pub(super) struct Desk {
    engine: Mutex<Engine>,
    seats: Mutex<Seats>,
    changed: Condvar,
    home: Arc<Home>,
    #[cfg(test)]
    pub fault: super::fault::Fault,
}

impl Desk {
    /// `home` is the thread that the engine was made on.
    pub fn new(engine: Engine, home: Arc<Home>) -> Self {
        Self {
            home,
            engine: Mutex::new(engine),
            seats: Mutex::default(),
            changed: Condvar::new(),
            #[cfg(test)]
            fault: super::fault::Fault::default(),
        }
    }

    /// The engine, of which a panic elsewhere leaves no part half done: passes are in it whole or not at all.
    pub fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn home(&self) -> &Arc<Home> {
        &self.home
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat among those that wait for one another. Whoever has one is waited for.
    pub fn sit(&self) -> u64 {
        let mut seats = self.seats();
        seats.given += 1;
        let number = seats.given;
        seats.taken.insert(number, Seat::Thinking);
        number
    }

    pub fn leave(&self, seat: u64) {
        let left = self.seats().taken.remove(&seat);
        self.changed.notify_all();
        // An answer that nobody takes any more.
        if let Some(Seat::Answered(Ok(Answer::Pass { at, .. }))) = left {
            self.forget(at);
        }
    }

    pub fn forget(&self, at: Place) {
        self.engine().forget(at);
    }

    /// An answer: at once, or from a seat when all others have asked too.
    pub fn ask(&self, seat: Option<u64>, ask: Ask) -> Result<Answer, Error> {
        let Some(seat) = seat else {
            return self.answer(vec![ask]).pop().unwrap_or_else(|| Err(lost()));
        };
        let mut seats = self.seats();
        seats.taken.insert(seat, Seat::Asking(ask));
        loop {
            match seats.taken.get(&seat) {
                Some(Seat::Answered(_)) => break,
                None => return Err(lost()),
                Some(_) if seats.all_wait() => seats = self.serve(seats),
                Some(_) => seats = self.changed.wait(seats).unwrap_or_else(PoisonError::into_inner),
            }
        }
        match seats.taken.insert(seat, Seat::Thinking) {
            Some(Seat::Answered(answer)) => answer,
            _ => Err(lost()),
        }
    }

    fn answer(&self, asks: Vec<Ask>) -> Vec<Result<Answer, Error>> {
        self.home.run(|| {
            #[cfg(test)]
            self.fault.strike();
            self.engine().serve(asks)
        })
    }

    /// Serves those that ask, at the call of the thread of the last one to ask.
    fn serve<'a>(&'a self, mut seats: MutexGuard<'a, Seats>) -> MutexGuard<'a, Seats> {
        let (numbers, asks) = seats.collect();
        seats.serving = true;
        drop(seats);
        let mut serving = Serving { desk: self, numbers, answers: Vec::new() };
        serving.answers = self.answer(asks);
        drop(serving);
        self.seats()
    }
}

/// Hands out the answers at its end, or that there are none where the model has panicked.
struct Serving<'a> {
    desk: &'a Desk,
    numbers: Vec<u64>,
    answers: Vec<Result<Answer, Error>>,
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        let mut seats = self.desk.seats();
        let mut answers = std::mem::take(&mut self.answers).into_iter();
        for number in &self.numbers {
            let answer = answers.next().unwrap_or_else(|| Err(lost()));
            if let Some(seat) = seats.taken.get_mut(number) {
                *seat = Seat::Answered(answer);
            }
        }
        seats.serving = false;
        drop(seats);
        self.desk.changed.notify_all();
    }
}

fn lost() -> Error {
    Error::Run { reason: "a pass that others had a part in has panicked".into() }
}
