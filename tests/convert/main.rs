// SPDX-License-Identifier: MPL-2.0

//! `gst-sparseadv convert` and `merge` as they are called: killed, in parts, on damaged files, on the sets' own
//! layouts.

mod accounts;
#[path = "../common/mod.rs"]
mod common;
mod data;
mod layouts;
mod numbers;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use common::{guarded, wait_until};
use data::*;

#[test]
fn killed_and_called_again() {
    guarded(300, || {
        let data = data();
        let tree = data.dir.path().join("killed");
        let mut process = start(&data.set(), &tree, &[]);
        until_a_record(&mut process, &tree);
        let workers = children(process.id());
        process.kill().expect("a kill");
        process.wait().expect("an end");
        assert!(records(&tree) < CLIPS.len(), "nothing is left to do");
        assert!(!workers.is_empty());
        // Nobody is left behind to write on. Without an init process the dead are not buried.
        let over = |worker: &u32| stat(*worker).is_none_or(|(state, _)| state == "Z");
        wait_until("the workers' end", || workers.iter().all(over));
        // Which of them is first depends on the workers.
        let clips = recorded(&tree);
        let written = || {
            let clips = clips.iter().map(|clip| {
                let data = fs::metadata(tree.join(clip)).expect("a clip with a record");
                (data.ino(), data.mtime(), data.mtime_nsec())
            });
            clips.collect::<Vec<_>>()
        };
        let before = written();
        // What a kill in the middle of a record would have left.
        let part = ".sparseadv/clips/walk/.b_walk.avi.json.part-1";
        fs::create_dir_all(tree.join(".sparseadv/clips/walk")).expect("a folder");
        fs::write(tree.join(part), "{").expect("a part");
        expect(0, &convert(&data.set(), &tree, &[]));
        assert_eq!(written(), before, "converted twice");
        assert_same(&tree, data.undisturbed());
    });
}

#[test]
fn a_crash_takes_one_clip_along() {
    guarded(300, || {
        let data = data();
        let tree = data.dir.path().join("crashed");
        let mut process = start(&data.set(), &tree, &[]);
        until_a_record(&mut process, &tree);
        let worker = children(process.id())[0];
        let kill = format!("kill -9 {worker}");
        let killed = Command::new("sh").args(["-c", &kill]).status();
        assert!(killed.expect("a shell").success());
        assert_eq!(process.wait().expect("an end").code(), Some(2));
        let rows = clip_rows(&tree);
        let skipped: Vec<_> = rows.iter().filter(|r| r["status"] == "skipped").collect();
        assert_eq!((rows.len(), skipped.len()), (CLIPS.len(), 1), "{rows:?}");
        let reason = &skipped[0]["reason"];
        assert!(reason.contains("converted it ended (signal: 9"), "{reason}");
        assert!(!tree.join(&skipped[0]["clip"]).exists());
        // It stays so until it is to be tried again.
        expect(2, &convert(&data.set(), &tree, &[]));
        expect(0, &convert(&data.set(), &tree, &["--retry"]));
        assert_same(&tree, data.undisturbed());
    });
}

#[test]
fn two_workers() {
    guarded(300, || {
        let data = data();
        let tree = data.dir.path().join("two");
        expect(0, &convert(&data.set(), &tree, &["--workers", "2"]));
        assert_same(&tree, data.undisturbed());
    });
}

#[test]
fn parts_in_one_folder_at_a_time() {
    guarded(300, || {
        let data = data();
        let tree = data.dir.path().join("parts");
        let parts = ["1/2", "2/2"].map(|i| start(&data.set(), &tree, &["--shard", i]));
        for mut part in parts {
            assert_eq!(part.wait().expect("an end").code(), Some(0));
        }
        assert_same(&tree, data.undisturbed());
        for i in 1..=2 {
            assert!(tree.join(format!("manifest.{i}-of-2.jsonl")).exists());
        }
    });
}

#[test]
fn parts_in_two_folders_put_together() {
    guarded(300, || {
        let data = data();
        let [one, two, whole] = ["one", "other", "whole"].map(|name| data.dir.path().join(name));
        for (shard, tree) in [("1/2", &one), ("2/2", &two)] {
            expect(0, &convert(&data.set(), tree, &["--shard", shard]));
            assert_eq!(records(tree), CLIPS.len() / 2);
            assert!(!tree.join("manifest.jsonl").exists(), "it is not whole");
            copy_tree(tree, &whole);
        }
        expect(0, &merge(&whole));
        assert_same(&whole, data.undisturbed());
        expect(1, &merge(&data.set()));
    });
}

#[test]
fn parts_that_do_not_fit_are_not_merged() {
    guarded(300, || {
        let data = data();
        let [other, tree] = ["foreign", "mixed"].map(|name| data.dir.path().join(name));
        copy_tree(data.undisturbed(), &tree);
        fs::remove_file(tree.join("walk/b_walk.avi")).expect("a video");
        refused(&merge(&tree), "for 1 of 4: walk/b_walk.avi");

        expect(0, &convert(&data.set(), &tree, &[]));
        expect(0, &merge(&tree));
        let seed = ["--shard", "1/2", "--seed", "1"];
        expect(0, &convert(&data.set(), &other, &seed));
        fs::remove_file(other.join(".sparseadv/settings.json")).expect("settings");
        copy_tree(&other, &tree);
        refused(&merge(&tree), "jack/a_jack.avi was made with others");
        // What the other settings made is not taken for this tree's.
        expect(0, &convert(&data.set(), &tree, &[]));
        assert_same(&tree, data.undisturbed());
    });
}

/// Fifty thousand iterations without an end to them: far longer than the limit on any machine.
#[test]
fn a_clip_that_takes_too_long_is_given_up() {
    guarded(300, || {
        let data = data();
        let tree = data.dir.path().join("slow");
        let mut options = vec!["--properties", "max-iterations=50000 patience=0"];
        options.extend(["--time-limit", "1", "--workers", "2"]);
        let output = convert(&data.set(), &tree, &options);
        expect(2, &output);
        for row in clip_rows(&tree) {
            let (status, reason) = (&row["status"], &row["reason"]);
            assert_eq!(status, "skipped", "{row:?}");
            assert!(reason.contains("longer than the 1 s allowed"), "{reason}");
        }
        let left = files(&tree);
        assert!(!left.iter().any(|name| name.contains("avi.part")), "{left:?}");
    });
}

#[test]
fn damaged_videos_are_skipped() {
    guarded(300, || {
        let data = data();
        let [set, tree] = ["ill", "healed"].map(|name| data.dir.path().join(name));
        encode(&frames("walk")[..8], &set.join("walk/short.avi"));
        let healthy = fs::read(data.clip("walk/a_walk.avi")).expect("a clip");
        let noise: Vec<u8> = (0..5000u32).map(|i| ((i * i * 31) >> 7) as u8).collect();
        for (name, bytes) in
            [("cut", &healthy[..healthy.len() / 2]), ("empty", &[]), ("healthy", &healthy), ("junk", &noise)]
        {
            fs::write(set.join(format!("walk/{name}.avi")), bytes).expect("a clip");
        }
        let output = convert(&set, &tree, &[]);
        expect(2, &output);
        let reasons: BTreeMap<String, String> =
            clip_rows(&tree).into_iter().map(|row| (row["clip"].clone(), row["reason"].clone())).collect();
        let cut = format!("the file is cut off: expected {} bytes, found {}", healthy.len(), healthy.len() / 2);
        let expected = [
            ("cut", cut.as_str()),
            ("empty", "the file is empty"),
            ("short", "expected at least 16 frames, found 8"),
            ("junk", "type of stream"),
        ];
        for (name, reason) in expected {
            let found = &reasons[&format!("walk/{name}.avi")];
            assert!(found.contains(reason), "{name}: {found}");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains(found), "{said}");
        }
        assert_eq!(converted(&tree), ["walk/healthy.avi"]);
        let kept = product(&tree).into_keys();
        let kept: Vec<String> = kept.filter(|n| !n.starts_with("manifest")).collect();
        assert_eq!(kept, ["walk/healthy.avi"]);
    });
}

#[test]
fn other_settings_are_refused() {
    guarded(300, || {
        let data = data();
        let tree = data.dir.path().join("settings");
        copy_tree(data.undisturbed(), &tree);
        for (option, value, name) in [
            ("--seed", "1", "seed"),
            ("--properties", "max-iterations=3", "properties"),
            ("--min-frames", "20", "min_frames"),
            ("--encoder", "x264enc tune=zerolatency", "encoder"),
            ("--threads", "2", "threads"),
        ] {
            let output = convert(&data.set(), &tree, &[option, value]);
            refused(&output, &format!("begun with {name} "));
            refused(&output, value);
        }
        assert_same(&tree, data.undisturbed());
        assert_eq!(files(&tree).len(), files(data.undisturbed()).len(), "something new");
    });
}

/// The parser's own status of a wrong call would say that clips were skipped: a cluster's job would count as done.
#[test]
fn wrong_calls_are_failures() {
    guarded(300, || {
        let data = data();
        let tree = data.dir.path().join("wrong");
        for wrong in [
            ["--shard", "3/2"],
            ["--shard", "0/2"],
            ["--workers", "0"],
            ["--encoder", "nosuchenc"],
            ["--properties", "nosuch=1"],
            ["--nosuch", ""],
        ] {
            let output = convert(&data.set(), &tree, &wrong);
            expect(1, &output);
            assert!(!output.stderr.is_empty(), "{wrong:?}");
            // So the right call after it is not refused.
            assert!(!tree.exists(), "{wrong:?} began a tree");
        }
    });
}

#[test]
fn every_command_shows_an_example() {
    for name in ["attack", "convert", "evaluate", "merge", "reproduce", "report", "inspect"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gst-sparseadv"));
        let output = command.args([name, "--help"]).output().expect("help");
        expect(0, &output);
        let text = String::from_utf8_lossy(&output.stdout);
        let (_, example) = text.split_once("Example").unwrap_or_default();
        assert!(example.contains(&format!("gst-sparseadv {name} ")), "{text}");
    }
}
