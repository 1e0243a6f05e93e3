// SPDX-License-Identifier: MPL-2.0

//! A report as `clipclassifier` reads it, in two pieces as a file grows. What is read does not depend on where they meet.
//! A line that is a window's report reads back as it was.

#![no_main]

use gstsparseadv::clipclassifier::reference::{AttackReport, Place};
use gstsparseadv::window::report::WindowReport;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (whole, mut grown) = (read(&[bytes]), read(&[]));
    let at = bytes.first().map_or(0, |byte| usize::from(*byte) % bytes.len());
    let (first, second) = bytes.split_at(at);
    for piece in [first, second] {
        let _ = grown.take(piece);
    }
    assert_eq!(whole.complaint(1, 1), grown.complaint(1, 1));
    for first_frame in [None, Some(0), Some(u64::MAX)] {
        for time in [None, Some(0), Some(u64::MAX)] {
            let place = Place { first_frame, span: u64::MAX, time };
            assert_eq!(format!("{:?}", whole.known(place)), format!("{:?}", grown.known(place)));
        }
    }
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(report) = serde_json::from_slice::<WindowReport>(line) else {
            continue;
        };
        let written = serde_json::to_vec(&report).expect("JSON");
        let again: WindowReport = serde_json::from_slice(&written).expect("what was written");
        assert_eq!(format!("{again:?}"), format!("{report:?}"));
    }
});

fn read(pieces: &[&[u8]]) -> AttackReport {
    let mut report = AttackReport::open("report.jsonl".as_ref());
    for piece in pieces {
        let _ = report.take(*piece);
    }
    report
}
