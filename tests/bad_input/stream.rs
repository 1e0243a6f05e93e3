// SPDX-License-Identifier: MPL-2.0

//! What goes wrong while frames flow.

use gst::prelude::*;
use tch::{Kind, Tensor};

use crate::common::frames::{bytes, frame, info, rgb};
use crate::common::guarded;
use crate::common::models::{Good, good};
use crate::common::rig::Rig;
use crate::{linear, plain, tells};

/// Runs eight frames, the second half bright, through a model that fails on bright ones.
fn fails_on_the_way(wrap: impl Fn(Tensor, &Tensor) -> Vec<Tensor>, words: &[&str]) {
    let model = plain(linear(wrap));
    let rig = Rig::new(&model, &[]);
    let info = rgb();
    rig.begin(&info);
    let mut taken = Vec::new();
    for i in 0..40 {
        let mut buffer = frame(&info, i);
        if i >= 4 {
            let b = buffer.make_mut();
            b.map_writable().expect("a map").fill(240);
        }
        if rig.push(buffer.clone()).is_err() {
            break;
        }
        taken.push(buffer);
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
    assert!((8..40).contains(&taken.len()), "upstream never heard of it");
    rig.finish();
    let came = rig.buffers();
    assert_eq!(came.len(), taken.len(), "frames were lost with the model");
    for (a, b) in taken.iter().zip(&came).skip(4) {
        assert_eq!(bytes(a), bytes(b));
    }
    let errors = rig.errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    println!("{}", errors[0]);
    tells(&errors[0], words);
    rig.stop();
}

#[test]
fn not_a_number_on_the_way() {
    guarded(60, || {
        let log = |logits: Tensor, x: &Tensor| vec![logits + (-x.mean(Kind::Float) + 0.8).log()];
        fails_on_the_way(log, &["not finite", "expected 4 numbers", "nan", "metadata"]);
    });
}

#[test]
fn a_gradient_that_is_no_number_on_the_way() {
    guarded(60, || {
        // The root of a negative number, mended: finite itself, but its slope is not.
        let root = |logits: Tensor, x: &Tensor| {
            let root = (-x.mean(Kind::Float) + 0.8).sqrt();
            vec![logits + root.nan_to_num(0.0, None, None)]
        };
        fails_on_the_way(root, &["gradient", "not finite", "metadata"]);
    });
}

#[test]
fn frames_smaller_than_the_caps_say() {
    guarded(60, || {
        let rig = Rig::new(&good(Good::default()), &[]);
        rig.begin(&rgb());
        rig.feed([frame(&rgb(), 0)]);
        let small = gst::Buffer::from_slice([0u8; 10]);
        assert_eq!(rig.push(small), Err(gst::FlowError::Error));
        let errors = rig.errors();
        assert_eq!(errors.len(), 1);
        tells(&errors[0], &["expected", "768 bytes", "caps", "found 10 bytes"]);
        // What came before is not lost for it.
        rig.finish();
        assert_eq!(rig.buffers().len(), 1);
    });
}

#[test]
fn formats_that_are_not_taken() {
    guarded(60, || {
        use gst_video::VideoFormat;
        let model = good(Good::default());
        for wrong in
            [info(VideoFormat::Rgb, 8, 8), info(VideoFormat::I420, 64, 15), info(VideoFormat::P01010le, 32, 32)]
        {
            let rig = Rig::new(&model, &[]);
            let caps = wrong.to_caps().expect("caps");
            let sink = rig.element.static_pad("sink").expect("a pad");
            assert!(!sink.query_accept_caps(&caps), "{caps}");
            assert!(rig.event(gst::event::StreamStart::new("test")));
            let _ = rig.event(gst::event::Caps::new(&caps));
            rig.segment();
            let size = gst::Buffer::with_size(wrong.size()).expect("a buffer");
            assert_eq!(rig.push(size), Err(gst::FlowError::NotNegotiated), "{caps}");
            assert!(rig.buffers().is_empty());
        }
    });
}

#[test]
fn a_frame_before_caps() {
    guarded(60, || {
        let rig = Rig::new(&good(Good::default()), &[]);
        assert!(rig.event(gst::event::StreamStart::new("test")));
        rig.segment();
        let pushed = rig.push(frame(&rgb(), 0));
        assert_eq!(pushed, Err(gst::FlowError::NotNegotiated));
    });
}
