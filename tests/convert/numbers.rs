// SPDX-License-Identifier: MPL-2.0

//! One clip has one number, whichever program says it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gst::prelude::*;

use crate::common::{self, guarded};
use crate::data::*;

const MODEL: &str = "/figures-lrcn.pt";
const ITERATIONS: &str = "max-iterations=12 patience=1";

/// Two windows that the model calls jack and two that it calls walk.
fn half_and_half(path: &Path) {
    let (jack, walk) = (frames("jack"), frames("walk"));
    encode(&[&jack[..32], &walk[..32]].concat(), path);
}

type Counts = HashMap<&'static str, u64>;

const COUNTS: [&str; 4] = ["windows", "already-fooled", "attacked", "fooled"];
const RATES: [&str; 3] = ["clean-accuracy", "robust-accuracy", "fooling-rate"];

/// The totals of both elements, of the bytes pushed and by the metas.
fn elements(clip: &Path, properties: &str, report: &Path) -> [gst::Structure; 2] {
    common::init();
    let model = format!("{EXAMPLES}{MODEL}");
    let pipeline = gst::parse::launch(&format!(
        "filesrc location={} ! decodebin ! sparseadv model={model} report-location={} {ITERATIONS} {properties} \
         ! clipclassifier model={model} ! fakesink sync=false",
        clip.display(),
        report.display()
    ));
    totals(pipeline.expect("a pipeline")).try_into().expect("the totals of two elements")
}

/// What the second element says with the report alone.
fn by_report(clip: &Path, report: &Path) -> gst::Structure {
    let model = format!("{EXAMPLES}{MODEL}");
    let pipeline = gst::parse::launch(&format!(
        "filesrc location={} ! decodebin ! clipclassifier model={model} reference-location={} ! fakesink sync=false",
        clip.display(),
        report.display()
    ));
    totals(pipeline.expect("a pipeline")).remove(0)
}

fn totals(pipeline: gst::Element) -> Vec<gst::Structure> {
    let bus = pipeline.bus().expect("a bus");
    pipeline.set_state(gst::State::Playing).expect("a start");
    let mut totals = Vec::new();
    for message in bus.iter_timed(gst::ClockTime::from_seconds(100)) {
        match message.view() {
            gst::MessageView::Eos(_) => break,
            gst::MessageView::Error(error) => panic!("{error:?}"),
            _ => totals.extend(message.structure().filter(|s| s.name().ends_with("-stats")).map(|s| s.to_owned())),
        }
    }
    pipeline.set_state(gst::State::Null).expect("an end");
    totals
}

fn counts(structure: &gst::Structure) -> Counts {
    COUNTS.map(|name| (name, structure.get::<u64>(name).expect(name))).into()
}

/// The rows of a converted tree by class, in the elements' words.
fn classes(tree: &Path) -> HashMap<String, HashMap<String, String>> {
    let rows = csv::Reader::from_path(tree.join("manifest-classes.csv"));
    let rows = rows.expect("a manifest").into_deserialize();
    rows.map(|row| {
        let row: HashMap<String, String> = row.expect("a row");
        (row["class"].clone(), row)
    })
    .collect()
}

fn attack(clip: &Path, properties: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_gst-sparseadv"))
        .arg("attack")
        .args([clip, &clip.with_extension("out.mp4")])
        .args(["--model", &format!("{EXAMPLES}{MODEL}")])
        .args(["--properties", &format!("{ITERATIONS} {properties}")])
        .output()
        .expect("gst-sparseadv");
    expect(0, &output);
    String::from_utf8(output.stdout).expect("text")
}

fn agree(properties: &str, target: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let clip: PathBuf = folder.path().join("set/walk/clip.avi");
    half_and_half(&clip);
    let report = folder.path().join("report.jsonl");
    let all = format!("label=walk {properties}");
    let [pushed, seen] = elements(&clip, &all, &report);
    let expected = counts(&pushed);
    assert_eq!(expected["windows"], 4);
    assert_eq!(expected["already-fooled"], 2, "the model is wrong already");
    assert_eq!(expected["attacked"], 2);
    assert!(expected["fooled"] > 0, "{pushed}");
    assert_eq!(counts(&seen), expected);
    let rates = |s: &gst::Structure| RATES.map(|name| s.get::<f64>(name).ok());
    assert_eq!(rates(&seen), rates(&pushed));
    assert_eq!(rates(&pushed)[0], Some(0.5));
    assert_eq!(pushed.get::<&str>("labels"), Ok("ground-truth"));

    // Of the clip as it was, by the report: nothing is fooled, and the same windows are in no rate.
    let clean = counts(&by_report(&clip, &report));
    assert_eq!((clean["attacked"], clean["already-fooled"], clean["fooled"]), (2, 2, 0));

    let tree = folder.path().join("tree");
    let set = folder.path().join("set");
    let words = format!("{ITERATIONS} {properties}");
    expect(0, &convert(&set, &tree, &["--properties", &words]));
    for class in ["walk", "(all)"] {
        let row = &classes(&tree)[class];
        for name in COUNTS {
            assert_eq!(row[&name.replace('-', "_")], expected[name].to_string(), "{class} {name}");
        }
        assert_eq!(row["clean_accuracy"], "0.5");
    }

    let said = attack(&clip, &all);
    let fooled = format!("({} of 2 rightly classified windows)", expected["fooled"]);
    assert!(said.contains(&fooled) && said.contains("clean accuracy 50.0 %"), "{said}");
    assert!(said.contains("2 already fooled"), "{said}");
    for line in fs::read_to_string(&report).expect("a report").lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let wrong = line["clean_label_name"] != "walk";
        assert_eq!(line["already_fooled"], wrong);
        assert_eq!(line["success"].is_null(), wrong, "a repair is no success: {line}");
        assert_eq!(line["queries"] == 1, wrong, "nobody attacks it: {line}");
        assert_eq!(line["target_label"].is_null(), target.is_empty());
        assert_eq!(line["format"], gstsparseadv::provenance::FORMAT);
        assert_eq!(line["settings"]["label"], "walk");
        assert_eq!(line["model_sha256"].as_str().map(str::len), Some(64));
        assert!(line["input"].as_str().is_some_and(|i| i.ends_with("clip.avi")), "{line}");
    }
}

#[test]
fn untargeted_numbers_agree() {
    guarded(300, || agree("", ""));
}

#[test]
fn targeted_numbers_agree() {
    guarded(300, || agree("target-label=run max-iterations=60", "run"));
}

#[test]
fn a_class_that_the_model_lacks_has_no_ground_truth() {
    guarded(300, || {
        let folder = tempfile::tempdir().expect("a folder");
        let set = folder.path().join("set");
        // Found without regard to case; and one after it, which must not be given its label.
        encode(&frames("walk")[..16], &set.join("Walk/a.avi"));
        encode(&frames("walk")[..16], &set.join("zebra/a.avi"));
        let tree = folder.path().join("tree");
        let output = convert(&set, &tree, &["--properties", ITERATIONS]);
        expect(0, &output);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("no label for the class folders zebra"), "{said}");
        let classes = classes(&tree);
        assert_eq!(classes["Walk"]["clean_accuracy"], "1.0");
        assert_eq!(classes["Walk"]["unlabeled"], "0");
        assert_eq!(classes["zebra"]["clean_accuracy"], "");
        assert_eq!(classes["zebra"]["unlabeled"], "1");
        assert_eq!(classes["zebra"]["attacked"], "1");
        assert_eq!(classes["(all)"]["clean_accuracy"], "1.0");
    });
}

#[test]
fn a_manifest_that_no_conversion_made_stays() {
    guarded(300, || {
        let data = data();
        let tree = data.dir.path().join("not-ours");
        fs::create_dir_all(&tree).expect("a folder");
        for name in ["manifest-clips.csv", "manifest.jsonl", "timings.csv"] {
            fs::write(tree.join(name), "mine").expect("a file");
            refused(&convert(&data.set(), &tree, &[]), "is there already");
            assert_eq!(files(&tree), [name]);
            fs::remove_file(tree.join(name)).expect("a file");
        }
    });
}

#[test]
fn a_part_that_is_not_there_is_told_of() {
    guarded(300, || {
        let data = data();
        let tree = data.dir.path().join("one-part");
        expect(0, &convert(&data.set(), &tree, &["--shard", "1/2"]));
        let output = merge(&tree);
        expect(2, &output);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("missing part 2/2"), "{said}");
        expect(0, &convert(&data.set(), &tree, &["--shard", "2/2"]));
        expect(0, &merge(&tree));
    });
}
