// SPDX-License-Identifier: MPL-2.0

//! Work on several windows at once, with passes that are made together.

use std::panic::resume_unwind;
use std::thread;

use super::Model;
use crate::threads::home;

/// A model that takes part in passes that are made together, until this is dropped.
struct Seated<'a>(&'a mut Model);

impl Drop for Seated<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Does work on items, each with a model and on a thread of its own, and returns what became of them in their order. As
/// many are done as there are models, which share one that was loaded once. Their passes wait for one another, and
/// for those of others that sit down with the same model, and become one. One item alone stays on the calling thread. A
/// panic in any of them comes back.
///
/// ```no_run
/// # use gstsparseadv::model::{Model, together};
/// # fn logits(models: &mut [Model], views: Vec<Vec<f32>>) {
/// let logits = together(models, views, |model, view| model.classify(&view));
/// # }
/// ```
pub fn together<'m, I: Send, T: Send>(
    models: impl IntoIterator<Item = &'m mut Model>,
    items: impl IntoIterator<Item = I>,
    work: impl Fn(&mut Model, I) -> T + Sync,
) -> Vec<T> {
    // All sit down before the first one asks.
    let sit = |(model, item): (&'m mut Model, I)| {
        model.join();
        (Seated(model), item)
    };
    let mut seated: Vec<(Seated, I)> = models.into_iter().zip(items).map(sit).collect();
    if seated.len() < 2 {
        return seated.pop().map(|(seated, item)| work(seated.0, item)).into_iter().collect();
    }
    let work = &work;
    thread::scope(|scope| {
        let one = move |(seated, item): (Seated, I)| {
            home::move_in(seated.0.home());
            work(seated.0, item)
        };
        let threads: Vec<_> = seated.into_iter().map(|seated| scope.spawn(move || one(seated))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}
