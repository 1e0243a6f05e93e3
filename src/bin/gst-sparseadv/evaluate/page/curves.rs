// SPDX-License-Identifier: MPL-2.0

//! Robust accuracy against the bound on the perturbation, with the band of its intervals: a drawing for each model and norm.

use std::collections::BTreeMap;

use plotters::prelude::*;

use super::super::curve::Point;
use crate::chart::{self, COLORS};

/// The curves of a drawing, by threat model and channel.
type Curves<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a Point<'a>>>;

/// SVG of each.
pub fn drawn(points: &[Point]) -> anyhow::Result<Vec<String>> {
    let mut drawings: BTreeMap<(&str, &str, &str), Curves> = BTreeMap::new();
    for point in points {
        let curves = drawings.entry((point.dataset, point.model, &point.norm)).or_default();
        curves.entry((&point.threat, point.channel)).or_default().push(point);
    }
    drawings
        .into_iter()
        .map(|((dataset, model, norm), curves)| {
            chart::svg(&format!("{model}, {dataset}"), (560, 380), |area| draw(area, (model, dataset, norm), &curves))
        })
        .collect()
}

fn draw(area: &chart::Area, (model, dataset, norm): (&str, &str, &str), curves: &Curves) -> chart::Drawn {
    area.fill(&WHITE)?;
    let bounds = curves.values().flatten().map(|point| point.epsilon);
    let most = 1.05 * bounds.fold(f64::MIN_POSITIVE, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{model}, {dataset}"), ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(44)
        .build_cartesian_2d(0.0..most, 0.0..105.0)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc(format!("bound on the perturbation, {}", in_words(norm)))
        .y_desc("robust accuracy (%)")
        .draw()?;
    for (n, ((threat, channel), points)) in curves.iter().enumerate() {
        let color = COLORS[n % COLORS.len()];
        let steps = |value: &dyn Fn(&Point) -> f64| steps(points, most, value);
        let low = steps(&|point| point.low.unwrap_or(point.robust_accuracy));
        let high = steps(&|point| point.high.unwrap_or(point.robust_accuracy));
        let band: Vec<(f64, f64)> = high.into_iter().chain(low.into_iter().rev()).collect();
        chart.draw_series([Polygon::new(band, color.mix(0.12).filled())])?;
        let line = steps(&|point| point.robust_accuracy);
        let style = color.stroke_width(2);
        // Told apart without colors too.
        let dashed = n % 2 == 1;
        let series = match dashed {
            true => chart.draw_series(DashedLineSeries::new(line, 6, 4, style))?,
            false => chart.draw_series(LineSeries::new(line, style))?,
        };
        series.label(format!("{threat}, {channel}")).legend(move |(x, y)| {
            let end = if dashed { x + 7 } else { x + 18 };
            PathElement::new([(x, y), (end, y)], style)
        });
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .border_style(BLACK.mix(0.4))
        .background_style(WHITE.mix(0.85))
        .draw()?;
    area.present()?;
    Ok(())
}

/// The accuracy holds from its bound to the next one.
fn steps(points: &[&Point], most: f64, value: &dyn Fn(&Point) -> f64) -> Vec<(f64, f64)> {
    let ends = points.iter().skip(1).map(|point| point.epsilon).chain([most]);
    let pairs = points.iter().zip(ends).flat_map(|(point, end)| {
        let percent = 100.0 * value(point);
        [(point.epsilon, percent), (end, percent)]
    });
    pairs.collect()
}

fn in_words(norm: &str) -> &'static str {
    match norm {
        "linf" => "largest change in gray levels",
        "l1" => "mean absolute change in gray levels",
        "l21" => "L2,1 norm in gray levels",
        _ => "L2 norm in gray levels",
    }
}
