// SPDX-License-Identifier: MPL-2.0

//! Video files: what one holds, what has to become of it for an encoder to take it, and whether the file written holds
//! all of it.
//!
//! [`look()`] reads a file before anything is written. [`Planner::plan`] says how it gets through the element into
//! encoder and muxer. [`Plan::feed`] and [`Plan::sink`] are the two ends of that pipeline; [`play()`] runs it. [`verify`]
//! reads what was written. `Attacker::convert` does it all: `let plan = planner.plan(look(path)?)?; let frames =
//! attacker.convert(&plan, part, message)?;`, and `plan.notes` says what was converted.

mod boxes;
mod branches;
mod chunks;
mod fit;
mod kind;
mod last;
mod location;
mod look;
mod output;
mod parse;
mod plan;
mod play;
mod read;
mod stall;
mod times;

pub use branches::{branches, try_bin};
pub use look::{Source, look};
pub use parse::{bin, element};
pub use plan::{Plan, Planner};
pub use play::play;
pub use read::{Reader, Sizes, judge, verify};
