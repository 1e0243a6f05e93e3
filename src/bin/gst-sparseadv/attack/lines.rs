// SPDX-License-Identifier: MPL-2.0

//! What a run says: a line a window on the standard output as it happens, and what it came to; a bar and notes on the
//! other.

use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};

use crate::out::{errln, outln};
use crate::print::{self, Row};

/// In what form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    Json,
    Quiet,
}

pub struct Lines {
    bar: ProgressBar,
    form: Form,
    headed: bool,
}

impl Lines {
    /// For a video of so many frames. The bar shows on terminals alone.
    pub fn new(frames: u64, form: Form) -> anyhow::Result<Self> {
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} frames, {eta} left")?;
        let bar = if form == Form::Quiet { ProgressBar::hidden() } else { ProgressBar::new(frames) };
        Ok(Self { bar: bar.with_style(style), form, headed: false })
    }

    pub fn at(&self, frames: u64) {
        self.bar.set_position(frames);
    }

    pub fn note(&self, text: &str) {
        if self.form != Form::Quiet {
            self.bar.suspend(|| errln!("note: {text}"));
        }
    }

    /// A window, and its report as JSON.
    pub fn row(&mut self, row: &Row, json: &str) {
        match self.form {
            Form::Text => self.text(row),
            Form::Json => self.bar.suspend(|| outln!("{json}")),
            Form::Quiet => {}
        }
    }

    /// What the run came to, when all files have their names.
    pub fn end(&self, summary: &str, rows: &[Row], written: &[PathBuf]) {
        match self.form {
            Form::Text => {
                outln!("{summary}");
                written.iter().for_each(|path| outln!("wrote {}", path.display()));
            }
            Form::Json => outln!("{}", print::totals(rows, written)),
            Form::Quiet => {}
        }
    }

    /// The bar has no more to show.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn text(&mut self, row: &Row) {
        let headed = std::mem::replace(&mut self.headed, true);
        self.bar.suspend(|| {
            if !headed {
                outln!("{}", print::heading());
            }
            outln!("{}", row.line());
        });
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
