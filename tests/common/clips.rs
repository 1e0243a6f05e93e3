// SPDX-License-Identifier: MPL-2.0

//! Clips cut from the embedded ones.

use std::fs;
use std::path::Path;

use super::pipeline::{pulled, run};

pub const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data");

/// The decoded frames of an embedded clip.
pub fn frames(name: &str) -> Vec<Vec<u8>> {
    super::init();
    pulled(&format!(
        "filesrc location={EXAMPLES}/figures-{name}.mp4 ! decodebin ! videoconvert ! video/x-raw,format=I420,width=320,height=240 \
         ! appsink name=end sync=false"
    ))
}

/// A lossless AVI.
pub fn encode(frames: &[Vec<u8>], path: &Path) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let raw = path.with_extension("raw");
    fs::write(&raw, frames.concat()).expect("raw frames");
    run(&format!(
        "filesrc location={} ! rawvideoparse format=i420 width=320 height=240 framerate=25/1 \
         ! x264enc pass=quant quantizer=0 bframes=0 speed-preset=superfast ! avimux ! filesink location={}",
        raw.display(),
        path.display()
    ));
    fs::remove_file(raw).expect("raw frames");
}
