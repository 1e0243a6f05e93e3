// SPDX-License-Identifier: MPL-2.0

//! A TorchScript archive, as far as it is looked into before libtorch gets it. What is read stays within its bounds.

#![no_main]

use std::io::Cursor;

use gstsparseadv::model::Metadata;
use gstsparseadv::model::members::{CODE_BYTES, METADATA_BYTES, Members};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut members) = Members::open("model.pt".as_ref(), Cursor::new(bytes)) else {
        return;
    };
    let _ = members.check();
    if let Ok(Some(text)) = members.metadata() {
        assert!(text.len() as u64 <= METADATA_BYTES);
        let _ = Metadata::from_json(&text, "model.pt");
    }
    if let Ok(code) = members.code() {
        assert!(code.len() as u64 <= CODE_BYTES);
    }
});
