// SPDX-License-Identifier: MPL-2.0

//! The element's properties: names, ranges, texts, and access to [`Settings`].

use gst::prelude::*;
use once_cell::sync::Lazy;

use super::settings::Settings;
use crate::attack::{Loss, Objective, optimizer};
use crate::window::Tail;

pub static PROPERTIES: Lazy<Vec<glib::ParamSpec>> = Lazy::new(|| {
    let d = Settings::default();
    vec![
        glib::ParamSpecString::builder("model")
            .nick("Model")
            .blurb("TorchScript classifier to attack. It is a program and runs as one: load only files you trust")
            .mutable_ready()
            .build(),
        glib::ParamSpecString::builder("device")
            .nick("Device")
            .blurb("Device the model runs on: auto, cpu, cuda or cuda:N")
            .default_value(Some(d.device.as_str()))
            .mutable_ready()
            .build(),
        glib::ParamSpecUInt::builder("window-size")
            .nick("Window size")
            .blurb("Frames the model sees at once (0 = the model's own, 16 if it does not say)")
            .maximum(1024)
            .default_value(d.window_size)
            .mutable_ready()
            .build(),
        glib::ParamSpecUInt::builder("stride")
            .nick("Stride")
            .blurb("Frames from one window to the next (0 = window-size * frame-step: windows side by side)")
            .maximum(65536)
            .default_value(d.stride)
            .mutable_ready()
            .build(),
        glib::ParamSpecUInt::builder("frame-step")
            .nick("Frame step")
            .blurb("Frames of the stream from one frame of a window to the next (0 = the model's own, 1 if it does not say)")
            .maximum(256)
            .default_value(d.frame_step)
            .mutable_ready()
            .build(),
        glib::ParamSpecString::builder("keyframes")
            .nick("Keyframes")
            .blurb("Which frames to perturb: gradient, gradient:features, gradient:signed, gradient:input, gradient:loss, fixed[:N], ifd[:N], heuristic[:N], random[:N], all, or frame numbers such as 0,5,7")
            .default_value(Some(d.keyframes.as_str()))
            .mutable_ready()
            .build(),
        glib::ParamSpecDouble::builder("boundary")
            .nick("Boundary")
            .blurb("Share of the gradient's weight that the keyframes reach together (0 = 0.3 untargeted, 0.4 targeted)")
            .minimum(0.0)
            .maximum(1.0)
            .default_value(d.boundary)
            .mutable_ready()
            .build(),
        glib::ParamSpecInt::builder("max-iterations")
            .nick("Maximum iterations")
            .blurb("Updates of a window's perturbation at the most (-1 = 500 untargeted, 1000 targeted)")
            .minimum(-1)
            .default_value(d.max_iterations)
            .mutable_playing()
            .build(),
        glib::ParamSpecUInt::builder("patience")
            .nick("Patience")
            .blurb("Iterations without a smaller success after which a fooled window is done (0 = use all iterations)")
            .default_value(d.patience)
            .mutable_playing()
            .build(),
        glib::ParamSpecBoolean::builder("stop-early")
            .nick("Stop early")
            .blurb("Take the first success: fewest calls of the model, larger perturbation")
            .default_value(d.stop_early)
            .mutable_playing()
            .build(),
        glib::ParamSpecUInt::builder("grow-after")
            .nick("Grow after")
            .blurb("Iterations without success after which more frames become keyframes (0 = never)")
            .default_value(d.grow_after)
            .mutable_playing()
            .build(),
        glib::ParamSpecUInt::builder("grow-by")
            .nick("Grow by")
            .blurb("Frames that become keyframes then: the next by weight, which a selection by gradient weighs anew")
            .minimum(1)
            .default_value(d.grow_by)
            .mutable_playing()
            .build(),
        glib::ParamSpecUInt64::builder("time-budget")
            .nick("Time budget")
            .blurb("Time for a window's attack in ns; the best so far leaves at its end (0 = no limit, -1 = automatic: what keeps up with a live stream, no limit elsewhere)")
            .default_value(u64::MAX)
            .mutable_playing()
            .build(),
        glib::ParamSpecFloat::builder("learning-rate")
            .nick("Learning rate")
            .blurb("Step of the optimizer in gray levels")
            .minimum(1e-6)
            .maximum(255.0)
            .default_value(d.learning_rate)
            .mutable_playing()
            .build(),
        glib::ParamSpecFloat::builder("learning-rate-decay")
            .nick("Learning rate decay")
            .blurb("What the step is multiplied by each time a fooled window gets its label back (1 = constant)")
            .minimum(0.01)
            .maximum(1.0)
            .default_value(d.learning_rate_decay)
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("optimizer", d.optimizer)
            .nick("Optimizer")
            .blurb("How the perturbation is updated")
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("objective", d.objective)
            .nick("Objective")
            .blurb("What is descended: the two-stage loss, or SA's sum of class term and norm for comparison")
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("loss", d.loss)
            .nick("Loss")
            .blurb("The class term, which is descended while the label holds")
            .mutable_playing()
            .build(),
        glib::ParamSpecFloat::builder("epsilon")
            .nick("Epsilon")
            .blurb("Bound on the perturbation of any value of the model's view in gray levels (0 = none)")
            .minimum(0.0)
            .maximum(255.0)
            .default_value(d.epsilon)
            .mutable_playing()
            .build(),
        glib::ParamSpecFloat::builder("confidence")
            .nick("Confidence")
            .blurb("Lead of the wrong (or target) label's logit that counts as success; what is left of it covers other decoders' rounding (-1 = 0.5, or 2 with survive, where the rest of the file moves what the codec takes away)")
            .minimum(-1.0)
            .maximum(1000.0)
            .default_value(d.confidence)
            .mutable_playing()
            .build(),
        glib::ParamSpecString::builder("survive")
            .nick("Survive")
            .blurb("Bins that take and give raw video, such as \"x264enc ! avdec_h264\", with | between: the attack succeeds when the window is fooled behind each of them")
            .mutable_ready()
            .build(),
        glib::ParamSpecString::builder("label")
            .nick("Label")
            .blurb("True label by name or index, which all rates are against; windows that the model gets wrong before the attack are left alone (unset = the model's own label of the clean window)")
            .mutable_ready()
            .build(),
        glib::ParamSpecString::builder("target-label")
            .nick("Target label")
            .blurb("Label by name or index that the model shall give, beside the true label or without it (unset = untargeted)")
            .mutable_ready()
            .build(),
        glib::ParamSpecUInt64::builder("seed")
            .nick("Seed")
            .blurb("Seed of keyframes=random, the only chance in an attack")
            .default_value(d.seed)
            .mutable_ready()
            .build(),
        glib::ParamSpecEnum::builder_with_default("tail", d.tail)
            .nick("Tail")
            .blurb("What becomes of frames at the end of a stream that fill no window")
            .mutable_ready()
            .build(),
        glib::ParamSpecBoolean::builder("enabled")
            .nick("Enabled")
            .blurb("Attack; pass frames through at once when false")
            .default_value(d.enabled)
            .mutable_playing()
            .build(),
        glib::ParamSpecString::builder("report-location")
            .nick("Report location")
            .blurb("File that gets one JSON line a window; an older one is replaced")
            .mutable_ready()
            .build(),
        glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb("Fooling rate, mean queries, mean absolute perturbation, sparse rate and counts so far")
            .read_only()
            .build(),
    ]
});

/// Sets a property. GObject has checked its type and range.
pub fn set(settings: &mut Settings, name: &str, value: &glib::Value) {
    fn get<'a, T: glib::value::FromValue<'a>>(value: &'a glib::Value) -> T {
        value.get().unwrap_or_else(|_| unreachable!("type checked by GObject"))
    }
    let s = settings;
    match name {
        "model" => s.model = get::<Option<String>>(value).map(Into::into),
        "device" => s.device = get::<Option<String>>(value).unwrap_or_else(|| "auto".into()),
        "window-size" => s.window_size = get(value),
        "stride" => s.stride = get(value),
        "frame-step" => s.frame_step = get(value),
        "keyframes" => {
            s.keyframes = get::<Option<String>>(value).unwrap_or_else(|| "gradient".into());
        }
        "boundary" => s.boundary = get(value),
        "max-iterations" => s.max_iterations = get(value),
        "patience" => s.patience = get(value),
        "stop-early" => s.stop_early = get(value),
        "grow-after" => s.grow_after = get(value),
        "grow-by" => s.grow_by = get(value),
        "time-budget" => {
            s.time_budget = match get::<u64>(value) {
                u64::MAX => None,
                ns => Some(gst::ClockTime::from_nseconds(ns)),
            };
        }
        "learning-rate" => s.learning_rate = get(value),
        "learning-rate-decay" => s.learning_rate_decay = get(value),
        "optimizer" => s.optimizer = get::<optimizer::Kind>(value),
        "objective" => s.objective = get::<Objective>(value),
        "loss" => s.loss = get::<Loss>(value),
        "epsilon" => s.epsilon = get(value),
        "confidence" => s.confidence = get(value),
        "survive" => {
            s.survive = get::<Option<String>>(value).filter(|text| !text.trim().is_empty());
        }
        "label" => s.label = get(value),
        "target-label" => s.target_label = get(value),
        "seed" => s.seed = get(value),
        "tail" => s.tail = get::<Tail>(value),
        "enabled" => s.enabled = get(value),
        "report-location" => s.report_location = get::<Option<String>>(value).map(Into::into),
        _ => unreachable!("no such property: {name}"),
    }
}

pub fn get(settings: &Settings, name: &str) -> glib::Value {
    let s = settings;
    match name {
        "model" => s.model.as_ref().and_then(|p| p.to_str()).to_value(),
        "device" => s.device.to_value(),
        "window-size" => s.window_size.to_value(),
        "stride" => s.stride.to_value(),
        "frame-step" => s.frame_step.to_value(),
        "keyframes" => s.keyframes.to_value(),
        "boundary" => s.boundary.to_value(),
        "max-iterations" => s.max_iterations.to_value(),
        "patience" => s.patience.to_value(),
        "stop-early" => s.stop_early.to_value(),
        "grow-after" => s.grow_after.to_value(),
        "grow-by" => s.grow_by.to_value(),
        "time-budget" => s.time_budget.map_or(u64::MAX, |b| b.nseconds()).to_value(),
        "learning-rate" => s.learning_rate.to_value(),
        "learning-rate-decay" => s.learning_rate_decay.to_value(),
        "optimizer" => s.optimizer.to_value(),
        "objective" => s.objective.to_value(),
        "loss" => s.loss.to_value(),
        "epsilon" => s.epsilon.to_value(),
        "confidence" => s.confidence.to_value(),
        "survive" => s.survive.to_value(),
        "label" => s.label.to_value(),
        "target-label" => s.target_label.to_value(),
        "seed" => s.seed.to_value(),
        "tail" => s.tail.to_value(),
        "enabled" => s.enabled.to_value(),
        "report-location" => s.report_location.as_ref().and_then(|p| p.to_str()).to_value(),
        _ => unreachable!("no such property: {name}"),
    }
}
