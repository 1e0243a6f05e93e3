// SPDX-License-Identifier: MPL-2.0

//! What drawings have in common.

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;

/// Told apart by everyone (Okabe and Ito), the light yellow left out.
pub const COLORS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(204, 121, 167),
    RGBColor(0, 0, 0),
];

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub type Drawn = Result<(), Box<dyn std::error::Error>>;

/// A drawing of so many pixels, as SVG. Errors go by the title.
pub fn svg(title: &str, size: (u32, u32), draw: impl FnOnce(&Area) -> Drawn) -> anyhow::Result<String> {
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
    draw(&area).map_err(|error| anyhow!("the figure {title}: {error}"))?;
    drop(area);
    Ok(text)
}
