// SPDX-License-Identifier: MPL-2.0

//! Whether several windows may be in one pass: a model may have been traced for one, or may mix those that it is given.

use tch::Tensor;

use super::engine::How;
use super::module::Module;
use super::probe;
use super::tensor::run_error;
use super::{Error, halves};

/// What logits may differ by from those that a window has alone, by the largest of them: sums in another order.
const TOLERANCE: f64 = 1e-3;

/// Whether two windows have the logits together that each has alone. The model has been probed.
pub(super) fn fits(module: &mut Module, by_frames: bool) -> bool {
    let found = compare(module, by_frames);
    module.forget();
    // What fails now would fail later, such as for want of memory.
    found.is_ok_and(|different| different <= TOLERANCE)
}

fn compare(module: &mut Module, by_frames: bool) -> Result<f64, Error> {
    let windows = probe::two_windows(module)?;
    let together = logits(module, &windows, by_frames)?;
    if together.size().first() != Some(&2) {
        return Ok(f64::INFINITY);
    }
    let mut different = 0.0f64;
    for n in 0..2 {
        let window = windows.f_narrow(0, n, 1).map_err(run_error)?;
        let alone = logits(module, &window, by_frames)?;
        let found = together.f_narrow(0, n, 1).map_err(run_error)?;
        different = different.max(halves::apart(&alone, &found)?);
    }
    Ok(different)
}

fn logits(module: &mut Module, windows: &Tensor, by_frames: bool) -> Result<Tensor, Error> {
    module.show(&module.lens.all(), windows)?;
    if !by_frames {
        module.forward(false, false)?;
        return module.last()?.logits.f_detach().map_err(run_error);
    }
    let count = windows.size()[0];
    let codes = module.encode(&module.lens.frames(&module.input()?).map_err(run_error)?, false)?;
    let codes = codes.f_detach().and_then(|codes| codes.f_unflatten(0, [count, -1])).map_err(run_error)?;
    let pass = module.classify_codes(&codes, How { keep: false, reduced: false })?;
    pass.logits.f_detach().map_err(run_error)
}
