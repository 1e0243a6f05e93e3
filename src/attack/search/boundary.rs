// SPDX-License-Identifier: MPL-2.0

//! The smallest perturbation that reaches a linear boundary: with `g` the gradient of what the goal lacks and `effect` how
//! much of that is to go, the smallest `d` with `<g, d> = -effect`. Its size is `effect` over the dual norm of `g`. Values are
//! `[1, frames, 3, height, width]` in gray levels.

use tch::{Kind, TchError, Tensor};

use crate::attack::norm::{self, Norm};

/// How far L1 moves a value: further away the boundary is not linear any more.
const L1_REACH: f64 = 24.0;

/// Gray levels that no perturbation has, and that are far from the end of single precision.
const HUGE: f64 = 1e6;

/// The smallest perturbation with an effect.
pub struct Nearest {
    pub values: Tensor,
    /// Its [`mean`] before it was made no larger than asked for.
    pub size: f64,
}

/// By the norm, as far as `bound` lets any value go; a bound of zero is none. No larger than `most` by [`mean`].
pub fn nearest(norm: Norm, gradient: &Tensor, effect: f64, bound: f64, most: f64) -> Result<Nearest, TchError> {
    let reach = if bound > 0.0 { bound.min(L1_REACH) } else { L1_REACH };
    let values = match norm {
        Norm::L21 => by_frames(gradient, effect, bound)?,
        Norm::L2 => along(gradient, effect, bound)?,
        Norm::L1 => by_values(gradient, effect, reach, gradient.numel())?,
        Norm::Linf => {
            let size = (effect / norm::sum_and_max_abs(gradient)?.0).min(if bound > 0.0 { bound } else { HUGE });
            gradient.f_sign()?.f_mul_scalar(-size)?
        }
    };
    let size = mean(norm, &values)?;
    let values = match norm {
        _ if size <= most => values,
        // Each value goes as far as before, and fewer do.
        Norm::L1 => by_values(gradient, effect, reach, (most / reach * gradient.numel() as f64) as usize)?,
        _ => values.f_mul_scalar(most / size)?,
    };
    Ok(Nearest { values, size })
}

/// Along the gradient.
fn along(gradient: &Tensor, effect: f64, bound: f64) -> Result<Tensor, TchError> {
    let largest = norm::sum_and_max_abs(gradient)?.1;
    if largest > 0.0 && !(1e-12..1e12).contains(&largest) {
        // Squares of it have no place in single precision.
        return along(&gradient.f_mul_scalar(1.0 / largest)?, effect / largest, bound);
    }
    let squares = norm::dot(gradient, gradient)?;
    if squares <= 0.0 {
        return gradient.f_zeros_like();
    }
    let mut size = (effect / squares).min(HUGE * (gradient.numel() as f64 / squares).sqrt());
    let mut nearest = gradient.f_mul_scalar(-size)?;
    if bound <= 0.0 || norm::sum_and_max_abs(&nearest)?.1 <= bound {
        return Ok(nearest);
    }
    // What is clipped is made up for by the rest, as far as a few rounds get.
    for _ in 0..8 {
        nearest = gradient.f_mul_scalar(-size)?.f_clamp(-bound, bound)?;
        let reached = -norm::dot(&nearest, gradient)?;
        if reached >= 0.999 * effect {
            break;
        }
        size *= effect / reached;
    }
    Ok(nearest)
}

/// All of it to the frame with the largest gradient, whatever its bound lets pass to the next.
fn by_frames(gradient: &Tensor, effect: f64, bound: f64) -> Result<Tensor, TchError> {
    let norms = norm::frame_norms(gradient)?;
    let mut order: Vec<usize> = (0..norms.len()).collect();
    order.sort_by(|a, b| norms[*b].total_cmp(&norms[*a]));
    let mut frames: Vec<Option<Tensor>> = norms.iter().map(|_| None).collect();
    let mut left = effect;
    for k in order {
        let frame = gradient.f_narrow(1, k as i64, 1)?;
        let moved = if left > 1e-6 * effect { along(&frame, left, bound)? } else { frame.f_zeros_like()? };
        left += norm::dot(&moved, &frame)?;
        frames[k] = Some(moved);
    }
    Tensor::f_cat(&frames.into_iter().flatten().collect::<Vec<_>>(), 1)
}

/// The values with the largest gradient, as few as it takes but one at least, each as far as it goes.
fn by_values(gradient: &Tensor, effect: f64, reach: f64, most: usize) -> Result<Tensor, TchError> {
    let flat = gradient.f_reshape(-1)?;
    let (sorted, order) = flat.f_abs()?.f_sort(0, true)?;
    // What those before reach decides whether a value is needed, so that of equal ones no more move than it takes.
    let before = sorted.f_cumsum(0, Kind::Double)?.f_mul_scalar(reach)?.f_sub(&sorted.f_mul_scalar(reach)?)?;
    let needed = before.f_lt(effect)?.f_to_kind(Kind::Float)?;
    let all = needed.size()[0];
    let most = most.clamp(1, all as usize) as i64;
    let needed = needed.f_narrow(0, 0, most)?.f_constant_pad_nd([0, all - most])?;
    let moved = flat.f_zeros_like()?.f_index_copy(0, &order, &needed)?;
    flat.f_sign()?.f_mul(&moved)?.f_mul_scalar(-reach)?.f_view_as(gradient)
}

/// The size of a perturbation by a norm, as if each of its values were as large.
pub fn mean(norm: Norm, values: &Tensor) -> Result<f64, TchError> {
    let norms = norm::frame_norms(values)?;
    let count = values.numel().max(1) as f64;
    let of_ones = match norm {
        Norm::L21 => (count * norms.len().max(1) as f64).sqrt(),
        Norm::L2 => count.sqrt(),
        Norm::L1 => count,
        Norm::Linf => 1.0,
    };
    Ok(norm::size(norm, values, &norms)? / of_ones)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::torch;

    const SHAPE: [i64; 5] = [1, 3, 3, 2, 2];

    /// Numbers in -1..1, small ones more often than large ones.
    fn random(state: &mut u64) -> Vec<f32> {
        let mut next = || {
            *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((*state >> 40) as f32 / (1u32 << 23) as f32 - 1.0).powi(3)
        };
        (0..SHAPE.iter().product::<i64>()).map(|_| next()).collect()
    }

    fn tensor(values: &[f32]) -> Tensor {
        torch::upload(values, &SHAPE, Device::Cpu).unwrap()
    }

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    /// By its definition.
    fn size(norm: Norm, d: &[f32]) -> f64 {
        let l2 = |d: &[f32]| dot(d, d).sqrt();
        match norm {
            Norm::L21 => d.chunks_exact(12).map(l2).sum(),
            Norm::L2 => l2(d),
            Norm::L1 => d.iter().map(|v| f64::from(v.abs())).sum(),
            Norm::Linf => d.iter().map(|v| f64::from(v.abs())).fold(0.0, f64::max),
        }
    }

    #[test]
    fn nothing_smaller_has_the_effect() {
        let mut rng = 1;
        for norm in [Norm::L21, Norm::L2, Norm::L1, Norm::Linf] {
            let g = random(&mut rng);
            let largest = g.iter().map(|v| f64::from(v.abs())).fold(0.0, f64::max);
            // In L1 by as many whole steps as it takes, of one value here.
            let effect = L1_REACH * largest * 0.999;
            let found = torch::download(&nearest(norm, &tensor(&g), effect, 0.0, HUGE).unwrap().values).unwrap();
            let reached = -dot(&g, &found);
            assert!((reached / effect - 1.0).abs() < 2e-3, "{norm:?}: {reached} for {effect}");
            for _ in 0..2000 {
                let mut other = random(&mut rng);
                let by = -effect / dot(&g, &other);
                other.iter_mut().for_each(|v| *v *= by as f32);
                assert!(size(norm, &other) >= size(norm, &found) * 0.997, "{norm:?}");
            }
        }
    }

    #[test]
    fn a_bound_is_kept_and_made_up_for() {
        let mut rng = 2;
        for norm in [Norm::L21, Norm::L2, Norm::L1, Norm::Linf] {
            let g = random(&mut rng);
            let most = g.iter().map(|v| f64::from(v.abs())).sum::<f64>();
            for share in [0.2, 0.6] {
                let found =
                    torch::download(&nearest(norm, &tensor(&g), share * most, 1.0, HUGE).unwrap().values).unwrap();
                assert!(found.iter().all(|v| v.abs() <= 1.0));
                let reached = -dot(&g, &found);
                assert!(reached >= 0.99 * share * most, "{norm:?}: {reached} of {}", share * most);
            }
        }
    }

    #[test]
    fn what_is_too_far_is_gone_to_in_part() {
        let mut rng = 3;
        for norm in [Norm::L21, Norm::L2, Norm::L1, Norm::Linf] {
            let g = tensor(&random(&mut rng));
            let all = nearest(norm, &g, 1e9, 0.0, HUGE).unwrap();
            let part = nearest(norm, &g, 1e9, 0.0, 2.5).unwrap();
            assert!(all.size > 2.5 && part.size == all.size, "{norm:?}: {}", all.size);
            // In L1 by whole steps of one value.
            let size = mean(norm, &part.values).unwrap();
            assert!((1.5..2.5 + 1e-5).contains(&size) || norm == Norm::L1 && size < 3.0, "{norm:?}: {size}");
        }
    }

    #[test]
    fn of_equal_values_no_more_move_than_it_takes() {
        let g = tensor(&[0.5; 36]);
        // Two and a half steps of one value.
        let found = nearest(Norm::L1, &g, 2.5 * 0.5 * L1_REACH, 0.0, HUGE).unwrap().values;
        let moved = torch::download(&found).unwrap().iter().filter(|v| **v != 0.0).count();
        assert_eq!(moved, 3);
        let most = L1_REACH * 2.0 / 36.0;
        assert!(mean(Norm::L1, &nearest(Norm::L1, &g, HUGE, 0.0, most).unwrap().values).unwrap() <= most * 1.0001);
    }

    #[test]
    fn a_gradient_whose_square_is_nothing_is_still_a_gradient() {
        let mut rng = 4;
        let g = tensor(&random(&mut rng));
        for norm in [Norm::L2, Norm::L21] {
            let usual = nearest(norm, &g, 1.0, 0.0, HUGE).unwrap().values;
            for scale in [1e-25, 1e25] {
                let scaled = nearest(norm, &g.f_mul_scalar(scale).unwrap(), scale, 0.0, HUGE).unwrap().values;
                let apart = mean(norm, &scaled.f_sub(&usual).unwrap()).unwrap();
                // As far as single precision divides.
                assert!(apart <= 1e-4 * mean(norm, &usual).unwrap(), "{norm:?}, {scale}: {apart}");
            }
        }
    }

    #[test]
    fn of_no_gradient_comes_nothing() {
        for norm in [Norm::L21, Norm::L2, Norm::L1, Norm::Linf] {
            let found = torch::download(&nearest(norm, &tensor(&[0.0; 36]), 1.0, 0.0, 1.0).unwrap().values).unwrap();
            assert!(found.iter().all(|v| *v == 0.0), "{norm:?}: {found:?}");
        }
    }
}
