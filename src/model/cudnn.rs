// SPDX-License-Identifier: MPL-2.0

//! cuDNN switched off for as long as one model's pass takes. libtorch has one switch for the whole process.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use once_cell::sync::Lazy;
use tch::Cuda;

/// How many passes need it off, and what it was before the first of them.
static OFF: Lazy<Mutex<(usize, bool)>> = Lazy::new(Mutex::default);

/// Read by passes without cuDNN, written while a model is looked at that may need them.
static PROBED: Lazy<RwLock<()>> = Lazy::new(RwLock::default);

/// While this lives no pass switches cuDNN off: what a model is found to need is not hidden by another one.
pub(super) fn as_it_is() -> RwLockWriteGuard<'static, ()> {
    PROBED.write().unwrap_or_else(PoisonError::into_inner)
}

fn off() -> MutexGuard<'static, (usize, bool)> {
    // A panic elsewhere leaves the count as it was.
    OFF.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a pass failed since cuDNN has no backward of recurrent layers in evaluation mode; libtorch's own kernels have.
pub(super) fn lacks_backward(reason: &str) -> bool {
    reason.contains("cudnn RNN backward")
}

/// While one of these exists, cuDNN is off. The last one to go puts it back as it was.
pub(super) struct WithoutCudnn {
    _unprobed: RwLockReadGuard<'static, ()>,
}

impl WithoutCudnn {
    pub fn new() -> Self {
        let unprobed = PROBED.read().unwrap_or_else(PoisonError::into_inner);
        let mut off = off();
        if off.0 == 0 {
            off.1 = Cuda::user_enabled_cudnn();
            Cuda::set_user_enabled_cudnn(false);
        }
        off.0 += 1;
        Self { _unprobed: unprobed }
    }
}

impl Drop for WithoutCudnn {
    fn drop(&mut self) {
        let mut off = off();
        off.0 -= 1;
        if off.0 == 0 {
            Cuda::set_user_enabled_cudnn(off.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cudnn_is_off_for_a_pass_and_back_after_the_last_one() {
        let before = Cuda::user_enabled_cudnn();
        let first = WithoutCudnn::new();
        assert!(!Cuda::user_enabled_cudnn());
        let second = WithoutCudnn::new();
        drop(first);
        assert!(!Cuda::user_enabled_cudnn());
        drop(second);
        assert_eq!(Cuda::user_enabled_cudnn(), before);
    }
}
