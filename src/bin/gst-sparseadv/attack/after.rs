// SPDX-License-Identifier: MPL-2.0

//! What is left of the attack in the file written: its windows, classified as its frames are decoded.

use std::path::Path;

use anyhow::Context;
use gstsparseadv::attack::criterion::argmax;
use gstsparseadv::model::Model;
use gstsparseadv::window::Windowing;

use crate::media::{self, Reader, Sizes};
use crate::print::Row;
use crate::seen::{Keep, Seen};

/// Reads a file of frames of these sizes, and gives each window the label that the model gives it there. `answer` gets
/// the logits. Fails where the file does not hold all frames.
pub fn classify(
    path: &Path,
    pushed: &Sizes,
    rows: &mut [Row],
    model: &mut Model,
    windowing: Windowing,
    mut answer: impl FnMut(&Row, &[f32]),
) -> anyhow::Result<()> {
    let metadata = model.metadata().clone();
    let keep = Keep { samples: true, frames: false, most: usize::MAX };
    let mut seen = Seen::new(metadata.clone(), windowing, keep);
    // Those of overlapping windows are reported as they end.
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|n| rows[*n].first_frame);
    let mut next = 0;
    let mut found = Sizes::default();
    let mut failed = None;
    let read = Reader::open(path).and_then(|mut reader| {
        while let Some(sample) = reader.next()? {
            found.add(sample.caps());
            let frame = sample.buffer_owned().zip(sample.caps_owned());
            let (buffer, caps) = frame.context("a frame")?;
            seen.add(&buffer, &caps)?;
            while let Some(place) = order.get(next).filter(|n| seen.has(rows[**n].place())) {
                let row = &mut rows[*place];
                // Nothing where its frames differ in size, which is a fault of the file.
                match seen.view(row.place()).map(|view| model.classify(&view)) {
                    Some(Ok(logits)) => {
                        let label = argmax(&logits);
                        row.after_codec = Some((label, metadata.label_name(label)));
                        answer(row, &logits);
                    }
                    Some(Err(error)) => failed = failed.take().or(Some(error)),
                    None => {}
                }
                next += 1;
            }
            let first = order.get(next).map_or(seen.end(), |n| rows[*n].first_frame);
            seen.forget(first);
        }
        Ok(())
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    media::judge(read, &found, pushed)
}
