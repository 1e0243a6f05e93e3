// SPDX-License-Identifier: MPL-2.0

//! What the cost of an attack grows with, and by which power. Models have random weights and the shape of the embedded
//! ones: C3D of width 6 and an LRCN that encodes frame by frame, on views of 64x64 pixels.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, anyhow};
use gstsparseadv::model::{DeviceChoice, Model, Options, Precision};
use gstsparseadv::provenance::Versions;
use gstsparseadv::video::{Chroma, View};
use plotters::prelude::*;

use crate::frames::{i420, samples};
use crate::random::{self, Random};
use crate::timed::{self, least};
use crate::together;

const VIEW: usize = 64;
const ROUNDS: usize = 12;

/// One panel: seconds by what they depend on.
struct Series {
    title: &'static str,
    by: &'static str,
    /// The power that they are expected to grow with.
    expected: f64,
    points: Vec<(f64, f64)>,
}

impl Series {
    fn of<N: Copy>(
        title: &'static str,
        by: &'static str,
        expected: f64,
        at: &[N],
        measure: impl Fn(N) -> anyhow::Result<(f64, f64)>,
    ) -> anyhow::Result<Self> {
        let points = at.iter().map(|n| measure(*n)).collect::<anyhow::Result<Vec<_>>>()?;
        let series = Self { title, by, expected, points };
        println!("{title}: {:?}, by power {:.2}, expected {expected}", series.points, series.slope());
        Ok(series)
    }

    /// The power from the first point to the last.
    fn slope(&self) -> f64 {
        let (first, last) = (self.points[0], self.points[self.points.len() - 1]);
        (last.1 / first.1).ln() / (last.0 / first.0).ln()
    }
}

/// Measures, draws, and adds a line a panel to a file.
pub fn measure(drawing: &Path, json: Option<&Path>) -> anyhow::Result<()> {
    let work = tempfile::tempdir()?;
    let model = |name: &str, width: i64, window: usize| make(&work.path().join(name), name, width, window);
    let c3d = model("c3d", 6, 16)?;
    let lrcn = model("lrcn", 12, 16)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads: Vec<usize> = (1..=cores).filter(|n| n.is_power_of_two() || *n == cores).collect();
    let all = [
        Series::of("window length", "frames", 1.0, &[16usize, 32, 64], |frames| {
            let model = model(&format!("c3d-{frames}"), 6, frames)?;
            Ok((frames as f64, iteration(&model, (180, 144), 4)?))
        })?,
        Series::of(
            "resolution of the stream",
            "pixels",
            0.0,
            &[(176, 144), (352, 288), (704, 576), (1280, 720), (1920, 1080), (3840, 2160)],
            |(width, height)| Ok(((width * height) as f64, iteration(&c3d, (width, height), 4)?)),
        )?,
        Series::of("keyframes, C3D", "keyframes", 0.0, &[1usize, 2, 4, 8, 16], |keyframes| {
            Ok((keyframes as f64, iteration(&c3d, (180, 144), keyframes)?))
        })?,
        Series::of("keyframes, LRCN by frames", "keyframes", 1.0, &[1usize, 2, 4, 8, 16], |keyframes| {
            Ok((keyframes as f64, iteration(&lrcn, (180, 144), keyframes)?))
        })?,
        Series::of("width of the model", "channels of the first layer", 2.0, &[6i64, 12, 24, 48], |width| {
            let model = model(&format!("c3d-w{width}"), width, 16)?;
            Ok((width as f64, iteration(&model, (180, 144), 4)?))
        })?,
        Series::of("windows a pass", "windows", 1.0, &[1usize, 2, 4], |windows| {
            Ok((windows as f64, together::pass(&c3d, windows)?))
        })?,
        Series::of("streams of one process", "streams", 1.0, &[1usize, 2, 4], |streams| {
            Ok((streams as f64, pipeline(&work.path().join("c3d"), streams)?))
        })?,
        Series::of("threads", "threads", -1.0, &threads, |threads| {
            // A copy is loaded anew, on a thread that takes the number over.
            tch::set_num_threads(threads as i32);
            let model = model(&format!("c3d-t{threads}"), 24, 16)?;
            Ok((threads as f64, iteration(&model, (180, 144), 4)?))
        })?,
    ];
    if let Some(json) = json {
        let mut file = File::options().create(true).append(true).open(json)?;
        let Versions { plugin, libtorch, gstreamer } = Versions::here();
        for Series { title, by, expected, points } in &all {
            let line = serde_json::json!({
                "plugin": plugin, "libtorch": libtorch, "gstreamer": gstreamer,
                "panel": title, "by": by, "expected": expected, "seconds": points,
            });
            writeln!(file, "{line}")?;
        }
    }
    let mut text = String::new();
    draw(&mut text, &all).map_err(|error| anyhow!("the drawing: {error}"))?;
    std::fs::write(drawing, text).with_context(|| drawing.display().to_string())
}

/// A model of random weights: an LRCN where the name says so, else a C3D.
fn make(path: &Path, name: &str, width: i64, window: usize) -> anyhow::Result<Model> {
    let lrcn = name.starts_with("lrcn");
    let hidden = if lrcn { 96 } else { 192 };
    random::write(path, &Random { lrcn, width, hidden, window, view: VIEW, resize: [72, 96], classes: 10 })?;
    let options =
        Options { path: path.into(), device: DeviceChoice::Cpu, precision: Precision::F32, ..Options::default() };
    Ok(Model::load(&options)?)
}

/// Seconds of an iteration of an attack that cannot succeed.
fn iteration(model: &Model, (width, height): (usize, usize), keyframes: usize) -> anyhow::Result<f64> {
    const ITERATIONS: u32 = 8;
    let mut model = model.share();
    let layout = i420(width, height);
    let view = View::new(&layout, model.metadata().geometry(height, width), Chroma::default());
    let samples = samples(&view, &layout, model.metadata().window);
    let mut attack = |iterations: u32| timed::attack(&mut model, &view, &samples, iterations, keyframes);
    let zero = least((0..=ROUNDS).map(|_| attack(0)))?;
    let some = least((0..=ROUNDS).map(|_| attack(ITERATIONS)))?;
    Ok((some - zero) / f64::from(ITERATIONS))
}

/// Seconds of a pipeline of so many streams, each of four windows that are attacked in vain.
fn pipeline(model: &Path, streams: usize) -> anyhow::Result<f64> {
    let stream = format!(
        "videotestsrc num-buffers=64 pattern=smpte ! video/x-raw,format=I420,width=180,height=144 ! sparseadv model={} device=cpu \
         precision=f32 confidence=1000 max-iterations=6 ! fakesink sync=false ",
        model.display()
    );
    least((0..=4).map(|_| Ok(timed::pipeline(&stream.repeat(streams))?.0)))
}

/// Told apart by everyone (Okabe and Ito).
const MEASURED: RGBColor = RGBColor(0, 114, 178);
const EXPECTED: RGBColor = RGBColor(230, 159, 0);

fn draw(text: &mut String, all: &[Series]) -> Result<(), Box<dyn std::error::Error>> {
    const COLUMNS: usize = 2;
    let rows = all.len().div_ceil(COLUMNS);
    let area = SVGBackend::with_string(text, (920, 300 * rows as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    for (series, panel) in all.iter().zip(area.split_evenly((rows, COLUMNS))) {
        let (first, last) = (series.points[0], series.points[series.points.len() - 1]);
        let expected = |x: f64| first.1 * (x / first.0).powf(series.expected);
        let seconds = series.points.iter().flat_map(|(x, y)| [*y, expected(*x)]);
        let (low, high) = seconds.fold((f64::INFINITY, 0.0f64), |(low, high), y| (low.min(y), high.max(y)));
        let title = format!("{} (power {:.2}, expected {})", series.title, series.slope(), series.expected);
        let mut chart = ChartBuilder::on(&panel)
            .caption(title, ("sans-serif", 15))
            .margin(10)
            .x_label_area_size(34)
            .y_label_area_size(60)
            .build_cartesian_2d(
                // Marks at what was measured, and at round times: those of a logarithmic axis run into each other.
                (first.0 / 1.1..last.0 * 1.1)
                    .log_scale()
                    .with_key_points(series.points.iter().map(|(x, _)| *x).collect()),
                (low / 1.5..high * 2.0).log_scale().with_key_points(round_times(low / 1.5, high * 2.0)),
            )?;
        let seconds = |y: &f64| if *y < 1.0 { format!("{:.0} ms", y * 1000.0) } else { format!("{y:.0} s") };
        let mesh = &mut chart.configure_mesh();
        mesh.light_line_style(WHITE).x_desc(series.by).x_label_formatter(&count).y_label_formatter(&seconds).draw()?;
        let line = [first, (last.0, expected(last.0))];
        chart.draw_series(LineSeries::new(line, EXPECTED.stroke_width(2)))?.label("expected").legend(key(EXPECTED));
        chart
            .draw_series(LineSeries::new(series.points.clone(), MEASURED.stroke_width(2)).point_size(4))?
            .label("measured")
            .legend(key(MEASURED));
        // Where lines that rise are not, and where lines that fall are not.
        let place =
            if series.expected < 0.0 { SeriesLabelPosition::UpperRight } else { SeriesLabelPosition::UpperLeft };
        chart.configure_series_labels().position(place).background_style(WHITE.mix(0.8)).draw()?;
    }
    area.present()?;
    Ok(())
}

/// One, two and five times the powers of ten between two times.
fn round_times(low: f64, high: f64) -> Vec<f64> {
    let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let all = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power)));
    all.filter(|time| (low..=high).contains(time)).collect()
}

/// A number of things, with a letter for thousands and millions.
fn count(n: &f64) -> String {
    match *n {
        n if n >= 1e6 => format!("{:.1} M", n / 1e6),
        n if n >= 1e4 => format!("{:.0} k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

fn key(color: RGBColor) -> impl Fn((i32, i32)) -> PathElement<(i32, i32)> {
    move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2))
}
