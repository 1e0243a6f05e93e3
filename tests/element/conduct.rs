// SPDX-License-Identifier: MPL-2.0

//! How the element behaves where others join, leave, stop and ask.

use gst::FlowError;
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};

use crate::common::frames::{FRAME, bytes, frame, info, rgb};
use crate::common::models::{Good, ModelFile, good};
use crate::common::oracle::{number, reports};
use crate::common::rig::{Out, Rig};
use crate::common::{guarded, wait_until};

fn pad(rig: &Rig, name: &str) -> gst::Pad {
    rig.element.static_pad(name).expect("a pad")
}

/// Pushes until upstream hears that nothing is linked.
fn unlinked(model: &ModelFile) -> (Rig, gst::Pad) {
    let rig = Rig::new(model, &[("max-iterations", "1")]);
    rig.begin(&rgb());
    let source = pad(&rig, "src");
    let sink = source.peer().expect("a peer");
    source.unlink(&sink).expect("unlinked");
    let mut n = 0;
    wait_until("NOT_LINKED", || {
        n += 1;
        rig.push(frame(&rgb(), n)) == Err(FlowError::NotLinked)
    });
    (rig, sink)
}

#[test]
fn frames_flow_again_when_linked_again() {
    guarded(60, || {
        let model = good(Good::default());
        let (rig, sink) = unlinked(&model);
        // Sticky events wait, so that nothing is missing behind. Others do not pile up.
        assert!(rig.event(gst::event::Tag::new(gst::TagList::new())));
        assert!(rig.event(gst::event::Gap::builder(gst::ClockTime::ZERO).build()));
        pad(&rig, "src").link(&sink).expect("a link");
        // As the core sends it where a pad is linked.
        pad(&rig, "src").send_event(gst::event::Reconfigure::new());
        let before = rig.buffers().len();
        rig.feed((100..108).map(|i| frame(&rgb(), i)));
        rig.wait_for_buffers(before + 8);
        rig.finish();
        let types: Vec<gst::EventType> = rig.events().iter().map(|event| event.type_()).collect();
        assert!(types.contains(&gst::EventType::Tag) && !types.contains(&gst::EventType::Gap), "{types:?}");
        assert_eq!(rig.errors(), [""; 0]);
    });
}

/// What is linked while a push is on its way is not undone by the answer to that push.
#[test]
fn frames_flow_on_when_linked_during_a_push() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[("max-iterations", "1")]);
        let source = pad(&rig, "src");
        rig.answer(move |before| match before {
            0 => {
                source.send_event(gst::event::Reconfigure::new());
                Err(FlowError::NotLinked)
            }
            _ => Ok(gst::FlowSuccess::Ok),
        });
        rig.begin(&rgb());
        rig.feed((0..12).map(|i| frame(&rgb(), i)));
        rig.finish();
        assert_eq!(rig.buffers().len(), 11);
        assert_eq!(rig.errors(), [""; 0]);
    });
}

/// A tee ignores a branch that is not linked, unless that branch refuses events.
#[test]
fn events_are_taken_while_nothing_is_linked() {
    guarded(60, || {
        let model = good(Good::default());
        let (rig, _) = unlinked(&model);
        assert!(rig.event(gst::event::Tag::new(gst::TagList::new())));
        let at = gst::ClockTime::ZERO;
        assert!(rig.event(gst::event::Gap::builder(at).build()));
        assert!(rig.event(gst::event::Eos::new()));
        assert_eq!(rig.errors(), [""; 0]);
    });
}

#[test]
fn an_unlinked_branch_of_a_tee_leaves_the_others_alone() {
    guarded(60, || {
        let model = good(Good::default());
        for frames in [3, 60] {
            crate::common::pipeline::run(&format!(
                "videotestsrc num-buffers={frames} ! video/x-raw,format=RGB,width=16,height=16 ! tee name=t \
                 t. ! queue ! fakesink t. ! sparseadv model={} max-iterations=1",
                model.location()
            ));
        }
    });
}

#[test]
fn a_quick_stop_is_no_error() {
    guarded(120, || {
        let model = good(Good::default());
        // No capsfilter: a GstBaseTransform that is on its way down makes an error of the source's first event.
        let text = format!("videotestsrc ! sparseadv model={} max-iterations=1 ! fakesink", model.location());
        let pipeline = gst::parse::launch(&text).expect("a pipeline");
        let bus = pipeline.bus().expect("a bus");
        for n in 0..60 {
            let _ = pipeline.set_state(gst::State::Paused);
            std::thread::sleep(std::time::Duration::from_micros(n * 100));
            assert!(pipeline.set_state(gst::State::Ready).is_ok());
            let error = bus.pop_filtered(&[gst::MessageType::Error]);
            assert!(error.is_none(), "{error:?}");
        }
        assert!(pipeline.set_state(gst::State::Null).is_ok());
    });
}

/// Whoever asks for a drain gets its buffers back first.
#[test]
fn a_drain_query_waits_in_line() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[("max-iterations", "1")]);
        rig.begin(&rgb());
        rig.feed((0..6).map(|i| frame(&rgb(), i)));
        let mut query = gst::query::Drain::new();
        let _ = rig.src.peer_query(query.query_mut());
        assert_eq!(rig.buffers().len(), 6);
        // With nothing inside, and once more.
        for _ in 0..20 {
            let mut query = gst::query::Drain::new();
            let _ = rig.src.peer_query(query.query_mut());
        }
        rig.finish();
    });
}

#[test]
fn equal_caps_behind_half_a_window_hold_up_no_query_for_room() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[("max-iterations", "1")]);
        rig.begin(&rgb());
        rig.feed((0..6).map(|i| frame(&rgb(), i)));
        rig.caps(&rgb());
        let mut query = gst::query::Allocation::new(Some(&rgb().to_caps().expect("caps")), true);
        assert!(rig.src.peer_query(query.query_mut()));
        rig.finish();
    });
}

#[test]
fn room_is_proposed_in_mid_window_too() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[("max-iterations", "1")]);
        rig.begin(&rgb());
        rig.feed((0..6).map(|i| frame(&rgb(), i)));
        let other = info(VideoFormat::I420, 32, 16);
        rig.caps(&other);
        for caps in [other, rgb()] {
            let mut query = gst::query::Allocation::new(Some(&caps.to_caps().expect("caps")), true);
            assert!(rig.src.peer_query(query.query_mut()));
            let (_, size, min, max) = query.allocation_pools().next().expect("a pool");
            assert_eq!(size as usize, caps.size());
            assert!(min >= 8 && max == 0, "{min} to {max}");
        }
        rig.finish();
    });
}

#[test]
fn a_pool_smaller_than_a_window_does_not_run_dry() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[("max-iterations", "1")]);
        rig.begin(&rgb());
        let pool = gst::BufferPool::new();
        let mut config = pool.config();
        config.set_params(Some(&rgb().to_caps().expect("caps")), rgb().size() as u32, 2, 2);
        pool.set_config(config).expect("a configuration");
        pool.set_active(true).expect("an active pool");
        for n in 0..20 {
            let mut buffer = pool.acquire_buffer(None).expect("a buffer");
            let b = buffer.get_mut().expect("a buffer of our own");
            b.copy_from_slice(0, &bytes(&frame(&rgb(), n))).expect("a copy");
            b.set_pts(gst::ClockTime::from_nseconds(n * FRAME));
            rig.feed([buffer]);
        }
        rig.finish();
        assert_eq!(rig.buffers().len(), 20);
        pool.set_active(false).expect("a pool at rest");
    });
}

#[test]
fn the_same_caps_again_end_no_window() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[("max-iterations", "1")]);
        rig.begin(&rgb());
        rig.feed((0..6).map(|i| frame(&rgb(), i)));
        rig.caps(&rgb());
        rig.feed((6..8).map(|i| frame(&rgb(), i)));
        rig.finish();
        let frames: Vec<u64> = reports(&rig).iter().map(|r| number(r, "frames")).collect();
        assert_eq!(frames, [4, 4]);
    });
}

#[test]
fn a_late_sink_makes_no_decoder_drop_frames() {
    guarded(60, || {
        let model = good(Good::default());
        for name in ["sparseadv", "clipclassifier"] {
            let element = gst::ElementFactory::make(name).build().expect("the element");
            element.set_property("model", model.location());
            let mut harness = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
            harness.set_src_caps(rgb().to_caps().expect("caps"));
            let late = gst::event::Qos::new(gst::QOSType::Underflow, 3.0, 9, gst::ClockTime::SECOND);
            harness.push_upstream_event(late);
            let kinds: Vec<_> =
                std::iter::from_fn(|| harness.try_pull_upstream_event()).map(|event| event.type_()).collect();
            assert!(!kinds.contains(&gst::EventType::Qos), "{name}: {kinds:?}");
        }
    });
}

/// The first error on the bus says what is wrong with the caps, and what helps.
#[test]
fn caps_that_cannot_be_used_are_told_of() {
    guarded(60, || {
        let model = good(Good::default());
        let raw = |format, width, height| VideoInfo::builder(format, width, height).build();
        let ten = raw(VideoFormat::I42010le, 32, 32).expect("info").to_caps().expect("caps");
        let packed = raw(VideoFormat::Yuy2, 32, 32).expect("info").to_caps().expect("caps");
        let small = raw(VideoFormat::I420, 8, 32).expect("info").to_caps().expect("caps");
        let mut far = rgb().to_caps().expect("caps");
        far.make_mut().set_features_simple(Some(gst::CapsFeatures::new(["memory:VAMemory"])));
        for (caps, words) in [
            (ten, ["I420_10LE", "videoconvert"]),
            (packed, ["YUY2", "videoconvert"]),
            (small, ["8x32", "16x16"]),
            (far, ["memory:VAMemory", "vapostproc"]),
        ] {
            for name in ["sparseadv", "clipclassifier"] {
                let element = gst::ElementFactory::make(name).build().expect("the element");
                element.set_property("model", model.location());
                let bus = gst::Bus::new();
                element.set_bus(Some(&bus));
                let src = gst::Pad::new(gst::PadDirection::Src);
                let sink = element.static_pad("sink").expect("a pad");
                src.link_full(&sink, gst::PadLinkCheck::empty()).expect("a link");
                src.set_active(true).expect("an active pad");
                assert!(element.set_state(gst::State::Playing).is_ok());
                // To ask is no error.
                assert!(!sink.query_accept_caps(&caps));
                assert!(bus.pop_filtered(&[gst::MessageType::Error]).is_none());
                src.push_event(gst::event::StreamStart::new("test"));
                src.push_event(gst::event::Caps::new(&caps));
                let error = bus.pop_filtered(&[gst::MessageType::Error]).expect("an error");
                let gst::MessageView::Error(error) = error.view() else { unreachable!() };
                let text = error.error().message().to_string();
                println!("{text}");
                assert!(text.starts_with("Expected") && words.iter().all(|w| text.contains(w)), "{text}");
                assert!(element.set_state(gst::State::Null).is_ok());
                element.set_bus(None);
            }
        }
    });
}

/// A frame stored bottom-up is attacked as the same frame stored top-down.
#[test]
fn frames_stored_bottom_up() {
    guarded(60, || {
        let model = good(Good::default());
        let info = rgb();
        let (row, rows) = (info.stride()[0] as usize, info.height() as usize);
        let turned = |all: &[u8]| -> Vec<u8> { all.chunks(row).rev().flatten().copied().collect() };
        let attack = |bottom_up: bool| {
            let rig = Rig::new(&model, &[("max-iterations", "40")]);
            rig.begin(&info);
            rig.feed((0..4).map(|i| {
                let upright = frame(&info, i);
                if !bottom_up {
                    return upright;
                }
                let mut buffer = gst::Buffer::from_mut_slice(turned(&bytes(&upright)));
                let b = buffer.make_mut();
                b.set_pts(upright.pts());
                let (offset, stride) = ([row * (rows - 1), 0, 0, 0], [-(row as i32), 0, 0, 0]);
                // SAFETY: arrays of four, of which one is read.
                unsafe {
                    gst_video::ffi::gst_buffer_add_video_meta_full(
                        b.as_mut_ptr(),
                        gst_video::ffi::GST_VIDEO_FRAME_FLAG_NONE,
                        gst_video::ffi::GST_VIDEO_FORMAT_RGB,
                        info.width(),
                        info.height(),
                        1,
                        &offset,
                        &stride,
                    );
                }
                buffer
            }));
            rig.finish();
            let out = rig.out();
            let frames = out.iter().filter_map(|out| match out {
                Out::Buffer(buffer) => Some(bytes(buffer)),
                Out::Event(_) => None,
            });
            frames.collect::<Vec<_>>()
        };
        let (upright, bottom_up) = (attack(false), attack(true));
        let clean: Vec<Vec<u8>> = (0..4).map(|i| bytes(&frame(&info, i))).collect();
        assert_ne!(upright, clean, "nothing was attacked");
        let bottom_up: Vec<Vec<u8>> = bottom_up.iter().map(|all| turned(all)).collect();
        assert_eq!(upright, bottom_up);
    });
}
