// SPDX-License-Identifier: MPL-2.0

//! The L2,1 norm of a perturbation: the sum over frames of each frame's Euclidean norm (Wei et al., AAAI 2019, Eq. 2).

/// `sum_k ||delta_k||_2` over frames of `len` values, in the values' own unit.
pub fn l21(delta: &[f32], len: usize) -> f64 {
    delta.chunks_exact(len).map(l2).sum()
}

/// Its gradient, `delta_k / ||delta_k||_2` a frame. Zero for a frame that is zero, the subgradient of least norm, where
/// the formula has no value.
pub fn l21_gradient(delta: &[f32], len: usize, grad: &mut [f32]) {
    for (d, g) in delta.chunks_exact(len).zip(grad.chunks_exact_mut(len)) {
        let norm = l2(d);
        let scale = if norm > 0.0 { (1.0 / norm) as f32 } else { 0.0 };
        for (g, d) in g.iter_mut().zip(d) {
            *g = scale * d;
        }
    }
}

/// Euclidean norm, summed in double precision.
pub fn l2(values: &[f32]) -> f64 {
    sum(values, |v| v * v).sqrt()
}

/// Mean absolute value, 0 for no values.
pub fn mean_abs(values: &[f32]) -> f64 {
    sum(values, f64::abs) / values.len().max(1) as f64
}

/// In several sums side by side: one alone waits for each addition before the next.
fn sum(values: &[f32], of: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0; 8];
    let chunks = values.chunks_exact(sums.len());
    let rest: f64 = chunks.remainder().iter().map(|v| of(f64::from(*v))).sum();
    for chunk in chunks {
        for (s, v) in sums.iter_mut().zip(chunk) {
            *s += of(f64::from(*v));
        }
    }
    sums.iter().sum::<f64>() + rest
}
