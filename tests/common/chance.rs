// SPDX-License-Identifier: MPL-2.0

//! What property tests draw. `cargo test` draws the same cases every time, so that it gives the same answer every time.
//! Other cases are drawn with `SPARSEADV_ROUNDS=N`: N times as many, from a seed that a failure names.
//! `PROPTEST_RNG_SEED` repeats it.

use proptest::test_runner::{Config, RngSeed};

/// The settings of a property test of `cases` cases.
pub fn cases(cases: u32) -> Config {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let rounds = number("SPARSEADV_ROUNDS");
    let seed = number("PROPTEST_RNG_SEED").unwrap_or_else(|| match rounds {
        Some(_) => {
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64)
        }
        None => 10,
    });
    if rounds.is_some() {
        println!("PROPTEST_RNG_SEED={seed} draws these cases again");
    }
    Config {
        cases: cases.saturating_mul(rounds.unwrap_or(1) as u32),
        rng_seed: RngSeed::Fixed(seed),
        // The seed is what is kept; a case that once failed becomes a test with a name.
        failure_persistence: None,
        ..Config::default()
    }
}
