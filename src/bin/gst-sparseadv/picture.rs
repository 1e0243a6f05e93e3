// SPDX-License-Identifier: MPL-2.0

//! A picture of what the attack did: for every window its strongest keyframe clean, attacked and as an amplified
//! difference, and below them all its frames, keyframes framed in red, with their weights as bars.

use std::io::Write;

use anyhow::Context;
use font8x8::UnicodeFonts;

use super::decode::Clip;
use super::print::Row;

/// Windows that are shown at most.
pub const MOST: usize = 24;
const BIG: usize = 320;
const THUMBNAIL: usize = 60;
const GAP: usize = 8;
const BAR: usize = 24;
const TEXT: usize = 16;
/// The difference is shown this many times as strong, around mid-gray.
pub const AMPLIFY: i32 = 32;

/// A difference of a value as it is shown.
pub fn amplified(difference: i32) -> u8 {
    (128 + AMPLIFY * difference).clamp(0, 255) as u8
}

const RED: [u8; 3] = [214, 40, 40];
const GRAY: [u8; 3] = [150, 150, 150];
const BLACK: [u8; 3] = [20, 20, 20];
const BLANK: u8 = 250;

/// The color at a place of an image.
type Pixel<'a> = dyn Fn(usize, usize) -> [u8; 3] + 'a;

/// An RGB image.
pub struct Canvas {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

impl Canvas {
    fn new(width: usize, height: usize) -> Self {
        let data = vec![BLANK; width * height * 3];
        Self { width, height, data }
    }

    fn put(&mut self, x: usize, y: usize, color: [u8; 3]) {
        if x < self.width && y < self.height {
            self.data[(y * self.width + x) * 3..][..3].copy_from_slice(&color);
        }
    }

    fn fill(&mut self, x: usize, y: usize, w: usize, h: usize, color: [u8; 3]) {
        for y in y..y + h {
            for x in x..x + w {
                self.put(x, y, color);
            }
        }
    }

    fn frame(&mut self, x: usize, y: usize, w: usize, h: usize, color: [u8; 3]) {
        const LINE: usize = 3;
        self.fill(x, y, w, LINE, color);
        self.fill(x, y + h - LINE, w, LINE, color);
        self.fill(x, y, LINE, h, color);
        self.fill(x + w - LINE, y, LINE, h, color);
    }

    fn text(&mut self, x: usize, y: usize, text: &str, color: [u8; 3]) {
        for (i, c) in text.chars().enumerate() {
            let glyph = font8x8::BASIC_FONTS.get(c).unwrap_or([0; 8]);
            for (row, bits) in glyph.iter().enumerate() {
                for column in (0..8).filter(|column| bits >> column & 1 == 1) {
                    self.put(x + i * 8 + column, y + row, color);
                }
            }
        }
    }

    /// Draws an image given by its pixels, nearest neighbor: single gray levels must stay visible.
    fn image(&mut self, x: usize, y: usize, w: usize, h: usize, size: (usize, usize), pixel: &Pixel) {
        for row in 0..h {
            for column in 0..w {
                let color = pixel(column * size.0 / w, row * size.1 / h);
                self.put(x + column, y + row, color);
            }
        }
    }
}

/// The pixels of an RGB frame.
struct Pixels<'a>(gst_video::VideoFrameRef<&'a gst::BufferRef>);

impl<'a> Pixels<'a> {
    fn new(clip: &'a Clip, frame: usize) -> anyhow::Result<Self> {
        let buffer = clip.frames.get(frame).context("a frame is missing")?;
        Ok(Self(gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &clip.info)?))
    }

    fn at(&self, x: usize, y: usize) -> [u8; 3] {
        use gst_video::prelude::*;
        let stride = self.0.plane_stride()[0].unsigned_abs() as usize;
        let data = self.0.plane_data(0).unwrap_or_default();
        let at = y * stride + x * 3;
        data.get(at..at + 3).map_or([0; 3], |p| [p[0], p[1], p[2]])
    }
}

/// What is shown of a window, but for its title. Both clips are RGB and hold the frames that the model sees of it.
pub fn strip(clean: &Clip, attacked: &Clip, row: &Row) -> anyhow::Result<Canvas> {
    let frame = (clean.info.width() as usize, clean.info.height() as usize);
    let scaled = |width: usize| (width * frame.1 / frame.0).max(1);
    let (big, small) = (scaled(BIG), scaled(THUMBNAIL));
    let width = GAP + (3 * (BIG + GAP)).max(row.frames * (THUMBNAIL + 4) + GAP);
    let mut canvas = Canvas::new(width, GAP + TEXT + big + GAP + small + BAR + 2 * GAP);
    let weight = |k: &usize| row.weights.get(*k).copied().unwrap_or(0.0);
    let strongest = row.keyframes.iter().copied().max_by(|a, b| weight(a).total_cmp(&weight(b)));
    let shown = strongest.unwrap_or(0);
    let (a, b) = (Pixels::new(clean, shown)?, Pixels::new(attacked, shown)?);
    let difference = |x: usize, y: usize| {
        let (a, b) = (a.at(x, y), b.at(x, y));
        [0, 1, 2].map(|c| amplified(i32::from(b[c]) - i32::from(a[c])))
    };
    let y = GAP + TEXT;
    let panels: [(&Pixel, String); 3] = [
        (&|x, y| a.at(x, y), format!("clean, frame {shown}")),
        (&|x, y| b.at(x, y), "attacked".into()),
        (&difference, format!("difference x {AMPLIFY}")),
    ];
    for (i, (pixel, caption)) in panels.iter().enumerate() {
        let x = GAP + i * (BIG + GAP);
        canvas.image(x, y, BIG, big, frame, pixel);
        canvas.fill(x, y, caption.len() * 8 + 6, 12, [250; 3]);
        canvas.text(x + 3, y + 2, caption, BLACK);
    }
    let y = y + big + GAP;
    let largest = row.weights.iter().copied().fold(1e-12, f64::max);
    for k in 0..row.frames {
        let x = GAP + k * (THUMBNAIL + 4);
        let pixels = Pixels::new(attacked, k)?;
        canvas.image(x, y, THUMBNAIL, small, frame, &|x, y| pixels.at(x, y));
        let chosen = row.keyframes.contains(&k);
        let color = if chosen { RED } else { GRAY };
        if chosen {
            canvas.frame(x, y, THUMBNAIL, small, RED);
        }
        let bar = (weight(&k) / largest * BAR as f64) as usize;
        canvas.fill(x, y + small + 2, THUMBNAIL, bar, color);
    }
    Ok(canvas)
}

/// Writes above a window's strip what came of it.
pub fn entitle(canvas: &mut Canvas, row: &Row) {
    let after = row.after_codec.as_ref().map_or(String::new(), |(label, name)| {
        let verdict = row.verdict(*label).as_str();
        format!(", {name} after the codec ({verdict})")
    });
    let title = format!(
        "window {}: {} -> {}{after}; {} queries, MAP {:.3} gray levels",
        row.window, row.clean.1, row.attacked.1, row.queries, row.map
    );
    canvas.text(GAP, GAP, &title, BLACK);
}

/// Strips one below the other, as a PNG file's bytes.
pub fn png<'a>(strips: impl Iterator<Item = &'a Canvas> + Clone) -> anyhow::Result<Vec<u8>> {
    let width = strips.clone().map(|s| s.width).max().unwrap_or(1);
    let height = strips.clone().map(|s| s.height).sum::<usize>().max(1);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    // Row by row: the whole would be as large as all strips together.
    let mut stream = writer.stream_writer()?;
    let mut rows = 0;
    for strip in strips {
        for row in strip.data.chunks_exact(3 * strip.width) {
            stream.write_all(row)?;
            stream.write_all(&vec![BLANK; 3 * (width - strip.width)])?;
            rows += 1;
        }
    }
    if rows == 0 {
        stream.write_all(&[BLANK; 3])?;
    }
    stream.finish()?;
    writer.finish()?;
    Ok(bytes)
}
