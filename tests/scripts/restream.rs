// SPDX-License-Identifier: MPL-2.0

//! `restream.sh`: from SRT and RTSP to RTP, all on the loopback.

use std::fs;
use std::sync::{Arc, Mutex};

use gst::prelude::*;

use crate::common::frames::bytes;
use crate::common::{guarded, pipeline::pulled, wait_until};
use crate::rtsp::Server;
use crate::{CLIP, FRAMES, MODEL, WINDOWS, decoded, numbers, run};

type Frames = Arc<Mutex<Vec<Vec<u8>>>>;

const LEARNED: &str = "examples/data/figures-c3d.safetensors";

fn free_port() -> u16 {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.local_addr().expect("an address").port()
}

/// Waits for a script to listen on a port.
fn listens(port: u16) {
    wait_until("a listener", || {
        let sockets = fs::read_to_string("/proc/net/udp").unwrap_or_default();
        sockets.contains(&format!(":{port:04X} "))
    });
}

/// A file by SRT to a second script, and from there by RTP to a receiver.
#[test]
fn restream() {
    guarded(180, || {
        let (srt, rtp) = (free_port(), free_port());
        let receiver = gst::parse::launch(&format!(
            "udpsrc address=127.0.0.1 port={rtp} caps=\"application/x-rtp,media=video,clock-rate=90000,encoding-name=H264\" \
             ! rtpjitterbuffer ! rtph264depay ! h264parse ! video/x-h264,alignment=au ! appsink name=end sync=false"
        ));
        let receiver = receiver.ok().and_downcast::<gst::Pipeline>().expect("a pipeline");
        assert!(receiver.set_state(gst::State::Playing).is_ok());
        let relay = std::thread::spawn(move || {
            let (from, to) = (format!("srt://:{srt}"), format!("udp://127.0.0.1:{rtp}"));
            run("restream.sh", 0, &[&from, &to])
        });
        listens(srt);
        let to = format!("srt://127.0.0.1:{srt}");
        let said = run("restream.sh", 0, &["--file", CLIP, &to]);
        assert_eq!(numbers(&said)[..3], [FRAMES, FRAMES, WINDOWS], "{said}");
        let relayed = numbers(&relay.join().expect("the relay"))[1];
        // SRT forgets what it has not delivered when the sender goes.
        assert!(relayed <= FRAMES && relayed > FRAMES / 2, "{relayed}");
        let end = receiver.by_name("end").and_downcast::<gst_app::AppSink>();
        let end = end.expect("an appsink");
        let received = std::iter::from_fn(|| end.try_pull_sample(gst::ClockTime::SECOND)).count();
        assert!(receiver.set_state(gst::State::Null).is_ok());
        // The parser holds the last until something follows.
        assert!(received == relayed || received + 1 == relayed, "{received}");
    });
}

/// Receives RTP on a free port. Returns the pipeline, its port, and the frames so far.
fn receiver() -> (gst::Pipeline, i32, Frames) {
    let receiver = gst::parse::launch(
        "udpsrc name=from address=127.0.0.1 port=0 buffer-size=4000000 \
         caps=\"application/x-rtp,media=video,clock-rate=90000,encoding-name=H264\" ! rtpjitterbuffer ! rtph264depay \
         ! avdec_h264 max-threads=1 ! videoconvert ! video/x-raw,format=I420 ! fakesink name=end sync=false",
    );
    let receiver = receiver.ok().and_downcast::<gst::Pipeline>().expect("a pipeline");
    let frames = Frames::default();
    let noted = frames.clone();
    let end = receiver.by_name("end").and_then(|end| end.static_pad("sink")).expect("a pad");
    end.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        noted.lock().expect("frames").extend(info.buffer().map(|buffer| bytes(buffer)));
        gst::PadProbeReturn::Ok
    });
    assert!(receiver.set_state(gst::State::Playing).is_ok());
    let port = receiver.by_name("from").expect("a source").property("port");
    (receiver, port, frames)
}

/// How many levels a frame is from the nearest of others, in the mean over its luma.
fn nearest(frame: &[u8], others: &[Vec<u8>]) -> f64 {
    let luma = frame.len() * 2 / 3;
    let apart = |other: &Vec<u8>| {
        let sum: u64 = frame[..luma].iter().zip(other).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        sum as f64 / luma as f64
    };
    others.iter().map(apart).fold(f64::INFINITY, f64::min)
}

/// Frames that came with the perturbation in them: they are far from those of the clip, and near those of the clip perturbed.
fn are_perturbed(frames: &[Vec<u8>]) {
    let (clean, perturbed) = (decoded(CLIP), perturbed());
    let levels: Vec<[f64; 2]> =
        frames.iter().map(|frame| [nearest(frame, &clean), nearest(frame, &perturbed)]).collect();
    println!("{levels:?}");
    assert!(levels.iter().all(|[from_clean, from_perturbed]| *from_perturbed * 2.0 < *from_clean), "{levels:?}");
}

/// The clip as the perturbation leaves it.
fn perturbed() -> Vec<Vec<u8>> {
    pulled(&format!(
        "filesrc location={CLIP} ! decodebin ! videoconvert ! video/x-raw,format=I420 ! sparseadv perturbation={LEARNED} \
         ! appsink name=end sync=false"
    ))
}

/// From RTSP to RTP by a script, which hears the server's goodbye.
#[test]
fn rtsp_with_a_perturbation() {
    guarded(120, || {
        let (receiver, port, frames) = receiver();
        let server = Server::new();
        let uri = server.uri();
        let served = std::thread::spawn(move || server.serve());
        let to = format!("udp://127.0.0.1:{port}");
        let said = run("restream.sh", 0, &["--perturbation", LEARNED, "--seconds", "30", &uri, &to]);
        served.join().expect("the server");
        let [came, left] = numbers(&said)[..] else { panic!("{said}") };
        // Those that a decoder needs for its start may be missing.
        assert!(came == left && came > FRAMES / 2 && came <= FRAMES, "{said}");
        wait_until("the frames", || frames.lock().expect("frames").len() + 1 >= left);
        assert!(receiver.set_state(gst::State::Null).is_ok());
        are_perturbed(&frames.lock().expect("frames"));
    });
}

/// From SRT to RTP, and what the windows came to by a model.
#[test]
fn srt_with_a_perturbation_and_a_model() {
    guarded(120, || {
        let (receiver, port, frames) = receiver();
        let srt = free_port();
        let relay = std::thread::spawn(move || {
            let (from, to) = (format!("srt://:{srt}"), format!("udp://127.0.0.1:{port}"));
            run("restream.sh", 0, &["--perturbation", LEARNED, &from, &to, MODEL])
        });
        listens(srt);
        let sender = gst::parse::launch(&format!(
            "filesrc location={CLIP} ! decodebin ! videoconvert ! video/x-raw,format=I420 ! identity sync=true \
             ! x264enc tune=zerolatency speed-preset=veryfast pass=qual quantizer=15 key-int-max=25 ! h264parse config-interval=-1 \
             ! mpegtsmux alignment=7 ! srtsink uri=srt://127.0.0.1:{srt}"
        ));
        let sender = sender.expect("a pipeline");
        assert!(sender.set_state(gst::State::Playing).is_ok());
        let bus = sender.bus().expect("a bus");
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &kinds).expect("an end");
        assert_eq!(end.type_(), gst::MessageType::Eos, "{end:?}");
        assert!(sender.set_state(gst::State::Null).is_ok());
        let said = relay.join().expect("the relay");
        let [came, left, windows, fooled, _] = numbers(&said)[..] else { panic!("{said}") };
        assert!(came == left && came > FRAMES / 2 && came <= FRAMES, "{said}");
        assert!(windows > 0 && windows <= WINDOWS && fooled <= windows, "{said}");
        wait_until("the frames", || frames.lock().expect("frames").len() + 1 >= left);
        assert!(receiver.set_state(gst::State::Null).is_ok());
        // SRT forgets what it has not delivered when the sender goes: the last frame may be half a one.
        let frames = frames.lock().expect("frames");
        are_perturbed(&frames[..frames.len() - 1]);
    });
}
