// SPDX-License-Identifier: MPL-2.0

//! The view in tensor operations against the row kernels, over all formats that the elements take.

use gst_video::{VideoColorimetry, VideoFormat, VideoInfo};
use gstsparseadv::element::format;
use gstsparseadv::video::observe::{Scratch, Tape};
use gstsparseadv::video::view::Samples;
use gstsparseadv::video::{Chroma, DeviceView, FrameLayout, Geometry, View};
use tch::{CModule, Device, Kind, TchError, Tensor};

use crate::common;
use crate::common::models;
use crate::reference::Frame;
use crate::{noise, perturbation};

const WINDOWS: usize = 3;
const FRAMES: usize = 4;
/// Those under observation, of each window.
const OBSERVED: [usize; 2] = [3, 1];

/// Every format in every color system that the caps can name for it.
fn layouts(width: usize, height: usize) -> Vec<FrameLayout> {
    common::init();
    let layout = |format, colorimetry: Option<&str>| {
        let colorimetry = colorimetry.map(|name| name.parse::<VideoColorimetry>().expect("a colorimetry"));
        let info = VideoInfo::builder(format, width as u32, height as u32);
        format::layout(&info.colorimetry_if_some(colorimetry.as_ref()).build().expect("video info"))
    };
    let named = |format: VideoFormat| match format {
        VideoFormat::Gray8 => vec![None, Some("1:4:0:0"), Some("2:4:0:0")],
        _ if layout(format, None).color == gstsparseadv::video::Color::Rgb => vec![None],
        // Full range of BT.601 and BT.709, and what GStreamer has names for.
        _ => vec![None, Some("1:4:0:0"), Some("1:3:5:1"), Some("bt709"), Some("smpte240m"), Some("bt2020")],
    };
    format::FORMATS.into_iter().flat_map(|f| named(f).into_iter().map(move |n| layout(f, n))).collect()
}

/// Frames that are smaller and larger than the view, one of its size, one resized with a low-pass filter.
const CASES: [([usize; 2], Geometry); 5] = [
    ([16, 16], Geometry { resized: [16, 16], crop: [16, 16], antialias: false }),
    ([33, 17], Geometry { resized: [20, 40], crop: [16, 22], antialias: false }),
    ([18, 21], Geometry { resized: [31, 37], crop: [24, 24], antialias: false }),
    ([120, 90], Geometry { resized: [20, 27], crop: [16, 16], antialias: false }),
    ([120, 90], Geometry { resized: [20, 27], crop: [16, 16], antialias: true }),
];

fn for_each_view(mut check: impl FnMut(&View, &FrameLayout, [i64; 2], &str)) {
    for ([width, height], geometry) in CASES {
        for layout in layouts(width, height) {
            let subsampled = layout.is_subsampled().then_some(Chroma::Interpolated);
            for chroma in [Chroma::Repeated].into_iter().chain(subsampled) {
                let about = format!("{layout:?} {geometry:?} {chroma:?}");
                check(&View::new(&layout, geometry, chroma), &layout, geometry.crop.map(|side| side as i64), &about);
            }
        }
    }
}

fn windows(view: &View, layout: &FrameLayout, byte: &mut impl FnMut() -> u8) -> Vec<Vec<Samples>> {
    let mut frame = |_| view.sample(&Frame::new(layout.clone(), 0, byte).refs());
    (0..WINDOWS).map(|_| (0..FRAMES).map(&mut frame).collect()).collect()
}

fn references(windows: &[Vec<Samples>]) -> Vec<&[Samples]> {
    windows.iter().map(Vec::as_slice).collect()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.to_device(Device::Cpu).flatten(0, -1)).expect("values")
}

/// The devices of this machine.
fn devices() -> Vec<Device> {
    [Device::Cpu].into_iter().chain(tch::Cuda::is_available().then_some(Device::Cuda(0))).collect()
}

/// What one call of the row kernels makes of each window, in a row.
fn row_kernels(view: &View, windows: &[Vec<Samples>], delta: &[f32], grad: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let (mut views, mut grads) = (vec![0.0; delta.len()], vec![0.0; delta.len()]);
    let frames = windows.iter().flat_map(|window| OBSERVED.map(|k| &window[k]));
    for (k, samples) in frames.enumerate() {
        let at = k * view.len()..(k + 1) * view.len();
        let (mut tape, mut scratch) = (Tape::default(), Scratch::default());
        let out = &mut views[at.clone()];
        view.observe_perturbed(samples, Some(&delta[at.clone()]), &mut tape, &mut scratch, out);
        view.backward(&tape, &mut scratch, &grad[at.clone()], &mut grads[at]);
    }
    (views, grads)
}

#[test]
fn tensors_see_and_lead_back_what_the_row_kernels_do() {
    let mut byte = noise(11);
    for_each_view(|view, layout, [h, w], about| {
        let windows = windows(view, layout, &mut byte);
        let perturbations = |strength, byte: &mut _| -> Vec<f32> {
            (0..WINDOWS * OBSERVED.len()).flat_map(|_| perturbation(view, strength, byte)).collect()
        };
        let (delta, grad) = (perturbations(30.0, &mut byte), perturbations(1.0, &mut byte));
        let tensor = |values: &[f32]| Tensor::from_slice(values).view([-1, OBSERVED.len() as i64, 3, h, w]);
        for device in devices() {
            let mut views = DeviceView::new(view, &references(&windows), device).expect("a view");
            let clean: Vec<f32> = windows.iter().flat_map(|window| view.observe_window(window, FRAMES)).collect();
            assert!(values(&views.clean().expect("a clean view")) == clean, "clean, {device:?}: {about}");
            // Other frames before: what was kept of them must not stay.
            let _ = views.observe(&[0], &tensor(&delta).narrow(1, 0, 1).to_device(device)).expect("a view");
            let seen = views.observe(&OBSERVED, &tensor(&delta).to_device(device)).expect("a view");
            let back = views.backward(&tensor(&grad).to_device(device)).expect("a gradient");
            let (expected, gradient) = row_kernels(view, &windows, &delta, &grad);
            assert!(values(&seen) == expected, "perturbed, {device:?}: {about}");
            assert_close(&values(&back), &gradient, about);
            // One window under as many perturbations.
            let mut views = DeviceView::new(view, &references(&windows)[..1], device).expect("a view");
            let seen = views.observe(&OBSERVED, &tensor(&delta).to_device(device)).expect("a view");
            let back = views.backward(&tensor(&grad).to_device(device)).expect("a gradient");
            let same: Vec<Vec<Samples>> = (0..WINDOWS).map(|_| windows[0].clone()).collect();
            let (expected, gradient) = row_kernels(view, &same, &delta, &grad);
            assert!(values(&seen) == expected, "one window, {device:?}: {about}");
            assert_close(&values(&back), &gradient, about);
        }
    });
}

/// Single precision carries seven digits, and either side sums some hundred terms of both signs in its own order.
fn assert_close(found: &[f32], expected: &[f32], about: &str) {
    let most = expected.iter().fold(0.0f32, |most, e| most.max(e.abs()));
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= 1e-5 * most, "gradient {i}: {f} is not {e}, of up to {most}: {about}");
    }
}

/// Mid-gray, so that nothing clips: then what a perturbation changes of the view is what the gradient says, up to the
/// rounding of samples and colors, whose errors are of either sign and up to half a level beside a change of twenty.
#[test]
fn a_step_changes_the_view_as_the_gradient_says() {
    let mut byte = noise(12);
    for_each_view(|view, layout, [h, w], about| {
        let frame = view.sample(&Frame::new(layout.clone(), 0, &mut || 126).refs());
        let grad = Tensor::from_slice(&perturbation(view, 1.0, &mut byte)).view([1, 1, 3, h, w]);
        let mut views = DeviceView::new(view, &[&[frame]], Device::Cpu).expect("a view");
        let clean = views.observe(&[0], &grad.zeros_like()).expect("a view");
        let back = views.backward(&grad).expect("a gradient");
        let step = back.sign() * 20.0;
        let changed = views.observe(&[0], &step).expect("a view") - clean;
        let sum = |product: Tensor| product.sum(Kind::Double).double_value(&[]);
        let (found, expected) = (sum(changed * grad), sum(&back * step));
        assert!((found - expected).abs() < 0.03 * expected, "{found} is not {expected}: {about}");
    });
}

/// Moves tensors to libtorch's `meta` device: tensors of it have shapes and no values.
fn meta() -> impl Fn(&Tensor) -> Result<Tensor, TchError> {
    let file = models::traced_with(&[Tensor::from(0.0f32)], |inputs| vec![inputs[0].neg()]);
    models::edit_code(&file.path, |code| {
        let (before, rest) = code.split_once("torch.neg(").expect("the operator");
        let (input, after) = rest.split_once(')').expect("its end");
        format!("{before}torch.to({input}, torch.device(\"meta\")){after}")
    });
    let module = CModule::load(&file.path).expect("a module");
    move |tensor| module.forward_ts(&[tensor])
}

/// What a view gives whose tensors `upload` has moved: clean and perturbed views and a gradient, all of `delta`'s device.
fn run(
    view: &View,
    windows: &[Vec<Samples>],
    delta: &Tensor,
    upload: &dyn Fn(&Tensor) -> Result<Tensor, TchError>,
) -> Result<[Tensor; 3], TchError> {
    let mut views = DeviceView::with_upload(view, &references(windows), upload)?;
    Ok([views.clean()?, views.observe(&OBSERVED, delta)?, views.backward(delta)?])
}

fn no_change([h, w]: [i64; 2]) -> Tensor {
    Tensor::zeros([WINDOWS as i64, OBSERVED.len() as i64, 3, h, w], (Kind::Float, Device::Cpu))
}

/// `meta` stands in for a GPU: like there, sums and products of its tensors with ones of the CPU are errors, and results
/// are on the device of their operands. Gathering and matrix products do not look where their operands are; for those
/// the test of the sources stands in.
#[test]
fn tensors_of_another_device_meet_none_of_the_cpu() {
    let to_meta = meta();
    let mut byte = noise(13);
    for_each_view(|view, layout, side, about| {
        let windows = windows(view, layout, &mut byte);
        let delta = to_meta(&no_change(side)).expect("a tensor");
        let results = run(view, &windows, &delta, &to_meta).unwrap_or_else(|e| panic!("{about}: {e}"));
        for (result, frames) in results.iter().zip([FRAMES, OBSERVED.len(), OBSERVED.len()]) {
            assert!(result.data_ptr().is_null(), "a tensor with values: {about}");
            assert_eq!(result.size(), [WINDOWS as i64, frames as i64, 3, side[0], side[1]], "{about}");
        }
    });
}

/// What the test before would find of a fault.
#[test]
fn samples_left_on_the_cpu_are_an_error() {
    let (to_meta, geometry) = (meta(), CASES[0].1);
    let layout = layouts(16, 16).remove(0);
    let view = View::new(&layout, geometry, Chroma::Repeated);
    let windows = windows(&view, &layout, &mut noise(14));
    let delta = to_meta(&no_change([16, 16])).expect("a tensor");
    let samples_stay = |tensor: &Tensor| match tensor.kind() {
        Kind::Uint8 => Ok(tensor.shallow_clone()),
        _ => to_meta(tensor),
    };
    let error = run(&view, &windows, &delta, &samples_stay).expect_err("two devices").to_string();
    assert!(error.contains("on the same device"), "{error}");
}

/// Tensors are made of numbers in one place, which hands each to the device, and of other tensors everywhere else.
#[test]
fn numbers_become_tensors_in_one_place() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/video/device");
    let mut made: Vec<String> = Vec::new();
    for file in std::fs::read_dir(folder).expect("the folder") {
        let source = std::fs::read_to_string(file.expect("a file").path()).expect("a source");
        assert!(!source.contains("Device::Cpu") && !source.contains("Tensor::from("), "{source}");
        let calls = source.split("Tensor::").skip(1);
        made.extend(
            calls.map(|call| call.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("").into()),
        );
    }
    made.sort();
    assert_eq!(made.iter().filter(|name| *name == "f_from_slice").count(), 1);
    made.dedup();
    assert_eq!(made, ["f_cat", "f_from_slice", "f_stack"]);
}

#[test]
fn tensors_are_asked_for_on_the_device_named() {
    if tch::Cuda::is_available() {
        return;
    }
    let geometry = CASES[0].1;
    let layout = layouts(16, 16).remove(0);
    let view = View::new(&layout, geometry, Chroma::Repeated);
    let frame = view.sample(&Frame::new(layout, 0, &mut || 126).refs());
    let error = DeviceView::new(&view, &[&[frame]], Device::Cuda(0)).err().expect("no such device").to_string();
    assert!(error.contains("CUDA"), "{error}");
}
