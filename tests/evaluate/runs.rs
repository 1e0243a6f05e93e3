// SPDX-License-Identifier: MPL-2.0

//! One result however it was come by: killed, in parts, from the settings that it holds. And two results side by side.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::common::wait_until;
use crate::data::{Data, data, evaluate, expect, figures, lines, said, summary, tool, windows};

/// It is begun from the settings that a result holds, killed, and called again.
#[test]
fn killed_and_called_again_it_comes_to_the_same() {
    let data = data();
    let (settings, out) = (data.arg("whole/settings.toml"), data.arg("killed"));
    let arguments = [settings.as_str(), "--out", out.as_str()];
    let mut process =
        evaluate().args(arguments).stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("gst-sparseadv");
    let file = data.at("killed/windows.jsonl");
    let text = || fs::read_to_string(&file).unwrap_or_default();
    wait_until("a clip is done", || text().contains("{\"kind\":\"clip\""));
    process.kill().expect("a kill");
    process.wait().expect("an end");
    let before = text();
    assert!(!before.contains("\"kind\":\"end\""), "nothing is left to do");
    // What a kill in the middle of a clip would have left: whole lines of some windows, and a piece of another.
    let window = before.lines().find(|line| line.starts_with("{\"kind\":\"window\"")).expect("a window");
    fs::write(&file, format!("{before}{window}\n{}", &window[..40])).expect("a cut file");
    data.expect(0, &arguments);
    assert!(text().starts_with(&before), "what was measured is kept");
    assert_eq!(windows(&out), windows(&data.whole()));
    assert_eq!(figures(&out), figures(&data.whole()));
}

#[test]
fn parts_make_a_whole() {
    let data = data();
    let (settings, out) = (data.arg("settings.toml"), data.arg("parts"));
    let part = |part: &str| data.expect(0, &[&settings, "--out", &out, "--shard", part]);
    part("2/2");
    assert!(!Path::new(&out).join("summary.json").exists(), "it is not whole");
    let told = said(&expect(2, tool().args(["merge", &out])));
    assert!(told.contains("missing part 1/2"), "{told}");
    part("1/2");
    let told = said(&expect(1, tool().args(["merge", &out, "--fail-if", "clean_accuracy<=1"])));
    assert!(told.contains("failed: \""), "{told}");
    expect(0, tool().args(["merge", &out]));
    assert_eq!(figures(&out), figures(&data.whole()));
    for i in ["1", "2"] {
        fs::remove_file(Path::new(&out).join(format!("windows.{i}-of-2.jsonl"))).expect("a part");
    }
    assert_eq!(windows(&out), windows(&data.whole()), "all is in one file");
    // Nothing is left to do, and nothing is measured twice.
    data.expect(0, &[&settings, "--out", &out]);
    assert_eq!(windows(&out).len(), windows(&data.whole()).len());
}

/// The whole list as if no attack had fooled a window of the first clip.
pub fn doctored(data: &Data, name: &str) -> String {
    let folder = data.copied(name);
    let path = Path::new(&folder).join("windows.jsonl");
    let text = fs::read_to_string(&path).expect("lines");
    let changed = text.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).expect("JSON");
        if line["kind"] == "window" && line["clip"] == "a-walk.avi" {
            let truth = line["truth"].clone();
            for answer in line["attacked"].as_object_mut().expect("answers").values_mut() {
                answer["label"] = truth.clone();
            }
        }
        line.to_string() + "\n"
    });
    let changed: String = changed.collect();
    fs::write(path, changed).expect("lines");
    folder
}

#[test]
fn a_baseline_says_which_windows_have_changed() {
    let data = data();
    let now = data.copied("now");
    data.again("now", 0, &["--baseline", &data.whole(), "--fail-if", "significant_loss>0"]);
    for cell in summary(&now)["baseline"]["cells"].as_array().expect("cells") {
        assert_eq!((&cell["better"], &cell["worse"], &cell["p"]), (&0.into(), &0.into(), &1.0.into()), "{cell}");
    }
    let other = doctored(data, "before");
    data.again("now", 1, &["--baseline", &other, "--fail-if", "robust_accuracy_change<0"]);
    let summary = summary(&now);
    let mut losses = 0;
    for cell in summary["baseline"]["cells"].as_array().expect("cells") {
        let channel = cell["channel"].as_str().expect("a channel");
        let lost = lines(&now, "window").into_iter().filter(|line| {
            line["threat"] == cell["threat"]
                && line["clip"] == "a-walk.avi"
                && line["attacked"].get(channel).is_some_and(|answer| answer["label"] != line["truth"])
        });
        let lost: Vec<Value> = lost.collect();
        let changed = cell["changed"].as_array().expect("windows");
        assert_eq!(changed.len(), lost.len(), "{cell}");
        assert_eq!(cell["worse"], u32::from(!lost.is_empty()), "{cell}");
        for (named, line) in changed.iter().zip(&lost) {
            assert_eq!((&named["window"], &named["now"]), (&line["window"], &line["attacked"][channel]["label"]));
        }
        losses += lost.len();
    }
    assert!(losses > 0, "nothing was compared");
}
