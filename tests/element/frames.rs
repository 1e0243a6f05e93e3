// SPDX-License-Identifier: MPL-2.0

//! Every frame comes out, once, in order, and unchanged unless reported otherwise.

use gst::prelude::*;

use crate::common::frames::{FRAME, bytes, frame, rgb};
use crate::common::models::{Good, ModelFile, good};
use crate::common::oracle::{Cut, check_frames, header, meta, reports, windows};
use crate::common::rig::Rig;
use crate::common::{guarded, wait_until};

/// Sends a stream of `n` frames through windows cut like this; returns how many frames left changed.
fn run(model: &ModelFile, n: usize, cut: Cut) -> usize {
    let (step, stride) = (cut.step.to_string(), cut.stride.to_string());
    let tail = if cut.pad { "pad" } else { "passthrough" };
    let properties = [("frame-step", step.as_str()), ("stride", &stride), ("tail", tail), ("max-iterations", "40")];
    let rig = Rig::new(model, &properties);
    let info = rgb();
    let given: Vec<_> = (0..n as u64).map(|i| frame(&info, i)).collect();
    rig.begin(&info);
    rig.feed(given.iter().cloned());
    rig.finish();
    let came = rig.buffers();
    rig.stop();
    for (i, buffer) in given.iter().enumerate() {
        let untouched = frame(&info, i as u64);
        assert_eq!(bytes(buffer), bytes(&untouched), "wrote into a frame that upstream still holds");
    }
    check_frames(&given, &came, &windows(n, cut), &reports(&rig));
    came.iter().filter(|b| meta(b).is_some_and(|m| m.keyframe)).count()
}

/// Streams of every length around the window's, with both tails.
fn lengths(window: usize, step: usize, stride: usize) {
    guarded(120, move || {
        let variant = Good { window, ..Good::default() };
        let (model, t) = (good(variant), window);
        for pad in [true, false] {
            let mut changed = 0;
            for n in [0, 1, 3, t - 1, t, t + 1, 2 * t, 5 * t + 3] {
                let cut = Cut { window, step, stride, pad };
                println!("{n} frames, {cut:?}");
                changed += run(&model, n, cut);
            }
            // Or all that is checked above would hold of an element that does nothing.
            assert!(changed >= 3, "{changed} frames changed");
        }
    });
}

#[test]
fn windows_side_by_side() {
    lengths(4, 1, 0);
}

#[test]
fn windows_of_sixteen() {
    lengths(16, 1, 0);
}

#[test]
fn overlapping_by_half() {
    lengths(4, 1, 2);
}

#[test]
fn overlapping_by_all_but_one() {
    lengths(4, 1, 1);
}

#[test]
fn overlapping_by_a_stride_that_does_not_divide_the_window() {
    lengths(4, 1, 3);
}

#[test]
fn windows_with_gaps_between() {
    lengths(4, 1, 7);
}

#[test]
fn every_second_frame() {
    lengths(4, 2, 0);
}

#[test]
fn every_third_frame_in_overlapping_windows() {
    lengths(3, 3, 4);
}

#[test]
fn every_second_frame_with_gaps_between() {
    lengths(3, 2, 9);
}

#[test]
fn windows_of_one_frame() {
    guarded(60, || {
        let window = 1;
        let variant = Good { window, features: false, ..Good::default() };
        let model = good(variant);
        let cut = Cut { window, step: 1, stride: 0, pad: true };
        assert!(run(&model, 5, cut) > 0);
    });
}

/// A frame's own metas go with it, those of a perturbed frame too.
#[test]
fn metas_stay() {
    guarded(60, || {
        gst::meta::CustomMeta::register_simple("SparseAdvTestMeta");
        let model = good(Good::default());
        let rig = Rig::new(&model, &[("keyframes", "all")]);
        let info = rgb();
        rig.begin(&info);
        let reference = gst::Caps::new_empty_simple("timestamp/x-test");
        let given: Vec<gst::Buffer> = (0..4)
            .map(|i| {
                let mut buffer = frame(&info, i);
                let b = buffer.make_mut();
                let time = gst::ClockTime::from_nseconds(i * FRAME + 17);
                gst::meta::ReferenceTimestampMeta::add(b, &reference, time, None);
                let custom = gst::meta::CustomMeta::add(b, "SparseAdvTestMeta");
                custom.expect("a meta").mut_structure().set("number", i);
                let (format, flags) = (info.format(), gst_video::VideoFrameFlags::TFF);
                gst_video::VideoMeta::add(b, flags, format, info.width(), info.height()).expect("a meta");
                buffer
            })
            .collect();
        rig.feed(given.iter().cloned());
        rig.finish();
        let came = rig.buffers();
        assert_eq!(came.len(), 4);
        assert!(came.iter().any(|b| meta(b).is_some_and(|m| m.keyframe)));
        for (i, buffer) in came.iter().enumerate() {
            let time = buffer.meta::<gst::meta::ReferenceTimestampMeta>();
            let time = time.expect("the reference time").timestamp();
            assert_eq!(time.nseconds(), i as u64 * FRAME + 17);
            let custom = gst::meta::CustomMeta::from_buffer(buffer, "SparseAdvTestMeta");
            let number = custom.expect("the custom meta").structure().get::<u64>("number");
            assert_eq!(number, Ok(i as u64));
            let video = buffer.meta::<gst_video::VideoMeta>().expect("the video meta");
            assert_eq!(video.width(), info.width());
            assert_eq!(header(buffer), header(&given[i]));
        }
    });
}

/// Without time stamps windows are windows all the same; the report leaves out what it does not know.
#[test]
fn frames_without_time_stamps() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[]);
        let info = rgb();
        rig.begin(&info);
        rig.feed((0..6).map(|i| {
            let mut buffer = frame(&info, i);
            let b = buffer.make_mut();
            b.set_pts(None);
            b.set_dts(None);
            b.set_duration(None);
            buffer
        }));
        rig.finish();
        assert_eq!(rig.buffers().len(), 6);
        let reports = reports(&rig);
        assert_eq!(reports.len(), 2);
        assert!(reports.iter().all(|r| r["start_pts"].is_null()));
    });
}

/// Frames from a bounded pool go back to it: the element's references end with its need.
#[test]
fn frames_return_to_their_pool() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[]);
        let info = rgb();
        rig.begin(&info);
        let pool = gst::BufferPool::new();
        let mut config = pool.config();
        let caps = info.to_caps().expect("caps");
        // A window under attack, one that gathers, and one to spare.
        config.set_params(Some(&caps), info.size() as u32, 12, 12);
        pool.set_config(config).expect("a configuration");
        pool.set_active(true).expect("a pool");
        for i in 0..40u64 {
            // Hangs, and the watchdog barks, once twelve buffers never come back.
            let mut buffer = pool.acquire_buffer(None).expect("a buffer");
            let b = buffer.get_mut().expect("a buffer of our own");
            let content = bytes(&frame(&info, i));
            b.map_writable().expect("a map").copy_from_slice(&content);
            b.set_pts(gst::ClockTime::from_nseconds(i * FRAME));
            rig.feed([buffer]);
            // A sink that is done with a frame.
            rig.forget();
        }
        rig.finish();
        rig.forget();
        wait_until("all buffers are back", || {
            let taken: Vec<_> = (0..12)
                .map(|_| {
                    pool.acquire_buffer(Some(&gst::BufferPoolAcquireParams::with_flags(
                        gst::BufferPoolAcquireFlags::DONTWAIT,
                    )))
                })
                .collect();
            taken.iter().all(Result::is_ok)
        });
        pool.set_active(false).expect("a pool");
    });
}
