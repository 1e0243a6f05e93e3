// SPDX-License-Identifier: MPL-2.0

//! Where a scene ends: a frame that differs from the one before by much more than frames around it do.

use std::collections::VecDeque;

/// Mean difference in gray levels below which nothing is a cut.
const LEAST: f32 = 10.0;
/// How many times that of most frames it must be.
const TIMES: f32 = 5.0;
/// Frames that tell what is usual.
const RECENT: usize = 8;

/// Which frame begins the last scene, by the mean difference of each frame from the one before; the first frame has none.
/// Nothing where they are all of one scene.
pub fn last_cut(differences: &[f32]) -> Option<usize> {
    let mut usual = differences.get(1..)?.to_vec();
    usual.sort_by(f32::total_cmp);
    let usual = *usual.get(usual.len() / 2)?;
    differences.iter().enumerate().skip(1).rev().find(|(_, d)| **d > LEAST.max(TIMES * usual)).map(|(k, _)| k)
}

/// The same of a stream, frame by frame.
#[derive(Clone, Debug, Default)]
pub struct Cuts {
    /// Differences of the last frames.
    recent: VecDeque<f32>,
}

impl Cuts {
    /// Whether another scene begins with a frame that differs from the one before by so much.
    pub fn is_cut(&mut self, difference: f32) -> bool {
        let mut usual = Vec::from_iter(self.recent.iter().copied());
        usual.sort_by(f32::total_cmp);
        // Of the first two frames nobody knows what is usual.
        let cut = usual.get(usual.len() / 2).is_some_and(|usual| difference > LEAST.max(TIMES * usual));
        if cut {
            self.recent.clear();
        } else {
            self.recent.push_back(difference);
            self.recent.drain(..self.recent.len().saturating_sub(RECENT));
        }
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_stands_out() {
        let steady = [0.0, 2.0, 3.0, 2.5, 2.0, 3.0];
        assert_eq!(last_cut(&steady), None);
        assert_eq!(last_cut(&[0.0, 2.0, 3.0, 40.0, 2.0, 3.0]), Some(3));
        assert_eq!(last_cut(&[0.0, 2.0, 30.0, 2.0, 3.0, 40.0, 2.0]), Some(5));
    }

    #[test]
    fn a_camera_that_moves_cuts_nothing() {
        assert_eq!(last_cut(&[0.0, 20.0, 24.0, 22.0, 30.0]), None);
        // Noise in a still picture neither.
        assert_eq!(last_cut(&[0.0, 0.5, 6.0, 0.5, 0.5]), None);
        assert_eq!(last_cut(&[0.0]), None);
        assert_eq!(last_cut(&[]), None);
    }

    #[test]
    fn a_stream_is_cut_where_a_scene_begins() {
        let mut cuts = Cuts::default();
        let differences = [3.0, 2.0, 40.0, 1.0, 2.0, 9.0, 2.0, 30.0, 31.0, 29.0, 30.0];
        let found: Vec<usize> = (0..differences.len()).filter(|k| cuts.is_cut(differences[*k])).collect();
        assert_eq!(found, [2, 7]);
    }
}
