// SPDX-License-Identifier: MPL-2.0

//! Figure 2: fooling rate against the bound on iterations, as SVG.

use anyhow::anyhow;
use plotters::prelude::*;

use crate::reproduce::metrics::fooled_within;
use crate::reproduce::results::Attack;

/// The paper's range, and the most that is drawn.
pub const ITERATIONS: u32 = 100;

/// Told apart by everyone (Okabe and Ito).
const COLORS: [RGBColor; 3] = [RGBColor(0, 114, 178), RGBColor(230, 159, 0), RGBColor(0, 158, 115)];

/// One curve a method, up to the iterations that were measured.
pub fn svg(title: &str, curves: &[(&str, Vec<&Attack>)], measured: u32) -> anyhow::Result<String> {
    let mut text = String::new();
    draw(&mut text, title, curves, measured).map_err(|error| anyhow!("the figure {title}: {error}"))?;
    Ok(text)
}

fn draw(
    text: &mut String,
    title: &str,
    curves: &[(&str, Vec<&Attack>)],
    measured: u32,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(text, (560, 360)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(44)
        .build_cartesian_2d(0..measured, 0.0..105.0)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("maximum number of iterations")
        .y_desc("fooling rate (%)")
        .draw()?;
    for (i, (name, attacks)) in curves.iter().enumerate() {
        let color = COLORS[i % COLORS.len()];
        let points = fooled_within(attacks, measured);
        chart
            .draw_series(LineSeries::new((0..).zip(points), color.stroke_width(2)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .border_style(BLACK.mix(0.4))
        .background_style(WHITE.mix(0.8))
        .draw()?;
    area.present()?;
    Ok(())
}
