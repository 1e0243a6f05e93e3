// SPDX-License-Identifier: MPL-2.0

//! Random streams: whatever comes in any order, nothing is lost, moved or changed in secret.

use gst::prelude::ObjectExt;
use proptest::prelude::*;

use gst_video::VideoInfo;
use gstsparseadv::element::format::FORMATS;

use crate::common::chance;
use crate::common::frames::{bytes, frame, info, padded_frame};
use crate::common::guarded;
use crate::common::models::{Good, good};
use crate::common::oracle::{header, meta};
use crate::common::rig::{Out, Rig};

#[derive(Clone, Debug)]
enum Step {
    Frames { n: u8, discont: bool, padding: u8 },
    Caps { format: usize, width: u32, height: u32 },
    Tag,
    Custom,
    Gap,
    Segment,
    Enabled(bool),
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..7u8, prop::bool::weighted(0.2), 0..4u8)
            .prop_map(|(n, discont, padding)| Step::Frames { n, discont, padding }),
        2 => (0..FORMATS.len(), 16..40u32, 16..40u32)
            .prop_map(|(format, width, height)| Step::Caps { format, width, height }),
        1 => Just(Step::Tag),
        2 => Just(Step::Custom),
        1 => Just(Step::Gap),
        1 => Just(Step::Segment),
        1 => any::<bool>().prop_map(Step::Enabled),
        1 => Just(Step::Flush),
    ]
}

/// Something sent, so that it is known again when it comes out.
enum Sent {
    Buffer(gst::Buffer, VideoInfo),
    Event(gst::Event),
}

fn run(steps: &[Step], stride: u32, tail: &str) {
    let model = good(Good::default());
    let stride = stride.to_string();
    let properties = [("stride", stride.as_str()), ("tail", tail), ("max-iterations", "8")];
    let rig = Rig::new(&model, &properties);
    let mut info = info(FORMATS[0], 20, 18);
    // Since the last flush; what went before it may be lost.
    let mut sent: Vec<Sent> = Vec::new();
    let mut number = 0;
    let start = gst::event::StreamStart::new("test");
    let segment = || gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new());
    let caps = |info: &VideoInfo| gst::event::Caps::new(&info.to_caps().expect("caps"));
    let event = |sent: &mut Vec<Sent>, event: gst::Event| {
        sent.push(Sent::Event(event.clone()));
        assert!(rig.event(event));
    };
    event(&mut sent, start);
    event(&mut sent, caps(&info));
    event(&mut sent, segment());
    let mut flushed = 0;
    for step in steps {
        match *step {
            Step::Frames { n, discont, padding } => {
                for k in 0..n {
                    let mut buffer = match padding {
                        0 => frame(&info, number),
                        p => padded_frame(&info, number, usize::from(p)),
                    };
                    if discont && k == 0 {
                        buffer.make_mut().set_flags(gst::BufferFlags::DISCONT);
                    }
                    number += 1;
                    sent.push(Sent::Buffer(buffer.clone(), info.clone()));
                    rig.feed([buffer]);
                }
            }
            Step::Caps { format, width, height } => {
                let next = crate::common::frames::info(FORMATS[format], width, height);
                // Pads keep caps that are none new to themselves.
                if next != info {
                    info = next;
                    event(&mut sent, caps(&info));
                }
            }
            Step::Tag => event(&mut sent, gst::event::Tag::new(gst::TagList::new())),
            Step::Custom => {
                let structure = gst::Structure::new_empty("test");
                event(&mut sent, gst::event::CustomDownstream::new(structure));
            }
            Step::Gap => {
                let gap = gst::event::Gap::builder(gst::ClockTime::from_nseconds(number));
                event(&mut sent, gap.build());
            }
            Step::Segment => event(&mut sent, segment()),
            Step::Enabled(enabled) => rig.element.set_property("enabled", enabled),
            Step::Flush => {
                assert!(rig.event(gst::event::FlushStart::new()));
                assert!(rig.event(gst::event::FlushStop::new(true)));
                flushed = rig.out().len();
                sent.clear();
                event(&mut sent, segment());
            }
        }
    }
    rig.finish();
    check(&rig.out()[flushed..], &sent);
    assert_eq!(rig.errors(), [""; 0]);
}

fn check(out: &[Out], sent: &[Sent]) {
    let ours = |e: &gst::Event| {
        let same = |s: &Sent| matches!(s, Sent::Event(x) if x.seqnum() == e.seqnum());
        // After a flush the pad sends sticky events from before once more.
        sent.iter().any(same)
    };
    let mut came = out.iter().filter(|o| match o {
        Out::Buffer(_) => true,
        Out::Event(e) => ours(e),
    });
    for (place, sent) in sent.iter().enumerate() {
        match (sent, came.next()) {
            (Sent::Event(a), Some(Out::Event(b))) => assert_eq!(a.seqnum(), b.seqnum(), "{place}"),
            (Sent::Buffer(a, info), Some(Out::Buffer(b))) => {
                assert_eq!(header(a), header(b), "{place}");
                let (a, size) = (bytes(a), info.size());
                assert!(a.len() >= size);
                let keyframe = meta(b).is_some_and(|m| m.keyframe);
                assert_eq!(a != bytes(b), keyframe, "{place}: changed, or not, in secret");
            }
            (Sent::Event(a), other) => panic!("{place}: {a:?} became {other:?}"),
            (Sent::Buffer(a, _), other) => panic!("{place}: {a:?} became {other:?}"),
        }
    }
    assert!(came.next().is_none(), "more came out than went in");
}

proptest! {
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 60,
        ..chance::cases(48)
    })]

    #[test]
    fn any_stream(
        steps in prop::collection::vec(step(), 1..14),
        stride in 0..7u32,
        pad in any::<bool>(),
    ) {
        let tail = if pad { "pad" } else { "passthrough" };
        guarded(60, move || run(&steps, stride, tail));
    }
}
