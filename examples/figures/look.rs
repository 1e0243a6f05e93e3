// SPDX-License-Identifier: MPL-2.0

//! What an actor looks like: clothes, skin, hair, thickness of the limbs.

use rand::{Rng, rngs::StdRng};

pub type Rgb = [f32; 3];

pub struct Look {
    pub skin: Rgb,
    pub hair: Rgb,
    pub shirt: Rgb,
    pub trousers: Rgb,
    pub shoes: Rgb,
    pub long_sleeves: bool,
    pub long_trousers: bool,
    /// Widths in body heights.
    pub arm: f32,
    pub leg: f32,
}

impl Look {
    /// Clothes that stand out against `wall` at least a little, as a camera's exposure sees to in real clips.
    pub fn new(rng: &mut StdRng, wall: Rgb) -> Self {
        let skin_tone = rng.random_range(0.35..1.0);
        Self {
            skin: [0.95 * skin_tone, 0.76 * skin_tone, 0.64 * skin_tone],
            hair: scaled([1.0, 0.75, 0.45], rng.random_range(0.08..0.6)),
            shirt: apart(rng, wall),
            trousers: apart(rng, wall),
            shoes: scaled([1.0; 3], rng.random_range(0.05..0.9)),
            long_sleeves: rng.random(),
            long_trousers: rng.random_bool(0.7),
            arm: rng.random_range(0.045..0.065),
            leg: rng.random_range(0.065..0.09),
        }
    }
}

pub fn scaled(color: Rgb, factor: f32) -> Rgb {
    color.map(|c| (c * factor).clamp(0.0, 1.0))
}

fn apart(rng: &mut StdRng, wall: Rgb) -> Rgb {
    // Most colors are far enough from any other, so that this ends soon.
    loop {
        let color: Rgb = rng.random();
        let distance: f32 = color.iter().zip(wall).map(|(c, w)| (c - w) * (c - w)).sum();
        if distance > 0.2 {
            return color;
        }
    }
}
