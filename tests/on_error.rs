// SPDX-License-Identifier: MPL-2.0

//! `on-error`: what becomes of a stream whose attack fails.

mod common;

use common::frames::{bytes, frame, rgb};
use common::guarded;
use common::models::{Good, good};
use common::rig::Rig;

/// A bin that loses its way in the middle of each window.
const DIES: &str = "identity error-after=3";

#[test]
fn frames_pass_clean_and_are_counted() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[("survive", DIES), ("on-error", "passthrough")]);
        let frames: Vec<_> = (0..14).map(|i| frame(&rgb(), i)).collect();
        rig.begin(&rgb());
        rig.feed(frames.iter().cloned());
        rig.finish();
        let came: Vec<Vec<u8>> = rig.buffers().iter().map(|buffer| bytes(buffer)).collect();
        assert!(came == frames.iter().map(|buffer| bytes(buffer)).collect::<Vec<_>>());
        let stats = rig.stats();
        assert_eq!(stats.get::<u64>("failures"), Ok(4));
        assert_eq!(stats.get::<u64>("frames-out"), Ok(14));
        let messages = rig.messages();
        let of = |kind| messages.iter().filter(|message| message.type_() == kind).count();
        assert_eq!((of(gst::MessageType::Error), of(gst::MessageType::Warning)), (0, 1), "{messages:?}");
    });
}

#[test]
fn by_default_the_stream_ends_with_one_error() {
    guarded(60, || {
        let model = good(Good::default());
        let rig = Rig::new(&model, &[("survive", DIES)]);
        rig.begin(&rgb());
        let pushed = (0..40).map(|i| rig.push(frame(&rgb(), i))).take_while(Result::is_ok).count();
        assert!(pushed < 40);
        assert_eq!(rig.errors().len(), 1, "{:?}", rig.errors());
    });
}
