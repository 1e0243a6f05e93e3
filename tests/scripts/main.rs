// SPDX-License-Identifier: MPL-2.0

//! The scripts in `pipelines`, as a user calls them. Files stand in for cameras, and files or loopback for screens and
//! receivers.

#[path = "../common/mod.rs"]
mod common;

mod restream;
mod rtsp;

use std::fs;
use std::process::Command;
use std::sync::Once;

use serde_json::Value;
use tempfile::TempDir;

use common::{guarded, pipeline::pulled};

/// The embedded clip and model, the scripts' defaults.
const CLIP: &str = "examples/data/figures-walk.mp4";
const MODEL: &str = "examples/data/figures-c3d.pt";
const FRAMES: usize = 64;
const WINDOWS: usize = 4;
const WIDTH: usize = 320;
const HEIGHT: usize = 240;

/// Calls a script with that many iterations a window: exit status, what it printed, and what it complained of.
fn call(script: &str, iterations: usize, arguments: &[&str]) -> (i32, String, String) {
    static FILLED: Once = Once::new();
    FILLED.call_once(|| drop(command("camera.sh", 0, &["--device", "/"]).output()));
    let output = command(script, iterations, arguments).output().expect("a script");
    let [out, err] = [output.stdout, output.stderr].map(|b| String::from_utf8(b).expect("UTF-8"));
    println!("{script}: {}\n{out}{err}", output.status);
    (output.status.code().expect("a code"), out, err)
}

fn command(script: &str, iterations: usize, arguments: &[&str]) -> Command {
    let tool = env!("CARGO_BIN_EXE_gst-sparseadv").rsplit_once('/');
    let built = tool.expect("target/..").0;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("timeout");
    command.args(["100", &format!("pipelines/{script}")]);
    command.args(arguments).env("OMP_NUM_THREADS", "1");
    for name in ["GST_PLUGIN_PATH", "DISPLAY", "WAYLAND_DISPLAY"] {
        command.env_remove(name);
    }
    // A release build is for the scripts to find.
    if !built.ends_with("release") {
        command.env("GST_PLUGIN_PATH", built);
    }
    command.env("SPARSEADV_PROPERTIES", format!("max-iterations={iterations}"));
    command.env("PATH", format!("{built}:{path}"));
    // Kept from run to run: filling it takes longer than a test.
    let registry = concat!(env!("CARGO_TARGET_TMPDIR"), "/scripts-registry.bin");
    command.env("GST_REGISTRY", registry);
    command
}

/// A script that succeeds; what it printed.
fn run(script: &str, iterations: usize, arguments: &[&str]) -> String {
    let (code, out, err) = call(script, iterations, arguments);
    assert_eq!(code, 0, "{err}");
    out
}

/// A script that fails, and says why.
fn refused(script: &str, arguments: &[&str], code: i32, why: &str) {
    let (found, out, err) = call(script, 0, arguments);
    assert_eq!((found, out.as_str()), (code, ""));
    assert!(err.contains(why), "{err}");
}

/// The decoded frames of a file, as I420.
fn decoded(file: &str) -> Vec<Vec<u8>> {
    pulled(&format!(
        "filesrc location=\"{}\" ! decodebin ! videoconvert ! video/x-raw,format=I420 ! appsink name=end sync=false",
        file.replace('"', "\\\"")
    ))
}

/// The lines of a report where `key` is true, and all of them.
fn count(file: &str, key: &str) -> [usize; 2] {
    let text = fs::read_to_string(file).expect("a report");
    let values = text.lines().map(|l| serde_json::from_str(l).expect("JSON"));
    let lines: Vec<Value> = values.collect();
    [lines.iter().filter(|l| l[key] == true).count(), lines.len()]
}

/// The numbers in a text, in order.
fn numbers(text: &str) -> Vec<usize> {
    let words = text.split(|c: char| !c.is_ascii_digit());
    words.filter_map(|w| w.parse().ok()).collect()
}

/// What is in a folder, with spaces between.
fn names(folder: &str) -> String {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<_> = entries.map(|e| e.file_name()).collect();
    names.sort();
    names.join(" ".as_ref()).into_string().expect("UTF-8")
}

/// A folder named with what gst-launch-1.0 would take for syntax of its own, and paths in it.
fn folder() -> (TempDir, impl Fn(&str) -> String) {
    let dir = tempfile::tempdir().expect("a folder");
    let inside = dir.path().join("a \"b\" ! c");
    fs::create_dir(&inside).expect("a folder");
    let path = move |name: &str| inside.join(name).to_str().expect("UTF-8").to_string();
    (dir, path)
}

#[test]
fn help_and_wrong_arguments() {
    let known =
        "attack-and-measure.sh attack-file.sh camera.sh common.sh convert-folder.sh restream.sh side-by-side.sh";
    assert_eq!(names("pipelines"), known);
    refused("restream.sh", &["http://a", "srt://:1"], 64, "http://a");
    for script in known.split(' ').filter(|s| *s != "common.sh") {
        let help = run(script, 0, &["--help"]);
        assert!(help.starts_with(&format!("Usage: {script}")), "{help}");
        assert!(help.contains("Example"), "{help}");
        refused(script, &["--no"], 64, "found --no\n\nUsage: ");
    }
}

#[test]
fn attack_file() {
    guarded(120, || {
        let (_dir, at) = folder();
        let (input, output, report) = (at("in.mp4"), at("out.mp4"), at("out.jsonl"));
        fs::copy(CLIP, &input).expect("a copy");
        let said = run("attack-file.sh", 2, &[&input, &output]);
        assert_eq!(decoded(&output).len(), FRAMES);
        let counts = count(&report, "success");
        assert!(counts[0] > 0 && counts[1] == WINDOWS);
        let (_, said) = said.split_once("fooled").expect("counts");
        assert_eq!(numbers(said)[..2], counts);
        // What is wrong is said, and nothing is left behind.
        let link = at("link.mp4");
        std::os::unix::fs::symlink(&input, &link).expect("a link");
        let same = [&input, &link].map(|out| vec![input.as_str(), out]);
        let model = at("model.pt");
        fs::copy(MODEL, &model).expect("a copy");
        let model_is_output = vec![input.as_str(), &model, &model];
        let report_is_input = vec![report.as_str(), &output];
        for arguments in [&same[0], &same[1], &model_is_output, &report_is_input] {
            let before = names(&at(""));
            refused("attack-file.sh", arguments, 1, "found the same one");
            assert_eq!(names(&at("")), before);
        }
        assert!(fs::read(&input).expect("the input") == fs::read(CLIP).expect("the clip"));
        assert!(fs::read(&model).expect("a model") == fs::read(MODEL).expect("the model"));
        for name in [link, model] {
            fs::remove_file(name).expect("a file");
        }
        // A device stays one.
        refused("attack-file.sh", &[&input, "/dev/null"], 1, "a device or a pipe");
        // The report lies beside a file without an extension, whatever its folder is called.
        let inside = at("with.dot/out");
        fs::create_dir(at("with.dot")).expect("a folder");
        run("attack-file.sh", 0, &[&input, &inside]);
        assert_eq!(names(&at("with.dot")), "out out.jsonl");
        fs::remove_dir_all(at("with.dot")).expect("a folder");
        // Neither is what an earlier run has written.
        let before = [&output, &report].map(|name| fs::read(name).expect("a file"));
        let no_model = [&*input, &*output, "tests/scripts/main.rs"];
        refused("attack-file.sh", &no_model, 1, "ERROR: from element");
        assert_eq!(names(&at("")), "in.mp4 out.jsonl out.mp4");
        assert!(before == [&output, &report].map(|name| fs::read(name).expect("a file")));
    });
}

#[test]
fn attack_and_measure() {
    guarded(180, || {
        let (_dir, at) = folder();
        let output = at("out.mkv");
        let measure = |more: &[&str]| {
            let encoded = [CLIP, MODEL, "x264enc", "bitrate=100"];
            let arguments = [&["--out", &output], more, &encoded].concat();
            let said = run("attack-and-measure.sh", 3, &arguments);
            assert_eq!(decoded(&output).len(), FRAMES);
            let pushed = count(&at("out.jsonl"), "success");
            let left = count(&at("out.after.jsonl"), "fooled");
            let found = numbers(&said);
            assert_eq!([&found[..2], &found[3..5]], [&pushed, &left], "{said}");
            assert_eq!((pushed[1], left[1]), (WINDOWS, WINDOWS));
            let report = fs::read_to_string(at("out.jsonl")).expect("a report");
            (pushed[0], left[0], report.contains("\"codec_runs\":0,"))
        };
        let (pushed, left, untried) = measure(&[]);
        assert!(left < pushed && untried, "{pushed} {left}");
        let (_, _, untried) = measure(&["--survive", "x264enc bitrate=100 ! avdec_h264"]);
        assert!(!untried, "the attack did not try its codec");
        // A run that fails leaves what earlier ones have written.
        let kept = ["out.mkv", "out.jsonl", "out.after.jsonl"];
        let contents = || kept.map(|name| fs::read(at(name)).expect("a file"));
        let before = contents();
        let fails = ["--out", &output, CLIP, MODEL, "x264enc ! identity error-after=9"];
        refused("attack-and-measure.sh", &fails, 1, "ERROR: from element");
        assert!(before == contents());
        assert_eq!(names(&at("")), "out.after.jsonl out.jsonl out.mkv");
    });
}

/// One of three panes of a frame, below the labels: the lower two thirds of its planes.
fn pane(frame: &[u8], pane: usize) -> Vec<u8> {
    let (luma, chroma) = frame.split_at(3 * WIDTH * HEIGHT);
    let (u, v) = chroma.split_at(chroma.len() / 2);
    let mut cut = Vec::new();
    for (plane, width) in [(luma, WIDTH), (u, WIDTH / 2), (v, WIDTH / 2)] {
        let rows = plane[plane.len() / 3..].chunks_exact(3 * width);
        cut.extend(rows.flat_map(|row| &row[pane * width..][..width]));
    }
    cut
}

#[test]
fn side_by_side() {
    guarded(180, || {
        let (_dir, at) = folder();
        let panes = |iterations: usize| {
            let file = at("panes.mkv");
            run("side-by-side.sh", iterations, &["--out", &file]);
            let frames = decoded(&file);
            assert_eq!(frames.len(), FRAMES);
            assert_eq!(frames[0].len(), 3 * WIDTH * HEIGHT * 3 / 2);
            frames
        };
        let is_gray = |shown: &[u8]| pane(shown, 2).iter().all(|v| *v == 128);
        for (shown, frame) in panes(0).iter().zip(decoded(CLIP)) {
            let luma = shown.chunks_exact(WIDTH).step_by(3).take(HEIGHT);
            let same = luma.zip(frame.chunks_exact(WIDTH)).map(|(a, b)| a == b);
            let (labels, rest): (Vec<_>, Vec<_>) = same.enumerate().partition(|(y, _)| *y < 80);
            assert!(labels.iter().any(|(_, same)| !same), "no label");
            assert!(rest.iter().all(|(_, same)| *same), "not the clip");
            assert!(is_gray(shown), "a difference where there is none");
        }
        let mut changed = 0;
        for shown in panes(2) {
            let same = pane(&shown, 0) == pane(&shown, 1);
            assert_eq!(is_gray(&shown), same);
            changed += usize::from(!same);
        }
        assert!((WINDOWS..FRAMES / 2).contains(&changed), "{changed}");
        refused("side-by-side.sh", &[], 1, "expected a display");
    });
}

#[test]
fn camera() {
    guarded(120, || {
        let said = run("camera.sh", 1, &["--file", CLIP, "--fake"]);
        assert_eq!(numbers(&said)[..3], [FRAMES, FRAMES, WINDOWS], "{said}");
        assert!(said.contains("overruns: "), "{said}");
        let learned = "examples/data/figures-c3d.safetensors";
        let said = run("camera.sh", 1, &["--file", CLIP, "--fake", "--perturbation", learned]);
        assert_eq!(numbers(&said), [FRAMES, FRAMES], "{said}");
        let said = run("camera.sh", 1, &["--file", CLIP, "--fake", "--perturbation", learned, MODEL]);
        assert_eq!(numbers(&said)[..2], [FRAMES, FRAMES], "{said}");
        assert!(said.contains("fooled: "), "{said}");
        refused("camera.sh", &["--file", CLIP, "--fake", "--perturbation", "/no"], 1, "found none at /no");
        refused("camera.sh", &["--device", "/no"], 1, "found none at /no.");
        refused("camera.sh", &["--file", CLIP], 1, "expected a display");
    });
}

#[test]
fn convert_folder() {
    guarded(180, || {
        let (_dir, at) = folder();
        fs::create_dir_all(at("flat")).expect("a folder");
        fs::create_dir_all(at("sorted/walk")).expect("a folder");
        for to in ["flat/a.mp4", "flat/a.mov", "sorted/walk/a.mp4"] {
            fs::copy(CLIP, at(to)).expect("a copy");
        }
        let out = at("out");
        let arguments = ["--workers", "2", &at("flat"), &out];
        let said = run("convert-folder.sh", 1, &arguments);
        assert!(said.contains("2 converted, 0 there already, 0 failed"));
        let all = "a.mov.jsonl a.mov.mp4 a.mp4.jsonl a.mp4.mp4";
        assert_eq!(names(&out), all);
        assert_eq!(decoded(&at("out/a.mov.mp4")).len(), FRAMES);
        assert_eq!(count(&at("out/a.mov.jsonl"), "success")[1], WINDOWS);
        // Again, with one that is gone and one that is no video.
        fs::remove_file(at("out/a.mp4.mp4")).expect("a file");
        fs::write(at("flat/b.avi"), "no video").expect("a file");
        let (code, said, complaints) = call("convert-folder.sh", 1, &arguments);
        assert!(said.contains("1 converted, 1 there already, 1 failed"));
        assert!(code == 2 && complaints.contains("flat/b.avi: not converted"));
        assert_eq!(names(&out), all);
        // Class folders are for gst-sparseadv.
        let said = run("convert-folder.sh", 1, &[&at("sorted"), &at("tree")]);
        assert!(said.contains("1 clips converted"), "{said}");
        assert_eq!(decoded(&at("tree/walk/a.avi")).len(), FRAMES);
    });
}

#[test]
fn convert_folder_takes_what_the_data_sets_take() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines/convert-folder.sh");
    let text = fs::read_to_string(script).expect("the script");
    let (_, list) = text.split_once("extensions=\"").expect("a list");
    let (list, _) = list.split_once('"').expect("its end");
    let found: Vec<&str> = list.split_whitespace().collect();
    assert_eq!(found, gstsparseadv::dataset::VIDEO_EXTENSIONS);
}

#[test]
fn convert_folder_accounts_for_every_file() {
    guarded(180, || {
        let (_dir, at) = folder();
        fs::create_dir_all(at("flat")).expect("a folder");
        // Names by which two would become one file, and one with a line's end.
        for to in ["a.mp4", "a.MOV", "a.MOV.mkv", "b\nc.mp4", "._a.mp4"] {
            fs::copy(CLIP, at(&format!("flat/{to}"))).expect("a copy");
        }
        fs::write(at("flat/notes.txt"), "").expect("a text");
        std::os::unix::fs::symlink("gone", at("flat/link.avi")).expect("a link");
        let arguments = ["--workers", "2", &at("flat"), &at("out")];
        let (code, said, complaints) = call("convert-folder.sh", 1, &arguments);
        assert!(said.contains("4 converted, 0 there already, 1 failed"), "{said}{complaints}");
        assert_eq!(code, 2);
        for words in ["flat/link.avi: not converted, a link", "passed over 1 files", "notes.txt"] {
            assert!(complaints.contains(words), "{complaints}");
        }
        for name in ["a.MOV", "a.mp4", "a.MOV.mkv", "b\nc"] {
            assert!(fs::metadata(at(&format!("out/{name}.mp4"))).is_ok(), "{name}");
        }
        let inside = [&at("flat"), &*at("flat/out")];
        refused("convert-folder.sh", &inside, 1, "outside");
        assert!(fs::metadata(at("flat/out")).is_err());
    });
}
