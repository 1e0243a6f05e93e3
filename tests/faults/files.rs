// SPDX-License-Identifier: MPL-2.0

//! The file of a model or of a perturbation, deleted or replaced at any moment.

use std::path::Path;

use gst::prelude::*;

use crate::common::models::{Good, ModelFile, good};
use crate::common::rig::Rig;
use crate::{MODES, Mode, all_came, count, dark, guarded, idle, playing, tells};

/// What becomes of a file.
#[derive(Clone, Copy, Debug)]
enum Change {
    Deleted,
    Garbage,
    Half,
}

const CHANGES: [(Change, &str); 3] =
    [(Change::Deleted, "no such file"), (Change::Garbage, "expected"), (Change::Half, "expected")];

impl Change {
    /// Makes it, and puts the file back as it was.
    fn of(self, path: &Path) -> impl FnOnce() + use<> {
        let whole = std::fs::read(path).expect("the file");
        match self {
            Self::Deleted => std::fs::remove_file(path).expect("the file"),
            Self::Garbage => std::fs::write(path, "this is neither").expect("the file"),
            Self::Half => std::fs::write(path, &whole[..whole.len() / 2]).expect("the file"),
        }
        let path = path.to_path_buf();
        move || std::fs::write(path, whole).expect("the file")
    }
}

/// The files that an element in a mode reads.
fn files(mode: Mode, model: &ModelFile) -> Vec<std::path::PathBuf> {
    let mut files = vec![model.path.clone()];
    if mode == Mode::Learned {
        files.push(model.beside("added.safetensors").into());
    }
    files
}

fn starts(rig: &Rig) -> bool {
    rig.element.set_state(gst::State::Paused).is_ok()
}

/// Eight frames, all of them as they should be.
fn plays(rig: &Rig) {
    rig.play();
    rig.forget();
    rig.begin(&crate::rgb());
    let given: Vec<_> = (0..8).map(dark).collect();
    rig.feed(given.iter().cloned());
    rig.finish();
    all_came(rig, &given);
    assert_eq!(count(rig, "windows"), 2);
    assert_eq!(rig.complaints(), [[""; 0]; 2]);
}

fn refused(rig: &Rig, path: &Path, says: &str) {
    assert!(!starts(rig), "{}", path.display());
    let [errors, warnings] = rig.complaints();
    assert_eq!((errors.len(), warnings.len()), (1, 0));
    tells(&errors[0], &[path.to_str().expect("UTF-8"), says]);
}

#[test]
fn before_the_stream_it_is_refused_and_what_is_put_right_plays() {
    guarded(|| {
        for mode in MODES {
            for on_error in ["stop", "passthrough"] {
                let model = good(Good::default());
                let rig = idle(mode, &model, &[("on-error", on_error)]);
                for path in files(mode, &model) {
                    for (change, says) in CHANGES {
                        println!("{mode:?} {on_error} {change:?} {}", path.display());
                        assert!(rig.element.set_state(gst::State::Ready).is_ok());
                        let restore = change.of(&path);
                        refused(&rig, &path, says);
                        restore();
                        plays(&rig);
                    }
                }
            }
        }
    });
}

#[test]
fn during_the_stream_nobody_reads_it() {
    guarded(|| {
        for mode in MODES {
            for (change, says) in CHANGES {
                let model = good(Good::default());
                let rig = playing(mode, &model, &[]);
                let given: Vec<_> = (0..8).map(dark).collect();
                rig.begin(&crate::rgb());
                rig.feed(given[..5].iter().cloned());
                let restore: Vec<_> = files(mode, &model).iter().map(|path| change.of(path)).collect();
                rig.feed(given[5..].iter().cloned());
                rig.finish();
                all_came(&rig, &given);
                assert_eq!(count(&rig, "windows"), 2);
                assert_eq!(rig.complaints(), [[""; 0]; 2], "{mode:?} {change:?}");
                // The next stream does.
                assert!(rig.element.set_state(gst::State::Ready).is_ok());
                let first = files(mode, &model).pop().expect("a file");
                refused(&rig, &first, says);
                restore.into_iter().for_each(|restore| restore());
                plays(&rig);
            }
        }
    });
}

/// The next stream is of the other model, unless that is not the one it has to be.
#[test]
fn another_model_is_taken_where_any_may_be() {
    guarded(|| {
        for mode in MODES {
            let (model, other) = (good(Good::default()), good(Good { features: false, ..Good::default() }));
            let hash = |file: &ModelFile| gstsparseadv::provenance::sha256(&file.path).expect("a hash");
            let (first, second) = (hash(&model), hash(&other));
            let rig = playing(mode, &model, &[]);
            for expected in [&first, &second] {
                rig.forget();
                rig.begin(&crate::rgb());
                rig.feed((0..4).map(dark));
                rig.finish();
                let report = rig.first_reports(1).remove(0);
                assert_eq!(report["model_sha256"], **expected, "{mode:?} {report}");
                assert!(rig.element.set_state(gst::State::Ready).is_ok());
                std::fs::copy(&other.path, &model.path).expect("a copy");
                rig.play();
            }
            assert!(rig.element.set_state(gst::State::Ready).is_ok());
            rig.element.set_property("model-sha256", &first);
            refused(&rig, &model.path, &second);
        }
    });
}
