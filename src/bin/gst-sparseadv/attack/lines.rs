// SPDX-License-Identifier: MPL-2.0

//! What a run says while it goes on: a line a window on the standard output, a bar and notes on the other.

use indicatif::{ProgressBar, ProgressStyle};

use crate::out::{errln, outln};
use crate::print::{self, Row};

pub struct Lines {
    bar: ProgressBar,
    headed: bool,
}

impl Lines {
    /// For a video of so many frames. The bar shows on terminals alone.
    pub fn new(frames: u64) -> anyhow::Result<Self> {
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} frames, {eta} left")?;
        Ok(Self { bar: ProgressBar::new(frames).with_style(style), headed: false })
    }

    pub fn at(&self, frames: u64) {
        self.bar.set_position(frames);
    }

    pub fn note(&self, text: &str) {
        self.bar.suspend(|| errln!("note: {text}"));
    }

    pub fn row(&mut self, row: &Row) {
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
