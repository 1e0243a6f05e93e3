// SPDX-License-Identifier: MPL-2.0

//! What to do about a model that libtorch refuses: by its message, by the archive's code, and by trying what the model
//! might take instead.

use tch::{IValue, Kind, Tensor};

use super::Error;
use super::metadata::Layout;
use super::module::Module;

/// About an archive that cannot be loaded.
pub(super) fn of_load(reason: &str, code: &str) -> &'static str {
    if code.contains("ConstantMKLDNNTensor") || code.contains("to_mkldnn") {
        return "It was made by torch.jit.optimize_for_inference, whose archives cannot be read back: export the model without it.";
    }
    if reason.contains("maximum supported version") {
        return "It was written by a newer PyTorch: export it again, with a PyTorch no newer than the libtorch this plugin is built with.";
    }
    let operator = reason.split("Unknown builtin op: ").nth(1);
    let library = operator.and_then(|op| op.split("::").next());
    if library.is_some_and(|library| library != "aten" && library != "prim") {
        return "It calls operators of a library that libtorch does not have (torchvision's or your own): write them in plain PyTorch, and \
                export it again.";
    }
    if reason.contains("Unknown type name '__torch__") {
        return "Its code is missing: copy or export it again, whole.";
    }
    if reason.contains("central directory") || reason.contains("invalid header") {
        return "It is damaged or cut off: copy or export it again.";
    }
    "Export it again, with a PyTorch no newer than the libtorch this plugin is built with."
}

/// A sentence that fits better, where the archive's code tells the cause.
pub(super) fn of_code(error: Error, code: &str) -> Error {
    match error {
        Error::NoGradient if code.contains("quantized") || code.contains("quantize_per_") => Error::Quantized,
        other => other,
    }
}

const FLOAT: &str =
    "Its weights or constants are of another precision than its input: call .float() on the model before exporting.";
const SIZE: &str = "Expected a model that takes this size; correct window, layout, resize or crop in its metadata (or in a sidecar file model.pt.json), or the \
     window-size property.";

/// About an input that the model refuses for `reason`.
pub(super) fn of_input(module: &Module, reason: &str) -> String {
    let has = |words: &[&str]| words.iter().any(|w| reason.contains(w));
    if has(&["missing value for argument", "argument(s)"]) {
        return "Its forward takes another number of arguments: wrap it in a module whose forward takes one clip and makes the others itself, and \
                export that."
            .into();
    }
    if has(&["but instead found type 'Tensor'"]) {
        return "Its forward takes another kind of argument than one tensor, such as a list of pathways (SlowFast) or a dictionary: wrap it in a \
                module whose forward takes one clip and makes that itself, and export that."
            .into();
    }
    if has(&["Method 'forward' is not defined", "method 'forward'"]) {
        return "It has no forward: export a module with one that takes a clip and returns logits.".into();
    }
    let cuda = has(&["CUDA", "cuda", "NVIDIA", "same device", "expected device"]);
    if cuda && module.lens.device == tch::Device::Cpu {
        return "It holds tensors or constants of a GPU, as a model traced there does: call .cpu() and trace it on the CPU before exporting, or \
                run it with device=cuda."
            .into();
    }
    if let Some(remedy) = of_memory(reason) {
        return remedy.into();
    }
    if has(&["quantized", "Quantized"]) {
        return "It is quantized, which has no gradient: export it as it was before it was quantized.".into();
    }
    if let Some(remedy) = of_trials(module, reason) {
        return remedy;
    }
    if of_precision(reason) {
        return FLOAT.into();
    }
    SIZE.into()
}

/// About a pass that there is no memory for.
pub(super) fn of_memory(reason: &str) -> Option<&'static str> {
    let words = ["not enough memory", "out of memory", "can't allocate memory"];
    words.iter().any(|words| reason.contains(words)).then_some(
        "It needs more memory than there is: use a smaller window or crop, fewer batch-windows, or another device.",
    )
}

/// Whether a message speaks of precisions.
pub(super) fn of_precision(reason: &str) -> bool {
    let words = ["dtype", "Half", "half", "BFloat16", "bfloat16", "double", "Double", "scalar type", "ScalarType"];
    words.iter().any(|w| reason.contains(w))
}

/// Offers the model what models of other conventions take, and says which of it it takes.
fn of_trials(module: &Module, reason: &str) -> Option<String> {
    let metadata = &module.lens.metadata;
    let [h, w] = metadata.crop.map(|n| n as i64);
    let t = metadata.window as i64;
    let takes = |shape: &[i64], kind: Kind| {
        let clip = Tensor::f_zeros(shape, (kind, module.lens.device));
        clip.is_ok_and(|clip| module.takes(&[IValue::Tensor(clip)]))
    };
    let float = module.giving.kind;
    let bytes = "It takes bytes (uint8), which have no gradient: export it without its conversion from them, for input that mean, std and range of \
                 its metadata describe.";
    let last = "It takes [B, T, H, W, C], the channels last: wrap it in a module that takes [B, 3, T, H, W] and permutes it, and export that.";
    let single = "It takes single frames [N, 3, H, W]: wrap it in a module that takes [B, T, 3, H, W] and averages over the frames, and export \
                  that.";
    let (other, other_shape) = match metadata.layout {
        Layout::Bcthw => ("BTCHW", [1, t, 3, h, w]),
        Layout::Btchw | Layout::Bchw => ("BCTHW", [1, 3, t, h, w]),
    };
    let layout = format!(
        "It takes {other_shape:?}: correct layout in its metadata (or in a sidecar file model.pt.json) to {other}."
    );
    let six = "It takes six axes, [B, clips, C, T, H, W] as in MMAction2: wrap it in a module that takes [B, 3, T, H, W] and unsqueezes it, and \
               export that.";
    let trials: [(&[i64], Kind, &str); 8] = [
        (&other_shape, float, &layout),
        (&[1, t, h, w, 3], float, last),
        (&[1, 3, t, h, w], Kind::Uint8, bytes),
        (&[1, t, 3, h, w], Kind::Uint8, bytes),
        (&[1, t, h, w, 3], Kind::Uint8, bytes),
        (&[1, 1, 3, t, h, w], float, six),
        (&[t, 3, h, w], float, single),
        (&[1, 3, h, w], float, single),
    ];
    if let Some((_, _, remedy)) = trials.iter().find(|(shape, kind, _)| takes(shape, *kind)) {
        return Some(remedy.to_string());
    }
    of_numbers(module, reason, takes)
}

/// The same for other numbers on the axes: batch, channels, frames, sides.
fn of_numbers(module: &Module, reason: &str, takes: impl Fn(&[i64], Kind) -> bool) -> Option<String> {
    let float = module.giving.kind;
    let metadata = &module.lens.metadata;
    let [h, w] = metadata.crop.map(|n| n as i64);
    let frames = metadata.window as i64;
    let shape = |b: i64, c: i64, t: i64, [h, w]: [i64; 2]| match metadata.layout {
        Layout::Bcthw => [b, c, t, h, w],
        Layout::Btchw | Layout::Bchw => [b, t, c, h, w],
    };
    for batch in [2, 4, 8, 16, 32, 64] {
        // A large batch is only tried where the message speaks of that number.
        let spellings = [format!("[{batch},"), format!("({batch})"), format!("({batch}x")];
        let said = spellings.iter().any(|s| reason.contains(s));
        if said && takes(&shape(batch, 3, frames, [h, w]), float) {
            return Some(format!(
                "It was made for batches of {batch} clips: export it for a batch of 1, by tracing it with one clip."
            ));
        }
    }
    for channels in [1, 2, 4] {
        if takes(&shape(1, channels, frames, [h, w]), float) {
            return Some(format!(
                "It takes {channels} channel(s) instead of the three of RGB: wrap it in a module that makes them of RGB, and export that."
            ));
        }
    }
    let sidecar = "in its metadata (or in a sidecar file model.pt.json)";
    for t in [8, 16, 32, 64, 4].into_iter().filter(|t| *t != frames) {
        if takes(&shape(1, 3, t, [h, w]), float) {
            return Some(format!(
                "It takes windows of {t} frames: correct window {sidecar}, or set the window-size property to {t}."
            ));
        }
    }
    for side in [112, 224, 64, 128, 160, 256].into_iter().filter(|side| [*side; 2] != [h, w]) {
        if takes(&shape(1, 3, frames, [side, side]), float) {
            return Some(format!("It takes frames of {side}x{side}: correct resize and crop {sidecar}."));
        }
    }
    None
}
