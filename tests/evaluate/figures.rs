// SPDX-License-Identifier: MPL-2.0

//! Figures against a count of their own, and the fields of the summary against the document.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::data::{data, lines, summary};

/// Share and count of the lines for which this holds.
fn share(lines: &[&Value], holds: impl Fn(&Value) -> bool) -> Option<f64> {
    let count = lines.iter().filter(|line| holds(line)).count();
    (!lines.is_empty()).then(|| count as f64 / lines.len() as f64)
}

fn same(found: &Value, expected: Option<f64>, what: &str) {
    match expected {
        None => assert!(found.is_null(), "{what}: {found}"),
        Some(expected) => {
            let value = found["value"].as_f64().unwrap_or(f64::NAN);
            assert!((value - expected).abs() < 1e-9, "{what}: {found}, expected {expected}");
            let (low, high) = (found["low"].as_f64(), found["high"].as_f64());
            assert!(low.is_none_or(|low| low <= value) && high.is_none_or(|high| value <= high), "{what}: {found}");
        }
    }
}

#[test]
fn figures_are_those_of_the_windows() {
    let folder = data().whole();
    let windows = lines(&folder, "window");
    assert_eq!(windows.len(), 4 * 5);
    let summary = summary(&folder);
    assert_eq!((&summary["windows"], &summary["clips"]), (&(4 * 5).into(), &4.into()));
    let rows = summary["rows"].as_array().expect("rows");
    // Threat models, channels, and both classes with their sum.
    assert_eq!(rows.len(), 4 * 3 * 3);
    let (mut fooled, mut kept) = (0, 0);
    for row in rows {
        let channel = row["channel"].as_str().expect("a channel");
        let of_row = |line: &&Value| {
            line["threat"] == row["threat"]
                && (row["class"].is_null() || line["class"] == row["class"])
                && !line["clean"][channel].is_null()
        };
        let all: Vec<&Value> = windows.iter().filter(of_row).collect();
        let label = |line: &Value, which: &str| line[which][channel]["label"].clone();
        let right: Vec<&Value> = all.iter().copied().filter(|line| label(line, "clean") == line["truth"]).collect();
        let lost: Vec<&Value> = right.iter().copied().filter(|line| label(line, "attacked") != line["truth"]).collect();
        let what = format!("{} {channel} {}", row["threat"], row["class"]);
        assert_eq!(row["windows"], all.len(), "{what}");
        same(&row["clean_accuracy"], share(&all, |line| label(line, "clean") == line["truth"]), &what);
        same(&row["robust_accuracy"], share(&all, |line| label(line, "attacked") == line["truth"]), &what);
        same(&row["fooling_rate"], share(&right, |line| label(line, "attacked") != line["truth"]), &what);
        let mean = |lines: &[&Value], name: &str| {
            let sum: f64 = lines.iter().map(|line| line[name].as_f64().expect(name)).sum();
            (!lines.is_empty()).then(|| sum / lines.len() as f64)
        };
        let attacked: Vec<&Value> = all.iter().copied().filter(|line| !line["success"].is_null()).collect();
        same(&row["calls"], mean(&attacked, "queries"), &what);
        for name in ["map", "max_abs", "perturbed_frames"] {
            same(&row[name], mean(&lost, name), &what);
        }
        // Behind a channel some windows have their label again.
        if row["class"].is_null() {
            fooled += lost.len();
            kept += right.len() - lost.len();
        }
        if channel == "identity" && row["class"].is_null() {
            // The clip whose class is another is wrong before, and no attack is counted on it.
            assert_eq!((all.len(), right.len()), (5, 4), "{what}");
        }
        if channel == "phase+8" {
            assert!(all.iter().all(|line| line["window"] == 0), "a window that ends behind the clip's end");
        }
    }
    assert!(fooled > 0 && kept > 0, "{fooled} fooled, {kept} not: little to count");
}

/// From a bound that the attack keeps, the size that was measured.
#[test]
fn a_curve_falls_from_the_clean_accuracy_and_bounds_are_kept() {
    let folder = data().whole();
    let mut curves: BTreeMap<(String, String), Vec<(f64, f64)>> = BTreeMap::new();
    let mut reader = csv::Reader::from_path(format!("{folder}/curve.csv")).expect("a curve");
    for row in reader.deserialize() {
        let row: BTreeMap<String, String> = row.expect("a row");
        let number = |name: &str| row[name].parse::<f64>().expect(name);
        let curve = curves.entry((row["threat"].clone(), row["channel"].clone())).or_default();
        curve.push((number("epsilon"), number("robust_accuracy")));
    }
    // Runs with bounds make one curve.
    let names: BTreeSet<&str> = curves.keys().map(|(threat, _)| threat.as_str()).collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["linf", "sparse-l2"]);
    let windows = lines(&folder, "window");
    for ((threat, channel), points) in &curves {
        let accuracy = |at: f64| points.iter().take_while(|(epsilon, _)| *epsilon <= at).last().expect("a point").1;
        assert!(points.is_sorted_by(|a, b| a.0 < b.0 && a.1 >= b.1), "{threat} {channel}: {points:?}");
        let label = |line: &Value, which: &str| line[which][channel]["label"].clone();
        let first = |line: &&Value| !line["clean"][channel].is_null() && line["threat"] == "sparse-l2";
        let all: Vec<&Value> = windows.iter().filter(first).collect();
        let clean = share(&all, |line| label(line, "clean") == line["truth"]).expect("windows");
        assert!((points[0].1 - clean).abs() < 1e-9 && points[0].0 == 0.0, "{threat} {channel}: {points:?}");
        if threat == "linf" {
            for bound in [1.0, 2.0] {
                let robust = share(&all, |line| {
                    let runs =
                        windows.iter().filter(|run| run["clip"] == line["clip"] && run["window"] == line["window"]);
                    let lost = |run: &Value| {
                        run["threat"] != "sparse-l2"
                            && label(run, "attacked") != run["truth"]
                            && run["max_abs"].as_f64().expect("a size") <= bound + 1e-3
                    };
                    label(line, "clean") == line["truth"] && !runs.clone().any(lost)
                });
                assert!((accuracy(bound) - robust.expect("windows")).abs() < 1e-9, "{channel} {bound}: {points:?}");
            }
        }
    }
    for line in &windows {
        let bound = match line["threat"].as_str() {
            Some("linf-1/255") => 1.0,
            Some("linf-2/255") => 2.0,
            _ => continue,
        };
        assert!(line["max_abs"].as_f64().expect("a size") <= bound + 1e-3, "{line}");
    }
}

/// All fields below a value, with `[]` for what is in lists and `*` for names of the user's.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    const NAMES: [&str; 2] = ["models", "threats"];
    match value {
        Value::Object(all) => {
            for (name, value) in all {
                let name = if NAMES.contains(&path) { "*" } else { name };
                let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
                fields(value, &path, found);
            }
        }
        Value::Array(all) if all.iter().any(Value::is_object) => {
            all.iter().for_each(|value| fields(value, &format!("{path}[]"), found));
        }
        _ => {
            found.insert(path.to_string());
        }
    }
}

#[test]
fn the_document_has_every_field_of_the_summary() {
    let data = data();
    // One with everything in it: a gate, a skipped clip, and a baseline in which windows have changed.
    let other = crate::runs::doctored(data, "full-before");
    let skips = crate::gates::with_a_missing_clip(data, "full");
    let full = data.arg("full.json");
    let arguments = [skips.0.as_str(), "--out", &skips.1, "--baseline", &other, "--json", &full];
    data.expect(2, &[&arguments[..], &["--fail-if", "robust_accuracy<0"]].concat());
    let text = std::fs::read_to_string(full).expect("a copy");
    let mut found = BTreeSet::new();
    fields(&serde_json::from_str(&text).expect("JSON"), "", &mut found);
    // Lists that are empty in some places.
    let lists: Vec<String> = found.iter().filter_map(|path| Some(path.rsplit_once("[]")?.0.to_string())).collect();
    found.retain(|path| !lists.contains(path));
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/README.md");
    let document = std::fs::read_to_string(document).expect("a document");
    let table = document.lines().skip_while(|l| !l.starts_with("| field of summary.json |")).skip(2);
    let rows = table.take_while(|l| l.starts_with('|'));
    let named: BTreeSet<String> = rows
        .flat_map(|row| {
            let cell = row.split(" | ").next().unwrap_or_default();
            cell.split('`').skip(1).step_by(2).map(String::from).collect::<Vec<_>>()
        })
        .collect();
    let figures = ["clean_accuracy", "robust_accuracy", "fooling_rate", "calls", "map", "max_abs", "perturbed_frames"];
    let bare: BTreeSet<String> = found
        .iter()
        .map(|path| match figures.iter().find(|name| path.starts_with(&format!("rows[].{name}."))) {
            Some(name) => format!("rows[].{name}"),
            None => path.clone(),
        })
        .collect();
    assert_eq!(named, bare);
}
