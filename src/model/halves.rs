// SPDX-License-Identifier: MPL-2.0

//! A model in two halves: `encode_frames` gives codes of frames, each by itself, and `classify_features` the logits of a
//! window by its codes. Whether both together are `forward` is found out when the model is loaded.

use tch::{Kind, TchError, Tensor};

use super::engine::How;
use super::module::Module;
use super::tensor::{gradient, run_error};
use super::{Error, probe};
use crate::torch;

/// What the halves may differ by from the whole, by the largest value: sums in another order.
const TOLERANCE: f64 = 1e-3;

/// Whether the model has both halves and they fit: a reason where they do not. The model has been probed.
pub(super) fn fit(module: &mut Module, code: &str) -> Result<Result<bool, String>, Error> {
    let has = |method: &str| code.contains(&format!("def {method}("));
    if !has("encode_frames") || !has("classify_features") {
        return Ok(Ok(false));
    }
    probe::show_texture(module)?;
    module.forward(true, false)?;
    let compared = compare(module);
    module.forget();
    Ok(match compared {
        Ok(None) => Ok(true),
        Ok(Some(found)) => Err(told(&found)),
        Err(error) => Err(told(&format!("they fail ({error})"))),
    })
}

fn told(found: &str) -> String {
    format!(
        "The model's encode_frames and classify_features are not used: {found}. Each frame costs a pass through the whole model. Let forward be \
         classify_features of the codes of all frames, and its feature map, if it returns one, those codes."
    )
}

/// What is different, if anything.
fn compare(module: &Module) -> Result<Option<String>, Error> {
    let whole = module.last()?;
    let frames = module.lens.frames(&whole.input).map_err(run_error)?;
    let length = module.lens.metadata.window as i64;
    let codes = module.encode(&frames, false)?;
    let size = codes.size();
    if size.first() != Some(&length) || size.len() < 2 {
        return Ok(Some(format!("expected codes [{length}, ...] of {length} frames, found {size:?}")));
    }
    // One frame alone has the same.
    let first = module.encode(&frames.f_narrow(0, 0, 1).map_err(run_error)?, false)?;
    let alone = apart(&codes.f_narrow(0, 0, 1).map_err(run_error)?, &first)?;
    if alone > TOLERANCE {
        return Ok(Some(format!("the codes of a frame by itself differ by {alone:.1e} from those among others")));
    }
    let codes = codes.f_unsqueeze(0).and_then(|codes| codes.f_detach()).map_err(run_error)?;
    if let Some(map) = &whole.features {
        let different = if map.size() == codes.size() { apart(map, &codes)? } else { 1.0 };
        if different > TOLERANCE {
            return Ok(Some(format!("the feature map {:?} is not the codes {:?}", map.size(), codes.size())));
        }
    }
    let halves = module.classify_codes(&codes, How { keep: false, reduced: false })?;
    if halves.logits.size() != whole.logits.size() {
        let (expected, found) = (whole.logits.size(), halves.logits.size());
        return Ok(Some(format!("expected logits {expected:?}, found {found:?}")));
    }
    let logits = apart(&whole.logits, &halves.logits)?;
    let sum = |logits: &Tensor| logits.f_select(1, 0).and_then(|logit| logit.f_sum(Kind::Float)).map_err(run_error);
    let by_codes = gradient(&sum(&halves.logits)?, &halves.input, false)?.ok_or(Error::NoGradient)?;
    let by_frames = module.pull(&frames, &by_codes.f_squeeze_dim(0).map_err(run_error)?, false)?;
    let expected = gradient(&sum(&whole.logits)?, &whole.input, true)?.ok_or(Error::NoGradient)?;
    let gradients = apart(&module.lens.frames(&expected).map_err(run_error)?, &by_frames)?;
    Ok((logits.max(gradients) > TOLERANCE).then(|| {
        format!(
            "expected what forward gives, found logits and gradients that differ by {logits:.1e} and {gradients:.1e}"
        )
    }))
}

/// The largest difference, by the largest value.
pub(super) fn apart(a: &Tensor, b: &Tensor) -> Result<f64, Error> {
    let largest = |of: Result<Tensor, TchError>| -> Result<f64, Error> {
        let found =
            of.and_then(|t| t.f_detach()?.f_abs()?.f_max()).and_then(|t| torch::download(&t)).map_err(run_error)?;
        Ok(f64::from(found.first().copied().unwrap_or(f32::NAN)))
    };
    let different = largest(a.f_sub(b))? / largest(Ok(a.shallow_clone()))?.max(f64::MIN_POSITIVE);
    // Not a number is no likeness.
    Ok(if different.is_finite() { different } else { f64::INFINITY })
}
