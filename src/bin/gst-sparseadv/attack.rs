// SPDX-License-Identifier: MPL-2.0

//! `attack`: one file through `decodebin ! sparseadv ! encoder ! muxer`, then what the model says of the file that came out.

use std::path::PathBuf;

use anyhow::{anyhow, Context};
use gst::prelude::*;
use gstsparseadv::attack::loss;
use gstsparseadv::model::{Model, Options};

use super::decode::{self, Clip};
use super::page;
use super::picture;
use super::print::{self, Row};

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  gst-sparseadv attack examples/data/figures-walk.mp4 attacked.mp4 --model examples/data/figures-c3d.pt --picture attacked.png"
)]
pub struct Arguments {
    /// Video file to attack
    input: PathBuf,
    /// File to write
    output: PathBuf,
    /// TorchScript classifier. It is a program and is run: use only files you trust
    #[arg(long)]
    model: PathBuf,
    /// Further properties of the element, as in gst-launch-1.0
    #[arg(long, default_value = "", value_name = "PROPERTIES")]
    properties: String,
    /// Encoder, with its properties
    #[arg(long, default_value = "x264enc")]
    encoder: String,
    /// Muxer, with its properties
    #[arg(long, default_value = "mp4mux")]
    muxer: String,
    /// PNG file for a picture of clean frames, attacked frames and their difference
    #[arg(long)]
    picture: Option<PathBuf>,
    /// HTML file that compares every window clean, attacked, and behind each codec, by what the model says of it; opens offline
    #[arg(long)]
    page: Option<PathBuf>,
    /// A further codec for the page, as a bin from raw video to raw video such as "jpegenc ! jpegdec"; may be repeated
    #[arg(long, value_name = "BIN")]
    codec: Vec<String>,
    /// JSON lines, one a window
    #[arg(long)]
    report: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    gst::init()?;
    gstsparseadv::plugin_register_static()?;
    let (rows, pushed, window_size, frame_step) = attack(arguments)?;
    let decoded = decode::read(&arguments.output, "")?;
    let mut model = Model::load(&Options {
        path: arguments.model.clone(),
        window: Some(window_size as usize).filter(|n| *n > 0),
        ..Options::default()
    })?;
    let step = match frame_step {
        0 => model.metadata().frame_step,
        n => n as usize,
    };
    let mut rows = rows;
    let after = page::classify(&mut model, &rows, &decoded, step)?;
    for (row, logits) in rows.iter_mut().zip(&after) {
        let label = loss::top(logits);
        row.set_after_codec(label, model.metadata().label_name(label));
    }
    print::table(&rows, &arguments.encoder);
    println!("wrote {}", arguments.output.display());
    if arguments.picture.is_none() && arguments.page.is_none() {
        return Ok(());
    }
    let clean = decode::read(&arguments.input, "")?;
    let (clean_rgb, pushed_rgb) = (clean.to_rgb()?, pushed.to_rgb()?);
    if let Some(path) = &arguments.picture {
        picture::write(path, &clean_rgb, &pushed_rgb, &rows, step)?;
        println!("wrote {}", path.display());
    }
    if let Some(path) = &arguments.page {
        let mut stages = vec![
            (
                "clean".to_string(),
                page::classify(&mut model, &rows, &clean, step)?,
            ),
            (
                "attacked".to_string(),
                page::classify(&mut model, &rows, &pushed, step)?,
            ),
            (arguments.encoder.clone(), after),
        ];
        for codec in &arguments.codec {
            let received = page::through(codec, &pushed)?;
            let classified = page::classify(&mut model, &rows, &received, step)?;
            stages.push((codec.clone(), classified));
        }
        let labels = |label| model.metadata().label_name(label);
        page::write(path, arguments, &rows, &stages, &labels, |row| {
            picture::window(&clean_rgb, &pushed_rgb, row, step)
        })?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

impl Arguments {
    /// What the page is about.
    pub fn title(&self) -> String {
        format!(
            "{} under attack by {}",
            self.input.display(),
            self.model.display()
        )
    }
}

/// Runs the pipeline. Returns the windows' reports, the frames as pushed, and the element's window-size and frame-step.
fn attack(arguments: &Arguments) -> anyhow::Result<(Vec<Row>, Clip, u32, u32)> {
    // The appsink sees the very buffers that the encoder gets. Its queue is unbounded: an encoder looks some dozen frames ahead before
    // anything leaves it, and a full queue in the other branch would stop it from getting them.
    let pipeline = decode::parse(&format!(
        "filesrc name=source ! decodebin ! sparseadv name=attack {} ! tee name=pushed \
         pushed. ! queue ! {} ! {} ! filesink name=file \
         pushed. ! queue max-size-buffers=0 max-size-bytes=0 max-size-time=0 ! appsink name=frames sync=false",
        arguments.properties, arguments.encoder, arguments.muxer
    ))?;
    let set = |element: &str, property: &str, path: &std::path::Path| -> anyhow::Result<()> {
        let element = pipeline.by_name(element).context("an element of ours")?;
        element.set_property(property, path.to_str().context("expected a path in UTF-8")?);
        Ok(())
    };
    set("source", "location", &arguments.input)?;
    set("file", "location", &arguments.output)?;
    set("attack", "model", &arguments.model)?;
    if let Some(report) = &arguments.report {
        set("attack", "report-location", report)?;
    }
    let element = pipeline.by_name("attack").context("an element of ours")?;
    let (window_size, frame_step) = (
        element.property("window-size"),
        element.property("frame-step"),
    );
    let frames = decode::collect(&decode::sink(&pipeline, "frames")?);
    let mut rows = Vec::new();
    decode::run(&pipeline, |structure| {
        if structure.name() == "sparseadv-window" {
            rows.extend(Row::new(structure));
        }
    })?;
    let frames = frames
        .lock()
        .map_err(|_| anyhow!("the reader failed"))?
        .take();
    let frames = frames.context("expected frames, found an empty video")?;
    Ok((rows, frames, window_size, frame_step))
}
