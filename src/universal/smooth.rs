// SPDX-License-Identifier: MPL-2.0

//! Gradients that come straight through a codec.

use tch::{TchError, Tensor};

/// A gradient `[1, frames, 3, height, width]` blurred within each frame, as in attacks that are to carry over (Dong et al.,
/// *Evading Defenses to Transferable Adversarial Examples by Translation-Invariant Attacks*, CVPR 2019): means of 3 x 3
/// twice. A quantizer drops what is finest, and steps into that would bring nothing.
pub(super) fn smoothed(gradient: &Tensor) -> Result<Tensor, TchError> {
    let size = gradient.size();
    let frames = gradient.f_view([-1, 3, size[3], size[4]])?;
    let mean = |values: &Tensor| values.f_avg_pool2d([3, 3], [1, 1], [1, 1], false, false, None);
    mean(&mean(&frames)?)?.f_view(&size[..])
}

#[cfg(test)]
mod tests {
    use super::smoothed;
    use crate::torch;

    #[test]
    fn a_blurred_impulse_is_a_pyramid_in_its_own_frame_and_color() {
        let mut values = vec![0.0; 2 * 3 * 7 * 9];
        let at = |frame: usize, color: usize, y: usize, x: usize| ((frame * 3 + color) * 7 + y) * 9 + x;
        values[at(1, 2, 3, 4)] = 81.0;
        let blurred = smoothed(&torch::upload(&values, &[1, 2, 3, 7, 9], tch::Device::Cpu).expect("a tensor"));
        let blurred = torch::download(&blurred.expect("a gradient")).expect("values");
        let weight = |distance: usize| 3usize.saturating_sub(distance) as f32;
        for (frame, color) in (0..2).flat_map(|frame| (0..3).map(move |color| (frame, color))) {
            for (y, x) in (0..7usize).flat_map(|y| (0..9usize).map(move |x| (y, x))) {
                let there = if (frame, color) == (1, 2) { weight(y.abs_diff(3)) * weight(x.abs_diff(4)) } else { 0.0 };
                // Two divisions by nine, each rounded.
                assert!((blurred[at(frame, color, y, x)] - there).abs() < 1e-5, "{frame} {color} {y} {x}");
            }
        }
    }
}
