// SPDX-License-Identifier: MPL-2.0

//! The comparison page: each window's frames, weights and perturbation, and what the model says of it clean, attacked,
//! and behind codecs.

use gstsparseadv::attack::criterion::{argmax, softmax};
use serde_json::{Value, json};

use super::html;
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

pub fn html(page: &Page) -> anyhow::Result<String> {
    let windows = page.windows.iter().map(|window| {
        let answers = window.answers.iter();
        let answers: Vec<Option<Value>> =
            answers.map(|answer| Some(answered(window.row, answer.as_deref()?, page.label_name))).collect();
        json!({"number": window.row.window, "image": html::inline(&window.image), "answers": answers})
    });
    let data = json!({
        "title": page.title,
        "summary": page.summary,
        "stages": page.stages,
        "windows": windows.collect::<Vec<_>>(),
        "left_out": page.left_out,
        "most": MOST,
    });
    html::page("attack.html", &data)
}

/// The verdict, and the most probable classes.
fn answered(row: &Row, logits: &[f32], label_name: &dyn Fn(usize) -> String) -> Value {
    let verdict = row.verdict(argmax(logits));
    let class = if verdict == Verdict::Fooled { "fooled" } else { "kept" };
    let probabilities = softmax(logits);
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
    let labels =
        order.iter().take(SHOWN).map(|k| json!({"name": label_name(*k), "percent": 100.0 * probabilities[*k]}));
    json!({"verdict": verdict.as_str(), "class": class, "labels": labels.collect::<Vec<_>>()})
}
