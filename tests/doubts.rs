// SPDX-License-Identifier: MPL-2.0

//! Models that can be attacked and whose results are to be doubted, or that are not given what they would break: every
//! program says so, or gets it right.

mod common;

use std::process::Command;

use common::frames::{frame, rgb};
use common::models::{Good, ModelFile, SIDE, good, load, plain_metadata, traced, traced_with, weights};
use common::oracle::reports_in;
use common::rig::Rig;
use gstsparseadv::model::Model;
use gstsparseadv::torch;
use tch::{Kind, Tensor};

const N: i64 = SIDE as i64;

fn linear(wrap: impl Fn(Tensor) -> Tensor) -> ModelFile {
    linear_on(|x| x.shallow_clone(), wrap)
}

/// A linear classifier of what `first` makes of its input.
fn linear_on(first: impl Fn(&Tensor) -> Tensor, wrap: impl Fn(Tensor) -> Tensor) -> ModelFile {
    let matrix = weights(3, &[3 * 4 * N * N, 4], 0.1);
    let file = traced(4, false, |x| vec![wrap(first(x).flatten(1, -1).matmul(&matrix))]);
    file.with_metadata(&plain_metadata(4).to_string())
}

#[track_caller]
fn warned(file: &ModelFile, words: &[&str]) {
    let warnings = load(file).warnings();
    let says = |w: &&String| words.iter().all(|word| w.contains(word));
    assert!(warnings.iter().any(|w| says(&w)), "{words:?}: {warnings:?}");
}

#[track_caller]
fn not_warned(file: &ModelFile) {
    assert_eq!(load(file).warnings(), Vec::<String>::new());
}

#[test]
fn probabilities_in_place_of_logits() {
    warned(&linear(|z| z.softmax(-1, Kind::Float)), &["sum to 1", "softmax", "no robustness"]);
    warned(&linear(|z| z.softmax(-1, Kind::Float) * 100.0), &["sum to 100", "percent"]);
    warned(&linear(|z| z.sigmoid()), &["between 0 and 1", "sigmoid"]);
    // Logits up to a constant.
    not_warned(&linear(|z| z.log_softmax(-1, Kind::Float)));
    not_warned(&linear(|z| z));
    // Between 0 and 1 for usual input alone.
    not_warned(&linear(|z| z * 1e-2 + 0.5));
    // Bounded before its last layer, as a network with a clipped rectifier is.
    not_warned(&linear(|z| z.clamp(0.0, 6.0) * 0.05 + 0.4));
    not_warned(&good(Good::default()));
}

#[test]
fn a_zero_gradient() {
    // All logits move alike: no label ever changes.
    warned(
        &linear(|z| z.mean_dim(1i64, true, Kind::Float) + Tensor::from_slice(&[0.0f32, 1.0, 2.0, 3.0])),
        &["no gradient", "no robustness"],
    );
    warned(&linear(|z| (z * 1e6).softmax(-1, Kind::Float)), &["no gradient", "no robustness"]);
    warned(&linear(|z| z.round()), &["no gradient", "no robustness"]);
}

/// The very windows, too, say that nothing came of them for want of a gradient, and the bus hears it once.
#[test]
fn windows_without_a_gradient() {
    common::guarded(60, || {
        let run = |model: &ModelFile| {
            let rig = Rig::new(model, &[("max-iterations", "3")]);
            rig.begin(&rgb());
            rig.feed((0..12).map(|i| frame(&rgb(), i)));
            rig.finish();
            let messages = rig.messages();
            let reports = reports_in(&messages);
            assert_eq!(reports.len(), 3);
            let warnings = messages.iter().filter_map(|m| match m.view() {
                gst::MessageView::Warning(w) => Some(w.error().message().to_string()),
                _ => None,
            });
            let warnings: Vec<String> = warnings.collect();
            (reports, warnings)
        };
        let (reports, warnings) = run(&linear(|z| (z * 1e6).softmax(-1, Kind::Float)));
        for report in &reports {
            assert_eq!(report["zero_gradient"], true, "{report}");
            assert_eq!(report["success"], false, "{report}");
        }
        let count = |words: &str| warnings.iter().filter(|w| w.contains(words)).count();
        assert_eq!(count("no gradient for window"), 1, "{warnings:?}");
        assert_eq!(count("sum to 1"), 1, "{warnings:?}");

        let (reports, warnings) = run(&good(Good::default()));
        assert!(reports.iter().all(|r| r["zero_gradient"] == false));
        assert_eq!(warnings, Vec::<String>::new());
    });
}

#[test]
fn guessed_metadata() {
    common::guarded(60, || {
        let bare = bare();
        warned(&bare, &["no metadata", "16 frames", "128x171", "112x112", ".pt.json"]);
        let rig = Rig::new(&bare, &[]);
        let message = rig.bus.pop_filtered(&[gst::MessageType::Warning]);
        let message = message.expect("a warning on the bus");
        let gst::MessageView::Warning(warning) = message.view() else {
            panic!("{message:?}");
        };
        assert!(warning.error().message().contains("no metadata"));
        drop(rig);
        let partly = bare.with_sidecar("{\"resize\": [16, 16], \"crop\": [16, 16]}");
        warned(&partly, &["lack window", "16 frames"]);
        let numbers = partly.with_sidecar(
            "{\"window\": 4, \"resize\": [16, 16], \"crop\": [16, 16], \"labels\": [\"1\", \"2\", \"3\", \"0\"]}",
        );
        warned(&numbers, &["named 1", "index 0"]);
    });
}

/// A classifier of windows of any size, so that C3D's goes, without metadata.
fn bare() -> ModelFile {
    let head = weights(3, &[3, 4], 1.0);
    traced(4, false, |x| {
        let means = x.mean_dim(&[2i64, 3, 4][..], false, Kind::Float);
        vec![means.matmul(&head)]
    })
}

/// Once, however many workers load the model.
#[test]
fn the_tool_says_that_metadata_are_guessed() {
    let model = bare();
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/figures-walk.mp4");
    let class = model.dir.path().join("set/a");
    std::fs::create_dir_all(&class).expect("a folder");
    for name in ["1.mp4", "2.mp4"] {
        std::fs::copy(clip, class.join(name)).expect("a clip");
    }
    let (set, converted, attacked) = (model.beside("set"), model.beside("converted"), model.beside("attacked.mp4"));
    let runs: [&[&str]; 2] = [&["attack", clip, &attacked], &["convert", &set, &converted, "--workers", "2"]];
    for run in runs {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_gst-sparseadv"));
        tool.args(run).args(["--model", model.location()]);
        tool.args(["--properties", "max-iterations=0"]);
        let ran = tool.output().expect("the tool");
        assert!(ran.status.success(), "{ran:?}");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(said.matches("no metadata").count(), 1, "{run:?}: {said}");
    }
}

/// What libtorch alone makes of a window, on a copy of it.
fn plain_logits(file: &ModelFile, view: &[f32]) -> Vec<f32> {
    let module = tch::CModule::load(&file.path).expect("the model");
    let x = Tensor::from_slice(view).view([4, 3, N, N]) / 255.0;
    let logits = module.forward_ts(&[x.permute([1, 0, 2, 3]).unsqueeze(0).contiguous()]);
    Vec::try_from(logits.expect("logits").view(-1)).expect("logits")
}

/// The logits of a window of which `changed` are shown anew.
fn pass(model: &mut Model, view: &[f32], changed: &[usize]) -> Vec<f32> {
    let window = torch::upload(view, &[1, 4, 3, SIDE as i64, SIDE as i64], tch::Device::Cpu).expect("a window");
    let changed_views = window.index_select(1, &torch::index(changed, tch::Device::Cpu).expect("frames"));
    model.show(changed, &changed_views).expect("frames");
    torch::download(&model.forward(true).expect("logits")).expect("logits")
}

fn gradient(model: &mut Model) -> Vec<f32> {
    let grad_logits = torch::upload(&[1.0, 0.0, 0.0, 0.0], &[1, 4], tch::Device::Cpu).expect("a row");
    torch::download(&model.backward(&grad_logits, &[0, 1, 2, 3]).expect("a gradient")).expect("its values")
}

#[test]
fn models_that_write_into_their_input_get_a_copy() {
    let halved = |x: &Tensor| {
        let mut input = x.shallow_clone();
        input.g_sub_(&Tensor::from(0.5))
    };
    let behind = |x: &Tensor| {
        let y = x * 1.0;
        let _ = x.detach().g_mul_(&Tensor::from(0.5));
        y
    };
    let linears = [linear_on(halved, |z| z), linear_on(behind, |z| z)];
    let view: Vec<f32> = (0..4 * 3 * SIDE * SIDE).map(|i| ((i * 97 + i / 31) % 256) as f32).collect();
    for file in linears {
        let mut model = load(&file);
        assert_eq!(model.warnings(), Vec::<String>::new());
        let expected = plain_logits(&file, &view);
        let mut cleared = view.clone();
        cleared[..3 * SIDE * SIDE].fill(0.0);
        for changed in [&[0usize, 1, 2, 3][..], &[0], &[0]] {
            // One frame at a time, as attacks on keyframes go.
            let found = pass(&mut model, &view, changed);
            for (f, e) in found.iter().zip(&expected) {
                assert!((f - e).abs() < 1e-4, "{found:?} {expected:?}");
            }
            assert!(gradient(&mut model).iter().any(|g| *g != 0.0));
            pass(&mut model, &cleared, &[0]);
        }
    }
}

#[test]
fn other_precisions_work() {
    for (kind, warns) in [(Kind::Double, false), (Kind::Half, true), (Kind::BFloat16, true)] {
        let input = (weights(9, &[1, 3, 4, N, N], 0.5) + 0.5).to_kind(kind);
        let matrix = weights(3, &[3 * 4 * N * N, 4], 0.1).to_kind(kind);
        let file = traced_with(&[input], |x| vec![x[0].flatten(1, -1).matmul(&matrix)]);
        let file = file.with_metadata(&plain_metadata(4).to_string());
        let said = load(&file).warnings().join(" ");
        assert_eq!(said.contains(".float()"), warns, "{kind:?}: {said}");
        let mut model = load(&file);
        let view = vec![100.0; 4 * 3 * SIDE * SIDE];
        let logits = pass(&mut model, &view, &[0, 1, 2, 3]);
        assert!(gradient(&mut model).iter().any(|g| *g != 0.0), "{kind:?}");
        assert!(logits.iter().all(|z| z.is_finite()), "{logits:?}");
    }
}

#[test]
fn inspect_says_whether_a_model_fits() {
    let inspect = |file: &ModelFile| {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_gst-sparseadv"));
        let ran = tool.arg("inspect").arg(&file.path).output();
        let ran = ran.expect("the tool");
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8(ran.stdout).expect("text")
    };
    let fits = "fits the contract";
    let model = good(Good::default());
    let said = inspect(&model);
    assert!(said.contains(fits), "{said}");
    assert!(said.contains(load(&model).sha256()), "{said}");
    let said = inspect(&linear(|z| z.softmax(-1, Kind::Float)));
    assert!(!said.contains(fits) && said.contains("softmax"), "{said}");
}

#[test]
fn the_hash_is_that_of_the_file() {
    let file = good(Good::default());
    let model = load(&file);
    let bytes = std::fs::read(&file.path).expect("the model");
    assert_eq!(model.sha256(), gstsparseadv::provenance::digest(&bytes));
}
