// SPDX-License-Identifier: MPL-2.0

//! Single precision as it is. Where nobody says otherwise, libtorch lets cuDNN round what a convolution on a GPU is given to
//! the ten bits of TF32. Logits move by as much as a success may lead by. A file that was fooled there must be fooled
//! for a model on a CPU too.

use std::ffi::c_void;

use crate::torch;

/// `at::globalContext()`, and `at::Context::setAllowTF32CuDNN(bool)` with the context in front.
type Context = extern "C" fn() -> *mut c_void;
type Allow = extern "C" fn(*mut c_void, bool);

/// Forbids it to this process. Returns whether this libtorch can be told.
pub(super) fn forbid() -> bool {
    let context = torch::symbol(c"_ZN2at13globalContextEv");
    let allow = torch::symbol(c"_ZN2at7Context17setAllowTF32CuDNNEb");
    let (Some(context), Some(allow)) = (context, allow) else { return false };
    // SAFETY: mangled names have the types of the arguments in them, and both are what the types above say: a reference is
    // returned as a pointer, and a method takes its object in front.
    unsafe {
        let context = std::mem::transmute::<*mut c_void, Context>(context.as_ptr())();
        std::mem::transmute::<*mut c_void, Allow>(allow.as_ptr())(context, false);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `at::Context::allowTF32CuDNN(std::optional<at::Float32Op>)`. All bits zero are no value.
    type IsAllowed = extern "C" fn(*mut c_void, u64) -> bool;

    #[test]
    fn libtorch_is_told() {
        assert!(forbid());
        let context = torch::symbol(c"_ZN2at13globalContextEv").unwrap();
        let is_allowed =
            torch::symbol(c"_ZNK2at7Context14allowTF32CuDNNESt8optionalINS_9Float32OpEE").expect("a way to ask");
        // SAFETY: as in `forbid`.
        let allowed = unsafe {
            let context = std::mem::transmute::<*mut c_void, Context>(context.as_ptr())();
            std::mem::transmute::<*mut c_void, IsAllowed>(is_allowed.as_ptr())(context, 0)
        };
        assert!(!allowed);
    }
}
