// SPDX-License-Identifier: MPL-2.0

//! What `clipclassifier` says in the words of GstAnalytics. Needs GStreamer 1.24 and the feature `analytics`.
#![cfg(feature = "analytics")]

use gst::prelude::*;
use gst_analytics::prelude::*;

/// Frames of a window of the embedded model.
const WINDOW: usize = 16;

#[test]
fn the_last_frame_of_each_window_carries_its_label_as_a_classification() {
    gst::init().expect("GStreamer");
    gstsparseadv::plugin_register_static().expect("the plugin");
    let pipeline = gst::parse::launch(
        "filesrc location=examples/data/figures-walk.mp4 ! decodebin ! \
         clipclassifier model=examples/data/figures-c3d.pt ! appsink name=end sync=false",
    );
    let pipeline = pipeline.expect("a pipeline").downcast::<gst::Pipeline>().expect("a pipeline");
    let end = pipeline.by_name("end").and_downcast::<gst_app::AppSink>().expect("an appsink");
    pipeline.set_state(gst::State::Playing).expect("a running pipeline");
    let mut windows = 0;
    let mut frames = 0;
    while let Some(sample) = end.try_pull_sample(gst::ClockTime::from_seconds(60)) {
        frames += 1;
        let buffer = sample.buffer().expect("a buffer");
        let relations = buffer.meta::<gst_analytics::AnalyticsRelationMeta>();
        assert_eq!(relations.is_some(), frames % WINDOW == 0, "frame {frames}");
        let Some(relations) = relations else { continue };
        windows += 1;
        let own = gst::meta::CustomMeta::from_buffer(buffer, "GstClipClassifierMeta").expect("the element's own meta");
        let name = own.structure().get::<String>("label-name").expect("a name");
        let probability = own.structure().get::<f64>("probability").expect("a probability");
        let classes: Vec<_> = relations.iter::<gst_analytics::AnalyticsClassificationMtd>().collect();
        let [class] = classes.as_slice() else { panic!("{} classifications", classes.len()) };
        assert_eq!((class.len(), class.quark(0).as_str().as_str()), (1, name.as_str()));
        assert!((f64::from(class.level(0)) - probability).abs() < 1e-6, "{probability}");
    }
    assert!(end.is_eos(), "the stream does not end");
    assert!(windows > 0 && windows == frames / WINDOW, "{windows} windows of {frames} frames");
    pipeline.set_state(gst::State::Null).expect("a stopped pipeline");
}
