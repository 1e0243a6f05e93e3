// SPDX-License-Identifier: MPL-2.0

//! A live stream of RTP over the loopback: from a sender by an attacker to a receiver, each a pipeline of its own.

mod common;

use std::sync::{Arc, Mutex};

use gst::ClockTime;
use gst::prelude::*;
use gst_video::VideoFrameExt;

use common::models::{Good, good};
use common::oracle::{number, reports_in};
use common::{guarded, wait_until};

const RAW: &str = "video/x-raw,format=I420,width=64,height=48,framerate=25/1";
const FRAME: ClockTime = ClockTime::from_mseconds(40);
/// Frames that the receiver waits for.
const FRAMES: usize = 48;
/// What a codec of these leaves as it is.
const ENCODER: &str = "x264enc tune=zerolatency speed-preset=veryfast pass=qual quantizer=1 key-int-max=25 \
     ! rtph264pay config-interval=-1 ! udpsink host=127.0.0.1 async=false sync=false";
const DECODER: &str = "udpsrc name=from address=127.0.0.1 port=0 buffer-size=1000000 \
     caps=\"application/x-rtp,media=video,clock-rate=90000,encoding-name=H264,payload=96\" \
     ! rtpjitterbuffer name=jitter latency=200 ! rtph264depay ! avdec_h264 max-threads=1";

/// Frames by their luma.
type Frames = Arc<Mutex<Vec<Vec<u8>>>>;

fn started(text: &str) -> gst::Pipeline {
    println!("{text}");
    let pipeline = gst::parse::launch(text).expect("a pipeline").downcast::<gst::Pipeline>().expect("a pipeline");
    assert!(pipeline.set_state(gst::State::Playing).is_ok());
    pipeline
}

fn named(pipeline: &gst::Pipeline, name: &str) -> gst::Element {
    pipeline.by_name(name).expect("an element")
}

/// The port that a pipeline has taken, of those that are free.
fn port(pipeline: &gst::Pipeline) -> i32 {
    named(pipeline, "from").property("port")
}

/// Packets that never came.
fn lost(pipeline: &gst::Pipeline) -> u64 {
    named(pipeline, "jitter").property::<gst::Structure>("stats").get("num-lost").expect("a count")
}

/// The frames that come by a pad from now on.
fn passing(pipeline: &gst::Pipeline, name: &str, pad: &str) -> Frames {
    let frames = Frames::default();
    let noted = frames.clone();
    let pad = named(pipeline, name).static_pad(pad).expect("a pad");
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let caps = pad.current_caps().expect("caps");
        let format = gst_video::VideoInfo::from_caps(&caps).expect("a format");
        let buffer = info.buffer().expect("a frame");
        noted.lock().expect("frames").push(luma(buffer, &format));
        gst::PadProbeReturn::Ok
    });
    frames
}

/// Without the padding that a decoder's rows may have.
fn luma(buffer: &gst::BufferRef, format: &gst_video::VideoInfo) -> Vec<u8> {
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, format).expect("a frame");
    let rows = frame.plane_data(0).expect("luma").chunks(frame.plane_stride()[0] as usize);
    rows.take(frame.height() as usize).flat_map(|row| &row[..frame.width() as usize]).copied().collect()
}

/// What came of a stream.
struct Came {
    /// As it reached the element, as it left it, and as the receiver decoded it.
    clean: Vec<Vec<u8>>,
    left: Vec<Vec<u8>>,
    received: Vec<Vec<u8>>,
    /// What the element adds to the latency.
    latency: ClockTime,
    stats: gst::Structure,
    messages: Vec<gst::Message>,
}

/// Sends a stream through an element until the receiver, a pipeline's end, has had its frames.
fn sent(element: &str, end: &str) -> Came {
    // Whoever receives is there before anything is sent: no packet is lost, and the nth frame is the nth everywhere.
    let receiver = started(&format!("{DECODER} ! {end} ! fakesink name=end sync=false"));
    let received = passing(&receiver, "end", "sink");
    let attacker = started(&format!("{DECODER} ! {element} name=attack ! queue ! {ENCODER} port={}", port(&receiver)));
    let (clean, left) = (passing(&attacker, "attack", "sink"), passing(&attacker, "attack", "src"));
    let sender =
        started(&format!("videotestsrc is-live=true pattern=ball ! {RAW} ! {ENCODER} port={}", port(&attacker)));
    let all = [&sender, &attacker, &receiver];
    let mut messages = Vec::new();
    wait_until("the frames", || {
        for pipeline in all {
            let bus = pipeline.bus().expect("a bus");
            while let Some(message) = bus.pop() {
                match message.view() {
                    gst::MessageView::Error(e) => panic!("{} {:?}", e.error(), e.debug()),
                    gst::MessageView::Latency(_) => pipeline.recalculate_latency().expect("a latency"),
                    _ => messages.push(message),
                }
            }
        }
        received.lock().expect("frames").len() >= FRAMES
    });
    let attack = named(&attacker, "attack");
    let of = |pad: &str| {
        let mut query = gst::query::Latency::new();
        let pad = attack.static_pad(pad).expect("a pad");
        let answered = if pad.name() == "src" { pad.query(&mut query) } else { pad.peer_query(&mut query) };
        assert!(answered && query.result().0, "not live");
        query.result().1
    };
    let latency = of("src") - of("sink");
    for pipeline in [&receiver, &attacker] {
        assert_eq!(lost(pipeline), 0);
    }
    // The sender first, or packets would come to nobody.
    all.into_iter().for_each(|pipeline| assert!(pipeline.set_state(gst::State::Null).is_ok()));
    let stats = attack.property("stats");
    let take = |frames: Frames| std::mem::take(&mut *frames.lock().expect("frames"));
    Came { clean: take(clean), left: take(left), received: take(received), latency, stats, messages }
}

/// The mean absolute difference of two frames.
fn apart(a: &[u8], b: &[u8]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}

#[test]
fn a_perturbation_reaches_the_receiver_and_delays_nothing() {
    guarded(60, || {
        let model = good(Good::default());
        let element = format!("sparseadv perturbation={}", model.adding(20));
        let came = sent(&element, "identity");
        assert_eq!(came.latency, ClockTime::ZERO);
        assert_eq!(came.clean.len(), came.left.len(), "{}", came.stats);
        for (n, received) in came.received.iter().enumerate() {
            let (kept, changed) = (apart(received, &came.left[n]), apart(received, &came.clean[n]));
            assert!(kept < 3.0 && changed > 10.0, "frame {n}: {kept} levels lost of {changed}");
        }
    });
}

#[test]
fn a_window_reaches_the_receiver_after_its_latency() {
    guarded(60, || {
        let model = good(Good::default());
        let element = format!("sparseadv model={} confidence=2", model.location());
        let came = sent(&element, &format!("clipclassifier model={}", model.location()));
        // The window, and the time until the next one is due.
        assert_eq!(came.latency, FRAME * (3 + 4));
        let [frames_in, frames_out] = ["frames-in", "frames-out"].map(|name| came.stats.get::<u64>(name).expect(name));
        // What the end has cut off was inside.
        assert!(frames_in - frames_out <= 2 * 4 + 4, "{}", came.stats);
        assert_eq!(came.left, came.left[..frames_out as usize]);
        for (n, received) in came.received.iter().enumerate() {
            assert!(apart(received, &came.left[n]) < 3.0, "frame {n}");
        }
        let changed = came.left.iter().zip(&came.clean).filter(|(left, clean)| left != clean).count();
        let reports = reports_in(&came.messages);
        let fooled: Vec<_> = reports.iter().filter(|report| report["success"] == true).collect();
        assert!(changed >= fooled.len() && fooled.len() * 2 >= reports.len(), "{changed} frames, {reports:?}");
        // And the receiver's classifier sees another label than the stream had.
        let windows = came.messages.iter().filter_map(|m| m.structure());
        let labels: Vec<serde_json::Value> = windows
            .filter(|s| s.name() == "clipclassifier-window")
            .map(|s| serde_json::from_str(&s.get::<String>("json").expect("JSON")).expect("JSON"))
            .collect();
        let label =
            |window: u64| labels.iter().find(|l| number(l, "first_frame") == window * 4).map(|l| l["label"].clone());
        let seen: Vec<_> =
            fooled.iter().filter_map(|r| Some((r["clean_label"].clone(), label(number(r, "window"))?))).collect();
        let still = seen.iter().filter(|(clean, found)| clean != found).count();
        assert!(seen.len() >= 3 && still * 2 >= seen.len(), "{seen:?}");
    });
}

/// Whoever is gone while a stream is sent is no error to whoever sends, and the stream goes on.
#[test]
fn a_receiver_that_goes_is_no_error() {
    guarded(60, || {
        let model = good(Good::default());
        let path = model.adding(20);
        let receiver = started(&format!("{DECODER} ! fakesink sync=false"));
        let attacker = started(&format!(
            "{DECODER} ! sparseadv name=attack perturbation={path} ! queue ! {ENCODER} port={}",
            port(&receiver)
        ));
        let sender = started(&format!("videotestsrc is-live=true ! {RAW} ! {ENCODER} port={}", port(&attacker)));
        let left =
            || named(&attacker, "attack").property::<gst::Structure>("stats").get::<u64>("frames-out").unwrap_or(0);
        wait_until("frames", || left() >= 8);
        assert!(receiver.set_state(gst::State::Null).is_ok());
        let before = left();
        wait_until("more frames", || left() >= before + 12);
        let error = attacker.bus().expect("a bus").pop_filtered(&[gst::MessageType::Error]);
        assert!(error.is_none(), "{error:?}");
        for pipeline in [sender, attacker] {
            assert!(pipeline.set_state(gst::State::Null).is_ok());
        }
    });
}
