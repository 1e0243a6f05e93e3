// SPDX-License-Identifier: MPL-2.0

//! How many mutations of each kind came to what.

use std::collections::BTreeMap;
use std::fmt;

use crate::kinds::End;

/// How a program of Rust ends by a panic.
const PANICKED: &str = "exit 101";

#[derive(Default)]
pub struct Tally {
    by_kind: BTreeMap<String, BTreeMap<End, u64>>,
}

impl Tally {
    pub fn add(&mut self, kind: &str, end: End) {
        *self.by_kind.entry(kind.to_owned()).or_default().entry(end).or_default() += 1;
    }

    fn ends(&self) -> BTreeMap<&End, u64> {
        let mut all = BTreeMap::new();
        for (end, count) in self.by_kind.values().flatten() {
            *all.entry(end).or_default() += count;
        }
        all
    }

    /// Children that ended for what a check before libtorch can see. A model's code can end its process: that counts only
    /// where the library panicked.
    pub fn faults(&self) -> u64 {
        let all = self.by_kind.iter().flat_map(|(kind, ends)| ends.iter().map(move |(end, count)| (kind, end, *count)));
        let is_fault = |(kind, end, _): &(&String, &End, u64)| match end {
            End::Died { how, .. } if how == PANICKED => true,
            end => end.is_of_note() && !crate::mutate::is_a_program(kind),
        };
        all.filter(is_fault).map(|(_, _, count)| count).sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "| what came of it | mutations |\n|---|---|")?;
        for (end, count) in self.ends() {
            writeln!(f, "| {end:?} | {count} |")?;
        }
        writeln!(f, "\n| mutation | tried | ended a child |\n|---|---|---|")?;
        for (kind, ends) in &self.by_kind {
            let tried: u64 = ends.values().sum();
            let of_note = ends.iter().filter(|(end, _)| end.is_of_note());
            let of_note: Vec<String> = of_note.map(|(end, count)| format!("{count} {end:?}")).collect();
            writeln!(f, "| {kind} | {tried} | {} |", of_note.join(", "))?;
        }
        Ok(())
    }
}
