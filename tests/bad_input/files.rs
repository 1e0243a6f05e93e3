// SPDX-License-Identifier: MPL-2.0

//! Files that are no models, and metadata that do not fit.

use serde_json::json;

use crate::common::guarded;
use crate::common::models::{Good, ModelFile, edit_code, edit_members, good, plain_metadata};
use crate::{linear, refused};

/// A model whose code never matters: its file is replaced.
fn file(content: Option<&[u8]>) -> ModelFile {
    let model = linear(|logits, _| vec![logits]);
    match content {
        Some(content) => std::fs::write(&model.path, content).expect("a file"),
        None => std::fs::remove_file(&model.path).expect("no file"),
    }
    model
}

#[test]
fn files_that_are_no_models() {
    guarded(60, || {
        let whole = std::fs::read(&good(Good::default()).path).expect("a model");
        let again = "torch.jit.save";
        refused(&file(None), &[], &["cannot be read", "no such file", "expected", "check the path"]);
        refused(&file(Some(b"")), &[], &["expected", "torchscript", "empty", again]);
        refused(&file(Some(b"not a model at all")), &[], &["torchscript", "no zip", again]);
        let half = &whole[..whole.len() / 2];
        refused(&file(Some(half)), &[], &["torchscript", "truncated", again]);
        let directory = file(None);
        std::fs::create_dir(&directory.path).expect("a directory");
        refused(&directory, &[], &["torchscript", "directory", again]);
    });
}

/// Files that people have in place of a model, told by their first bytes.
#[test]
fn files_of_other_programs() {
    guarded(60, || {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0f\nsize 9\n";
        refused(&file(Some(pointer)), &[], &["Git LFS pointer", "git lfs pull"]);
        let legacy = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.";
        let words = ["legacy", "torch.save", "without code", "--weights"];
        refused(&file(Some(legacy)), &[], &words);
        let page = b"<!DOCTYPE html>\n<html><body>404</body></html>";
        refused(&file(Some(page)), &[], &["HTML page", "download the model again"]);
        let onnx = b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:\x10";
        refused(&file(Some(onnx)), &[], &["ONNX", "PyTorch model"]);
        let tensors = b"\x40\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"F32\"}}";
        refused(&file(Some(tensors)), &[], &["safetensors", "weights alone"]);
        refused(&file(Some(b"\x1f\x8b\x08\0")), &[], &["gzip", "unpack"]);
        refused(&file(Some(b"\0\0\0\x18ftypmp42")), &[], &["video", "name the model"]);
    });
}

fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, data) in members {
        let options = zip::write::FileOptions::default();
        archive.start_file(*name, options).expect("a member");
        std::io::Write::write_all(&mut archive, data).expect("a member");
    }
    archive.finish().expect("an archive").into_inner()
}

#[test]
fn archives_of_something_else() {
    guarded(60, || {
        let state_dict = zip(&[("archive/data.pkl", b"\x80\x02}q\x00."), ("archive/version", b"3\n")]);
        refused(&file(Some(&state_dict)), &[], &["torchscript", "state_dict", "torch.jit.save"]);
        let program = zip(&[("e/models/model.json", b"{}"), ("e/archive_format", b"pt2")]);
        refused(&file(Some(&program)), &[], &["torch.export", ".pt2", "torch.jit.save"]);
        let packed = zip(&[("model/c3d.pt", b"PK")]);
        refused(&file(Some(&packed)), &[], &["inside", "unpack"]);
        let other = zip(&[("letter.txt", b"hello")]);
        refused(&file(Some(&other)), &[], &["torchscript", "something else", "torch.jit.save"]);
        let hollow = zip(&[
            ("tiny/constants.pkl", b"rubbish"),
            ("tiny/data.pkl", b"rubbish"),
            ("tiny/version", b"3\n"),
            ("tiny/code/__torch__.py", b"def forward("),
        ]);
        let optimized = zip(&[
            ("tiny/constants.pkl", b"\x80\x02)."),
            ("tiny/code/__torch__.py", b"w = ops.prim.ConstantMKLDNNTensor()"),
        ]);
        refused(&file(Some(&optimized)), &[], &["cannot be loaded", "optimize_for_inference", "without it"]);
        refused(&file(Some(&hollow)), &[], &["constants.pkl", "to fit the archive", "export the model again"]);
    });
}

/// What libtorch says of archives, without the addresses of its functions, and with what to do.
#[test]
fn archives_that_libtorch_refuses() {
    guarded(60, || {
        let newer = linear(|logits, _| vec![logits]);
        edit_members(&newer.path, |name, data| match name.ends_with("/version") {
            true => b"99\n".to_vec(),
            false => data,
        });
        let words = ["cannot be loaded", "version 99", "newer PyTorch"];
        let message = refused(&newer, &[], &words);
        assert!(!message.contains("frame #"), "{message}");
        let with_call = |call: &str| {
            let model = linear(|logits, _| vec![logits.relu()]);
            edit_code(&model.path, |code| code.replace("torch.relu(", call));
            model
        };
        let foreign = with_call("ops.torchvision.nms(");
        refused(&foreign, &[], &["torchvision::nms", "plain PyTorch"]);
        let unknown = with_call("torch.brand_new(");
        refused(&unknown, &[], &["aten::brand_new", "no newer than"]);
    });
}

#[test]
fn metadata_that_are_none() {
    guarded(60, || {
        let with = |text: &str| linear(|logits, _| vec![logits]).with_metadata(text);
        let beside = |text: &str| linear(|logits, _| vec![logits]).with_sidecar(text);
        let readme = "readme";
        refused(&with("{ \"window\": "), &[], &["metadata", "eof", readme]);
        refused(&beside("nonsense"), &[], &["metadata", ".pt.json", "expected", readme]);
        refused(&beside("{\"windw\": 4}"), &[], &["unknown field", "windw", "expected", "window", readme]);
        let crop = "{\"resize\": [16, 16], \"crop\": [17, 16]}";
        refused(&with(crop), &[], &["expected a crop", "16x16", "found 17x16", readme]);
        refused(&with("{\"window\": 0}"), &[], &["expected a window", "found 0", readme]);
        refused(&with("{\"layout\": \"THWC\"}"), &[], &["thwc", "expected", "BCTHW", readme]);
        refused(&with("{\"std\": [1, 0, 1]}"), &[], &["expected", "deviations", "found", readme]);
    });
}

#[test]
fn more_labels_than_logits() {
    guarded(60, || {
        let mut metadata = plain_metadata(4);
        metadata["labels"] = json!(["a", "b", "c"]);
        let model = good(Good::default()).with_sidecar(&metadata.to_string());
        refused(&model, &[], &["expected as many labels", "3 labels", "4 logits", "correct labels"]);
    });
}
