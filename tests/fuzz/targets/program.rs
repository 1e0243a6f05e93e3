// SPDX-License-Identifier: MPL-2.0

//! The pickles and the code of an archive, which are looked through before libtorch believes them. An archive's checksums
//! would keep most mutations from getting there. What is refused stays refused, whatever stands behind it.

#![no_main]

use gstsparseadv::model::{nesting, pickle};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (first, rest) = bytes.split_first().unwrap_or((&0, &[]));
    // Storages have lengths by their names, and some are not there.
    let length = |key: &str| (key.len() < 3).then_some(u64::from(*first) * key.len() as u64);
    let longer = [rest, b"\nx.".as_slice()].concat();
    if let (Err(_), Ok(())) = (pickle::check(rest, &length), pickle::check(&longer, &length)) {
        // Unless it was cut off.
        assert!(pickle::check(rest, &length).is_err_and(|found| found.contains("cut off")));
    }
    if let Ok(code) = std::str::from_utf8(rest) {
        let found = nesting::check(code);
        assert!(found.is_ok() || nesting::check(&format!("{code}\nx = 1\n")).is_err(), "{found:?}");
    }
});
