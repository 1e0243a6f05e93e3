// SPDX-License-Identifier: MPL-2.0

//! The precision of the passes that gradients come from. What counts, the clean label and every success, is asked of the
//! model as it is.

use std::time::{Duration, Instant};

use tch::Device;

use super::autocast::Autocast;
use super::module::Module;
use super::tensor::run_error;
use super::{Error, probe};
use crate::torch;

/// A precision as asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, glib::Enum)]
#[enum_type(name = "GstSparseAdvPrecision")]
pub enum Precision {
    /// [`Bf16`](Self::Bf16) where the device has such arithmetic, and a pass of this model is faster in it.
    #[default]
    #[enum_value(
        name = "bfloat16 where it is faster on this device, as measured when the model is loaded",
        nick = "auto"
    )]
    Auto,
    #[enum_value(name = "As the model is", nick = "f32")]
    F32,
    /// By libtorch's autocast. Its logits have two to three digits.
    #[enum_value(name = "bfloat16, of two to three digits", nick = "bf16")]
    Bf16,
}

/// What a pass in bfloat16 may take at the most, by one as the model is: its logits are coarse, which costs calls.
const WORTH: f64 = 0.75;
/// The least cosine of the angle between both gradients.
const LIKE: f64 = 0.9;

impl Precision {
    /// The same where nothing has to be measured to say what it comes to.
    pub(super) fn settled(self, device: Device) -> Self {
        if self == Self::Auto && !has_arithmetic(device) { Self::F32 } else { self }
    }
}

/// Whether gradients are taken in bfloat16. The model has been probed.
pub(super) fn reduces(precision: Precision, module: &mut Module) -> Result<bool, Error> {
    let can = Autocast::on(module.lens.device).is_some();
    let asked = match precision {
        Precision::F32 => false,
        Precision::Bf16 => true,
        Precision::Auto => true,
    };
    if !can || !asked {
        return Ok(false);
    }
    probe::show_texture(module)?;
    match precision {
        Precision::Auto => is_faster(module),
        // What does not run in it is refused now.
        _ => timed(module, true).map(|_| true),
    }
}

/// Without it libtorch computes in single precision and rounds, which is slower.
fn has_arithmetic(device: Device) -> bool {
    #[cfg(target_arch = "x86_64")]
    let on_host = std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    let on_host = false;
    device != Device::Cpu || on_host
}

fn is_faster(module: &mut Module) -> Result<bool, Error> {
    // The first pass of either kind warms up.
    timed(module, false)?;
    if timed(module, true).is_err() {
        return Ok(false);
    }
    let (exact, gradient) = timed(module, false)?;
    let Ok((reduced, other)) = timed(module, true) else { return Ok(false) };
    let exact = exact.min(timed(module, false)?.0);
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let like = product(&gradient, &other) / (product(&gradient, &gradient) * product(&other, &other)).sqrt();
    Ok(reduced.as_secs_f64() <= WORTH * exact.as_secs_f64() && like >= LIKE)
}

/// A pass, forward and backward, over what is shown, and its gradient.
fn timed(module: &mut Module, reduced: bool) -> Result<(Duration, Vec<f32>), Error> {
    let began = Instant::now();
    module.forward(false, reduced)?;
    let loss =
        module.last()?.logits.f_select(1, 0).and_then(|logit| logit.f_sum(tch::Kind::Float)).map_err(run_error)?;
    let gradient = module.view_gradient(&loss, &module.lens.all())?;
    // Waits for the device.
    let gradient = torch::download(&gradient).map_err(run_error)?;
    Ok((began.elapsed(), gradient))
}
