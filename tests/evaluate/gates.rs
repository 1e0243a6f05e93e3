// SPDX-License-Identifier: MPL-2.0

//! Exit statuses, and what CI servers are told.

use std::fs;

use quick_junit::{Report, TestCaseStatus};

use crate::data::{Data, data, evaluate, expect, said, summary};

/// The whole list, as it was measured, with a clip more that is not there: a list and a folder of results.
pub fn with_a_missing_clip(data: &Data, name: &str) -> (String, String) {
    let list = fs::read_to_string(data.at("clips.csv")).expect("a list") + "none.avi,walk\n";
    fs::write(data.at(&format!("{name}.csv")), list).expect("a list");
    let settings = fs::read_to_string(data.at("settings.toml")).expect("settings");
    fs::write(data.at(&format!("{name}.toml")), settings.replace("clips.csv", &format!("{name}.csv")))
        .expect("settings");
    (data.arg(&format!("{name}.toml")), data.copied(name))
}

#[test]
fn gates_pass_and_fail() {
    let data = data();
    let folder = data.copied("gates");
    data.again("gates", 0, &["--fail-if", "robust_accuracy<0", "--fail-if", "*/jpeg: clean_accuracy.high<0"]);
    let output = data.again("gates", 1, &["--fail-if", "robust_accuracy<0", "--fail-if", "*/jpeg: clean_accuracy<=1"]);
    let told = said(&output);
    let failed: Vec<&str> = told.lines().filter(|line| line.starts_with("failed: \"")).collect();
    assert_eq!(failed.len(), 4, "one for each threat model: {told}");
    assert!(failed.iter().all(|line| line.contains("/jpeg: it is ")), "{told}");
    let summary = summary(&folder);
    assert_eq!((&summary["verdict"], &summary["status"]), (&"failed".into(), &1.into()));
    assert_eq!(summary["gates"].as_array().map(Vec::len), Some(12 + 4));
}

#[test]
fn skipped_clips_are_told_by_the_status_unless_they_are_allowed() {
    let data = data();
    let (settings, folder) = with_a_missing_clip(data, "more");
    let call =
        |status, more: &[&str]| data.expect(status, &[&[settings.as_str(), "--out", folder.as_str()], more].concat());
    let told = said(&call(2, &[]));
    assert!(told.contains("missing none.avi") && told.contains("1 clips skipped"), "{told}");
    call(0, &["--allow-skipped"]);
    call(1, &["--allow-skipped", "--fail-if", "clean_accuracy<=1"]);
    call(1, &["--fail-if", "clean_accuracy<=1"]);
    let skipped = &summary(&folder)["skipped"];
    assert_eq!((skipped.as_array().map(Vec::len), &skipped[0]["clip"]), (Some(1), &"none.avi".into()));
}

#[test]
fn what_cannot_run_has_a_status_of_its_own() {
    let data = data();
    let wrong = data.arg("wrong.toml");
    fs::write(&wrong, "clips = 1\nthreat-modle = []\n").expect("settings");
    let settings = data.arg("settings.toml");
    let out = data.arg("never");
    for (arguments, word) in [
        (vec![wrong.as_str()], "line 2"),
        (vec![settings.as_str(), "--model", "none.pt"], "none.pt"),
        (vec![settings.as_str(), "--fail-if", "robustness<1"], "robust_accuracy"),
        (vec![settings.as_str(), "--threat-model", "nosuch"], "sparse-l21"),
        (vec![settings.as_str(), "--threat-model", "own=nosuch=1"], "nosuch"),
        (vec![settings.as_str(), "--channel", "odd=nosuchelement"], "nosuchelement"),
        (vec![settings.as_str(), "--nosuch"], "--nosuch"),
        (vec![settings.as_str(), "--junit", "/nosuchfolder/a.xml"], "--junit"),
        (vec![settings.as_str(), "--json", &settings], "--json"),
        (vec![settings.as_str(), "--baseline", "nosuchfolder"], "nosuchfolder"),
        // A gate that is about nothing is found before anything is measured.
        (vec![settings.as_str(), "--fail-if", "nosuch: robust_accuracy<0"], "figures-c3d/sparse-l2/identity"),
    ] {
        let output = data.expect(3, &[&arguments[..], &["--out", &out]].concat());
        assert!(said(&output).contains(word), "{word}: {output:?}");
        assert!(!data.at("never").exists(), "{word}: something was begun");
    }
    data.copied("refused");
    // Results that were made in another way.
    let told = said(&data.again("refused", 3, &["--max-iterations", "3"]));
    assert!(told.contains("properties") && told.contains("max-iterations=4"), "{told}");
}

#[test]
fn ci_servers_are_told() {
    let data = data();
    let folder = data.copied("told");
    let [junit, json, github] = ["a.xml", "a.json", "github.md"].map(|name| data.arg(name));
    fs::write(&github, "before\n").expect("a file");
    let mut command = evaluate();
    command.args([&data.arg("settings.toml"), "--out", &folder, "--junit", &junit, "--json", &json]);
    command.args(["--fail-if", "figures-c3d/sparse-l2/identity: robust_accuracy<=1"]);
    command.args(["--fail-if", "robust_accuracy<0"]).env("GITHUB_STEP_SUMMARY", &github);
    expect(1, &mut command);
    let report = Report::deserialize_from_str(&fs::read_to_string(&junit).expect("XML")).expect("JUnit's XML");
    let cases: Vec<_> = report.test_suites.iter().flat_map(|suite| &suite.test_cases).collect();
    assert_eq!((report.tests, report.failures, cases.len()), (13, 1, 13));
    let failed = cases.iter().find(|case| matches!(case.status, TestCaseStatus::NonSuccess { .. })).expect("one");
    assert_eq!(
        failed.classname.as_deref().map(ToString::to_string),
        Some("list/figures-c3d/sparse-l2/identity".into())
    );
    let copy = fs::read(&json).expect("a copy");
    assert_eq!(copy, fs::read(data.at("told/summary.json")).expect("a summary"));
    let told = fs::read_to_string(&github).expect("Markdown");
    let markdown = fs::read_to_string(data.at("told/summary.md")).expect("Markdown");
    assert_eq!(told, format!("before\n{markdown}"));
    let rows = markdown.lines().filter(|line| line.starts_with("| figures-c3d | sparse-l2 | identity | 4 | 5 |"));
    assert_eq!(rows.count(), 1, "{markdown}");
}
