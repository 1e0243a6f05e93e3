// SPDX-License-Identifier: MPL-2.0

//! The thread on which a module is loaded and run. Each thread that libtorch is called on gets a team of threads of its
//! own for its loops. As soon as all teams together have more threads than there are cores, OpenMP lets none of them wait
//! awake any more. Every loop of a pass then begins with waking them, which takes longer than the loop in a small model.
//! So whoever attacks has the loops of its own done there too, and has no team.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::c_int;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, LazyLock};
use std::thread::{Builder, JoinHandle, current};

use crate::torch;

type Job = Box<dyn FnOnce() + Send>;

/// A thread and its line of jobs. It ends with this.
#[derive(Debug)]
pub struct Home {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

thread_local! {
    static OF_LOOPS: RefCell<Option<Arc<Home>>> = const { RefCell::new(None) };
}

impl Home {
    pub fn start() -> io::Result<Self> {
        let (sender, jobs) = channel::<Job>();
        let thread =
            Builder::new().name("sparseadv-model".into()).spawn(move || jobs.into_iter().for_each(|job| job()))?;
        Ok(Self { jobs: Some(sender), thread: Some(thread) })
    }

    fn is_here(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| thread.thread().id() == current().id())
    }

    /// Does the work there, and waits for it. A panic in it comes back.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let Some(jobs) = self.jobs.as_ref().filter(|_| !self.is_here()) else { return work() };
        let (sender, result) = channel::<Result<R, Box<dyn Any + Send>>>();
        let job: Box<dyn FnOnce() + Send + '_> = Box::new(move || {
            // Whoever asked waits for it.
            let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
        });
        // SAFETY: what the job borrows outlives it. It is over with that when it sends its result or is dropped, and this
        // function does not end before either.
        let job = unsafe { std::mem::transmute::<Box<dyn FnOnce() + Send + '_>, Job>(job) };
        let _ = jobs.send(job);
        match result.recv() {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => resume_unwind(panic),
            // The thread catches every panic, and lives as long as its line.
            Err(gone) => resume_unwind(Box::new(gone.to_string())),
        }
    }
}

impl Drop for Home {
    /// Waits for the end: a thread inside libtorch at the process's exit would crash it.
    fn drop(&mut self) {
        self.jobs = None;
        let thread = self.thread.take().filter(|thread| thread.thread().id() != current().id());
        // Panics have come back to whoever asked.
        let _ = thread.map(JoinHandle::join);
    }
}

/// From now on the calling thread has its loops done there, and computes the rest alone.
pub fn move_in(home: &Arc<Home>) {
    OF_LOOPS.set(Some(home.clone()));
    compute_alone();
}

/// Where the calling thread has its loops done, if not by itself.
pub(super) fn of_loops() -> Option<Arc<Home>> {
    OF_LOOPS.with_borrow(Clone::clone)
}

type SetThreads = extern "C" fn(c_int);

/// That of the OpenMP that libtorch runs on, for the calling thread alone.
static SET_THREADS: LazyLock<Option<SetThreads>> = LazyLock::new(|| {
    let symbol = torch::symbol(c"omp_set_num_threads")?;
    // SAFETY: the symbol is a function of this type wherever it is defined.
    Some(unsafe { std::mem::transmute::<*mut std::ffi::c_void, SetThreads>(symbol.as_ptr()) })
});

/// Gives the calling thread no team.
fn compute_alone() {
    // libtorch sets the number when a thread calls it for the first time.
    let _ = tch::get_num_threads();
    if let Some(set) = *SET_THREADS {
        set(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_thread() {
        let home = Home::start().unwrap();
        let id = || current().id();
        let first = home.run(id);
        assert_eq!(first, home.run(id));
        assert_ne!(first, id());
    }

    #[test]
    fn it_may_borrow_and_ask_for_itself() {
        let home = Home::start().unwrap();
        let mut seen = vec![1, 2];
        home.run(|| seen.push(home.run(|| 3)));
        assert_eq!(seen, [1, 2, 3]);
    }

    #[test]
    fn a_panic_comes_back_and_the_thread_goes_on() {
        let home = Home::start().unwrap();
        let panic = catch_unwind(AssertUnwindSafe(|| home.run(|| assert_eq!(1, 2, "the first"))));
        let panic = panic.expect_err("a panic");
        let text = panic.downcast_ref::<String>().map_or("", String::as_str);
        assert!(text.contains("the first"), "{text}");
        assert_eq!(home.run(|| 3), 3);
    }

    #[test]
    fn who_has_moved_in_has_its_loops_done_there() {
        let home = Arc::new(Home::start().unwrap());
        let seen = std::sync::Mutex::new(Vec::new());
        let moved = std::thread::scope(|scope| {
            let moved = scope.spawn(|| {
                move_in(&home);
                crate::threads::each(0..4, |_| seen.lock().unwrap().push(current().id()));
                current().id()
            });
            moved.join().unwrap()
        });
        let seen = seen.into_inner().unwrap();
        assert!(seen.len() == 4 && !seen.contains(&moved), "{seen:?} {moved:?}");
    }

    #[test]
    fn a_thread_that_computes_alone_has_no_team_and_others_keep_theirs() {
        let threads = tch::get_num_threads();
        let alone = std::thread::spawn(|| {
            compute_alone();
            tch::get_num_threads()
        });
        assert_eq!(alone.join().unwrap(), 1);
        assert_eq!(tch::get_num_threads(), threads);
    }
}
