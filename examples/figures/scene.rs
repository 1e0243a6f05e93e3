// SPDX-License-Identifier: MPL-2.0

//! Backgrounds: a graded, textured wall (or sky) with things in front of it, and a floor.

use anyhow::{Context, Result};
use rand::{Rng, rngs::StdRng};
use tiny_skia::{Pixmap, PremultipliedColorU8};

use crate::look::{Rgb, scaled};
use crate::rng::around;

/// What the clips of one actor's place have in common.
pub struct Place {
    pub wall: Rgb,
    floor: Rgb,
    /// Height of the floor's edge, from the top in heights of the frame.
    horizon: f32,
    grading: f32,
    texture: f32,
    stripes: f32,
    things: usize,
}

impl Place {
    pub fn new(rng: &mut StdRng) -> Self {
        Self {
            wall: muted(rng),
            floor: muted(rng),
            horizon: rng.random_range(0.6..0.85),
            grading: around(rng, 0.0, 0.35),
            texture: rng.random_range(0.03..0.18),
            stripes: if rng.random_bool(0.3) { 0.12 } else { 0.0 },
            things: rng.random_range(0..6),
        }
    }

    /// A view of the place of `width` x `height` pixels for frames of `unit` pixels' height; `rng` moves texture and
    /// things.
    pub fn paint(&self, rng: &mut StdRng, width: u32, height: u32, unit: f32) -> Result<Pixmap> {
        let texture = Texture(rng.random());
        let stripe_width = rng.random_range(0.05..0.2);
        let things: Vec<Thing> = (0..self.things).map(|_| Thing::new(rng, self)).collect();
        let mut pixmap = Pixmap::new(width, height).context("a background of at least one pixel")?;
        for (index, pixel) in pixmap.pixels_mut().iter_mut().enumerate() {
            let x = (index as u32 % width) as f32 / unit;
            let y = (index as u32 / width) as f32 / unit;
            let mut color = if y > self.horizon {
                scaled(self.floor, 1.0 - 0.6 * (y - self.horizon))
            } else {
                let stripe = if (x / stripe_width).fract() < 0.5 { self.stripes } else { 0.0 };
                scaled(self.wall, 1.0 + self.grading * (y - 0.4) + stripe)
            };
            for thing in &things {
                if thing.covers(x, y) {
                    color = thing.color;
                }
            }
            let grain = self.texture * texture.at(x, y);
            let [r, g, b] = color.map(|c| (255.0 * (c + grain).clamp(0.0, 1.0)) as u8);
            if let Some(color) = PremultipliedColorU8::from_rgba(r, g, b, 255) {
                *pixel = color;
            }
        }
        Ok(pixmap)
    }
}

/// A color with half of the possible saturation: walls and lawns are seldom pure magenta.
fn muted(rng: &mut StdRng) -> Rgb {
    let color: Rgb = rng.random();
    let gray = color.iter().sum::<f32>() / 3.0;
    color.map(|c| gray + 0.5 * (c - gray))
}

/// A door, a window, a tree's trunk: an upright rectangle.
struct Thing {
    left: f32,
    right: f32,
    top: f32,
    bottom: f32,
    color: Rgb,
}

impl Thing {
    fn new(rng: &mut StdRng, place: &Place) -> Self {
        let left = rng.random_range(-0.1..3.0);
        let bottom = place.horizon + rng.random_range(-0.2..0.06);
        let tint: Rgb = rng.random();
        Self {
            left,
            right: left + rng.random_range(0.05..0.4),
            top: bottom - rng.random_range(0.1..0.6),
            bottom,
            // Half the wall's color: things should distract, not outshine the actor.
            color: [0, 1, 2].map(|c| 0.5 * (tint[c] + place.wall[c])),
        }
    }

    fn covers(&self, x: f32, y: f32) -> bool {
        (self.left..self.right).contains(&x) && (self.top..self.bottom).contains(&y)
    }
}

/// Value noise of three octaves.
struct Texture(u32);

impl Texture {
    /// About -1 to 1 at a point in heights of the frame.
    fn at(&self, x: f32, y: f32) -> f32 {
        [(4.0, 0.5), (11.0, 0.3), (31.0, 0.2)]
            .into_iter()
            .map(|(frequency, weight)| weight * self.octave(x * frequency, y * frequency))
            .sum()
    }

    fn octave(&self, x: f32, y: f32) -> f32 {
        let (left, top) = (x.floor(), y.floor());
        let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
        let (u, v) = (smooth(x - left), smooth(y - top));
        let node = |dx: i32, dy: i32| self.node(left as i32 + dx, top as i32 + dy);
        let upper = node(0, 0) * (1.0 - u) + node(1, 0) * u;
        let lower = node(0, 1) * (1.0 - u) + node(1, 1) * u;
        upper * (1.0 - v) + lower * v
    }

    fn node(&self, x: i32, y: i32) -> f32 {
        let mut z = self.0 ^ (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77);
        z = (z ^ (z >> 15)).wrapping_mul(0x2c1b_3c6d);
        z = (z ^ (z >> 12)).wrapping_mul(0x297a_2d39);
        z ^= z >> 15;
        z as f32 / u32::MAX as f32 * 2.0 - 1.0
    }
}
