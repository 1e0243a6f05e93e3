// SPDX-License-Identifier: MPL-2.0

//! Files that are no models, and metadata that do not fit.

use serde_json::json;

use crate::common::guarded;
use crate::common::models::{good, plain_metadata, Good, ModelFile};
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
        refused(
            &file(None),
            &[],
            &[
                "cannot be read",
                "no such file",
                "expected",
                "check the path",
            ],
        );
        refused(
            &file(Some(b"")),
            &[],
            &["expected", "torchscript", "empty", again],
        );
        refused(
            &file(Some(b"not a model at all")),
            &[],
            &["torchscript", "no zip", again],
        );
        let half = &whole[..whole.len() / 2];
        refused(&file(Some(half)), &[], &["torchscript", "truncated", again]);
        let directory = file(None);
        std::fs::create_dir(&directory.path).expect("a directory");
        refused(&directory, &[], &["torchscript", "directory", again]);
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
        let state_dict = zip(&[
            ("archive/data.pkl", b"\x80\x02}q\x00."),
            ("archive/version", b"3\n"),
        ]);
        refused(
            &file(Some(&state_dict)),
            &[],
            &["torchscript", "state_dict", "torch.jit.save"],
        );
        let other = zip(&[("letter.txt", b"hello")]);
        refused(
            &file(Some(&other)),
            &[],
            &["torchscript", "something else", "torch.jit.save"],
        );
        let hollow = zip(&[
            ("tiny/constants.pkl", b"rubbish"),
            ("tiny/data.pkl", b"rubbish"),
            ("tiny/version", b"3\n"),
            ("tiny/code/__torch__.py", b"def forward("),
        ]);
        refused(
            &file(Some(&hollow)),
            &[],
            &["cannot be loaded", "export it again"],
        );
    });
}

#[test]
fn metadata_that_are_none() {
    guarded(60, || {
        let with = |text: &str| linear(|logits, _| vec![logits]).with_metadata(text);
        let beside = |text: &str| linear(|logits, _| vec![logits]).with_sidecar(text);
        let readme = "readme";
        refused(&with("{ \"window\": "), &[], &["metadata", "eof", readme]);
        refused(
            &beside("nonsense"),
            &[],
            &["metadata", ".pt.json", "expected", readme],
        );
        refused(
            &beside("{\"windw\": 4}"),
            &[],
            &["unknown field", "windw", "expected", "window", readme],
        );
        let crop = "{\"resize\": [16, 16], \"crop\": [17, 16]}";
        refused(
            &with(crop),
            &[],
            &["expected a crop", "16x16", "found 17x16", readme],
        );
        refused(
            &with("{\"window\": 0}"),
            &[],
            &["expected a window", "found 0", readme],
        );
        refused(
            &with("{\"layout\": \"THWC\"}"),
            &[],
            &["thwc", "expected", "BCTHW", readme],
        );
        refused(
            &with("{\"std\": [1, 0, 1]}"),
            &[],
            &["expected", "deviations", "found", readme],
        );
    });
}

#[test]
fn more_labels_than_logits() {
    guarded(60, || {
        let mut metadata = plain_metadata(4);
        metadata["labels"] = json!(["a", "b", "c"]);
        let model = good(Good::default()).with_sidecar(&metadata.to_string());
        refused(
            &model,
            &[],
            &[
                "expected as many labels",
                "3 labels",
                "4 logits",
                "correct labels",
            ],
        );
    });
}
