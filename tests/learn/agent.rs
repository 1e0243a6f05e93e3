// SPDX-License-Identifier: MPL-2.0

//! `--kind agent`: a file that the element takes, what it says of itself, and that a run goes on where it was stopped.

use super::*;
use common::frames::{frame, rgb};
use common::oracle::{number, reports};
use common::rig::Rig;
use std::io::Read;
use tch::{CModule, Tensor};

/// What the file says it was learned on.
fn notes(path: &Path) -> Value {
    let mut archive = zip::ZipArchive::new(fs::File::open(path).expect("an agent")).expect("an archive");
    let member = format!("/extra/{}", gstsparseadv::agent::MEMBER);
    let name = archive.file_names().find(|name| name.ends_with(&member)).expect("notes").to_owned();
    let mut text = String::new();
    archive.by_name(&name).expect("notes").read_to_string(&mut text).expect("notes");
    serde_json::from_str(&text).expect("JSON")
}

/// What it says of some frames.
fn said(path: &Path, frames: i64) -> Vec<f32> {
    let shown = common::models::weights(4, &[1, 6, frames, SIDE as i64, SIDE as i64], 0.5);
    let probabilities: Tensor = CModule::load(path).expect("an agent").forward_ts(&[shown]).expect("probabilities");
    assert_eq!(probabilities.size(), [frames]);
    Vec::try_from(probabilities).expect("probabilities")
}

#[test]
fn an_agent_is_learned_and_taken() {
    guarded(120, || {
        let data = data();
        let path = data.path("agent.pt");
        let output = data.learn(&path, &["--kind", "agent", "--steps", "8", "--batch", "2", "--seed", "3"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(!path.with_extension("pt.learning").exists());
        let notes = notes(&path);
        assert_eq!(notes["model_sha256"], gstsparseadv::provenance::sha256(&data.model.path).expect("a model"));
        assert_eq!((notes["window"].as_u64(), notes["seed"].as_u64()), (Some(WINDOW as u64), Some(3)));
        let held_out = &notes["held_out"];
        let keyframes = held_out["keyframes"].as_f64().expect("a mean");
        assert!(held_out["windows"].as_u64() > Some(0) && (1.0..=WINDOW as f64).contains(&keyframes), "{notes}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        for (name, of) in [("agent", "the agent's"), ("random", "as many by chance"), ("all", "all frames")] {
            let reward = held_out[name]["reward"].as_f64().expect("a reward");
            assert!(
                (-1.0..1.0).contains(&reward) && text.contains(&format!("{of}: reward {reward:.3}")),
                "{text} {notes}"
            );
        }
        // However many frames there are.
        for frames in [1, 3, 4, 9] {
            assert!(said(&path, frames).iter().all(|p| (0.0..=1.0).contains(p)));
        }
        let rig = Rig::new(
            &data.model,
            &[
                ("keyframes", &format!("agent:{}", path.display())),
                ("access", "label"),
                ("search", "sign-opt"),
                ("max-queries", "60"),
            ],
        );
        rig.begin(&rgb());
        rig.feed((0..WINDOW as u64 + 2).map(|i| frame(&rgb(), i)));
        rig.finish();
        let reports = reports(&rig);
        assert!(
            reports.len() == 2 && reports.iter().all(|report| number(report, "queries_selection") == 0),
            "{reports:?}"
        );
    });
}

#[test]
fn an_agent_that_was_stopped_goes_on() {
    guarded(240, || {
        let data = data();
        let more = ["--kind", "agent", "--steps", "40", "--batch", "2"];
        let (whole, parts) = (data.path("whole.pt"), data.path("parts.pt"));
        assert_eq!(data.learn(&whole, &more).status.code(), Some(0));
        let state = data.path("parts.pt.learning");
        data.stopped(&parts, &more);
        let output = data.learn(&parts, &["--kind", "agent", "--steps", "41", "--batch", "2"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && text.contains("others"), "{text}");
        let output = data.learn(&parts, &more);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(0) && text.contains("goes on after step"), "{text}");
        assert!(!state.exists());
        assert_eq!(said(&whole, 4), said(&parts, 4), "another agent than in one go");
        assert_eq!(notes(&whole), notes(&parts));
    });
}

#[test]
fn an_agent_has_no_options_of_a_perturbation() {
    guarded(60, || {
        let data = data();
        let path = data.path("never.pt");
        for (more, expected) in [
            (&["--target-label", "0"][..], "--target-label"),
            (&["--survive", "jpegenc ! jpegdec", "--margin", "1"], "--survive and --margin"),
            (&["--steps", "0"], "at least one"),
        ] {
            let output = data.learn(&path, &[&["--kind", "agent"], more].concat());
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.code() == Some(1) && text.contains(expected), "{more:?}: {text}");
            assert!(!path.exists());
        }
    });
}
