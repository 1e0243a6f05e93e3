// SPDX-License-Identifier: MPL-2.0

//! Draws the frames of one clip: the place, its actor, and what the camera does to them.

use std::f32::consts::TAU;

use anyhow::{Context, Result};
use rand::{Rng, rngs::StdRng};
use tiny_skia::{
    Color, FilterQuality, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, PixmapPaint, Stroke, Transform,
};

use crate::action::Performance;
use crate::body::{Body, Point, Skeleton};
use crate::look::{Look, Rgb, scaled};
use crate::rng::{Noise, around, seeded};
use crate::scene::Place;
use crate::splits::ClipName;

const FRAMES_A_SECOND: f32 = 25.0;
/// What the camera may shake to each side, in heights of the frame.
const MARGIN: f32 = 0.025;

pub struct Renderer {
    performance: Performance,
    body: Body,
    look: Look,
    camera: Camera,
    background: Pixmap,
    canvas: Pixmap,
    noise: Noise,
    noise_size: f32,
}

impl Renderer {
    pub fn new(seed: u64, name: ClipName, size: (u32, u32), frames: u32) -> Result<Self> {
        // The actor and the place depend on the group alone: neither says anything about the action.
        let mut actor = seeded(&[seed, 1, u64::from(name.group)]);
        let place = Place::new(&mut actor);
        let body = Body::new(&mut actor);
        let look = Look::new(&mut actor, place.wall);

        let (group, clip) = (u64::from(name.group), u64::from(name.clip));
        let mut rng = seeded(&[seed, 2, name.action as u64, group, clip]);
        let performance = Performance::new(name.action, &mut rng);
        let seconds = frames as f32 / FRAMES_A_SECOND;
        let (width, height) = (size.0 as f32, size.1 as f32);
        let camera = Camera::new(&mut rng, &performance, seconds, width / height, height);
        let margin = 2.0 * MARGIN * height;
        let background = place.paint(
            &mut rng,
            (width + camera.pan.abs() * height + margin).ceil() as u32,
            (height + margin).ceil() as u32,
            height,
        )?;
        Ok(Self {
            performance,
            body,
            look,
            camera,
            background,
            canvas: Pixmap::new(size.0, size.1).context("a frame of at least one pixel")?,
            noise_size: rng.random_range(1.0..7.0),
            noise: Noise::new(&mut rng),
        })
    }

    /// The pixels of frame `index`, RGBA.
    pub fn frame(&mut self, index: u32) -> &[u8] {
        let seconds = index as f32 / FRAMES_A_SECOND;
        let shake = self.camera.shake(seconds);
        let unit = self.camera.unit;
        let pan = self.camera.pan * self.camera.progress(seconds);
        // Camera to the right, background to the left; it starts at the end that leaves it room to go.
        let start = self.camera.pan.min(0.0);
        let paint = PixmapPaint { quality: FilterQuality::Bilinear, ..PixmapPaint::default() };
        self.canvas.draw_pixmap(
            0,
            0,
            self.background.as_ref(),
            &paint,
            Transform::from_translate((start - pan + shake[0] - MARGIN) * unit, (shake[1] - MARGIN) * unit),
            None,
        );
        let skeleton = self.body.skeleton(&self.performance.pose(seconds));
        self.draw_figure(&skeleton, self.camera.figure(seconds));
        self.add_noise();
        self.canvas.data()
    }

    fn draw_figure(&mut self, skeleton: &Skeleton, transform: Transform) {
        let look = &self.look;
        let mut draw = |path: Option<Path>, color: Rgb, width: f32| {
            let Some(path) = path else { return };
            let stroke = Stroke { width, line_cap: LineCap::Round, line_join: LineJoin::Round, ..Stroke::default() };
            self.canvas.stroke_path(&path, &solid(color), &stroke, transform, None);
        };
        let feet = skeleton.hips[0][0];
        draw(line(&[[feet - 0.12, 0.01], [feet + 0.14, 0.01]]), [0.08; 3], 0.02);
        let sleeve = if look.long_sleeves { look.shirt } else { look.skin };
        let trouser = if look.long_trousers { look.trousers } else { look.skin };
        // Far arm, far leg, near leg, torso, head, near arm: what is nearer covers what is farther, which is a little
        // darker.
        for side in 0..2 {
            let shade = if side == 0 { 0.78 } else { 1.0 };
            let arm = |draw: &mut dyn FnMut(Option<Path>, Rgb, f32)| {
                let [shoulder, elbow, hand] = skeleton.arms[side];
                draw(line(&[shoulder, elbow]), scaled(look.shirt, shade), look.arm);
                draw(line(&[elbow, hand]), scaled(sleeve, shade), 0.85 * look.arm);
                draw(line(&[hand, hand]), scaled(look.skin, shade), look.arm);
            };
            if side == 0 {
                arm(&mut draw);
            }
            let [hip, knee, ankle, toe] = skeleton.legs[side];
            draw(line(&[hip, knee]), scaled(look.trousers, shade), look.leg);
            draw(line(&[knee, ankle]), scaled(trouser, shade), 0.8 * look.leg);
            draw(line(&[ankle, toe]), scaled(look.shoes, shade), 0.6 * look.leg);
            if side == 1 {
                let [left, right] = skeleton.shoulders;
                let [hip_left, hip_right] = skeleton.hips;
                // The diagonals fill what the outline's thick stroke leaves open.
                let middle = [0, 1].map(|axis| 0.25 * (left[axis] + right[axis] + hip_left[axis] + hip_right[axis]));
                let outline = [left, right, hip_right, hip_left, left, middle, right, hip_right, middle, hip_left];
                draw(line(&outline), look.shirt, 1.2 * look.leg);
                let neck = [0, 1].map(|axis| 0.5 * (left[axis] + right[axis]));
                draw(line(&[neck, skeleton.head]), look.skin, 0.8 * look.arm);
                let head = skeleton.head;
                let crown = [head[0], head[1] - 0.2 * self.body.head];
                draw(line(&[crown, crown]), look.hair, 2.1 * self.body.head);
                let face = [head[0], head[1] + 0.15 * self.body.head];
                draw(line(&[face, face]), look.skin, 1.8 * self.body.head);
                arm(&mut draw);
            }
        }
    }

    fn add_noise(&mut self) {
        for pixel in self.canvas.data_mut().chunks_exact_mut(4) {
            for value in &mut pixel[..3] {
                let noisy = f32::from(*value) + self.noise_size * self.noise.next();
                *value = noisy.round().clamp(0.0, 255.0) as u8;
            }
        }
    }
}

/// Lengths are in heights of the frame.
struct Camera {
    /// Pixels a frame is high.
    unit: f32,
    seconds: f32,
    /// Height of the figure.
    scale: f32,
    /// +1 where it faces right, -1 where it faces left.
    direction: f32,
    start: f32,
    /// Way of the figure across the picture, signed.
    way: f32,
    ground: f32,
    /// Way of the camera, signed.
    pan: f32,
    shakes: [(f32, f32); 4],
    shake_size: f32,
}

impl Camera {
    fn new(rng: &mut StdRng, performance: &Performance, seconds: f32, aspect: f32, unit: f32) -> Self {
        let scale = rng.random_range(0.64..0.8);
        let direction = if rng.random() { 1.0 } else { -1.0 };
        let traveled = performance.speed() * scale * seconds;
        // The camera follows a moving actor so far that it stays in the picture, and only drifts before one on the
        // spot.
        let wanted = if traveled > 0.0 { rng.random_range(0.25..0.6) * aspect } else { around(rng, 0.0, 0.06) };
        let middle = 0.5 * aspect + around(rng, 0.0, 0.08) * aspect;
        Self {
            unit,
            seconds,
            scale,
            direction,
            start: middle - 0.5 * direction * wanted,
            way: direction * wanted,
            ground: rng.random_range(0.86..0.95),
            pan: direction * (traveled - wanted),
            shakes: std::array::from_fn(|_| (around(rng, 1.8, 1.4), rng.random())),
            shake_size: rng.random_range(0.0..0.45 * MARGIN),
        }
    }

    fn progress(&self, seconds: f32) -> f32 {
        seconds / self.seconds
    }

    fn shake(&self, seconds: f32) -> Point {
        let wave = |i: usize| {
            let (frequency, phase) = self.shakes[i];
            self.shake_size * (TAU * (frequency * seconds + phase)).sin()
        };
        [wave(0) + wave(1), wave(2) + wave(3)]
    }

    /// From body heights to pixels.
    fn figure(&self, seconds: f32) -> Transform {
        let shake = self.shake(seconds);
        let x = self.start + self.way * self.progress(seconds) + shake[0];
        let size = self.scale * self.unit;
        Transform::from_row(self.direction * size, 0.0, 0.0, size, x * self.unit, (self.ground + shake[1]) * self.unit)
    }
}

fn solid(color: Rgb) -> Paint<'static> {
    let [r, g, b] = color.map(|c| c.clamp(0.0, 1.0));
    let mut paint = Paint::default();
    paint.set_color(Color::from_rgba(r, g, b, 1.0).unwrap_or(Color::BLACK));
    paint
}

/// A polyline; two equal points make a dot.
fn line(points: &[Point]) -> Option<Path> {
    let mut builder = PathBuilder::new();
    let [first, rest @ ..] = points else {
        return None;
    };
    builder.move_to(first[0], first[1]);
    for point in rest {
        builder.line_to(point[0], point[1]);
    }
    builder.finish()
}
