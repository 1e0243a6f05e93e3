// SPDX-License-Identifier: MPL-2.0

//! The scripts in `pipelines`, as a user calls them. Files stand in for cameras, and files or loopback for screens and receivers.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Once;

use gst::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

use common::pipeline::pulled;
use common::{guarded, wait_until};

const SCRIPTS: [&str; 6] = [
    "attack-file.sh",
    "attack-and-measure.sh",
    "side-by-side.sh",
    "camera.sh",
    "restream.sh",
    "convert-folder.sh",
];
/// Of the embedded clip, the scripts' default.
const FRAMES: usize = 64;
const WINDOWS: usize = 4;
const WIDTH: usize = 320;
const HEIGHT: usize = 240;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn clip() -> String {
    path(&root().join("examples/data/figures-walk.mp4"))
}

fn path(path: &Path) -> String {
    path.to_str().expect("a path in UTF-8").into()
}

fn command(script: &str, iterations: usize, arguments: &[&str]) -> Command {
    let tool = Path::new(env!("CARGO_BIN_EXE_gst-sparseadv"));
    let built = tool.parent().expect("target/..");
    // Kept from run to run: filling it takes longer than a test.
    let registry = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scripts-registry.bin");
    let mut command = Command::new("timeout");
    command
        .arg("100")
        .arg(root().join("pipelines").join(script))
        .args(arguments)
        .env("GST_REGISTRY", &registry)
        .env(
            "SPARSEADV_PROPERTIES",
            format!("max-iterations={iterations}"),
        )
        .env("OMP_NUM_THREADS", "1")
        .env_remove("GST_PLUGIN_PATH")
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY");
    // A release build is for the scripts to find.
    if !built.ends_with("release") {
        command.env("GST_PLUGIN_PATH", built);
    }
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", built.display()));
    command
}

/// Runs a script; what it printed.
fn run(script: &str, iterations: usize, arguments: &[&str]) -> String {
    static FILLED: Once = Once::new();
    FILLED.call_once(|| {
        let _ = command("camera.sh", 0, &[]).output();
    });
    printed(command(script, iterations, arguments).output())
}

fn printed(output: std::io::Result<Output>) -> String {
    let output = output.expect("a script");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    println!("{out}{err}");
    assert!(output.status.success(), "{}: {out}{err}", output.status);
    out
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into()
}

/// Calls a script as it should not be called; exit status and what it says.
fn refused(script: &str, arguments: &[&str]) -> (i32, String) {
    let output = command(script, 0, arguments).output().expect("a script");
    assert_eq!(text(&output.stdout), "");
    (output.status.code().expect("a code"), text(&output.stderr))
}

/// The decoded frames of a file, as I420.
fn decoded(file: &Path) -> Vec<Vec<u8>> {
    pulled(&format!(
        "filesrc location=\"{}\" ! decodebin ! videoconvert ! video/x-raw,format=I420 ! appsink name=end sync=false",
        path(file).replace('"', "\\\"")
    ))
}

fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).expect("a report");
    let line = |l| serde_json::from_str(l).expect("a JSON line");
    text.lines().map(line).collect()
}

fn count(lines: &[Value], key: &str) -> usize {
    lines.iter().filter(|l| l[key] == true).count()
}

/// The numbers in a text, in order.
fn numbers(text: &str) -> Vec<usize> {
    let words = text.split(|c: char| !c.is_ascii_digit());
    words.filter_map(|w| w.parse().ok()).collect()
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries
        .map(|e| {
            e.expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect()
}

fn folder() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a folder");
    // What gst-launch-1.0 would take for syntax of its own.
    let inside = dir.path().join("a \"b\" ! c");
    fs::create_dir(&inside).expect("a folder");
    (dir, inside)
}

#[test]
fn help_and_wrong_arguments() {
    for script in SCRIPTS {
        let help = run(script, 0, &["--help"]);
        assert!(help.starts_with(&format!("Usage: {script}")), "{help}");
        assert!(help.contains("Example"), "{help}");
        let (code, said) = refused(script, &["--nonesuch"]);
        assert_eq!(code, 64, "{said}");
        assert!(said.contains("found --nonesuch\n\nUsage: "), "{said}");
    }
    let there: BTreeSet<String> = names(&root().join("pipelines"));
    let known = SCRIPTS.iter().chain(&["common.sh"]);
    assert_eq!(there, known.map(ToString::to_string).collect());
}

#[test]
fn attack_file() {
    guarded(120, || {
        let (_dir, folder) = folder();
        let input = folder.join("in.mp4");
        fs::copy(clip(), &input).expect("a copy");
        let output = path(&folder.join("out.mp4"));
        let said = run("attack-file.sh", 2, &[&path(&input), &output]);
        assert_eq!(decoded(Path::new(&output)).len(), FRAMES);
        let report = lines(&folder.join("out.jsonl"));
        assert_eq!(report.len(), WINDOWS);
        let fooled = count(&report, "success");
        assert!(fooled > 0);
        assert!(said.contains(&format!("fooled {fooled} of {WINDOWS} windows")));
        let left = names(&folder);
        assert_eq!(
            left,
            ["in.mp4", "out.jsonl", "out.mp4"].map(String::from).into()
        );
        // What is wrong is said, and nothing is left behind.
        let (_, said) = refused("attack-file.sh", &[&output, &output]);
        assert!(said.contains("found the input itself"), "{said}");
        let model = path(&folder.join("out.jsonl"));
        let other = path(&folder.join("other.mp4"));
        let (code, said) = refused("attack-file.sh", &[&output, &other, &model]);
        assert!(code != 0 && said.contains("ERROR: from element"), "{said}");
        assert_eq!(names(&folder), left);
    });
}

#[test]
fn attack_and_measure() {
    guarded(180, || {
        let (_dir, folder) = folder();
        let output = path(&folder.join("out.mkv"));
        let model = path(&root().join("examples/data/figures-c3d.pt"));
        let (clip, encoder) = (clip(), ["x264enc", "bitrate=200"]);
        let measure = |more: &[&str]| {
            let shared = [&["--out", &output], more, &[&clip, &model], &encoder].concat();
            let said = run("attack-and-measure.sh", 3, &shared);
            let (before, after) = (
                lines(&folder.join("out.jsonl")),
                lines(&folder.join("out.after.jsonl")),
            );
            assert_eq!((before.len(), after.len()), (WINDOWS, WINDOWS));
            assert_eq!(decoded(Path::new(&output)).len(), FRAMES);
            let (pushed, left) = (count(&before, "success"), count(&after, "fooled"));
            let expected = format!(
                "fooled on the bytes pushed: {pushed} of {WINDOWS} windows\nfooled behind x264enc: {left} of {WINDOWS} windows\n"
            );
            assert!(said.starts_with(&expected), "{said}");
            let runs = before.iter().map(|l| l["codec_runs"].as_u64().unwrap_or(0));
            (pushed, left, runs.sum::<u64>())
        };
        let (pushed, left, runs) = measure(&[]);
        assert!(pushed > 0 && left < pushed && runs == 0, "{pushed} {left}");
        let (_, _, runs) = measure(&["--survive", "x264enc bitrate=200 ! avdec_h264"]);
        assert!(runs > 0);
    });
}

/// One of the three panes of a frame below the labels: luma, and both chromas.
fn pane(frame: &[u8], pane: usize) -> [Vec<u8>; 3] {
    let (y, rest) = frame.split_at(3 * WIDTH * HEIGHT);
    let (u, v) = rest.split_at(rest.len() / 2);
    let cut = |plane: &[u8], width: usize| {
        let rows = plane
            .chunks_exact(3 * width)
            .skip(plane.len() / (3 * width) / 3);
        let rows = rows.map(|row| &row[pane * width..][..width]);
        rows.flatten().copied().collect()
    };
    [cut(y, WIDTH), cut(u, WIDTH / 2), cut(v, WIDTH / 2)]
}

fn is_grey(pane: &[Vec<u8>; 3]) -> bool {
    pane.iter().flatten().all(|v| *v == 128)
}

#[test]
fn side_by_side() {
    guarded(180, || {
        let (_dir, folder) = folder();
        let file = folder.join("panes.mkv");
        let frames = |iterations: usize| {
            run("side-by-side.sh", iterations, &["--out", &path(&file)]);
            let frames = decoded(&file);
            assert_eq!(frames.len(), FRAMES);
            assert!(frames.iter().all(|f| f.len() == 3 * WIDTH * HEIGHT * 3 / 2));
            frames
        };
        let clean = decoded(Path::new(&clip()));
        let untouched = frames(0);
        for (shown, frame) in untouched.iter().zip(&clean) {
            let row = |y: usize| &frame[y * WIDTH..][..WIDTH];
            let left = |y: usize| &shown[y * 3 * WIDTH..][..WIDTH];
            assert!((HEIGHT / 3..HEIGHT).all(|y| row(y) == left(y)));
            assert!((0..HEIGHT / 3).any(|y| row(y) != left(y)), "no label");
            assert!(is_grey(&pane(shown, 2)), "a difference where there is none");
        }
        let attacked = frames(2);
        let mut changed = 0;
        for shown in &attacked {
            let same = pane(shown, 0) == pane(shown, 1);
            assert_eq!(is_grey(&pane(shown, 2)), same);
            changed += usize::from(!same);
        }
        assert!((WINDOWS..FRAMES / 2).contains(&changed), "{changed}");
        let (_, said) = refused("side-by-side.sh", &[]);
        assert!(said.contains("expected a display"), "{said}");
    });
}

#[test]
fn camera() {
    guarded(120, || {
        let said = run("camera.sh", 1, &["--file", &clip(), "--fake"]);
        let numbers = numbers(&said);
        assert_eq!(numbers[..3], [FRAMES, FRAMES, WINDOWS], "{said}");
        assert!(said.contains("overruns: "), "{said}");
        let (_, said) = refused("camera.sh", &["--device", "/dev/nonesuch"]);
        assert!(said.contains("found none at /dev/nonesuch"), "{said}");
        let (_, said) = refused("camera.sh", &["--file", &clip()]);
        assert!(said.contains("expected a display"), "{said}");
    });
}

fn free_port() -> u16 {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.local_addr().expect("an address").port()
}

fn is_bound(port: u16) -> bool {
    let tables = ["/proc/net/udp", "/proc/net/udp6"].map(fs::read_to_string);
    let wanted = format!(":{port:04X} ");
    let holds = |table: &String| table.lines().any(|l| l.contains(&wanted));
    tables.iter().flatten().any(holds)
}

/// A file by SRT to a second script, and from there by RTP to a receiver.
#[test]
fn restream() {
    guarded(180, || {
        let (srt, rtp) = (free_port(), free_port());
        let receiver = format!(
            "udpsrc address=127.0.0.1 port={rtp} caps=\"application/x-rtp,media=video,clock-rate=90000,encoding-name=H264\" \
             ! rtpjitterbuffer ! rtph264depay ! h264parse ! video/x-h264,alignment=au ! appsink name=end sync=false max-buffers=0"
        );
        let receiver = gst::parse::launch(&receiver).expect("a pipeline");
        let receiver = receiver.downcast::<gst::Pipeline>().expect("a pipeline");
        assert!(receiver.set_state(gst::State::Playing).is_ok());
        let to = format!("udp://127.0.0.1:{rtp}");
        let relay =
            std::thread::spawn(move || run("restream.sh", 0, &[&format!("srt://:{srt}"), &to]));
        wait_until("a listener", || is_bound(srt));
        let to = format!("srt://127.0.0.1:{srt}");
        let said = run("restream.sh", 0, &["--file", &clip(), &to]);
        assert_eq!(numbers(&said)[..3], [FRAMES, FRAMES, WINDOWS], "{said}");
        let said = relay.join().expect("the relay");
        let numbers = numbers(&said);
        // SRT forgets what it has not delivered when the sender goes.
        assert!((FRAMES * 2 / 3..=FRAMES).contains(&numbers[0]), "{said}");
        let end = receiver.by_name("end").expect("a sink");
        let end = end.downcast::<gst_app::AppSink>().expect("an appsink");
        let mut received = 0;
        while end
            .try_pull_sample(gst::ClockTime::from_seconds(1))
            .is_some()
        {
            received += 1;
        }
        assert!(receiver.set_state(gst::State::Null).is_ok());
        // The depayloader holds the last until something follows.
        assert!(
            received + 1 >= numbers[1] && received <= numbers[1],
            "{received}, {said}"
        );
        let (code, said) = refused("restream.sh", &["http://a", "srt://:1"]);
        assert!(code == 64 && said.contains("found http://a"), "{said}");
    });
}

#[test]
fn convert_folder() {
    guarded(180, || {
        let (_dir, folder) = folder();
        let (flat, sorted) = (folder.join("flat"), folder.join("sorted"));
        fs::create_dir_all(&flat).expect("a folder");
        fs::create_dir_all(sorted.join("walk")).expect("a folder");
        for to in ["flat/a.mp4", "flat/a.mov", "sorted/walk/a.mp4"] {
            fs::copy(clip(), folder.join(to)).expect("a copy");
        }
        let out = folder.join("out");
        let arguments = ["--workers", "2", &path(&flat), &path(&out)];
        let said = run("convert-folder.sh", 1, &arguments);
        assert!(
            said.contains("2 converted, 0 there already, 0 failed"),
            "{said}"
        );
        let all = ["a.mov.jsonl", "a.mov.mp4", "a.mp4.jsonl", "a.mp4.mp4"];
        assert_eq!(names(&out), all.map(String::from).into());
        let file = out.join("a.mov.mp4");
        assert_eq!(decoded(&file).len(), FRAMES);
        assert_eq!(lines(&out.join("a.mov.jsonl")).len(), WINDOWS);
        let written = || {
            fs::metadata(&file)
                .and_then(|m| m.modified())
                .expect("a time")
        };
        // Again, with one that is gone and one that is no video.
        let before = written();
        fs::remove_file(out.join("a.mp4.mp4")).expect("a file");
        fs::write(flat.join("b.avi"), "no video").expect("a file");
        let again = command("convert-folder.sh", 1, &arguments).output();
        let again = again.expect("a script");
        assert_eq!(again.status.code(), Some(2));
        let said = text(&again.stdout);
        assert!(
            said.contains("1 converted, 1 there already, 1 failed"),
            "{said}"
        );
        assert_eq!(written(), before);
        assert_eq!(names(&out), all.map(String::from).into());
        // Class folders are for gst-sparseadv.
        let out = folder.join("tree");
        let said = run("convert-folder.sh", 1, &[&path(&sorted), &path(&out)]);
        assert!(said.contains("1 clips converted"), "{said}");
        assert_eq!(decoded(&out.join("walk/a.avi")).len(), FRAMES);
    });
}
