// SPDX-License-Identifier: MPL-2.0

//! What must come out, worked out by other means than the element's.

use serde_json::Value;

use super::frames::bytes;
use super::rig::Rig;

/// How a stream is cut into windows.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// T of the model.
    pub window: usize,
    pub step: usize,
    /// 0 for windows side by side.
    pub stride: usize,
    pub pad: bool,
}

/// The frames of each window of an undisturbed stream of `n` frames, as the manual of `sparseadv` tells.
pub fn windows(n: usize, cut: Cut) -> Vec<Vec<usize>> {
    let Cut { window, step, .. } = cut;
    let span = (window - 1) * step + 1;
    let stride = match cut.stride {
        0 => window * step,
        s => s,
    };
    let mut all: Vec<Vec<usize>> = Vec::new();
    let mut start = 0;
    // The first frame that no window has looked at.
    let mut fresh = 0;
    while start + span <= n {
        all.push((0..window).map(|k| start + k * step).collect());
        fresh = start + span;
        start += stride;
    }
    if cut.pad && start < n && fresh < n {
        all.push((start..n).step_by(step).collect());
    }
    all
}

/// The same of a stream of sections between which no window reaches, each of so many frames.
pub fn windows_of_sections(sections: &[usize], cut: Cut) -> Vec<Vec<usize>> {
    let mut start = 0;
    let mut all = Vec::new();
    for n in sections {
        all.extend(windows(*n, cut).into_iter().map(|window| window.into_iter().map(|i| start + i).collect()));
        start += n;
    }
    all
}

/// What the meta of a frame says; `None` for a frame in no window.
#[derive(Clone, Debug, PartialEq)]
pub struct Meta {
    pub window: u64,
    pub frame: u32,
    pub keyframe: bool,
    pub weight: f64,
    pub success: bool,
}

pub fn meta(buffer: &gst::BufferRef) -> Option<Meta> {
    let meta = gst::meta::CustomMeta::from_buffer(buffer, "GstSparseAdvMeta").ok()?;
    let s = meta.structure();
    Some(Meta {
        window: s.get("window").expect("window"),
        frame: s.get("frame").expect("frame"),
        keyframe: s.get("keyframe").expect("keyframe"),
        weight: s.get("weight").expect("weight"),
        success: s.get("success").expect("success"),
    })
}

/// The JSON lines of the window messages on a rig's bus, in the order of the windows.
pub fn reports(rig: &Rig) -> Vec<Value> {
    reports_in(&rig.messages())
}

pub fn reports_in(messages: &[gst::Message]) -> Vec<Value> {
    let mut reports: Vec<Value> = messages
        .iter()
        .filter_map(|m| m.structure())
        .filter(|s| s.name() == "sparseadv-window")
        .map(|s| s.get::<String>("json").expect("json"))
        .map(|line| serde_json::from_str(&line).expect("a JSON line"))
        .collect();
    reports.sort_by_key(|r| number(r, "window"));
    reports
}

pub fn number(report: &Value, key: &str) -> u64 {
    report[key].as_u64().unwrap_or_else(|| panic!("{key}"))
}

pub fn real(report: &Value, key: &str) -> f64 {
    report[key].as_f64().unwrap_or_else(|| panic!("{key}"))
}

pub fn list(report: &Value, key: &str) -> Vec<usize> {
    let list = report[key].as_array().unwrap_or_else(|| panic!("{key}"));
    list.iter().filter_map(Value::as_u64).map(|n| n as usize).collect()
}

/// Everything about a buffer but its bytes and metas.
pub fn header(b: &gst::BufferRef) -> String {
    // What the memory is like is no property of the frame.
    let flags = b.flags() - gst::BufferFlags::TAG_MEMORY;
    let (offset, end) = (b.offset(), b.offset_end());
    format!("{:?} {:?} {:?} {offset} {end} {flags:?}", b.pts(), b.dts(), b.duration())
}

/// Checks what came out against what went in, and which frames were changed against metas, windows and reports.
pub fn check_frames(given: &[gst::Buffer], came: &[gst::Buffer], windows: &[Vec<usize>], reports: &[Value]) {
    assert_eq!(came.len(), given.len(), "frames lost or made up");
    assert_eq!(reports.len(), windows.len(), "{windows:?}");
    let mut reported = vec![false; given.len()];
    for (window, report) in windows.iter().zip(reports) {
        assert_eq!(number(report, "frames") as usize, window.len());
        let first = &given[window[0]];
        assert_eq!(report["start_pts"].as_u64(), first.pts().map(|t| t.nseconds()));
        let keyframes = list(report, "keyframes");
        assert_eq!(number(report, "perturbed_frames") as usize, keyframes.len());
        for k in keyframes {
            reported[window[k]] = true;
        }
    }
    for (i, (a, b)) in given.iter().zip(came).enumerate() {
        assert_eq!(header(a), header(b), "frame {i}");
        let inside = windows.iter().any(|w| w.contains(&i));
        let meta = meta(b);
        assert_eq!(meta.is_some(), inside, "frame {i}: {meta:?}");
        let changed = bytes(a) != bytes(b);
        let claimed = meta.is_some_and(|m| m.keyframe);
        assert_eq!(changed, claimed, "frame {i}: changed, but the meta disagrees");
        assert_eq!(changed, reported[i], "frame {i}: changed, but the report disagrees");
        if !changed {
            let memory = |b: &gst::Buffer| b.peek_memory(0).as_ptr();
            assert_eq!(memory(a), memory(b), "frame {i} was copied for nothing");
        }
    }
}
