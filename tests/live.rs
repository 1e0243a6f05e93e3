// SPDX-License-Identifier: MPL-2.0

//! Live pipelines: latency is told, deadlines are kept, no frame is lost.

mod common;

use std::time::{Duration, Instant};

use gst::ClockTime;
use gst::prelude::*;

use common::frames::{FRAME, frame, rgb};
use common::live::slow_model;
use common::models::{Good, ModelFile, good};
use common::oracle::{meta, number, real, reports_in};
use common::rig::Rig;
use common::{guarded, wait_until};

/// Live, min and max as downstream hears them.
fn latency(rig: &Rig) -> (bool, ClockTime, Option<ClockTime>) {
    let mut query = gst::query::Latency::new();
    let pad = rig.element.static_pad("src").expect("a pad");
    assert!(pad.query(query.query_mut()));
    query.result()
}

const UPSTREAM: ClockTime = ClockTime::from_mseconds(7);

fn frames(n: u64) -> ClockTime {
    ClockTime::from_nseconds(n * FRAME)
}

#[test]
fn latency_is_the_window_and_the_budget() {
    guarded(60, || {
        let model = good(Good::default());
        let cases: [(&[(&str, &str)], ClockTime); 6] = [
            // A live attack may take until the next window is complete.
            (&[], frames(3) + frames(4)),
            (&[("stride", "2")], frames(3) + frames(2)),
            (&[("frame-step", "2")], frames(6) + frames(8)),
            (&[("time-budget", "50000000")], frames(3) + ClockTime::from_mseconds(50)),
            (&[("time-budget", "0")], frames(3)),
            (&[("enabled", "false")], ClockTime::ZERO),
        ];
        for (properties, own) in cases {
            let rig = Rig::live(&model, properties, UPSTREAM);
            rig.begin(&rgb());
            let (live, min, max) = latency(&rig);
            assert!(live);
            assert_eq!(min, UPSTREAM + own, "{properties:?}");
            assert!(max.is_none_or(|max| max >= min), "{properties:?}");
        }
    });
}

#[test]
fn what_is_not_live_is_not_made_live() {
    guarded(60, || {
        let rig = Rig::new(&good(Good::default()), &[]);
        rig.begin(&rgb());
        let (live, min, _) = latency(&rig);
        assert!(!live);
        assert_eq!(min, frames(3), "no deadline, no budget");
    });
}

fn latency_messages(rig: &Rig) -> usize {
    let messages = rig.messages();
    let latency = messages.iter().filter(|m| m.type_() == gst::MessageType::Latency);
    latency.count()
}

#[test]
fn a_new_latency_is_told() {
    guarded(60, || {
        let rig = Rig::live(&good(Good::default()), &[], UPSTREAM);
        rig.begin(&rgb());
        assert_eq!(latency_messages(&rig), 1, "after the caps");
        latency(&rig);
        rig.element.set_property("enabled", false);
        assert_eq!(latency_messages(&rig), 0, "frames on their way are not to be late");
        rig.element.set_property("enabled", true);
        assert_eq!(latency_messages(&rig), 0, "nothing new");
        rig.element.set_property("time-budget", 5_000_000u64);
        assert_eq!(latency_messages(&rig), 1, "another budget");
    });
}

struct Run {
    /// From the first frame at the source to the last at the sink.
    took: Duration,
    latency: Duration,
    came: usize,
    messages: Vec<gst::Message>,
    stats: gst::Structure,
}

/// A live pipeline of sixty frames at thirty a second.
fn run(model: &ModelFile, properties: &str, sink: &str) -> Run {
    let text = format!(
        "videotestsrc is-live=true num-buffers=60 pattern=ball name=source ! video/x-raw,format=I420,width=64,height=48,framerate=30/1 \
         ! sparseadv name=attack model={} {properties} ! {sink}",
        model.location()
    );
    let pipeline = gst::parse::launch(&text).expect("a pipeline");
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
    let attack = pipeline.by_name("attack").expect("the element");
    let first = std::sync::Arc::new(std::sync::Mutex::new(None));
    let note = first.clone();
    let pad = attack.static_pad("sink").expect("a pad");
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        note.lock().expect("a time").get_or_insert_with(Instant::now);
        gst::PadProbeReturn::Ok
    });
    let count = std::sync::Arc::new(std::sync::Mutex::new((0, None)));
    let counted = count.clone();
    let end = pipeline.by_name("end").expect("a sink");
    // Where the sink has waited for the clock.
    end.connect("handoff", false, move |_| {
        let mut count = counted.lock().expect("a count");
        *count = (count.0 + 1, Some(Instant::now()));
        None
    });
    let bus = pipeline.bus().expect("a bus");
    assert!(pipeline.set_state(gst::State::Playing).is_ok());
    let mut messages = Vec::new();
    let mut latency = ClockTime::ZERO;
    loop {
        let message = bus.timed_pop(ClockTime::from_seconds(40)).expect("an end");
        match message.view() {
            gst::MessageView::Eos(_) => break,
            gst::MessageView::Error(e) => panic!("{} {:?}", e.error(), e.debug()),
            gst::MessageView::Latency(_) => {
                pipeline.recalculate_latency().expect("a latency");
                latency = pipeline.latency().unwrap_or(latency);
                let mut query = gst::query::Latency::new();
                if pipeline.query(query.query_mut()) {
                    latency = query.result().1;
                }
            }
            _ => {}
        }
        messages.push(message);
    }
    let stats = attack.property("stats");
    assert!(pipeline.set_state(gst::State::Null).is_ok());
    let first = first.lock().expect("a time").expect("a frame");
    let (came, last) = *count.lock().expect("a count");
    Run { took: last.expect("a frame") - first, latency: latency.into(), came, messages, stats }
}

const SINK: &str = "fakesink name=end sync=true signal-handoffs=true";

fn no_lateness(run: &Run) {
    // Sixty frames, the last one 59 frames after the first.
    let stream = Duration::from_millis(59 * 1000 / 30);
    let slack = Duration::from_millis(1500);
    let (took, latency) = (run.took, run.latency);
    println!("took {took:?} with a latency of {latency:?}; {}", run.stats);
    assert!(took < stream + latency + slack, "late: {took:?}, latency {latency:?}");
    assert!(took + slack > stream, "{took:?}");
}

#[test]
fn a_live_stream_to_an_encoder_loses_nothing() {
    guarded(60, || {
        let sink = format!("x264enc tune=zerolatency ! {SINK}");
        let run = run(&good(Good::default()), "", &sink);
        assert_eq!(run.came, 60);
        assert_eq!(reports_in(&run.messages).len(), 15);
        no_lateness(&run);
        assert!(run.stats.get::<f64>("fooling-rate").expect("a rate") > 0.5);
    });
}

/// A pass takes a second, a window is due every 133 ms.
#[test]
fn a_model_far_too_slow_delays_nothing() {
    guarded(90, || {
        let model = slow_model(Duration::from_secs(1));
        let sink = format!("x264enc tune=zerolatency ! {SINK}");
        let run = run(&model, "", &sink);
        assert_eq!(run.came, 60);
        no_lateness(&run);
        let overruns = run.stats.get::<u64>("overruns").expect("overruns");
        assert!(overruns >= 10, "{}", run.stats);
        assert_eq!(run.stats.get::<u64>("windows"), Ok(15));
        let reports = reports_in(&run.messages);
        let late = reports.iter().filter(|r| r["overrun"] == true);
        assert_eq!(late.count() as u64, overruns);
        for report in reports.iter().filter(|r| r["overrun"] == true) {
            // Never classified, and so in no rate.
            assert_eq!(report["success"], serde_json::Value::Null, "{report}");
        }
    });
}

/// Several iterations fit into the budget, not all: what was found by then is used.
#[test]
fn the_best_so_far_leaves_at_the_deadline() {
    guarded(60, || {
        let model = slow_model(Duration::from_millis(8));
        let run = run(&model, "patience=0 max-iterations=100000", SINK);
        assert_eq!(run.came, 60);
        no_lateness(&run);
        let fooled = run.stats.get::<u64>("fooled").expect("fooled");
        assert!(fooled >= 5, "{}", run.stats);
        for report in reports_in(&run.messages).iter().filter(|r| r["success"] == true) {
            let (queries, first) = (number(report, "queries"), number(report, "queries_first_success"));
            assert!(queries >= first && number(report, "iterations") >= number(report, "iterations_first_success"));
            assert!(real(report, "final_probability") > 0.0, "{report}");
        }
    });
}

/// Each frame in its own time: a burst would make a sink drop.
#[test]
fn frames_of_a_slow_model_leave_on_time() {
    guarded(90, || {
        let model = slow_model(Duration::from_millis(700));
        let rig = Rig::live(&model, &[], ClockTime::ZERO);
        rig.begin(&rgb());
        let own = Duration::from(latency(&rig).1);
        let mut sent = Vec::new();
        for i in 0..40 {
            sent.push(Instant::now());
            rig.feed([frame(&rgb(), i)]);
            std::thread::sleep(Duration::from_nanos(FRAME));
        }
        rig.finish();
        let times = rig.times();
        assert_eq!(times.len(), 40);
        let late = |(sent, came): (&Instant, &Instant)| came.duration_since(*sent);
        let latest = sent.iter().zip(&times).map(late).max().expect("frames");
        println!("the latest frame took {latest:?}, the latency is {own:?}");
        // Two other jobs may share the processor.
        assert!(latest < own + Duration::from_millis(400), "{latest:?}");
        let clean = rig.buffers().iter().filter(|b| !meta(b).is_some_and(|m| m.keyframe)).count();
        assert!(clean >= 36, "no pass ends in time, yet frames are perturbed");
    });
}

#[test]
fn a_budget_bounds_an_attack_that_is_not_live() {
    guarded(60, || {
        let model = slow_model(Duration::from_millis(10));
        let endless = [("patience", "0"), ("max-iterations", "1000000"), ("time-budget", "300000000")];
        let rig = Rig::new(&model, &endless);
        rig.begin(&rgb());
        rig.feed((0..8).map(|i| frame(&rgb(), i)));
        rig.finish();
        assert_eq!(rig.buffers().len(), 8);
        let reports = rig.first_reports(2);
        for report in &reports {
            let seconds = real(report, "seconds");
            assert!((0.1..0.9).contains(&seconds), "{report}");
            assert_eq!(report["overrun"], true, "{report}");
        }
        assert!(reports.iter().any(|r| r["success"] == true), "the best so far is used");
    });
}

/// Without a budget the attack takes its time, and the pipeline learns how long.
#[test]
fn without_a_budget_the_latency_grows() {
    guarded(60, || {
        let model = slow_model(Duration::from_millis(30));
        let properties = [("time-budget", "0"), ("max-iterations", "10")];
        let rig = Rig::live(&model, &properties, UPSTREAM);
        rig.begin(&rgb());
        let (_, before, _) = latency(&rig);
        rig.feed((0..8).map(|i| frame(&rgb(), i)));
        rig.wait_for_buffers(8);
        wait_until("another latency", || latency(&rig).1 > before);
        assert!(latency_messages(&rig) >= 2);
    });
}
