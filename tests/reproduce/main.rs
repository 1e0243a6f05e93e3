// SPDX-License-Identifier: MPL-2.0

//! `gst-sparseadv reproduce` and `report`: one small run, its pages against what its lines say, and calls that go on
//! with it.

mod black_box;
#[path = "../common/mod.rs"]
mod common;
mod refused;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use common::guarded;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data");
/// Not in ASCII, so that a line can be cut off in the middle of a character.
const NAME: &str = "Figüren";
/// What lets the few iterations fool some windows.
const PROPERTIES: &str = "patience=5 boundary=0.6 learning-rate=1";
const GOALS: [&str; 2] = ["untargeted", "targeted"];
/// Selections with the paper's optimization, and with the two others.
const TABLE: [&str; 6] = ["ours", "sa", "ifd", "heuristic", "random", "dense"];
const ABLATION: [&str; 3] = ["ours", "sa", "ifd"];

/// A data set of the embedded clips, each as one of these groups.
fn set(root: &Path, groups: &[&str]) {
    for class in ["jack", "walk"] {
        let folder = root.join("set").join(class);
        fs::create_dir_all(&folder).expect("a folder");
        for group in groups {
            let from = format!("{EXAMPLES}/figures-{class}.mp4");
            fs::copy(from, folder.join(format!("{group}_{class}.mp4"))).expect("a clip");
        }
    }
}

fn reproduce(root: &Path, out: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gst-sparseadv"));
    command.args(["reproduce", "--test-groups", "figures"]);
    command.args(["--data", &format!("{NAME}={}", root.join("set").display())]);
    command.args(["--model", &format!("{EXAMPLES}/figures-lrcn.pt")]);
    command.arg("--out").arg(out);
    for (option, value) in [("--iterations", "40,60"), ("--properties", PROPERTIES)] {
        // What is said twice would be refused.
        if !more.contains(&option) {
            command.args([option, value]);
        }
    }
    command.args(more).output().expect("gst-sparseadv")
}

fn expect(status: i32, output: &Output) {
    assert_eq!(output.status.code(), Some(status), "{output:?}");
}

fn text(path: PathBuf) -> String {
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn lines(out: &Path, kind: &str) -> Vec<Value> {
    let text = text(out.join("results.jsonl"));
    assert!(text.ends_with('\n'), "a line is not whole");
    let lines = text.lines().map(|l| serde_json::from_str(l).expect("a line"));
    lines.filter(|l: &Value| l["kind"] == kind).collect()
}

/// What a line is the measurement of.
fn key(line: &Value) -> [String; 4] {
    let system = &line["system"];
    let fields = [&line["goal"], &system["selection"], &system["optimization"], &line["clip"]];
    fields.map(|field| field.as_str().expect("a text").to_string())
}

fn number(line: &Value, field: &str) -> f64 {
    line[field].as_f64().expect("a number")
}

#[test]
fn a_small_run_and_what_goes_on_with_it() {
    guarded(300, || {
        let root = tempfile::tempdir().expect("a temporary directory");
        set(root.path(), &["figures"]);
        let out = root.path().join("out");
        expect(0, &reproduce(root.path(), &out, &[]));
        every_system_attacks_every_clip(&out);
        targets_are_reached(&out);
        accuracy_is_told_by_class_and_in_sum(&out);
        table_2_says_what_the_lines_say(&out);
        the_pages_open_offline(&out);
        other_settings_are_refused(root.path(), &out);
        goes_on_after_a_kill(root.path(), &out);
        nothing_is_measured_twice(root.path(), &out);
        one_run_at_a_time(root.path(), &out);
        what_cannot_be_measured_is_said(root.path(), &out);
    });
}

fn every_system_attacks_every_clip(out: &Path) {
    let mut expected = HashSet::new();
    for goal in GOALS {
        for class in ["jack", "walk"] {
            let clip = format!("{class}/figures_{class}.mp4");
            let mut add = |selection: &str, optimization: &str| {
                let key = [goal, selection, optimization, &clip];
                expected.insert(key.map(str::to_string));
            };
            for selection in TABLE {
                add(selection, "paper");
            }
            for selection in ABLATION {
                add(selection, "published");
                add(selection, "element");
            }
        }
    }
    let attacks = lines(out, "attack");
    let found: HashSet<_> = attacks.iter().map(key).collect();
    assert_eq!(found, expected);
    assert_eq!(attacks.len(), expected.len(), "some were measured twice");
    for a in &attacks {
        assert_eq!(a["dataset"], NAME);
        assert_eq!(a["model"], "figures-lrcn");
        let most = if a["goal"] == "targeted" { 60.0 } else { 40.0 };
        assert!(number(a, "iterations") <= most, "{a}");
        let clean = 1.0 - number(a, "perturbed_frames") / 16.0;
        assert!((number(a, "sparse_rate") - clean).abs() < 1e-9, "{a}");
        let first = a["queries_first_success"].as_f64();
        assert_eq!(a["success"] == true, first.is_some(), "{a}");
        assert!(first.unwrap_or(1.0) <= number(a, "queries"), "{a}");
    }
    let accuracy = lines(out, "accuracy");
    assert_eq!(accuracy.len(), 2);
    assert!(accuracy.iter().all(|a| a["label"] == a["class"]));
}

fn targets_are_reached(out: &Path) {
    let attacks = lines(out, "attack");
    let mut targets: HashMap<&str, HashSet<&str>> = HashMap::new();
    let mut reached = 0;
    for a in &attacks {
        if a["goal"] == "untargeted" {
            assert!(a["target"].is_null(), "{a}");
            continue;
        }
        let target = a["target"].as_str().expect("a target");
        let class = a["class"].as_str().expect("a class");
        assert_ne!(target, class);
        targets.entry(class).or_default().insert(target);
        if a["success"] == true {
            assert_eq!(a["verified"], true, "{a}");
            reached += 1;
        }
    }
    // Else systems would be compared on different tasks.
    assert!(targets.values().all(|t| t.len() == 1), "{targets:?}");
    assert!(reached > 0);
}

fn accuracy_is_told_by_class_and_in_sum(out: &Path) {
    let attacks = lines(out, "attack");
    let table = rows(out.join("accuracy.csv"));
    for goal in GOALS {
        for class in ["jack", "walk", "(all)"] {
            let of_row = |a: &&Value| {
                let system = &a["system"];
                a["goal"] == goal
                    && system["selection"] == "ours"
                    && system["optimization"] == "paper"
                    && (class == "(all)" || a["class"] == class)
            };
            let all: Vec<&Value> = attacks.iter().filter(of_row).collect();
            let share = |part: usize| format!("{:.1}", 100.0 * part as f64 / all.len() as f64);
            let fooled = all.iter().filter(|a| a["success"] == true).count();
            let right = all.iter().filter(|a| a["final_label"] == a["class"]).count();
            let row = table
                .iter()
                .find(|row| row["goal"] == goal && row["method"] == "Ours" && row["class"] == class)
                .unwrap_or_else(|| panic!("{goal}, {class}: {table:?}"));
            assert_eq!(row["clean accuracy"], "100.0");
            assert_eq!(row["robust accuracy"], share(right), "{row:?}");
            assert_eq!(row["fooling rate"], share(fooled), "{row:?}");
            assert_eq!(row["attacked"], all.len().to_string());
        }
    }
}

fn rows(path: PathBuf) -> Vec<HashMap<String, String>> {
    let table = csv::Reader::from_path(&path).expect("a table");
    let rows = table.into_deserialize();
    rows.map(|row| row.expect("a row")).collect()
}

/// `12.3 [4.5, 67.8]` against a mean; `none` where there is none.
fn same(cell: &str, values: &[f64], digits: i32) {
    if values.is_empty() {
        assert_eq!(cell, "none");
        return;
    }
    let (value, interval) = cell.split_once(' ').expect("a value and an interval");
    let parse = |text: &str| text.parse::<f64>().expect("a number");
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    // Half of the last digit.
    let near = 0.5 * 10f64.powi(-digits) + 1e-9;
    assert!((parse(value) - mean).abs() <= near, "{cell}: {mean}");
    let ends = interval.trim_matches(['[', ']']).split_once(", ");
    let (low, high) = ends.expect("two ends");
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    assert!(least - near <= parse(low) && parse(low) <= parse(value), "{cell}");
    assert!(parse(value) <= parse(high) && parse(high) <= most + near, "{cell}");
}

fn table_2_says_what_the_lines_say(out: &Path) {
    let attacks = lines(out, "attack");
    let table = rows(out.join("table-2.csv"));
    let keys: Vec<(&str, String)> =
        table.iter().map(|row| (row["goal"].as_str(), row["method"].to_lowercase())).collect();
    let methods = || TABLE.into_iter().chain(["ours, walk"]);
    let expected = GOALS.iter().flat_map(|goal| methods().map(|method| (*goal, method.to_string())));
    assert_eq!(keys, expected.collect::<Vec<_>>());
    for (row, (goal, method)) in table.iter().zip(keys) {
        let of_row = |a: &&Value| {
            let system = &a["system"];
            let (selection, optimization) = match method.strip_suffix(", walk") {
                Some(selection) => (selection, "element"),
                None => (&*method, "paper"),
            };
            a["goal"] == goal && system["selection"] == *selection && system["optimization"] == optimization
        };
        let all: Vec<&Value> = attacks.iter().filter(of_row).collect();
        assert_eq!(row["clips"], all.len().to_string());
        let share = |field: &str| -> Vec<f64> {
            let shares = all.iter().map(|a| if a[field] == true { 100.0 } else { 0.0 });
            shares.collect()
        };
        let fooled: Vec<&&Value> = all.iter().filter(|a| a["success"] == true).collect();
        let of_fooled = |field: &str, factor: f64| -> Vec<f64> {
            let values = fooled.iter().map(|a| factor * number(a, field));
            values.collect()
        };
        same(&row["FR %"], &share("success"), 0);
        same(&row["FR % u8-verified"], &share("verified"), 0);
        same(&row["MQ"], &of_fooled("queries_first_success", 1.0), 1);
        same(&row["MAP"], &of_fooled("map", 1.0), 4);
        same(&row["SR % clean"], &of_fooled("sparse_rate", 100.0), 0);
        if (goal, method.as_str()) == ("untargeted", "ours") {
            assert_eq!(fooled.len(), 2, "there is nothing to compare");
        }
    }
}

fn the_pages_open_offline(out: &Path) {
    let html = text(out.join("report.html"));
    for attribute in ["src=", "href=", "url(", "@import "] {
        for place in html.split(attribute).skip(1) {
            let place = place.trim_start_matches(['"', '\'']);
            assert!(!place.starts_with("http"), "{attribute}{:.60}", place);
        }
    }
    let figure = "figure-2-fig-ren-figures-lrcn.svg";
    let svg = text(out.join(figure));
    // The axis ends where the attacks did: at 40 iterations.
    let numbers = svg.lines().filter_map(|line| line.trim().parse::<u32>().ok());
    let most = numbers.max().expect("an axis");
    assert!((30..=40).contains(&most), "{most}");
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    assert!(html.contains(&svg));
    let markdown = text(out.join("report.md"));
    assert!(markdown.contains(&format!("]({figure})")));
    let shown = html.replace("&#x27;", "'").replace("&#x2f;", "/");
    let tables = ["table-1", "accuracy", "table-2", "claim", "ablation"];
    for name in tables {
        let rows = rows(out.join(format!("{name}.csv")));
        assert!(!rows.is_empty(), "{name}");
        // Each number is on both pages.
        for cell in rows.iter().flat_map(HashMap::values) {
            assert!(shown.contains(cell) && markdown.contains(cell), "{cell}");
        }
    }
    // The pages come from the lines alone.
    fs::remove_file(out.join("report.html")).expect("a page");
    let mut command = Command::new(env!("CARGO_BIN_EXE_gst-sparseadv"));
    expect(0, &command.arg("report").arg(out).output().expect("report"));
    assert_eq!(text(out.join("report.html")), html);
}

fn other_settings_are_refused(root: &Path, out: &Path) {
    let whole = text(out.join("results.jsonl"));
    // A refused run does not even take away what a kill has left.
    let before = format!("{whole}{{\"kind\":\"att");
    fs::write(out.join("results.jsonl"), &before).expect("results");
    for (option, value) in
        [("--seed", "1"), ("--iterations", "41,60"), ("--properties", "patience=6"), ("--format", "I420")]
    {
        let output = reproduce(root, out, &[option, value]);
        expect(1, &output);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("Use another --out"), "{said}");
        let name = option.trim_start_matches('-');
        assert!(said.contains(&format!("{name} ")), "{said}");
        assert!(!said.contains("Run {") && said.len() < 600, "{said}");
    }
    assert_eq!(text(out.join("results.jsonl")), before);
    fs::write(out.join("results.jsonl"), whole).expect("results");
}

fn goes_on_after_a_kill(root: &Path, out: &Path) {
    let path = out.join("results.jsonl");
    let before = lines(out, "attack");
    let bytes = fs::read(&path).expect("results");
    let middle = bytes.windows(2).rposition(|pair| pair == "ü".as_bytes());
    let cut = &bytes[..middle.expect("a name") + 1];
    assert!(std::str::from_utf8(cut).is_err());
    fs::write(&path, cut).expect("results");
    expect(0, &reproduce(root, out, &[]));
    let after = lines(out, "attack");
    assert_eq!(after.len(), before.len());
    for (mut a, mut b) in after.into_iter().zip(before) {
        // The same measurement, but for the time it took.
        a["seconds"] = Value::Null;
        b["seconds"] = Value::Null;
        assert_eq!(a, b);
    }
}

fn nothing_is_measured_twice(root: &Path, out: &Path) {
    let (attacks, accuracy) = (lines(out, "attack"), lines(out, "accuracy"));
    let runs = lines(out, "run").len();
    expect(0, &reproduce(root, out, &[]));
    assert_eq!(lines(out, "attack"), attacks);
    assert_eq!(lines(out, "accuracy"), accuracy);
    assert_eq!(lines(out, "run").len(), runs + 1);
}

fn one_run_at_a_time(root: &Path, out: &Path) {
    let path = out.join("results.jsonl");
    let before = text(path.clone());
    let held = fs::File::options().append(true).open(&path).expect("results");
    held.lock().expect("a lock");
    let output = reproduce(root, out, &[]);
    expect(1, &output);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("another gst-sparseadv reproduce"), "{said}");
    assert_eq!(text(path), before);
}

/// A clip that is none, a link that leads nowhere, and a class that the model lacks.
fn what_cannot_be_measured_is_said(root: &Path, out: &Path) {
    let attacks = lines(out, "attack");
    let set = root.join("set");
    fs::write(set.join("walk/figures_walk2.mp4"), "no video").expect("a file");
    std::os::unix::fs::symlink("gone", set.join("walk/figures_walk3.mp4")).expect("a link");
    fs::create_dir(set.join("swim")).expect("a folder");
    let clip = format!("{EXAMPLES}/figures-walk.mp4");
    fs::copy(clip, set.join("swim/figures_swim.mp4")).expect("a clip");
    let output = reproduce(root, out, &[]);
    expect(2, &output);
    let said = String::from_utf8_lossy(&output.stderr);
    for words in [
        "skipped walk/figures_walk2.mp4: ",
        "missing walk/figures_walk3.mp4: a link to gone",
        "no label for the classes swim",
    ] {
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(lines(out, "attack"), attacks);
}
