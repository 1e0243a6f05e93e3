// SPDX-License-Identifier: MPL-2.0

//! Tiny TorchScript classifiers, traced and saved when a test asks for one: no model file has to lie in the repository,
//! and each way in which a model can be wrong is one closure.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tch::{CModule, Kind, Tensor};
use tempfile::TempDir;

/// Side of the models' view, and the classes of the good one.
pub const SIDE: usize = 16;
pub const CLASSES: usize = 4;
pub const LABELS: [&str; CLASSES] = ["walk", "run", "jump", "wave"];
const MEAN: [f64; 3] = [0.40, 0.45, 0.50];
const STD: [f64; 3] = [0.9, 1.0, 1.1];

/// A model file, there as long as this is.
pub struct ModelFile {
    pub dir: TempDir,
    pub path: PathBuf,
    pub window: usize,
    btchw: bool,
}

/// The variants of the good model.
#[derive(Clone, Copy)]
pub struct Good {
    pub window: usize,
    pub features: bool,
    pub btchw: bool,
    pub sidecar: bool,
    /// What each pass costs besides, in multiplications of 512 x 512 matrices.
    pub ballast: usize,
}

impl Default for Good {
    fn default() -> Self {
        Self { window: 4, features: true, btchw: false, sidecar: false, ballast: 0 }
    }
}

/// A model as the elements load it.
pub fn load(file: &ModelFile) -> gstsparseadv::model::Model {
    load_in(file, gstsparseadv::model::Precision::F32)
}

/// The same, with gradients in a precision.
pub fn load_in(file: &ModelFile, precision: gstsparseadv::model::Precision) -> gstsparseadv::model::Model {
    use gstsparseadv::model::{DeviceChoice, Model, Options};
    let model =
        Model::load(&Options { path: file.path.clone(), device: DeviceChoice::Cpu, precision, ..Options::default() });
    model.expect("a model that fits")
}

/// A convolution a frame, a rectifier and a linear map: it gives every texture some label, and small changes give
/// another.
pub fn good(variant: Good) -> ModelFile {
    let Good { window, btchw, .. } = variant;
    let convolution = weights(1, &[4, 3, 1, 3, 3], 1.0);
    let bias = weights(2, &[4], 0.2) + 0.3;
    let linear = weights(3, &[4 * window as i64 * 49, CLASSES as i64], 1.0);
    // A rotation, whose powers neither grow nor shrink however many there are: numbers near zero would take a hundred times
    // as long, and large ones would end as none.
    let ballast = Tensor::linalg_qr(&weights(4, &[512, 512], 1.0), "reduced").0;
    let net = move |input: &Tensor| {
        let x = match btchw {
            true => input.transpose(1, 2),
            false => input.shallow_clone(),
        };
        let map = x.conv3d(&convolution, Some(&bias), [1, 2, 2], [0, 0, 0], [1, 1, 1], 1);
        let map = map.relu();
        let mut logits = map.flatten(1, -1).matmul(&linear);
        if variant.ballast > 0 {
            // Off the gradient's path: it shall only cost time in the forward pass.
            let mut product = &ballast + x.detach().mean(Kind::Float);
            for _ in 0..variant.ballast {
                product = product.matmul(&ballast);
            }
            logits += product.mean(Kind::Float) * 0.0;
        }
        match variant.features {
            true => vec![logits, map],
            false => vec![logits],
        }
    };
    let layout = if btchw { "BTCHW" } else { "BCTHW" };
    let metadata = json!({
        "name": "tiny", "window": window, "layout": layout, "resize": [SIDE, SIDE], "crop": [SIDE, SIDE],
        "mean": MEAN, "std": STD, "labels": LABELS,
    });
    let file = traced(window, btchw, net);
    match variant.sidecar {
        true => file.with_sidecar(&metadata.to_string()),
        false => file.with_metadata(&metadata.to_string()),
    }
}

/// A model of pictures, as a surrogate may be: a convolution and a linear map.
pub fn pictures() -> ModelFile {
    let (convolution, linear) = (weights(11, &[4, 3, 3, 3], 1.0), weights(13, &[4 * 49, 5], 1.0));
    let input = weights(9, &[1, 3, SIDE as i64, SIDE as i64], 0.5) + 0.5;
    let file = traced_with(&[input], |inputs| {
        let map = inputs[0].conv2d(&convolution, None::<&Tensor>, [2, 2], [0, 0], [1, 1], 1).relu();
        vec![map.flatten(1, -1).matmul(&linear)]
    });
    let metadata = json!({ "layout": "BCHW", "resize": [SIDE, SIDE], "crop": [SIDE, SIDE] });
    file.with_metadata(&metadata.to_string())
}

/// Traces `net` at the input of a window of `SIDE` x `SIDE` frames and saves it, without metadata.
pub fn traced(window: usize, btchw: bool, mut net: impl FnMut(&Tensor) -> Vec<Tensor>) -> ModelFile {
    let (t, side) = (window as i64, SIDE as i64);
    let shape = match btchw {
        true => [1, t, 3, side, side],
        false => [1, 3, t, side, side],
    };
    // Not all zero, or a traced branch of some operators would be a special one.
    let input = weights(9, &shape, 0.5) + 0.5;
    let file = traced_with(&[input], |inputs| net(&inputs[0]));
    ModelFile { window, btchw, ..file }
}

/// The same at any inputs, as models that do not keep to the contract have them.
pub fn traced_with(inputs: &[Tensor], mut net: impl FnMut(&[Tensor]) -> Vec<Tensor>) -> ModelFile {
    super::init();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("tiny.pt");
    let mut pair = false;
    let mut trace = |inputs: &[Tensor]| match net(inputs).as_slice() {
        [logits, features] => {
            pair = true;
            vec![logits.type_as(features)]
        }
        [logits] => vec![logits.shallow_clone()],
        other => panic!("{} outputs", other.len()),
    };
    let module = CModule::create_by_tracing("Tiny", "forward", inputs, &mut trace);
    let module = module.expect("a traced model");
    module.save(&path).expect("a saved model");
    if pair {
        return_a_tuple(&path);
    }
    ModelFile { dir, path, window: 4, btchw: false }
}

/// Libtorch's tracing knows no tuples. So the trace ends in an operator of two arguments, and the code in the archive,
/// which is text, is made to return the arguments themselves.
fn return_a_tuple(path: &Path) {
    edit_code(path, |code| {
        let code = code.replace("-> Tensor:", "-> Tuple[Tensor, Tensor]:");
        code.replace("return torch.type_as(", "return (")
    });
}

/// Changes the code in an archive.
pub fn edit_code(path: &Path, edit: impl Fn(&str) -> String) {
    edit_members(path, |name, data| match name.ends_with(".py") {
        true => edit(&String::from_utf8(data).expect("code")).into_bytes(),
        false => data,
    });
}

/// Changes the members of an archive.
pub fn edit_members(path: &Path, edit: impl Fn(&str, Vec<u8>) -> Vec<u8>) {
    let file = std::fs::File::open(path).expect("the model");
    let mut archive = zip::ZipArchive::new(file).expect("an archive");
    let mut members = Vec::new();
    for i in 0..archive.len() {
        let mut member = archive.by_index(i).expect("a member");
        let mut data = Vec::new();
        member.read_to_end(&mut data).expect("a member");
        members.push((member.name().to_string(), data));
    }
    let file = std::fs::File::create(path).expect("the model");
    let mut archive = zip::ZipWriter::new(file);
    for (name, data) in members {
        if name.ends_with(".debug_pkl") {
            // Says where in the old text each operator stands.
            continue;
        }
        let data = edit(&name, data);
        archive.start_file(name, stored()).expect("a member");
        archive.write_all(&data).expect("a member");
    }
    archive.finish().expect("the archive");
}

fn stored() -> zip::write::FileOptions {
    zip::write::FileOptions::default().compression_method(zip::CompressionMethod::Stored)
}

/// Usual metadata for a model of [`traced`] with its defaults.
pub fn plain_metadata(window: usize) -> Value {
    json!({ "window": window, "resize": [SIDE, SIDE], "crop": [SIDE, SIDE] })
}

impl ModelFile {
    /// Appends metadata to the archive, where `torch.jit.save(..., _extra_files=...)` puts them.
    pub fn with_metadata(self, text: &str) -> Self {
        let mut options = std::fs::File::options();
        let file = options.read(true).write(true).open(&self.path);
        let file = file.expect("the model");
        let root = {
            let archive = zip::ZipArchive::new(file.try_clone().expect("a handle"));
            let archive = archive.expect("an archive");
            let first = archive.file_names().next().expect("a member").to_string();
            first.split('/').next().expect("a root").to_string()
        };
        let mut archive = zip::ZipWriter::new_append(file).expect("an archive");
        let member = format!("{root}/extra/sparseadv.json");
        archive.start_file(member, stored()).expect("a member");
        archive.write_all(text.as_bytes()).expect("the metadata");
        archive.finish().expect("the archive");
        self
    }

    /// Puts metadata beside the archive.
    pub fn with_sidecar(self, text: &str) -> Self {
        std::fs::write(self.sidecar(), text).expect("a sidecar file");
        self
    }

    pub fn sidecar(&self) -> PathBuf {
        PathBuf::from(format!("{}.json", self.path.display()))
    }

    pub fn location(&self) -> &str {
        self.path.to_str().expect("a path in UTF-8")
    }

    /// A file of a perturbation that adds so many levels to every value of this model's views.
    pub fn adding(&self, by: i8) -> String {
        self.adding_to_views(by, SIDE)
    }

    /// The same for views of another side.
    pub fn adding_to_views(&self, by: i8, side: usize) -> String {
        use gstsparseadv::universal::{Universal, Values};

        let path = self.beside("added.safetensors");
        let metadata = format!(r#"{{"window": 4, "resize": [{side}, {side}], "crop": [{side}, {side}]}}"#);
        let view = gstsparseadv::model::Metadata::from_json(metadata.as_bytes(), "the test").expect("metadata");
        let values = Values::Added(vec![by; 3 * side * side]);
        Universal { values, ..Universal::nothing(view, "none") }.save(path.as_ref()).expect("a file");
        path
    }

    /// A path in the model's temporary directory.
    pub fn beside(&self, name: &str) -> String {
        let path: &Path = self.dir.path();
        path.join(name).to_str().expect("a path in UTF-8").into()
    }

    /// The independent judge: what libtorch alone makes of frames of packed RGB, `SIDE` x `SIDE`. Shorter windows
    /// repeat the last frame.
    pub fn logits(&self, frames: &[Vec<u8>]) -> Vec<f32> {
        let module = CModule::load(&self.path).expect("the model");
        let side = SIDE as i64;
        let frame = |k: usize| {
            let bytes = &frames[k.min(frames.len() - 1)];
            Tensor::from_slice(bytes).view([side, side, 3])
        };
        let stack: Vec<Tensor> = (0..self.window).map(frame).collect();
        let x = Tensor::stack(&stack, 0).to_kind(Kind::Float) / 255.0;
        let statistic = |s: [f64; 3]| Tensor::from_slice(&s).to_kind(Kind::Float);
        let x = (x - statistic(MEAN)) / statistic(STD);
        let order = match self.btchw {
            true => [0, 3, 1, 2],
            false => [3, 0, 1, 2],
        };
        let x = x.permute(order).unsqueeze(0).contiguous();
        let output = module.forward_is(&[tch::IValue::Tensor(x)]);
        let logits = match output.expect("a forward pass") {
            tch::IValue::Tensor(logits) => logits,
            tch::IValue::Tuple(mut items) => match items.swap_remove(0) {
                tch::IValue::Tensor(logits) => logits,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        Vec::try_from(logits.view(-1)).expect("logits")
    }

    /// The label of frames, by the independent judge.
    pub fn label(&self, frames: &[Vec<u8>]) -> usize {
        let logits = self.logits(frames);
        let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        best.expect("logits").0
    }
}

/// Fixed weights between -`scale` and `scale`, without a gradient, so that a trace may hold them as constants.
pub fn weights(seed: u64, shape: &[i64], scale: f32) -> Tensor {
    // A thread that has used libtorch keeps its number of threads: changed in between, sums come in another order.
    super::init();
    let n: i64 = shape.iter().product();
    let mut noise = Noise::new(seed);
    let values: Vec<f32> = (0..n).map(|_| (noise.unit() * 2.0 - 1.0) * scale).collect();
    Tensor::from_slice(&values).view(shape).set_requires_grad(false)
}

/// SplitMix64: the same numbers in every run.
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_F491_4F6C_DD1D))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In 0..1.
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }
}

/// An agent that picks keyframes by `net` of what is shown of a window, `[1, 6, frames, SIDE, SIDE]`.
pub fn agent(frames: usize, mut net: impl FnMut(&Tensor) -> Vec<Tensor>) -> ModelFile {
    let side = SIDE as i64;
    let shown = weights(9, &[1, 6, frames as i64, side, side], 0.5) + 0.5;
    traced_with(&[shown], |inputs| net(&inputs[0]))
}

/// The usual one of the tests: it picks the frames that are brighter than their window is on average.
pub fn bright_agent() -> ModelFile {
    agent(4, |shown| {
        let brightness = shown.narrow(1, 0, 3).mean_dim(&[0i64, 1, 3, 4][..], false, Kind::Float);
        vec![((&brightness - brightness.mean(Kind::Float)) * 1000.0).sigmoid()]
    })
}
