// SPDX-License-Identifier: MPL-2.0

//! What a perturbation changes in the bytes of a frame, worked out once for all frames that get the same one.
//!
//! Each sample changes by a whole number, whatever the frame shows, so that a frame costs one sum a byte. No component of
//! a perturbation by at most 127 gray levels changes by more.

use std::ops::Range;

use super::layout::RowsMut;
use super::taps::resample;
use super::view::View;

/// Of each component, the changes of the samples that the perturbation reaches.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes(Vec<Plane>);

/// Of each sample that is reached.
#[derive(Clone, Debug, PartialEq)]
enum Plane {
    /// What is added to it.
    Added(Vec<i8>),
    /// What stands in its place, and all bits set where it keeps its own value, which is 0 in its place.
    Replaced(Vec<u8>, Vec<u8>),
}

/// What is done to the view of a frame.
#[derive(Clone, Copy, Debug)]
pub enum Paint<'a> {
    /// Gray levels to add, `[3, height, width]`.
    Add(&'a [f32]),
    /// Gray levels 0..255 to show, `[3, height, width]`, where the mask `[height, width]` is 1; it is 0 elsewhere.
    Replace { shown: &'a [f32], mask: &'a [f32] },
}

impl View {
    /// What `paint` changes in every frame of this stream.
    pub fn changes(&self, paint: Paint) -> Changes {
        let (mut mixed, mut scratch) = (Vec::new(), Vec::new());
        let planes = self.components.iter().enumerate().map(|(c, axes)| {
            let [rows, cols] = &axes.reached;
            let mut to_stream = |values: &[f32]| {
                let mut out = vec![0.0; rows.sites.len() * cols.sites.len()];
                resample(values, self.size[1], &rows.render, &cols.render, &mut scratch, &mut out);
                out
            };
            match paint {
                Paint::Add(delta) => {
                    self.mix(c, delta, &mut mixed);
                    let whole = |v: f32| v.round_ties_even().clamp(-128.0, 127.0) as i8;
                    Plane::Added(to_stream(&mixed).into_iter().map(whole).collect())
                }
                Paint::Replace { shown, mask } => {
                    self.mix(c, shown, &mut mixed);
                    mixed.iter_mut().zip(mask).for_each(|(v, m)| *v *= m);
                    let (values, covered) = (to_stream(&mixed), to_stream(mask));
                    let (offset, (lo, hi)) = (self.matrix.offset[c], axes.range);
                    // A sample is of the picture or of what replaces it, whichever covers more of it.
                    let shown = values.iter().zip(&covered).map(|(value, share)| match *share < 0.5 {
                        true => 0,
                        false => (value / share + offset).clamp(lo, hi).round_ties_even() as u8,
                    });
                    let kept = covered.iter().map(|share| if *share < 0.5 { u8::MAX } else { 0 });
                    Plane::Replaced(shown.collect(), kept.collect())
                }
            }
        });
        Changes(planes.collect())
    }

    /// Changes a frame; everything outside the crop, and any alpha, stays as it is.
    pub fn apply(&self, planes: &mut impl RowsMut, changes: &Changes) {
        let components = self.layout.components.iter().zip(&self.components).zip(&changes.0);
        for ((component, axes), plane) in components {
            let [rows, cols] = &axes.reached;
            let (Some(first), width) = (cols.sites.first(), cols.sites.len()) else { continue };
            for (r, y) in rows.sites.iter().enumerate() {
                // The sites of an axis follow on one another.
                let row = &mut planes.row_mut(component.plane, *y)[component.offset + first * component.pixel_stride..];
                let part = r * width..(r + 1) * width;
                match component.pixel_stride {
                    1 => plane.change_row::<1>(row, part, axes.range),
                    2 => plane.change_row::<2>(row, part, axes.range),
                    3 => plane.change_row::<3>(row, part, axes.range),
                    _ => plane.change_row::<4>(row, part, axes.range),
                }
            }
        }
    }
}

impl Plane {
    /// Changes a row of samples, every `STRIDE` bytes one.
    fn change_row<const STRIDE: usize>(&self, row: &mut [u8], part: Range<usize>, (lo, hi): (f32, f32)) {
        let samples = row.iter_mut().step_by(STRIDE);
        match self {
            Self::Added(add) => {
                let range = (lo as i16, hi as i16);
                samples.zip(&add[part]).for_each(|(sample, add)| *sample = changed(*sample, *add, range));
            }
            Self::Replaced(shown, keep) => {
                let values = shown[part.clone()].iter().zip(&keep[part]);
                samples.zip(values).for_each(|(sample, (shown, keep))| *sample = (*sample & keep) | shown);
            }
        }
    }
}

/// As in [`quantize`](super::kernels::quantize): a sample outside the nominal range may stay where it was, but goes no
/// further out.
#[inline(always)]
fn changed(was: u8, add: i8, (lo, hi): (i16, i16)) -> u8 {
    let was = i16::from(was);
    (was + i16::from(add)).max(lo.min(was)).min(hi.max(was)) as u8
}
