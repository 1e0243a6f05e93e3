// SPDX-License-Identifier: MPL-2.0

//! No run destroys anything.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::make::*;

#[test]
fn an_output_is_never_the_input_the_model_or_another_output() {
    let folder = folder();
    let input = folder.mp4("in.mp4");
    let before = fs::read(&input).expect("a clip");
    symlink(&input, folder.at("link.mp4")).expect("a link");
    fs::hard_link(&input, folder.at("hard.mp4")).expect("a link");
    let model = folder.at("m.pt");
    fs::copy(crate::make::model(), &model).expect("a model");
    let sidecar = folder.at("m.pt.json");
    let size = fs::metadata(&model).expect("a model").len();
    for name in ["in.mp4", "./in.mp4", "link.mp4", "hard.mp4"] {
        refused(&attack(&input, folder.at(name), &[]), "found the same one");
    }
    let with_model = ["--model", model.to_str().expect("UTF-8")];
    let out = folder.at("out.mp4");
    for option in ["--report", "--picture", "--page"] {
        for place in [&input, &model, &sidecar, &out, &folder.at("link.mp4")] {
            let option = [option, place.to_str().expect("UTF-8")];
            refused(&attack(&input, &out, &[with_model, option].concat()), "found the same one");
        }
    }
    let report = format!("report-location={} max-iterations=1", input.display());
    refused(&attack(&input, &out, &["--properties", &report]), "found the same one");
    refused(&attack(&input, &model, &[&with_model[..], &["--muxer", "mp4mux"]].concat()), "found the same one");
    // What properties name is read too.
    let donors = folder.at("donors");
    fs::create_dir(&donors).expect("a folder");
    let aid = donors.join("aid.mp4");
    fs::copy(&input, &aid).expect("a clip");
    for (property, output) in [
        (format!("perturbation={}", aid.display()), "--report"),
        (format!("surrogate={}", aid.display()), "--picture"),
        (format!("keyframes=agent:{}", aid.display()), "--page"),
        (format!("donors={}", donors.display()), "--report"),
        (format!("donors={}", aid.display()), "--picture"),
    ] {
        let more = ["--properties", &property, output, aid.to_str().expect("UTF-8")];
        refused(&attack(&input, &out, &more), "found the same one");
        refused(&attack(&input, &aid, &more[..2]), "found the same one");
    }
    assert_eq!(fs::read(&aid).expect("a clip"), before);
    fs::remove_dir_all(&donors).expect("the folder");
    assert_eq!(fs::read(&input).expect("a clip"), before);
    assert_eq!(fs::metadata(&model).expect("a model").len(), size);
    assert_eq!(folder.names(), ["hard.mp4", "in.mp4", "link.mp4", "m.pt"]);
}

#[test]
fn a_run_that_fails_leaves_older_files_as_they_were() {
    let folder = folder();
    let input = folder.mp4("in.mp4");
    fs::write(folder.at("page.mp4"), "<!DOCTYPE html><html></html>\n").expect("a page");
    let [out, report, page] = ["out.mp4", "r.jsonl", "p.html"].map(|name| folder.at(name));
    for path in [&out, &report, &page] {
        fs::write(path, "old").expect("an older file");
    }
    let before = folder.names();
    let missing = folder.at("nothing.mp4");
    let html = folder.at("page.mp4");
    let tries: [(&Path, &[&str], &str); 9] = [
        (&input, &["--model", "/nothing.pt"], "/nothing.pt"),
        (&missing, &[], "nothing.mp4"),
        (&html, &[], "HTML page"),
        (&input, &["--codec", "jpegencc ! jpegdec"], "jpegencc"),
        (&input, &["--codec", "videoscale ! video/x-raw,width=16"], "--codec"),
        (&input, &["--picture", "/nowhere/p.png"], "/nowhere/p.png"),
        (&input, &["--encoder", "x264encc"], "x264encc"),
        (&input, &["--encoder", "x264enc ! fakesink"], "x264enc ! fakesink"),
        (&input, &["--label", "no such label"], "no such label"),
    ];
    for (input, more, words) in tries {
        let [report, page] = [&report, &page].map(|p| p.to_str().expect("UTF-8"));
        let more = [more, &["--report", report, "--page", page]].concat();
        refused(&attack(input, &out, &more), words);
        for path in [&folder.at("out.mp4"), Path::new(report), Path::new(page)] {
            assert_eq!(fs::read_to_string(path).expect("an older file"), "old");
        }
        assert_eq!(folder.names(), before, "{words}");
    }
    refused(&attack(&input, folder.at("none/o.mp4"), &[]), "none/o.mp4");
    refused(&attack(&input, folder.at(""), &["--muxer", "mp4mux"]), "found the folder");
}

/// A run with many windows, of which one is done.
fn running(folder: &Folder) -> Child {
    let caps = "format=I420,width=96,height=80";
    let input = folder.long_clip("in.mp4", 1200, caps, "x264enc ! mp4mux");
    fs::write(folder.at("out.mp4"), "old").expect("an older file");
    let report = folder.at("r.jsonl");
    let report = ["--report", report.to_str().expect("UTF-8")];
    let mut command = command(input, folder.at("out.mp4"), &report);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = command.spawn().expect("the tool");
    let lines = BufReader::new(process.stdout.take().expect("its output")).lines();
    let mut lines = lines.map_while(Result::ok);
    assert!(lines.next().expect("a heading").contains("clean -> attacked"));
    assert!(lines.next().expect("a window").contains("->"));
    assert!(process.try_wait().expect("a process").is_none(), "all at once");
    process
}

fn signal(process: &Child, signal: i32) {
    // SAFETY: a signal to a process that was started here and has not been waited for.
    assert_eq!(unsafe { libc::kill(process.id() as i32, signal) }, 0);
}

#[test]
fn windows_are_shown_as_they_happen_and_ctrl_c_leaves_no_trace() {
    for number in [libc::SIGINT, libc::SIGTERM] {
        let folder = folder();
        let mut process = running(&folder);
        signal(&process, number);
        assert_eq!(process.wait().expect("an end").code(), Some(130));
        assert_eq!(folder.names(), ["in.mp4", "out.mp4"]);
        assert_eq!(fs::read(folder.at("out.mp4")).expect("an older file"), b"old");
    }
}

#[test]
fn what_a_killed_run_leaves_goes_with_the_next() {
    let folder = folder();
    let mut process = running(&folder);
    signal(&process, libc::SIGKILL);
    process.wait().expect("an end");
    assert_eq!(fs::read(folder.at("out.mp4")).expect("an older file"), b"old");
    assert!(folder.names().len() > 2, "a part is left");
    let short = folder.mp4("short.mp4");
    let report = folder.at("r.jsonl");
    done(&attack(short, folder.at("out.mp4"), &["--report", report.to_str().expect("UTF-8")]));
    assert_eq!(folder.names(), ["in.mp4", "out.mp4", "r.jsonl", "short.mp4"]);
}
