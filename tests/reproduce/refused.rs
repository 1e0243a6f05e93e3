// SPDX-License-Identifier: MPL-2.0

//! Results and folders that `report` refuses, and what it leaves as it was.

use std::fs;
use std::process::Command;

use crate::common::guarded;
use crate::text;

#[test]
fn results_that_cannot_be_read_are_named_and_nothing_is_written() {
    guarded(60, || {
        let root = tempfile::tempdir().expect("a temporary directory");
        let out = root.path().join("out");
        let report = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_gst-sparseadv"));
            let output = command.arg("report").arg(&out).output().expect("report");
            (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        assert!(matches!(report(), (Some(1), said) if said.contains("found no such file")));
        fs::create_dir(&out).expect("a folder");
        let accuracy = r#"{"kind":"accuracy","dataset":"D","model":"M","clip":"a/b","class":"a","label":"a"}"#;
        for (lines, words) in [
            (format!("{accuracy}\n{{\"kind\":\n{accuracy}\n"), "line 2 of"),
            (format!("{accuracy}\n{{\"kind\":\"other\"}}\n"), "line 2 of"),
            ("my notes".to_string(), "last line is none"),
            (
                r#"{"kind":"run","command":"","results_format":99,"seed":0,"format":"","properties":"","iterations":[1,1],"plugin":"","libtorch":"","gstreamer":""}"#
                    .to_string()
                    + "\n",
                "found format 99",
            ),
        ] {
            fs::write(out.join("results.jsonl"), &lines).expect("results");
            let (code, said) = report();
            assert!(code == Some(1) && said.contains(words), "{said}");
            assert_eq!(fs::read_dir(&out).expect("a folder").count(), 1);
            assert_eq!(text(out.join("results.jsonl")), lines);
        }
        // A line that a kill has cut off is nothing to speak of; a table of somebody else's is.
        fs::write(out.join("results.jsonl"), format!("{accuracy}\n{{\"kind\":\"acc")).expect("results");
        fs::write(out.join("table-1.csv"), "mine\n").expect("a table");
        let (code, said) = report();
        assert!(code == Some(1) && said.contains("table-1.csv to be a page"), "{said}");
        assert_eq!(text(out.join("table-1.csv")), "mine\n");
        assert_eq!(fs::read_dir(&out).expect("a folder").count(), 2);
        fs::remove_file(out.join("table-1.csv")).expect("a table");
        for _ in 0..2 {
            assert_eq!(report().0, Some(0));
        }
        assert!(text(out.join("table-1.csv")).contains("1 of 1"));
    });
}

#[test]
fn results_do_not_go_into_a_data_set() {
    guarded(60, || {
        let root = tempfile::tempdir().expect("a temporary directory");
        let set = root.path().join("set");
        fs::create_dir_all(set.join("walk")).expect("a folder");
        fs::write(set.join("walk/a_walk.avi"), "no video").expect("a file");
        let model = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/figures-c3d.pt");
        for out in ["set", "set/walk", "set/new/deeper"] {
            let output = Command::new(env!("CARGO_BIN_EXE_gst-sparseadv"))
                .args(["reproduce", "--model", model, "--data"])
                .arg(format!("S={}", set.display()))
                .arg("--out")
                .arg(root.path().join(out))
                .output()
                .expect("reproduce");
            assert_eq!(output.status.code(), Some(1));
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("outside the data set"), "{said}");
            assert_eq!(fs::read_dir(&set).expect("the set").count(), 1);
        }
    });
}
