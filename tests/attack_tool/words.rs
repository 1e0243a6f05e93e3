// SPDX-License-Identifier: MPL-2.0

//! What the tool says to those who call it wrongly, and to nobody.

use std::fs;
use std::process::{Command, Stdio};

use crate::make::*;

#[test]
fn what_is_misspelt_is_named() {
    let folder = folder();
    let clip = folder.mp4("in.mp4");
    let tries: [(&[&str], &str); 11] = [
        (&["--properties", "max-iteration=3"], "no property \"max-iteration\" in element \"sparseadv\""),
        (&["--properties", "max-iterations=abc"], "max-iterations"),
        (&["--properties", "keyframes=gradiant"], "gradiant"),
        (&["--properties", "stride=-3"], "stride"),
        (&["--properties", "patience=3 window-size=100000"], "the property window-size within its range"),
        (&["--properties", "model=a.pt"], "by --model"),
        (&["--label", "walk", "--target-label", "walk"], "nothing to attack"),
        (&["--encoder", "x264enc bitrat=3"], "no property \"bitrat\" in element \"x264enc\""),
        (&["--muxer", "mp4mux fasttart=1"], "no property \"fasttart\" in element \"mp4mux\""),
        (&["--properties", "! fakesink"], "properties of sparseadv"),
        (&["--page", "p.html", "--codec", "jpegenc qualit=3 ! jpegdec"], "no property \"qualit\""),
    ];
    for (more, words) in tries {
        let said = refused(&attack(&clip, folder.at("o.mp4"), more), words);
        assert!(!said.contains("registry") && !said.contains("nstall"), "{said}");
    }
    let said = refused(&attack(&clip, folder.at("o.mp4"), &["--encoder", "x266enc"]), "x266enc");
    assert!(said.contains("nstall"), "{said}");
    let lone = ["--codec", "jpegenc ! jpegdec"];
    refused(&attack(&clip, folder.at("o.mp4"), &lone), "--page");
}

#[test]
fn flags_are_properties() {
    let folder = folder();
    let clip = folder.mp4("in.mp4");
    let report = folder.at("r.jsonl");
    let more = ["--report", report.to_str().expect("UTF-8"), "--label", "walk", "--device", "cpu"];
    let said = done(&attack(&clip, folder.at("o.mp4"), &more));
    assert!(said.contains(&format!("wrote {}", report.display())), "{said}");
    let lines = fs::read_to_string(&report).expect("a report");
    let walk = lines.lines().all(|line| {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        line["label"].is_u64() && line["clean_label_name"].is_string()
    });
    assert!(walk && lines.lines().count() == 2, "{lines}");
    let said = done(&attack(&clip, folder.at("o.mp4"), &["--properties", "enabled=false max-iterations=1"]));
    assert!(said.contains("Nothing was attacked: enabled=false"), "{said}");
}

#[test]
fn programs_read_json_and_quiet_says_nothing() {
    let folder = folder();
    let clip = folder.mp4("in.mp4");
    let report = folder.at("r.jsonl");
    let threat = ["--threat-model", "linf-3/255", "--report", report.to_str().expect("UTF-8")];
    let output = attack(&clip, folder.at("o.mp4"), &[&threat[..], &["--json"]].concat());
    done(&output);
    let lines = |text: &[u8]| -> Vec<serde_json::Value> {
        String::from_utf8_lossy(text).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let mut found = lines(&output.stdout);
    let totals = found.pop().expect("totals");
    assert_eq!(found.len(), 2);
    for (line, reported) in found.iter().zip(lines(&fs::read(&report).expect("a report"))) {
        // The file has what the element says of itself besides.
        for (name, value) in line.as_object().expect("an object") {
            assert_eq!(*value, reported[name], "{name}");
        }
        assert!(line["max_abs"].as_f64().expect("a number") <= 3.0, "{line}");
        assert_eq!(
            (&line["settings"]["keyframes"], &line["settings"]["norm"]),
            (&"all".into(), &"linf".into()),
            "{line}"
        );
    }
    let fooled = found.iter().filter(|line| line["success"] == true).count();
    assert_eq!(totals["pushed"]["tally"]["fooled"], fooled, "{totals}");
    assert_eq!(totals["after_codec"]["tally"]["windows"], 2, "{totals}");
    assert_eq!(totals["wrote"].as_array().map(Vec::len), Some(2), "{totals}");

    assert_eq!(done(&attack(&clip, folder.at("q.mp4"), &["--quiet", "--epsilon", "3"])), "");
    refused(&attack(&clip, folder.at("q.mp4"), &["--threat-model", "nosuch"]), "sparse-l21");
}

#[test]
fn nobody_has_to_read_it() {
    let folder = folder();
    let clip = folder.mp4("in.mp4");
    let out = folder.at("o.mp4");
    let mut attack = command(&clip, &out, &[]);
    let mut inspect = Command::new(env!("CARGO_BIN_EXE_gst-sparseadv"));
    inspect.args(["inspect", &model()]);
    for command in [&mut attack, &mut inspect] {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the tool");
        drop(process.stdout.take());
        let output = process.wait_with_output().expect("an end");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "{said}");
        assert_eq!(output.status.code(), Some(0), "{said}");
    }
    assert_eq!(sizes(&out).len(), FRAMES);
}

#[test]
fn the_version_is_that_of_everything_that_runs() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gst-sparseadv"));
    let output = command.arg("--version").output().expect("the tool");
    let said = done(&output);
    assert!(said.contains("libtorch ") && said.contains("GStreamer "), "{said}");
}
