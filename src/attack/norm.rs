// SPDX-License-Identifier: MPL-2.0

//! The L2,1 norm of a perturbation: the sum over frames of each frame's Euclidean norm (Wei et al., AAAI 2019, Eq. 2).
//! Perturbations are `[1, frames, 3, height, width]`. Sums are in double precision.

use tch::{Kind, TchError, Tensor};

use crate::{threads, torch};

/// What the search makes small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstSparseAdvNorm")]
pub enum Norm {
    #[default]
    #[enum_value(name = "The root of the sum of squares", nick = "l2")]
    L2,
    /// The sum of the frames' L2 norms (Section 3.1).
    #[enum_value(name = "The sum of the frames' L2 norms: the paper", nick = "l21")]
    L21,
    #[enum_value(name = "The sum of absolute values: few samples, each by a lot", nick = "l1")]
    L1,
    #[enum_value(name = "The largest absolute value", nick = "linf")]
    Linf,
}

/// The axes of one frame.
const FRAME: [i64; 3] = [2, 3, 4];

/// `||delta_k||_2` of each frame k, in the values' own unit.
pub fn frame_norms(delta: &Tensor) -> Result<Vec<f64>, TchError> {
    let [1, frames, ..] = delta.size()[..] else {
        return Err(TchError::Shape(format!("expected one perturbation, found {:?}", delta.size())));
    };
    let frames = frames as usize;
    if !torch::is_on_host(delta) || delta.numel() == 0 {
        return torch::download_f64(&delta.f_norm_scalaropt_dim_dtype(2.0, FRAME, false, Kind::Double)?);
    }
    torch::note_download(frames);
    let delta = delta.f_contiguous()?;
    let mut norms = vec![0.0; frames];
    let each = torch::slice(&delta)?.chunks_exact(delta.numel() / frames).zip(&mut norms);
    threads::each(each, |(frame, norm)| *norm = sum_of_squares(frame).sqrt());
    Ok(norms)
}

/// In several sums side by side: one alone waits for each addition before the next.
fn sum_of_squares(values: &[f32]) -> f64 {
    let mut sums = [0.0; 8];
    let chunks = values.chunks_exact(sums.len());
    let rest: f64 = chunks.remainder().iter().map(|v| f64::from(*v).powi(2)).sum();
    for chunk in chunks {
        for (s, v) in sums.iter_mut().zip(chunk) {
            *s += f64::from(*v) * f64::from(*v);
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// Each frame multiplied by its own factor.
pub fn scale_frames(values: &Tensor, factors: &[f64]) -> Result<Tensor, TchError> {
    let factors: Vec<f32> = factors.iter().map(|f| *f as f32).collect();
    values.f_mul(&torch::upload(&factors, &[1, factors.len() as i64, 1, 1, 1], values.device())?)
}

/// The gradient of the L2,1 norm, `delta_k / ||delta_k||_2` a frame. Zero for a frame that is zero, the subgradient of
/// least norm, where the formula has no value.
pub fn l21_gradient(delta: &Tensor) -> Result<Tensor, TchError> {
    let norms = frame_norms(delta)?;
    let inverse: Vec<f64> = norms.iter().map(|n| if *n > 0.0 { 1.0 / n } else { 0.0 }).collect();
    scale_frames(delta, &inverse)
}

/// The size of `values` in a norm, where the L2 norms of their frames are known.
pub fn size(norm: Norm, values: &Tensor, frame_norms: &[f64]) -> Result<f64, TchError> {
    match norm {
        Norm::L21 => Ok(frame_norms.iter().sum()),
        Norm::L2 => Ok(frame_norms.iter().map(|norm| norm * norm).sum::<f64>().sqrt()),
        Norm::L1 => Ok(sum_and_max_abs(values)?.0),
        Norm::Linf => Ok(sum_and_max_abs(values)?.1),
    }
}

/// `<a, b>`. Products are in single precision, their sum in double.
pub fn dot(a: &Tensor, b: &Tensor) -> Result<f64, TchError> {
    Ok(torch::download_f64(&a.f_mul(b)?.f_sum(Kind::Double)?)?[0])
}

/// The sum of absolute values, and the largest one.
pub fn sum_and_max_abs(values: &Tensor) -> Result<(f64, f64), TchError> {
    if values.numel() == 0 {
        return Ok((0.0, 0.0));
    }
    let values = values.f_abs()?;
    let (sum, max) = (values.f_sum(Kind::Double)?, values.f_max()?.f_to_kind(Kind::Double)?);
    let both = torch::download_f64(&Tensor::f_stack(&[sum, max], 0)?)?;
    Ok((both[0], both[1]))
}
