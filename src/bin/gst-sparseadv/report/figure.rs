// SPDX-License-Identifier: MPL-2.0

//! Fooling rate against the bound on iterations (Figure 2), and against queries, as SVG.

use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

use crate::chart::{self, COLORS};

/// The paper's range, and the most that is drawn.
pub const ITERATIONS: u32 = 100;

/// Fooling rates in per cent at the numbers of an axis.
pub struct Curve {
    pub name: &'static str,
    pub points: Vec<(f64, f64)>,
}

/// One curve a method, up to the iterations that were measured.
pub fn by_iterations(title: &str, curves: &[Curve], measured: u32) -> anyhow::Result<String> {
    svg(title, "maximum number of iterations", curves, 0.0..f64::from(measured))
}

/// The same up to so many queries, by their logarithm.
pub fn by_queries(title: &str, curves: &[Curve], most: u32) -> anyhow::Result<String> {
    svg(title, "queries", curves, (1.0..f64::from(most.max(2))).log_scale())
}

fn svg<X>(title: &str, axis: &str, curves: &[Curve], range: X) -> anyhow::Result<String>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart::svg(title, (560, 360), |area| draw(area, title, axis, curves, range))
}

fn draw<X>(area: &chart::Area, title: &str, axis: &str, curves: &[Curve], range: X) -> chart::Drawn
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(44)
        .build_cartesian_2d(range, 0.0..105.0)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc(axis)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_desc("fooling rate (%)")
        .draw()?;
    for (i, curve) in curves.iter().enumerate() {
        let color = COLORS[i % COLORS.len()];
        // Beyond the colors there are lines that are thinner.
        let style = color.stroke_width(if i < COLORS.len() { 2 } else { 1 });
        chart
            .draw_series(LineSeries::new(curve.points.iter().copied(), style))?
            .label(curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
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
