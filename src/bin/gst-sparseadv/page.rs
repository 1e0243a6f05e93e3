// SPDX-License-Identifier: MPL-2.0

//! The comparison page: each window's frames, weights and perturbation, and what the model says of it clean, attacked,
//! and behind codecs.

use base64::Engine;
use gstsparseadv::attack::criterion::{argmax, softmax};

use super::html::{self, escape};
use super::picture::MOST;
use super::print::{Row, Verdict};

/// Classes shown of each answer.
const SHOWN: usize = 3;

/// A window with what the model answered at each stage; nothing where the window did not come that far.
pub struct Window<'a> {
    pub row: &'a Row,
    pub image: Vec<u8>,
    pub answers: Vec<Option<Vec<f32>>>,
}

/// What the page is about.
pub struct Page<'a> {
    pub title: &'a str,
    pub summary: &'a str,
    /// What the windows went through.
    pub stages: &'a [String],
    pub windows: &'a [Window<'a>],
    /// How many windows are not shown.
    pub left_out: usize,
    pub label_name: &'a dyn Fn(usize) -> String,
}

pub fn html(page: &Page) -> String {
    let Page { title, summary, stages, windows, left_out, label_name } = *page;
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
    let body = format!(
        "<h1>{}</h1>\n<pre>{}</pre>\n<p>Each window: its strongest keyframe clean, attacked and as an amplified difference; below, its \
         frames with keyframes framed and weights as bars. Then what the model says of it, clean, attacked, and behind each codec: red \
         where the attack's goal is reached, green where it is not.</p>\n{left_out}{body}",
        escape(title),
        escape(summary)
    );
    html::page(title, &body)
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
