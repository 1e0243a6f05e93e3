// SPDX-License-Identifier: MPL-2.0

//! Test accuracy over the held-out clips.

use anyhow::Result;
use tch::{Tensor, no_grad};

use crate::dataset::{Cached, Geometry, batch};
use crate::network::Network;

/// Right answers among all.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    right: u32,
    all: u32,
}

impl Tally {
    fn add(&mut self, right: bool) {
        self.right += u32::from(right);
        self.all += 1;
    }

    pub fn percent(self) -> f64 {
        100.0 * f64::from(self.right) / f64::from(self.all.max(1))
    }
}

impl std::ops::Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { right: self.right + other.right, all: self.all + other.all }
    }
}

impl std::iter::Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |sum, tally| sum + tally)
    }
}

/// Per class: the window in the middle of each clip, and all windows that do not overlap.
pub struct Score {
    center: Vec<Tally>,
    windows: Vec<Tally>,
}

impl Score {
    /// The center windows alone, which is quick enough for each epoch.
    pub fn of_centers(
        network: &dyn Network,
        clips: &[Cached],
        geometry: &Geometry,
        classes: usize,
        size: usize,
    ) -> Result<Tally> {
        let windows = clips.iter().map(|clip| (clip, clip.center(geometry)));
        Ok(tally(network, windows, geometry, classes, size)?.into_iter().sum())
    }

    pub fn of(
        network: &dyn Network,
        clips: &[Cached],
        geometry: &Geometry,
        classes: usize,
        size: usize,
    ) -> Result<Self> {
        let centers = clips.iter().map(|clip| (clip, clip.center(geometry)));
        let windows = clips.iter().flat_map(|clip| clip.starts(geometry).map(move |start| (clip, start)));
        Ok(Self {
            center: tally(network, centers, geometry, classes, size)?,
            windows: tally(network, windows, geometry, classes, size)?,
        })
    }

    /// Prints the rows of Table 1 and of the classes.
    pub fn print(&self, labels: &[String]) {
        let row = |name: &str, center: Tally, windows: Tally| {
            println!(
                "{name:<24}{:>7.1} {:>11}{:>12.1} {:>11}",
                center.percent(),
                format!("({}/{})", center.right, center.all),
                windows.percent(),
                format!("({}/{})", windows.right, windows.all),
            );
        };
        println!("Test accuracy in %      center window         all windows");
        let all = |tallies: &[Tally]| tallies.iter().copied().sum();
        row("all classes", all(&self.center), all(&self.windows));
        for (index, label) in labels.iter().enumerate() {
            row(label, self.center[index], self.windows[index]);
        }
    }
}

fn tally<'a>(
    network: &dyn Network,
    windows: impl Iterator<Item = (&'a Cached, i64)>,
    geometry: &Geometry,
    classes: usize,
    size: usize,
) -> Result<Vec<Tally>> {
    let windows: Vec<_> = windows.collect();
    let mut tallies = vec![Tally::default(); classes];
    for chunk in windows.chunks(size) {
        let inputs =
            chunk.iter().map(|(clip, start)| clip.test_window(geometry, *start)).collect::<Result<Vec<Tensor>>>()?;
        let inputs = batch(geometry, &inputs)?;
        let logits = no_grad(|| network.forward(&inputs, false))?.logits;
        let answers = Vec::<i64>::try_from(logits.f_argmax(-1, false)?)?;
        for ((clip, _), answer) in chunk.iter().zip(answers) {
            tallies[clip.label as usize].add(answer == clip.label);
        }
    }
    Ok(tallies)
}
