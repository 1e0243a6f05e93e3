// SPDX-License-Identifier: MPL-2.0

//! Switching, flushing, changing caps, stopping and starting again.

use std::time::{Duration, Instant};

use gst::prelude::*;
use gst_video::VideoFormat;

use crate::common::frames::{bytes, frame, info, rgb};
use crate::common::guarded;
use crate::common::models::{Good, good};
use crate::common::oracle::{list, meta, number, reports};
use crate::common::rig::{Out, Rig, count};

/// An attack that no test outlives.
const ENDLESS: [(&str, &str); 4] =
    [("max-iterations", "2000000000"), ("patience", "0"), ("confidence", "900"), ("epsilon", "1")];

#[test]
fn disabled_passes_every_frame_at_once() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[("enabled", "false")]);
        let info = rgb();
        rig.begin(&info);
        for i in 0..9 {
            let given = frame(&info, i);
            rig.feed([given.clone()]);
            // No second frame is needed for the first to come out.
            rig.wait_for_buffers(i as usize + 1);
            let came = rig.buffers().pop().expect("a buffer");
            assert_eq!(came.as_ptr(), given.as_ptr(), "another buffer came out");
            assert_eq!(bytes(&came), bytes(&frame(&info, i)));
        }
        rig.finish();
        assert!(reports(&rig).is_empty());
        assert_eq!(rig.stats().get::<u64>("frames-out"), Ok(9));
    });
}

#[test]
fn switching_while_running() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[]);
        let info = rgb();
        rig.begin(&info);
        rig.feed((0..6).map(|i| frame(&info, i)));
        rig.wait_for_buffers(4);
        assert_eq!(rig.buffers().len(), 4, "two frames wait for their window");
        rig.element.set_property("enabled", false);
        rig.wait_for_buffers(6);
        rig.feed((6..9).map(|i| frame(&info, i)));
        rig.wait_for_buffers(9);
        rig.element.set_property("enabled", true);
        rig.feed((9..13).map(|i| frame(&info, i)));
        rig.finish();
        let attacked: Vec<bool> = rig.buffers().iter().map(|b| meta(b).is_some()).collect();
        let expected: Vec<bool> = (0..13).map(|i| !(4..9).contains(&i)).collect();
        assert_eq!(attacked, expected);
        assert_eq!(reports(&rig).len(), 2);
    });
}

/// However long it would have gone on.
#[test]
fn disabling_ends_an_attack_under_way() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &ENDLESS);
        let info = rgb();
        rig.begin(&info);
        let given: Vec<_> = (0..4).map(|i| frame(&info, i)).collect();
        rig.feed(given.iter().cloned());
        std::thread::sleep(Duration::from_millis(50));
        assert!(rig.buffers().is_empty());
        rig.element.set_property("enabled", false);
        rig.wait_for_buffers(4);
        for (a, b) in given.iter().zip(rig.buffers()) {
            assert_eq!(bytes(a), bytes(&b));
        }
    });
}

/// A switch must wake the worker even if it comes while the worker goes to sleep.
#[test]
fn no_switch_is_missed() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[]);
        let info = rgb();
        rig.begin(&info);
        for i in 0..10_000 {
            rig.element.set_property("enabled", true);
            rig.feed([frame(&info, i)]);
            // From nothing to a few times what the worker takes to look at the queue.
            let until = Instant::now() + Duration::from_nanos((i % 60) * 500);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
            rig.element.set_property("enabled", false);
            rig.wait_for("the frame that waited", |out| !out.is_empty() && count(out) == 1);
            rig.forget();
        }
    });
}

#[test]
fn a_flush_drops_what_waits_and_nothing_later() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[]);
        let info = rgb();
        rig.begin(&info);
        for round in 0..5 {
            rig.feed((0..round).map(|i| frame(&info, i)));
            assert!(rig.event(gst::event::FlushStart::new()));
            assert_eq!(rig.push(frame(&info, 99)), Err(gst::FlowError::Flushing));
            assert!(rig.event(gst::event::FlushStop::new(true)));
            rig.forget();
            rig.segment();
            rig.feed((10..15).map(|i| frame(&info, i)));
            rig.wait_for_buffers(4);
            let offsets: Vec<u64> = rig.buffers().iter().map(|b| b.offset()).collect();
            assert_eq!(offsets, [10, 11, 12, 13], "round {round}");
            let first = meta(&rig.buffers()[0]).expect("a meta");
            assert_eq!(first.frame, 0, "the window began before the flush");
        }
        rig.finish();
    });
}

/// Downstream learns the new size though the flush came before the caps were its turn.
#[test]
fn caps_survive_a_flush() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[]);
        let (small, large) = (rgb(), info(VideoFormat::I420, 40, 30));
        rig.begin(&small);
        rig.feed((0..2).map(|i| frame(&small, i)));
        rig.caps(&large);
        rig.feed((2..4).map(|i| frame(&large, i)));
        assert!(rig.event(gst::event::FlushStart::new()));
        assert!(rig.event(gst::event::FlushStop::new(true)));
        rig.segment();
        rig.forget();
        rig.feed((10..14).map(|i| frame(&large, i)));
        rig.finish();
        let came = rig.buffers();
        assert_eq!(came.len(), 4);
        assert!(came.iter().all(|b| b.size() == large.size()));
        let caps = rig.element.static_pad("src").expect("a pad").current_caps();
        assert_eq!(caps, large.to_caps().ok());
        assert_eq!(rig.errors(), [""; 0]);
    });
}

#[test]
fn a_flush_ends_an_attack_under_way() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &ENDLESS);
        let info = rgb();
        rig.begin(&info);
        rig.feed((0..4).map(|i| frame(&info, i)));
        std::thread::sleep(Duration::from_millis(100));
        let began = Instant::now();
        assert!(rig.event(gst::event::FlushStart::new()));
        assert!(rig.event(gst::event::FlushStop::new(true)));
        rig.segment();
        rig.element.set_property("max-iterations", 1);
        rig.feed((10..14).map(|i| frame(&info, i)));
        rig.wait_for_buffers(4);
        assert!(began.elapsed() < Duration::from_secs(5), "the attack went on");
        let reports = rig.first_reports(1);
        assert_eq!(reports.len(), 1, "the flushed window was reported");
        // Stopping must not wait for the end of an attack either.
        rig.element.set_property("max-iterations", 2_000_000_000);
        rig.feed((20..24).map(|i| frame(&info, i)));
        std::thread::sleep(Duration::from_millis(50));
        let began = Instant::now();
        rig.stop();
        assert!(began.elapsed() < Duration::from_secs(5));
    });
}

#[test]
fn new_caps_end_a_window_and_the_next_has_the_new_size() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[]);
        let sizes = [rgb(), info(VideoFormat::Nv12, 48, 20), info(VideoFormat::Bgra, 21, 33), rgb()];
        let mut given = Vec::new();
        for (round, info) in sizes.iter().enumerate() {
            match round {
                0 => rig.begin(info),
                _ => rig.caps(info),
            }
            for i in 0..6 {
                given.push(frame(info, round as u64 * 6 + i));
                rig.feed(given.last().cloned());
            }
        }
        rig.finish();
        let came = rig.buffers();
        assert_eq!(came.len(), 24);
        let reports = reports(&rig);
        let frames: Vec<u64> = reports.iter().map(|r| number(r, "frames")).collect();
        assert_eq!(frames, [4, 2, 4, 2, 4, 2, 4, 2]);
        for (i, (a, b)) in given.iter().zip(&came).enumerate() {
            let keyframe = meta(b).expect("a meta").keyframe;
            assert_eq!(bytes(a) != bytes(b), keyframe, "frame {i}");
        }
        // Each size was attacked.
        for half in reports.chunks(2) {
            assert!(half.iter().any(|r| !list(r, "keyframes").is_empty()));
        }
    });
}

#[test]
fn a_discontinuity_ends_a_window() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[]);
        let info = rgb();
        rig.begin(&info);
        rig.feed((0..12).map(|i| {
            let mut buffer = frame(&info, i);
            if [0, 3, 10].contains(&i) {
                buffer.make_mut().set_flags(gst::BufferFlags::DISCONT);
            }
            buffer
        }));
        rig.finish();
        let frames: Vec<u64> = reports(&rig).iter().map(|r| number(r, "frames")).collect();
        assert_eq!(frames, [3, 4, 3, 2]);
        let discont: Vec<u64> = rig
            .buffers()
            .iter()
            .filter(|b| b.flags().contains(gst::BufferFlags::DISCONT))
            .map(|b| b.offset())
            .collect();
        assert_eq!(discont, [0, 3, 10]);
    });
}

#[test]
fn stops_and_starts_again() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::idle(&model, &[]);
        let info = rgb();
        let mut first = None;
        for round in 0..3 {
            rig.play();
            rig.begin(&info);
            rig.feed((0..10).map(|i| frame(&info, i)));
            match round {
                // With frames inside.
                1 => rig.wait_for_buffers(8),
                _ => rig.finish(),
            }
            let stopped = rig.element.set_state(gst::State::Ready);
            assert!(stopped.is_ok());
            let windows = if round == 1 { 2 } else { 3 };
            let stats = rig.stats();
            assert_eq!(stats.get::<u64>("windows"), Ok(windows), "round {round}");
            assert_eq!(stats.get::<u64>("frames-in"), Ok(10), "round {round}");
            let reports = reports(&rig);
            assert_eq!(reports.len(), windows as usize);
            assert_eq!(number(&reports[0], "window"), 0);
            let came: Vec<Vec<u8>> = rig.buffers().iter().take(8).map(|b| bytes(b)).collect();
            // An attack depends on nothing that came before.
            assert_eq!(first.get_or_insert_with(|| came.clone()), &came);
            rig.forget();
        }
        rig.stop();
    });
}

/// Through NULL the model is loaded anew, and another one may be set.
#[test]
fn another_model_after_null() {
    guarded(60, || {
        let four = good(Good::default());
        let six = good(Good { window: 6, btchw: true, ..Good::default() });
        let rig = Rig::new(&four, &[]);
        let info = rgb();
        for (model, window) in [(&four, 4), (&six, 6)] {
            rig.stop();
            rig.element.set_property("model", model.location());
            rig.play();
            rig.begin(&info);
            rig.feed((0..window).map(|i| frame(&info, i)));
            rig.wait_for_buffers(window as usize);
            assert_eq!(number(&rig.first_reports(1)[0], "frames"), window);
            rig.forget();
        }
    });
}

/// What is left at the end of a stream comes out before EOS, not after and not never.
#[test]
fn eos_comes_last() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[]);
        let info = rgb();
        rig.begin(&info);
        rig.feed((0..7).map(|i| frame(&info, i)));
        rig.finish();
        let out = rig.out();
        assert_eq!(count(&out), 7);
        let last = &out[out.len() - 1];
        assert!(matches!(last, Out::Event(e) if e.type_() == gst::EventType::Eos));
        // The totals are on the bus by then.
        let messages = rig.messages();
        let stats = messages.iter().filter_map(|m| m.structure());
        let stats: Vec<_> = stats.filter(|s| s.name() == "sparseadv-stats").collect();
        assert_eq!(stats.len(), 1);
        assert_eq!(stats[0].get::<u64>("frames-in"), Ok(7));
        assert_eq!(stats[0].get::<u64>("frames-out"), Ok(7));
        assert_eq!(stats[0].get::<u64>("windows"), Ok(2));
    });
}
