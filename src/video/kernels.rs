// SPDX-License-Identifier: MPL-2.0

//! The inner loops over samples and pixels, without branches, so that they use whole vector registers. What the attack
//! sees and what is written go through the same ones: they must agree to the bit.

/// Runs a call with registers of eight numbers where the machine has them; everything in it has to be inlined. No product
/// is fused with a sum for it, so that the result is the same to the bit.
macro_rules! wide {
    ($($call:tt)*) => {{
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            #[target_feature(enable = "avx2")]
            fn with<R>(call: impl FnOnce() -> R) -> R {
                call()
            }
            // SAFETY: the machine has AVX2.
            return unsafe { with(#[inline(always)] || $($call)*) };
        }
        $($call)*
    }};
}
pub(super) use wide;

/// Rounds half to even, without the library call that baseline x86-64 makes of `f32::round`; exact for |x| < 2^22.
#[inline(always)]
fn round_gray(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    (x + SHIFT) - SHIFT
}

/// A sample plus its perturbation as the stream can hold it, and whether it followed the perturbation or was clipped. A
/// sample outside the nominal range may stay where it was, but goes no further out.
#[inline(always)]
pub fn quantize(base: f32, change: f32, (lo, hi): (f32, f32)) -> (f32, bool) {
    let value = base + change;
    let clipped = value.max(lo.min(base)).min(hi.max(base));
    (round_gray(clipped), clipped == value)
}

/// [`quantize`] of each of `values`, which are the changes of `base` and become the samples; `free` is 1 where nothing
/// was clipped, else 0.
#[inline(always)]
pub fn quantize_all(values: &mut [f32], base: &[u8], free: &mut [u8], range: (f32, f32)) {
    for ((v, b), f) in values.iter_mut().zip(base).zip(free) {
        let (value, follows) = quantize(f32::from(*b), *v, range);
        *v = value;
        *f = u8::from(follows);
    }
}

/// `out = m[0] * a + m[1] * b + m[2] * c`.
#[inline(always)]
pub fn mix(m: [f32; 3], [a, b, c]: [&[f32]; 3], out: &mut [f32]) {
    for (o, ((a, b), c)) in out.iter_mut().zip(a.iter().zip(b).zip(c)) {
        *o = m[0] * a + m[1] * b + m[2] * c;
    }
}

/// [`mix`] of samples without their offsets, rounded and clipped to 8 bits; `inside` is 1 where nothing was clipped, 0
/// elsewhere.
#[inline(always)]
pub fn mix_and_clip(m: [f32; 3], offset: [f32; 3], [a, b, c]: [&[f32]; 3], out: &mut [f32], inside: &mut [u8]) {
    let values = a.iter().zip(b).zip(c);
    for ((o, inside), ((a, b), c)) in out.iter_mut().zip(inside).zip(values) {
        let v = m[0] * (a - offset[0]) + m[1] * (b - offset[1]) + m[2] * (c - offset[2]);
        // Half a gray level of slack: a value that rounds to black or white is not clipped.
        *inside = u8::from((-0.5..=255.5).contains(&v));
        *o = round_gray(v.clamp(0.0, 255.0));
    }
}

/// Keeps the values whose `keep` is 1.
#[inline(always)]
pub fn mask(values: &mut [f32], keep: &[u8]) {
    for (v, k) in values.iter_mut().zip(keep) {
        *v *= f32::from(*k);
    }
}

/// `out += by * values`.
#[inline(always)]
pub fn add(out: &mut [f32], by: f32, values: &[f32]) {
    out.iter_mut().zip(values).for_each(|(o, v)| *o += by * v);
}
