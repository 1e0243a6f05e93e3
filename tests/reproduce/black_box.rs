// SPDX-License-Identifier: MPL-2.0

//! `reproduce --systems black-box`: every system on every clip, within its queries, and the pages against the lines.

use std::collections::HashSet;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::common::guarded;
use super::{expect, lines, number, reproduce, set, text};

const QUERIES: u32 = 80;
const SYSTEMS: [&str; 6] = ["squares", "v-bad", "v-bad-sparse", "wei", "wang", "stde"];

#[test]
fn systems_without_a_gradient() {
    guarded(300, || {
        let root = tempfile::tempdir().expect("a temporary directory");
        // Attacks begin with the clips of the others, which are training clips.
        set(root.path(), &["figures", "others"]);
        let out = root.path().join("out");
        let queries = QUERIES.to_string();
        let more = ["--systems", "black-box", "--queries", &queries, "--minutes", "0"];
        let done = reproduce(root.path(), &out, &more);
        expect(0, &done);
        let attacks = lines(&out, "attack");
        let mut found = HashSet::new();
        for line in &attacks {
            let name = line["system"]["rival"].as_str().expect("a name");
            let told = ["goal", "clip"].map(|field| line[field].as_str().expect("a text"));
            assert!(found.insert([name, told[0], told[1]]), "measured twice: {line}");
            assert!(number(line, "queries") <= f64::from(QUERIES), "{line}");
            assert_eq!((number(line, "backwards"), number(line, "forwards")), (0.0, number(line, "queries")), "{line}");
            // A success is one of the bytes that were pushed.
            assert_eq!(line["success"], line["verified"], "{line}");
            assert_eq!(line["success"] == true, !line["queries_first_success"].is_null(), "{line}");
            let begins =
                ["wei", "wang", "stde"].contains(&name) || (told[0] == "targeted" && name.starts_with("v-bad"));
            assert_eq!(number(line, "queries_start") > 0.0, begins, "{line}");
        }
        let expected =
            |system| ["jack", "walk"].map(|class| format!("{class}/figures_{class}.mp4")).map(|clip| (system, clip));
        for (system, clip) in SYSTEMS.into_iter().flat_map(expected) {
            assert!(found.contains(&[system, "untargeted", &clip]), "{system} {clip}");
        }
        // There are no training clips of other targets to begin with.
        let targets: HashSet<&str> = attacks.iter().filter_map(|line| line["target"].as_str()).collect();
        let passed_over = String::from_utf8_lossy(&done.stderr).matches("passed over").count();
        assert_eq!(found.len(), SYSTEMS.len() * 4 - passed_over, "{targets:?}");
        assert_eq!(passed_over > 0, targets.iter().any(|target| !["jack", "walk"].contains(target)), "{targets:?}");
        let fooled = attacks.iter().filter(|line| line["success"] == true).count();
        assert!(fooled >= 6, "{fooled} of {}", attacks.len());

        let page = text(out.join("report.md"));
        for words in
            ["Systems without the model's gradient", "Ours, squares", "Wei 2020", "Fooling rate against queries"]
        {
            assert!(page.contains(words), "{words}");
        }
        let figure =
            fs::read_dir(&out).expect("the folder").filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        assert!(figure.into_iter().any(|name| name.starts_with("systems-") && name.ends_with(".svg")));

        // Other numbers of queries do not belong into one table.
        let other = reproduce(root.path(), &out, &["--systems", "black-box", "--queries", "90", "--minutes", "0"]);
        assert_eq!(other.status.code(), Some(1), "{other:?}");
        assert!(String::from_utf8_lossy(&other.stderr).contains("queries"), "{other:?}");
    });
}

/// What ours saves is counted at equal size, and transfer over windows that the judge is right about.
#[test]
fn tables_by_hand() {
    guarded(60, || {
        let out = tempfile::tempdir().expect("a temporary directory");
        let accuracy = |model: &str, clip: &str, label: &str| json!({ "kind": "accuracy", "dataset": "D", "model": model, "clip": clip, "class": "a", "label": label });
        let attack = |system: Value, clip: &str, queries: &[u32], map: &[f64], [right, fooled]: [bool; 2]| {
            json!({
                "kind": "attack", "dataset": "D", "model": "own", "goal": "untargeted", "system": system, "clip": clip, "class": "a",
                "target": null, "success": true, "verified": true, "forwards": 50, "backwards": 0, "queries": 50, "codec_runs": 0,
                "queries_first_success": queries[0], "iterations_first_success": 1, "iterations": 9, "perturbed_frames": 1,
                "sparse_rate": 0.5, "trail_queries": queries, "trail_map": map, "judged": { "other": { "clean": "", "label": "", "right": right, "fooled": fooled } },
                "map": map[map.len() - 1], "seconds": 1.0,
            })
        };
        let (ours, stde) = (json!({ "rival": "squares" }), json!({ "rival": "stde" }));
        let lines = [
            accuracy("own", "a/1", "a"),
            accuracy("own", "a/2", "a"),
            // Ours is as small as the other's result after 20 queries, where that took 30.
            attack(ours.clone(), "a/1", &[10, 20, 40], &[4.0, 2.0, 1.0], [true, true]),
            attack(stde.clone(), "a/1", &[5, 30], &[6.0, 2.0], [true, false]),
            // And never that small on the second, about which the judge is wrong anyway.
            attack(ours, "a/2", &[10, 20], &[4.0, 3.0], [false, true]),
            attack(stde, "a/2", &[5, 30], &[6.0, 1.0], [false, true]),
        ];
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(out.path().join("results.jsonl"), lines).expect("results");
        let mut command = Command::new(env!("CARGO_BIN_EXE_gst-sparseadv"));
        expect(0, &command.arg("report").arg(out.path()).output().expect("report"));
        let row = |table: &str, words: &[&str]| {
            let table = text(out.path().join(format!("{table}.csv")));
            let row = table.lines().find(|line| words.iter().all(|word| line.contains(word)));
            row.unwrap_or_else(|| panic!("no {words:?} in {table}")).to_string()
        };
        // Of 30 and 30 queries it takes 20, and all of the 50 that it asked.
        assert!(row("saved", &["STDE"]).contains(r#"1 of 2 (50 %),"-17 ["#), "{}", row("saved", &["STDE"]));
        let transfer = |system: &str| row("transfer", &["own,other,untargeted", system]);
        assert!(transfer("Ours, squares").ends_with("2 of 2 (100 %),1 of 1 (100 %)"), "{}", transfer("Ours, squares"));
        assert!(transfer("STDE").ends_with("2 of 2 (100 %),0 of 1 (0 %)"), "{}", transfer("STDE"));
    });
}
