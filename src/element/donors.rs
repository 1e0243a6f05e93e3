// SPDX-License-Identifier: MPL-2.0

//! Clips that an attack begins with: the first window of each as the model sees it.

use std::path::Path;

use gst::prelude::*;

use super::stream::Stream;
use crate::attack::Donors;
use crate::files;
use crate::model::Metadata;
use crate::video::view::Samples;
use crate::window::Windowing;

/// How deep folders are looked into.
pub const DEPTH: usize = 2;
/// Clips of a folder at the most, as Wei et al. (AAAI 2020) take them.
const CLIPS: usize = 100;
/// A clip that stands still for so long is left out.
const STALL: std::time::Duration = std::time::Duration::from_secs(10);
/// How often it is looked whether one has failed.
const LOOK: gst::ClockTime = gst::ClockTime::from_mseconds(50);

/// Those of a folder and the folders in it, spread evenly over all of them, or of one file. Files that are no videos of a
/// window are passed over.
pub fn read(path: &Path, metadata: &Metadata, windowing: Windowing) -> Result<Donors, String> {
    let files = files::within(path, DEPTH).map_err(|e| wrong(path, &format!("found that it cannot be read ({e})")))?;
    let every = files.len().div_ceil(CLIPS).max(1);
    let windows: Vec<Vec<f32>> =
        files.iter().step_by(every).filter_map(|file| window(file, metadata, windowing)).collect();
    if windows.is_empty() {
        return Err(wrong(path, &format!("found none in {} files", files.len())));
    }
    Ok(Donors::new(windows))
}

fn wrong(path: &Path, found: &str) -> String {
    format!(
        "The donors property: expected a folder with videos of at least a window, or such a video, {found}: {}.",
        path.display()
    )
}

/// The first window of a video, `[T, 3, height, width]`; nothing where there is none.
fn window(file: &Path, metadata: &Metadata, windowing: Windowing) -> Option<Vec<f32>> {
    let path = file.canonicalize().ok()?;
    let uri = glib::filename_to_uri(&path, None).ok()?;
    let description =
        "uridecodebin name=source ! videoconvert ! video/x-raw,format=RGB ! appsink name=sink sync=false max-buffers=4";
    let pipeline = gst::parse::launch(description).ok()?.downcast::<gst::Pipeline>().ok()?;
    pipeline.by_name("source")?.set_property("uri", uri.as_str());
    let sink = pipeline.by_name("sink")?.downcast::<gst_app::AppSink>().ok()?;
    let read = || {
        pipeline.set_state(gst::State::Playing).ok()?;
        let mut stream: Option<Stream> = None;
        let mut seen: Vec<Samples> = Vec::new();
        let bus = pipeline.bus()?;
        let next = || {
            let began = std::time::Instant::now();
            while began.elapsed() < STALL && !sink.is_eos() {
                if let Some(sample) = sink.try_pull_sample(LOOK) {
                    return Some(sample);
                }
                if bus.pop_filtered(&[gst::MessageType::Error]).is_some() {
                    return None;
                }
            }
            None
        };
        for place in 0..windowing.span {
            let sample = next()?;
            if !place.is_multiple_of(windowing.step) {
                continue;
            }
            let (buffer, info) = (sample.buffer()?, gst_video::VideoInfo::from_caps(sample.caps()?).ok()?);
            let stream = stream.get_or_insert_with(|| Stream::new(info, metadata));
            seen.push(stream.sample(buffer).ok()?);
        }
        stream.map(|stream| stream.view.observe_window(&seen, metadata.window))
    };
    let found = read();
    let _ = pipeline.set_state(gst::State::Null);
    found
}
