// SPDX-License-Identifier: MPL-2.0

//! Random numbers that depend on names rather than on the order of drawing, so that a clip is the same whichever others
//! are rendered.

use rand::{Rng, SeedableRng, rngs::StdRng};

/// A generator of its own for `parts`, such as `[seed, action, group, clip]`.
pub fn seeded(parts: &[u64]) -> StdRng {
    // SplitMix64's finalizer: neighboring numbers must not give neighboring looks.
    let key = parts.iter().fold(0x9e37_79b9_7f4a_7c15_u64, |key, part| {
        let mut z = key ^ part.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    });
    StdRng::seed_from_u64(key)
}

/// `center` give or take `spread`.
pub fn around(rng: &mut StdRng, center: f32, spread: f32) -> f32 {
    center + spread * rng.random_range(-1.0..=1.0)
}

/// Cheap pixel noise: only its looks matter, and a cryptographic generator would take longer than the drawing.
pub struct Noise(u32);

impl Noise {
    pub fn new(rng: &mut StdRng) -> Self {
        Self(rng.random::<u32>() | 1)
    }

    /// -1.0 to 1.0, denser in the middle.
    pub fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        let sum = (self.0 & 0xffff) + (self.0 >> 16);
        sum as f32 / 65_535.0 - 1.0
    }
}
