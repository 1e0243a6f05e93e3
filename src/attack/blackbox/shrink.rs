// SPDX-License-Identifier: MPL-2.0

//! Makes a success smaller by answers alone. Frames are left clean as long as the window stays fooled, by halves first and
//! one by one in the end; what is left is scaled down by bisection.

use super::oracle::Oracle;
use crate::attack::Error;
use crate::attack::access::Level;
use crate::attack::target::Delta;
use crate::torch;

/// Looks at smaller scales: the last one is within a sixteenth of the smallest that holds.
const SCALES: u32 = 4;

/// From a success that is kept.
pub fn shrink<L: Level>(oracle: &mut Oracle<L>, success: Delta) -> Result<(), Error> {
    let rest = without_frames(oracle, success)?;
    let (mut holds, mut fails) = (1.0, 0.0);
    for _ in 0..SCALES {
        let scale = (holds + fails) / 2.0;
        let scaled = Delta { frames: rest.frames.clone(), values: rest.values.f_mul_scalar(scale)? };
        if oracle.fools(&scaled)? {
            holds = scale;
        } else {
            fails = scale;
        }
    }
    Ok(())
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
