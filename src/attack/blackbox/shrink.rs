// SPDX-License-Identifier: MPL-2.0

//! Makes a success smaller by answers alone, a query for each proposal. What is left out by halves comes first: runs of
//! frames, then rectangles of those that stay. What is left is scaled down by bisection.

use tch::{TchError, Tensor};

use super::oracle::Oracle;
use crate::attack::Error;
use crate::attack::access::Level;
use crate::attack::target::Delta;
use crate::torch;

/// Looks at smaller scales: the last one is within a sixteenth of the smallest that holds.
const SCALES: u32 = 4;
/// The least share of a frame that is left out by itself, and proposals in a row that fail before there are no more.
const SMALLEST: f64 = 1.0 / 256.0;
const FAILURES: u32 = 8;

/// From a success that is kept. Returns what is left.
pub fn shrink<L: Level>(oracle: &mut Oracle<L>, success: Delta) -> Result<Delta, Error> {
    let rest = without_frames(oracle, success)?;
    let rest = without_rectangles(oracle, rest)?;
    scaled(oracle, rest)
}

/// The smallest scale that holds.
fn scaled<L: Level>(oracle: &mut Oracle<L>, mut rest: Delta) -> Result<Delta, Error> {
    let (whole, mut holds, mut fails) = (rest.values.shallow_clone(), 1.0, 0.0);
    for _ in 0..SCALES {
        let scale = (holds + fails) / 2.0;
        let smaller = Delta { frames: rest.frames.clone(), values: whole.f_mul_scalar(scale)? };
        if oracle.fools(&smaller)? {
            (holds, rest) = (scale, smaller);
        } else {
            fails = scale;
        }
    }
    Ok(rest)
}

/// Leaves runs of frames clean, each half as long as the last ones.
fn without_frames<L: Level>(oracle: &mut Oracle<L>, mut success: Delta) -> Result<Delta, Error> {
    let mut run = success.frames.len() / 2;
    while run > 0 {
        let mut from = 0;
        while from < success.frames.len() && success.frames.len() > run {
            let dropped = from..(from + run).min(success.frames.len());
            let kept: Vec<usize> = (0..success.frames.len()).filter(|place| !dropped.contains(place)).collect();
            let fewer = Delta {
                frames: kept.iter().map(|place| success.frames[*place]).collect(),
                values: success.values.f_index_select(1, &torch::index(&kept, success.values.device())?)?,
            };
            if oracle.fools(&fewer)? {
                success = fewer;
            } else {
                from += run;
            }
        }
        run /= 2;
    }
    Ok(success)
}

/// Rows and columns of all frames.
#[derive(Clone, Copy, Debug)]
pub struct Rectangle {
    pub at: [i64; 2],
    pub size: [i64; 2],
}

impl Rectangle {
    pub fn area(&self) -> i64 {
        self.size[0] * self.size[1]
    }

    /// That part of `[1, frames, 3, height, width]`, which shares its memory.
    pub fn of(&self, values: &Tensor) -> Result<Tensor, TchError> {
        values.f_narrow(3, self.at[0], self.size[0])?.f_narrow(4, self.at[1], self.size[1])
    }

    /// Across its longer side.
    fn halves(self) -> [Self; 2] {
        let axis = usize::from(self.size[1] > self.size[0]);
        let (mut first, mut second) = (self, self);
        first.size[axis] = self.size[axis] / 2;
        second.size[axis] -= first.size[axis];
        second.at[axis] += first.size[axis];
        [first, second]
    }
}

/// Leaves rectangles clean, the largest first.
fn without_rectangles<L: Level>(oracle: &mut Oracle<L>, mut success: Delta) -> Result<Delta, Error> {
    let [height, width] = [3, 4].map(|axis| success.values.size()[axis]);
    let least = ((height * width) as f64 * SMALLEST).max(2.0) as i64;
    let mut all = vec![Rectangle { at: [0, 0], size: [height, width] }];
    let mut failures = 0;
    while let Some(place) = (0..all.len()).max_by_key(|place| all[*place].area()) {
        if all[place].area() < 2 * least || failures >= FAILURES {
            break;
        }
        let halves = all.swap_remove(place).halves();
        let mut kept = halves.to_vec();
        for (number, half) in halves.into_iter().enumerate() {
            let values = success.values.f_detach_copy()?;
            let _ = half.of(&values)?.f_zero_()?;
            let fewer = Delta { frames: success.frames.clone(), values };
            if oracle.fools(&fewer)? {
                (success, failures) = (fewer, 0);
                kept.remove(number);
                break;
            }
            failures += 1;
        }
        all.extend(kept);
    }
    Ok(success)
}
