// SPDX-License-Identifier: MPL-2.0

//! The comparison page: each window's frames, weights and perturbation, and what the model says of it clean, attacked, and behind codecs.

use std::path::Path;

use anyhow::{anyhow, Context};
use base64::Engine;
use gstsparseadv::attack::{loss, Classifier};
use gstsparseadv::model::Model;
use gstsparseadv::sparseadv::codec::Codec;
use gstsparseadv::sparseadv::format;
use gstsparseadv::sparseadv::planes::Frame;
use gstsparseadv::video::{Chroma, View};

use super::attack::Arguments;
use super::decode::Clip;
use super::print::{Row, Verdict};
use super::report::escape;

/// Classes shown of each answer.
const SHOWN: usize = 3;

/// The model's logits for each window of a clip.
pub fn classify(
    model: &mut Model,
    rows: &[Row],
    clip: &Clip,
    step: usize,
) -> anyhow::Result<Vec<Vec<f32>>> {
    let metadata = model.metadata().clone();
    let layout = format::layout(&clip.info);
    let geometry = metadata.geometry(layout.height, layout.width);
    let view = View::new(&layout, geometry, Chroma::default());
    let mut answers = Vec::new();
    for row in rows {
        let mut samples = Vec::new();
        for k in 0..row.frames {
            let place = row.first_frame + k * step;
            let buffer = clip.frames.get(place).with_context(|| {
                format!("expected frame {place}, found {} frames", clip.frames.len())
            })?;
            let frame = Frame::read(buffer, &clip.info).map_err(|e| anyhow!(e))?;
            samples.push(view.sample(&frame));
        }
        let window = view.observe_window(&samples, metadata.window);
        answers.push(model.forward(&window)?);
    }
    Ok(answers)
}

/// A clip behind a codec.
pub fn through(codec: &str, clip: &Clip) -> anyhow::Result<Clip> {
    let duration = format::frame_duration(&clip.info);
    let codec = Codec::new(codec, &clip.info, duration).map_err(|e| anyhow!(e))?;
    let frames = codec
        .run(clip.frames.iter().cloned())
        .map_err(|e| anyhow!(e))?;
    Ok(Clip {
        info: clip.info.clone(),
        frames,
    })
}

const STYLE: &str = "body{font:15px/1.45 sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}\
    img{max-width:100%}table{border-collapse:collapse;font-size:13px}td,th{border:1px solid #ccc;padding:3px 8px;text-align:left;\
    vertical-align:top}th{background:#f2f2f2}.bar{display:inline-block;height:9px;background:#888;margin-right:5px}\
    .lost .bar{background:#d62828}.kept .bar{background:#2a7f3f}";

/// Writes the page. `stages` are what the windows went through, each with the model's answers.
pub fn write(
    path: &Path,
    arguments: &Arguments,
    rows: &[Row],
    stages: &[(String, Vec<Vec<f32>>)],
    label_name: &dyn Fn(usize) -> String,
    picture: impl Fn(&Row) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<()> {
    let mut body = String::new();
    for (n, row) in rows.iter().enumerate() {
        let image = base64::engine::general_purpose::STANDARD.encode(picture(row)?);
        let mut cells = (String::new(), String::new());
        for (stage, answers) in stages {
            let logits = &answers[n];
            let class = if row.verdict(loss::top(logits)) == Verdict::Fooled {
                "lost"
            } else {
                "kept"
            };
            cells.0 += &format!("<th>{}</th>", escape(stage));
            cells.1 += &format!(
                "<td class=\"{class}\">{}</td>",
                bars(&loss::probabilities(logits), label_name)
            );
        }
        body += &format!(
            "<h2>Window {}</h2>\n<img alt=\"window {}\" src=\"data:image/png;base64,{image}\">\n\
             <table><tr>{}</tr>\n<tr>{}</tr></table>\n",
            row.window, row.window, cells.0, cells.1
        );
    }
    let title = escape(&arguments.title());
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n<style>{STYLE}</style></head><body>\n\
         <h1>{title}</h1>\n<p>Each window: its strongest keyframe clean, attacked and as an amplified difference; below, its frames with keyframes \
         framed and weights as bars. Then what the model says of it, clean, attacked, and behind each codec: red where the attack's goal \
         is reached, green where it is not.</p>\n{body}</body></html>\n"
    );
    std::fs::write(path, page).with_context(|| format!("writing {}", path.display()))
}

/// The most probable classes as bars.
fn bars(probabilities: &[f64], label_name: &dyn Fn(usize) -> String) -> String {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
    let bar = |k: &usize| {
        let share = 100.0 * probabilities[*k];
        format!(
            "<span class=\"bar\" style=\"width:{share:.0}px\"></span>{} {share:.1} %<br>",
            escape(&label_name(*k))
        )
    };
    order.iter().take(SHOWN).map(bar).collect()
}
