// SPDX-License-Identifier: MPL-2.0

//! Live pipelines that end in a sink that drops what is late, and how late it was.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gst::ClockTime;
use gst::prelude::*;
use gst_base::prelude::*;

use super::models::{Good, ModelFile, good};

/// What a live stream came to.
#[derive(Debug)]
pub struct Figures {
    /// Frames that the element under test took in, and that arrived at the sink.
    pub sent: usize,
    pub came: usize,
    /// Of these the sink dropped as later than 20 ms.
    pub dropped: u64,
    /// How many milliseconds after it was due each frame arrived; negative where it was early. Of these, the latest.
    pub arrived: Vec<f64>,
    pub latest: f64,
    /// The same of when the sink showed frames.
    pub shown: Vec<f64>,
    /// The latency that the element told last.
    pub promised: Duration,
    pub messages: Vec<gst::Message>,
}

/// What happens to the `n`th frame on its way to the element.
pub type Disturb = Box<dyn Fn(u64, &gst::Pad, &mut gst::Buffer, &gst::Element) -> bool + Send + Sync>;

/// Runs a live source of `frames` frames at `rate` a second through an element named `attack`. `caps` may lie about the
/// rate. `disturb` may change a frame, send events before it, and says whether it goes on.
pub fn run(frames: u32, rate: u32, caps: Option<&str>, element: &str, disturb: Disturb) -> Figures {
    let caps = caps.map_or(String::new(), |rate| format!("! capssetter caps=video/x-raw,framerate={rate}"));
    let text = format!(
        "videotestsrc is-live=true num-buffers={frames} pattern=ball \
         ! video/x-raw,format=RGB,width=16,height=16,framerate={rate}/1 {caps} ! identity name=before ! {element} name=attack \
         ! fakesink name=end sync=true qos=false max-lateness=20000000 signal-handoffs=true"
    );
    let pipeline = gst::parse::launch(&text).expect("a pipeline").downcast::<gst::Pipeline>().expect("a pipeline");
    let by_name = |name| pipeline.by_name(name).expect("an element");
    let (before, attack, end) = (by_name("before"), by_name("attack"), by_name("end"));
    let (number, sent) = (AtomicU64::new(0), Arc::new(AtomicU64::new(0)));
    let (counted, attacked) = (sent.clone(), attack.clone());
    before.static_pad("src").expect("a pad").add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let n = number.fetch_add(1, Ordering::SeqCst);
        let Some(buffer) = info.buffer_mut() else { return gst::PadProbeReturn::Ok };
        if !disturb(n, pad, buffer, &attacked) {
            return gst::PadProbeReturn::Drop;
        }
        counted.fetch_add(1, Ordering::SeqCst);
        gst::PadProbeReturn::Ok
    });
    let sink = end.static_pad("sink").expect("a pad");
    // Nanoseconds after a frame is due by its time stamp alone.
    let clocked = pipeline.downgrade();
    let after = move |pad: &gst::Pad, buffer: Option<&gst::Buffer>| {
        let segment = pad.sticky_event::<gst::event::Segment>(0).expect("a segment");
        let segment = segment.segment().downcast_ref::<ClockTime>().expect("a segment in time");
        let due = segment.to_running_time(buffer.and_then(|b| b.pts())).expect("a running time");
        let now = clocked.upgrade().and_then(|pipeline| pipeline.current_running_time()).expect("a running time");
        now.nseconds() as f64 - due.nseconds() as f64
    };
    let (arrived, shown) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let (noted, of_arrived) = (arrived.clone(), after.clone());
    sink.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        noted.lock().expect("a list").push(of_arrived(pad, info.buffer()));
        gst::PadProbeReturn::Ok
    });
    let noted = shown.clone();
    end.connect("handoff", false, move |values| {
        let buffer = values[1].get::<gst::Buffer>().expect("a buffer");
        let pad = values[2].get::<gst::Pad>().expect("a pad");
        noted.lock().expect("a list").push(after(&pad, Some(&buffer)));
        None
    });
    let bus = pipeline.bus().expect("a bus");
    let started = pipeline.set_state(gst::State::Playing);
    if started.is_err() {
        // The bus has the reason.
        let error = bus.pop_filtered(&[gst::MessageType::Error]);
        panic!("{:?}", error.as_ref().map(|message| message.view()));
    }
    let mut messages = Vec::new();
    // It may have nothing to say until it is over.
    let patience = ClockTime::from_seconds(u64::from(frames / rate) + 60);
    loop {
        let message = bus.timed_pop(patience).expect("an end");
        match message.view() {
            gst::MessageView::Eos(_) => break,
            gst::MessageView::Error(e) => panic!("{} {:?}", e.error(), e.debug()),
            gst::MessageView::Latency(_) => pipeline.recalculate_latency().expect("a latency"),
            _ => {}
        }
        messages.push(message);
    }
    let own = |name| {
        let mut query = gst::query::Latency::new();
        let pad = attack.static_pad(name).expect("a pad");
        let answered = if name == "src" { pad.query(query.query_mut()) } else { pad.peer_query(query.query_mut()) };
        assert!(answered);
        query.result().1
    };
    let promised = own("src").saturating_sub(own("sink")).into();
    // The first frame comes before the sink is told of it.
    let waited = end.downcast_ref::<gst_base::BaseSink>().expect("a sink").latency();
    let dropped = end.property::<gst::Structure>("stats").get::<u64>("dropped").expect("a count");
    assert!(pipeline.set_state(gst::State::Null).is_ok());
    let due = |times: &Mutex<Vec<f64>>| {
        let times = times.lock().expect("a list");
        times.iter().map(|time| (time - waited.nseconds() as f64) / 1e6).collect::<Vec<f64>>()
    };
    let (arrived, shown) = (due(&arrived), due(&shown));
    let latest = arrived.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (sent, came) = (sent.load(Ordering::SeqCst) as usize, arrived.len());
    Figures { sent, came, dropped, arrived, latest, shown, promised, messages }
}

/// The good model, one forward pass of which takes about this long.
pub fn slow_model(pass: Duration) -> ModelFile {
    super::init();
    let variant = |ballast| Good { ballast, features: false, ..Good::default() };
    let model = good(variant(20));
    let black = [vec![0; 768]];
    model.logits(&black);
    let began = std::time::Instant::now();
    model.logits(&black);
    let once = began.elapsed().as_secs_f64() / 20.0;
    good(variant((pass.as_secs_f64() / once) as usize + 1))
}

/// Things that happen to live streams, for frames of thirty a second.
pub fn disturbances() -> Vec<(&'static str, Disturb)> {
    vec![
        ("nothing", Box::new(|_, _, _, _| true)),
        ("a stall of 2 s", Box::new(|n, _, _, _| !(30..90).contains(&n))),
        (
            "DISCONT every 7 frames",
            Box::new(|n, _, buffer, _| {
                if n % 7 == 6 {
                    buffer.make_mut().set_flags(gst::BufferFlags::DISCONT);
                }
                true
            }),
        ),
        (
            "SEGMENT every 22 frames",
            Box::new(|n, pad, _, _| {
                if n % 22 == 21
                    && let Some(event) = pad.sticky_event::<gst::event::Segment>(0)
                {
                    pad.push_event(gst::event::Segment::new(event.segment()));
                }
                true
            }),
        ),
        (
            "the same CAPS every 22 frames",
            Box::new(|n, pad, _, _| {
                if n % 22 == 21
                    && let Some(event) = pad.sticky_event::<gst::event::Caps>(0)
                {
                    pad.push_event(gst::event::Caps::new(&event.caps_owned()));
                }
                true
            }),
        ),
        (
            "enabled off and on",
            Box::new(|n, _, _, attack| {
                if n % 25 == 20 && attack.has_property("enabled") {
                    attack.set_property("enabled", n % 50 == 45);
                }
                true
            }),
        ),
    ]
}
