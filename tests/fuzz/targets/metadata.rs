// SPDX-License-Identifier: MPL-2.0

//! A model's metadata: what is accepted fits its own bounds, gives finite numbers, and reads back as it was.

#![no_main]

use gstsparseadv::model::Metadata;
use gstsparseadv::model::features::Coverage;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(metadata) = Metadata::from_json(bytes, "fuzz") else {
        return;
    };
    let (scale, bias) = metadata.scale_and_bias();
    assert!(scale.iter().chain(&bias).all(|v| v.is_finite()), "{scale:?} {bias:?}");
    for (height, width) in [(16, 16), (16, 8192), (240, 320), (8192, 16)] {
        let geometry = metadata.geometry(height, width);
        assert!(geometry.crop[0] <= geometry.resized[0] && geometry.crop[1] <= geometry.resized[1], "{geometry:?}");
    }
    if let Some(window) = metadata.feature_window {
        let coverage = Coverage::from_window(metadata.window, 64, window);
        assert!(coverage.steps().iter().flatten().all(|frame| *frame < metadata.window));
    }
    let text = serde_json::to_vec(&metadata).expect("JSON");
    assert_eq!(Metadata::from_json(&text, "written").expect("what was written"), metadata);
});
