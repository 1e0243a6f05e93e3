// SPDX-License-Identifier: MPL-2.0

//! `reproduce --systems black-box`: every system on every clip, within its queries, and the pages against the lines.

use std::collections::HashSet;
use std::fs;

use super::common::guarded;
use super::{EXAMPLES, expect, lines, number, reproduce, text};

const QUERIES: u32 = 80;
const SYSTEMS: [&str; 6] = ["squares", "v-bad", "v-bad-sparse", "wei", "wang", "stde"];

#[test]
fn systems_without_a_gradient() {
    guarded(300, || {
        let root = tempfile::tempdir().expect("a temporary directory");
        for class in ["jack", "walk"] {
            let folder = root.path().join("set").join(class);
            fs::create_dir_all(&folder).expect("a folder");
            let from = format!("{EXAMPLES}/figures-{class}.mp4");
            // The second is a training clip, which attacks begin with.
            for group in ["figures", "others"] {
                fs::copy(&from, folder.join(format!("{group}_{class}.mp4"))).expect("a clip");
            }
        }
        let out = root.path().join("out");
        let queries = QUERIES.to_string();
        let more = ["--systems", "black-box", "--queries", &queries];
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
        let other = reproduce(root.path(), &out, &["--systems", "black-box", "--queries", "90"]);
        assert_eq!(other.status.code(), Some(1), "{other:?}");
        assert!(String::from_utf8_lossy(&other.stderr).contains("queries"), "{other:?}");
    });
}
