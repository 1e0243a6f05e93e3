// SPDX-License-Identifier: MPL-2.0

//! `gst-sparseadv learn` as it is called: what it says of clips that were held out is what an independent judge finds,
//! and a run that was stopped goes on as if it had not been.

mod common;

#[path = "learn/agent.rs"]
mod agent;
#[path = "learn/kept.rs"]
mod kept;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use common::frames::texture;
use common::models::{Good, LABELS, ModelFile, Noise, SIDE, good};
use common::pipeline::run;
use common::{guarded, wait_until};
use gstsparseadv::universal::{Kind, Universal, Values};
use serde_json::Value;
use tempfile::TempDir;

const WINDOW: usize = 4;
const FRAMES: usize = 9;
/// By the groups before the first `_`, of which `c` and `d` are held out.
const CLIPS: usize = 8;

struct Data {
    dir: TempDir,
    model: ModelFile,
    /// Frames of the clips that are held out, by the files' order.
    held_out: Vec<Vec<Vec<u8>>>,
}

/// Textures by chance, which the tiny model has some label for, in plain class folders.
fn data() -> &'static Data {
    static DATA: OnceLock<Data> = OnceLock::new();
    DATA.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a folder");
        let model = good(Good { window: WINDOW, ..Good::default() });
        let mut held_out = Vec::new();
        let mut found = two_labels(&model);
        for clip in 0..CLIPS {
            let (class, group) = (LABELS[clip % 2], ["a", "b", "c", "d"][clip / 2]);
            let frames = found[clip % 2].pop().expect("a clip");
            write(&frames, &dir.path().join(format!("set/{class}/{group}_{class}.mkv")));
            if clip / 2 >= 2 {
                held_out.push(frames);
            }
        }
        Data { dir, model, held_out }
    })
}

/// Clips of colors by chance with some noise, half of them of one label and half of another.
fn two_labels(model: &ModelFile) -> [Vec<Vec<Vec<u8>>>; 2] {
    let mut of = BTreeMap::<usize, Vec<Vec<Vec<u8>>>>::new();
    for seed in 0..400u64 {
        let mut chance = Noise::new(seed);
        // Blocks of four by four pixels of one color.
        let colors: Vec<u8> = (0..3 * 16).map(|_| (chance.unit() * 255.0) as u8).collect();
        let frame = |n: u64| -> Vec<u8> {
            let noise = texture(3 * SIDE * SIDE, seed * 100 + n);
            let at = |i: usize| colors[(i / 3 / SIDE / 4 * 4 + i / 3 % SIDE / 4) * 3 + i % 3];
            (0..noise.len()).map(|i| ((u16::from(at(i)) * 3 + u16::from(noise[i])) / 4) as u8).collect()
        };
        let clip: Vec<Vec<u8>> = (0..FRAMES as u64).map(frame).collect();
        let first = (FRAMES - WINDOW) / 2;
        of.entry(model.label(&clip[first..first + WINDOW])).or_default().push(clip);
    }
    let mut common: Vec<Vec<Vec<Vec<u8>>>> = of.into_values().collect();
    common.sort_by_key(|clips| std::cmp::Reverse(clips.len()));
    common.truncate(2);
    let many = common.iter().map(Vec::len).collect::<Vec<_>>();
    assert!(many.iter().all(|many| *many >= CLIPS / 2), "{many:?}");
    let [one, other] = [1, 0].map(|n| common.remove(n));
    [one, other]
}

/// Frames of packed RGB as they are.
fn write(frames: &[Vec<u8>], path: &Path) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let raw = path.with_extension("raw");
    fs::write(&raw, frames.concat()).expect("raw frames");
    run(&format!(
        "filesrc location={} ! rawvideoparse format=rgb width={SIDE} height={SIDE} framerate=25/1 ! matroskamux \
         ! filesink location={}",
        raw.display(),
        path.display()
    ));
    fs::remove_file(raw).expect("raw frames");
}

impl Data {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, output: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gst-sparseadv"));
        command.arg("learn").arg(self.path("set")).arg(output).args(["--model", self.model.location()]);
        command.args(["--test-groups", "c,d"]).args(more).env("OMP_NUM_THREADS", "1");
        command
    }

    fn judge(&self, files: &[PathBuf], json: &Path, more: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gst-sparseadv"));
        command.arg("judge").arg(self.path("set")).args(files).args(["--model", self.model.location()]);
        command.args(["--test-groups", "c,d"]).arg("--json").arg(json).args(more).env("OMP_NUM_THREADS", "1");
        command.output().expect("gst-sparseadv")
    }

    fn learn(&self, output: &Path, more: &[&str]) -> Output {
        self.command(output, more).output().expect("gst-sparseadv")
    }

    /// Stops a run after it has taken a step.
    fn stopped(&self, output: &Path, more: &[&str]) {
        let mut state = output.as_os_str().to_owned();
        state.push(".learning");
        let state = PathBuf::from(state);
        // Longer each time until it has taken a step by then: how soon it does depends on what else runs.
        let mut patience = Duration::from_millis(300);
        while steps_in(&state) == 0 {
            let mut process = self.command(output, more).spawn().expect("gst-sparseadv");
            wait_until("a state", || state.exists());
            std::thread::sleep(patience);
            let interrupt = Command::new("kill").args(["-INT", &process.id().to_string()]).status();
            assert!(interrupt.expect("kill").success());
            assert_eq!(process.wait().expect("an end").code(), Some(130), "it ended before it was stopped");
            assert!(state.exists() && !output.exists());
            patience = patience * 3 / 2;
        }
    }
}

/// A perturbed frame of the size of the view, by the definition of the file.
fn perturbed(universal: &Universal, frame: &[u8], phase: usize) -> Vec<u8> {
    let inside = |y: usize, x: usize| match universal.header.kind {
        Kind::Border(width) => y.min(x).min(SIDE - 1 - y).min(SIDE - 1 - x) < width,
        _ => true,
    };
    let at = |i: usize| {
        let (y, x, channel) = (i / 3 / SIDE, i / 3 % SIDE, i % 3);
        let [_, _, rows, cols] = universal.shape;
        let place = ((phase * 3 + channel) * rows + y.min(rows - 1)) * cols + x.min(cols - 1);
        match &universal.values {
            Values::Added(values) => (i16::from(frame[i]) + i16::from(values[place])).clamp(0, 255) as u8,
            Values::Shown(values) if inside(y, x) => values[place],
            Values::Shown(_) => frame[i],
        }
    };
    (0..frame.len()).map(at).collect()
}

/// The labels of each clip's middle window: clean, and at each phase.
fn labels(data: &Data, universal: &Universal) -> Vec<(usize, Vec<usize>)> {
    let first = (FRAMES - WINDOW) / 2;
    let period = universal.shape[0];
    let clip = |frames: &Vec<Vec<u8>>| {
        let window = &frames[first..first + WINDOW];
        let at = |phase: usize| {
            let frames = (0..WINDOW).map(|t| perturbed(universal, &window[t], (t + phase) % period));
            data.model.label(&frames.collect::<Vec<_>>())
        };
        (data.model.label(window), (0..period).map(at).collect())
    };
    data.held_out.iter().map(clip).collect()
}

fn shares(learned: &Value, which: &str) -> Vec<f64> {
    let shares = learned["held_out"][which].as_array().expect("shares by phase");
    shares.iter().map(|share| share.as_f64().expect("a share")).collect()
}

/// By the model of the tests, which is told nothing of how the tool judges.
#[test]
fn what_it_says_of_clips_held_out_is_so() {
    guarded(240, || {
        let data = data();
        for (name, more) in [
            ("circular", &["--kind", "circular", "--bound", "60"][..]),
            ("frame", &["--kind", "frame", "--bound", "60"]),
            ("border", &["--kind", "border", "--width", "3"]),
            ("flicker", &["--kind", "flicker", "--bound", "60"]),
            ("first", &["--kind", "circular", "--bound", "90", "--target-label", "0"]),
            ("last", &["--kind", "circular", "--bound", "90", "--target-label", "wave"]),
        ] {
            let path = data.path(&format!("{name}.safetensors"));
            let output = data.learn(&path, &[more, &["--steps", "60"]].concat());
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            let universal = Universal::load(&path).expect("a perturbation");
            if let Values::Added(values) = &universal.values {
                let bound: u8 = more[3].parse().expect("a bound");
                assert!(values.iter().all(|v| v.unsigned_abs() <= bound), "{name}");
            }
            let target = match name {
                "first" => Some(0),
                "last" => Some(3),
                _ => None,
            };
            let labels = labels(data, &universal);
            let counted: Vec<_> = labels.iter().filter(|(clean, _)| Some(*clean) != target).collect();
            let share = |phase: usize| {
                let reached = counted.iter().filter(|(clean, at)| match target {
                    Some(target) => at[phase] == target,
                    None => at[phase] != *clean,
                });
                reached.count() as f64 / counted.len() as f64
            };
            let expected: Vec<f64> = (0..universal.shape[0]).map(share).collect();
            let learned = Value::Object(universal.header.learned.clone());
            assert_eq!(shares(&learned, "reached"), expected, "{name}");
            assert_eq!(learned["held_out"]["windows"].as_u64(), Some(counted.len() as u64));
            let mean = expected.iter().sum::<f64>() / expected.len() as f64;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(said.contains(&format!("changed {:.1} % of {}", 100.0 * mean, counted.len())), "{said}");
            // A color for the whole picture can do less than the others.
            assert!(mean >= if name == "flicker" { 0.25 } else { 0.5 }, "{name}: {expected:?}");
            assert!(!path.with_extension("safetensors.learning").exists(), "{name}");
        }
    });
}

/// One class loses its label, and the others keep theirs more often than under a perturbation that is to change all.
#[test]
fn dual_purpose() {
    guarded(120, || {
        let data = data();
        let all = data.path("all.safetensors");
        assert_eq!(data.learn(&all, &["--bound", "60", "--steps", "60"]).status.code(), Some(0));
        let labels_of = |path: &Path| labels(data, &Universal::load(path).expect("a perturbation"));
        let of = labels_of(&all)[0].0;
        let one = data.path("one.safetensors");
        let only = of.to_string();
        let output = data.learn(&one, &["--bound", "60", "--steps", "60", "--only-label", &only]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let kept = |path: &Path| {
            let found = labels_of(path);
            let others = found.iter().filter(|(clean, _)| *clean != of);
            others.map(|(clean, at)| at.iter().filter(|label| *label == clean).count()).sum::<usize>()
        };
        assert!(kept(&one) > kept(&all), "{} and {}", kept(&one), kept(&all));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("changed ") && said.contains("kept "), "{said}");
    });
}

/// What a state says: the steps that were taken.
fn steps_in(state: &Path) -> u32 {
    let bytes = fs::read(state).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]).into_owned();
    let number = text.split("\"steps\":\"").nth(1).and_then(|rest| rest.split('"').next()?.parse().ok());
    number.unwrap_or(0)
}

#[test]
fn a_run_that_was_stopped_goes_on() {
    guarded(240, || {
        let data = data();
        let more = ["--bound", "20", "--steps", "700", "--batch", "4"];
        let (whole, parts) = (data.path("whole.safetensors"), data.path("parts.safetensors"));
        assert_eq!(data.learn(&whole, &more).status.code(), Some(0));
        let state = data.path("parts.safetensors.learning");
        data.stopped(&parts, &more);
        // Other settings would learn something else from here on.
        let output = data.learn(&parts, &["--bound", "30", "--steps", "700", "--batch", "4"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains("others"), "{said}");
        let output = data.learn(&parts, &more);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(0) && said.contains("goes on after step"), "{said}");
        assert!(!said.contains("goes on after step 0,"), "{said}");
        assert!(!state.exists());
        let read = |path: &Path| fs::read(path).expect("a perturbation");
        assert!(read(&whole) == read(&parts), "other values than in one go");
    });
}

#[test]
fn through_a_codec() {
    guarded(120, || {
        let data = data();
        let path = data.path("jpeg.safetensors");
        let bin = "videoconvert ! video/x-raw,format=I420 ! jpegenc quality=60 ! jpegdec ! videoconvert";
        let more = ["--bound", "60", "--steps", "20", "--survive", bin];
        let output = data.learn(&path, &more);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("behind ") && said.contains("jpegenc"), "{said}");
        let learned = Universal::load(&path).expect("a perturbation").header.learned;
        assert!(learned["held_out_behind"][0][1]["reached"].is_array(), "{learned:?}");
    });
}

/// Judged again by the model that it was learned on, a perturbation comes to what its file says. The file says its aim.
#[test]
fn judged_again() {
    guarded(120, || {
        let data = data();
        let bin = "videoconvert ! video/x-raw,format=I420 ! jpegenc quality=60 ! jpegdec ! videoconvert";
        let paths = ["two.safetensors", "of-one.safetensors"].map(|name| data.path(name));
        for (path, aim) in paths.iter().zip([&["--focus", "1", "--margin", "0.5"][..], &["--only-label", "0"]]) {
            let output = data.learn(path, &[&["--bound", "60", "--steps", "20", "--survive", bin], aim].concat());
            assert_eq!(output.status.code(), Some(0), "{output:?}");
        }
        let json = data.path("judged.jsonl");
        let output = data.judge(&paths, &json, &["--survive", bin]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let lines = fs::read_to_string(&json).expect("a record");
        assert_eq!(lines.lines().count(), paths.len());
        for (path, line) in paths.iter().zip(lines.lines()) {
            let judged: Value = serde_json::from_str(line).expect("a line");
            let learned = Universal::load(path).expect("a perturbation").header.learned;
            for field in ["held_out", "held_out_behind"] {
                assert_eq!(judged[field], learned[field], "{field}");
            }
        }
    });
}

/// A sentence that says what to do, and nothing is written.
#[test]
fn what_cannot_be_learned_is_refused() {
    guarded(60, || {
        let data = data();
        for (more, expected) in [
            (&["--bound", "0"][..], "1 to 127"),
            (&["--kind", "region"], "--region TOP,LEFT,HEIGHT,WIDTH"),
            (&["--kind", "region", "--region", "0,0,99,1"], "16 rows"),
            (&["--kind", "border", "--width", "0"], "a border of 0 pixels"),
            (&["--kind", "border", "--width", "8"], "a border of 8 pixels"),
            (&["--target-label", "fly"], "fly"),
            (&["--steps", "0"], "at least one"),
            (&["--survive", "nosuchelement"], "nosuchelement"),
            (&["--test-groups", "a,b,c,d"], "training clips"),
        ] {
            let path = data.path("never.safetensors");
            let mut command = Command::new(env!("CARGO_BIN_EXE_gst-sparseadv"));
            command.arg("learn").arg(data.path("set")).arg(&path).args(["--model", data.model.location()]);
            if !more.contains(&"--test-groups") {
                command.args(["--test-groups", "c,d"]);
            }
            let output = command.args(more).output().expect("gst-sparseadv");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.code() == Some(1) && said.contains(expected), "{more:?}: {said}");
            assert!(!path.exists(), "{more:?}");
            let _ = fs::remove_file(data.path("never.safetensors.learning"));
        }
        let output = data.learn(&data.model.path, &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains("the model"), "{said}");
    });
}
