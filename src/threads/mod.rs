// SPDX-License-Identifier: MPL-2.0

//! Loops of ours on the threads of libtorch's passes. Those go on spinning for a while after each pass, so that threads of
//! our own would wait for the cores that they hold.

pub mod home;

use std::any::Any;
use std::ffi::{c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::torch;

/// OpenMP's entry, by which compilers run a parallel region: the body, what it is given, threads (0: as many as a pass
/// takes), flags. GCC's runtime has it, and so have LLVM's and Intel's.
type Parallel = unsafe extern "C" fn(extern "C" fn(*mut c_void), *mut c_void, c_uint, c_uint);

/// That of the OpenMP that libtorch runs on, if any.
static PARALLEL: LazyLock<Option<Parallel>> = LazyLock::new(|| {
    let symbol = torch::symbol(c"GOMP_parallel")?;
    // SAFETY: the symbol is a function of this type wherever it is defined.
    Some(unsafe { std::mem::transmute::<*mut c_void, Parallel>(symbol.as_ptr()) })
});

struct Loop<'a, I, F> {
    items: Mutex<I>,
    work: &'a F,
    /// What no frame of C may see pass by.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// Does `work` on each item, on the calling thread where libtorch has no threads.
pub fn each<I>(items: I, work: impl Fn(I::Item) + Sync)
where
    I: Iterator + Send,
{
    match home::of_loops() {
        Some(home) => home.run(|| each_here(items, &work)),
        None => each_here(items, &work),
    }
}

fn each_here<I>(items: I, work: &(impl Fn(I::Item) + Sync))
where
    I: Iterator + Send,
{
    let job = Loop { items: Mutex::new(items), work, panic: Mutex::default() };
    match *PARALLEL {
        // SAFETY: the call returns when every thread has left the body. What the body is given lives as long, and may be
        // shared and sent as the bounds of this function demand.
        Some(parallel) => unsafe { parallel(job.body(), std::ptr::from_ref(&job).cast_mut().cast(), 0, 0) },
        None => job.run(),
    }
    if let Some(panic) = job.panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
        resume_unwind(panic);
    }
}

impl<I: Iterator + Send, F: Fn(I::Item) + Sync> Loop<'_, I, F> {
    fn run(&self) {
        loop {
            let item = self.items.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(item) = item else { return };
            (self.work)(item);
        }
    }

    fn body(&self) -> extern "C" fn(*mut c_void) {
        extern "C" fn body<I: Iterator + Send, F: Fn(I::Item) + Sync>(data: *mut c_void) {
            // SAFETY: `each` passes on a loop of these types.
            let job: &Loop<I, F> = unsafe { &*data.cast() };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job.run())) {
                *job.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
            }
        }
        body::<I, F>
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn every_item_is_worked_on_once() {
        let mut seen = vec![0; 1000];
        each(seen.iter_mut().enumerate(), |(i, seen)| *seen += i + 1);
        assert!(seen.iter().copied().eq(1..=1000));
    }

    #[test]
    #[should_panic(expected = "the third")]
    fn a_panic_comes_back() {
        each(0..8, |i| assert_ne!(i, 3, "the third"));
    }

    #[test]
    fn libtorch_has_threads_here() {
        let threads = tch::get_num_threads();
        assert!(PARALLEL.is_some(), "libtorch of the build runs on OpenMP");
        let (together, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        each(0..8, |_| {
            most.fetch_max(together.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(20));
            together.fetch_sub(1, Ordering::SeqCst);
        });
        assert_eq!(most.into_inner(), threads.min(8) as usize);
    }
}
