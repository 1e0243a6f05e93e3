// SPDX-License-Identifier: MPL-2.0

//! The comparison page: each window's frames, weights and perturbation, and what the model says of it clean, attacked,
//! and behind codecs.

use base64::Engine;
use gstsparseadv::attack::criterion::{argmax, softmax};

use super::attack::shown::MOST;
use super::print::{Row, Verdict};
use super::report::escape;

/// Classes shown of each answer.
const SHOWN: usize = 3;

/// A window with what the model answered at each stage; nothing where the window did not come that far.
pub struct Window<'a> {
    pub row: &'a Row,
    pub image: Vec<u8>,
    pub answers: Vec<Option<Vec<f32>>>,
}

const STYLE: &str = "body{font:15px/1.45 sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}\
    img{max-width:100%}table{border-collapse:collapse;font-size:13px}td,th{border:1px solid #ccc;padding:3px 8px;text-align:left;\
    vertical-align:top}th{background:#f2f2f2}.bar{display:inline-block;height:9px;background:#888;margin-right:5px}\
    .lost .bar{background:#d62828}.kept .bar{background:#2a7f3f}";

/// The page. `stages` are what the windows went through.
pub fn html(
    title: &str,
    summary: &str,
    stages: &[String],
    windows: &[Window],
    left_out: usize,
    label_name: &dyn Fn(usize) -> String,
) -> String {
    let mut body = String::new();
    for window in windows {
        let row = window.row;
        let image = base64::engine::general_purpose::STANDARD.encode(&window.image);
        let mut cells = (String::new(), String::new());
        for (stage, answer) in stages.iter().zip(&window.answers) {
            cells.0 += &format!("<th>{}</th>", escape(stage));
            cells.1 += &match answer {
                Some(logits) => cell(row, logits, label_name),
                None => "<td>frames were lost</td>".into(),
            };
        }
        body += &format!(
            "<h2>Window {}</h2>\n<img alt=\"window {}\" src=\"data:image/png;base64,{image}\">\n\
             <table><tr>{}</tr>\n<tr>{}</tr></table>\n",
            row.window, row.window, cells.0, cells.1
        );
    }
    let left_out = match left_out {
        0 => String::new(),
        n => format!(
            "<p>{} windows are shown, spread over the file, at most {MOST}; {n} others are left out here, not in the sums.</p>\n",
            windows.len()
        ),
    };
    let (title, summary) = (escape(title), escape(summary));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n<style>{STYLE}</style></head><body>\n\
         <h1>{title}</h1>\n<pre>{summary}</pre>\n<p>Each window: its strongest keyframe clean, attacked and as an amplified difference; below, its \
         frames with keyframes framed and weights as bars. Then what the model says of it, clean, attacked, and behind each codec: red \
         where the attack's goal is reached, green where it is not.</p>\n{left_out}{body}</body></html>\n"
    )
}

fn cell(row: &Row, logits: &[f32], label_name: &dyn Fn(usize) -> String) -> String {
    let verdict = row.verdict(argmax(logits));
    let class = match verdict {
        Verdict::Fooled => "lost",
        _ => "kept",
    };
    format!("<td class=\"{class}\">{}<small>{}</small></td>", bars(&softmax(logits), label_name), verdict.as_str())
}

/// The most probable classes as bars.
fn bars(probabilities: &[f64], label_name: &dyn Fn(usize) -> String) -> String {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
    let bar = |k: &usize| {
        let share = 100.0 * probabilities[*k];
        format!("<span class=\"bar\" style=\"width:{share:.0}px\"></span>{} {share:.1} %<br>", escape(&label_name(*k)))
    };
    order.iter().take(SHOWN).map(bar).collect()
}
