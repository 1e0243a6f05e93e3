// SPDX-License-Identifier: MPL-2.0

//! Each clip that is named is converted, skipped or missing with the reason; nothing is written that the conversion did
//! not make.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::common::guarded;
use crate::data::{Data, clip_rows, convert, converted, data, expect, files, refused};

/// The reports do not matter here.
const QUICK: [&str; 2] = ["--properties", "max-iterations=1"];

fn quick(source: &Path, tree: &Path, more: &[&str]) -> std::process::Output {
    convert(source, tree, &[&QUICK[..], more].concat())
}

fn copy(data: &Data, to: &Path) {
    fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    fs::copy(data.clip("walk/a_walk.avi"), to).expect("a clip");
}

fn status(tree: &Path) -> Vec<(String, String, String)> {
    let rows = clip_rows(tree).into_iter();
    rows.map(|row| (row["clip"].clone(), row["status"].clone(), row["reason"].clone())).collect()
}

#[test]
fn clips_that_cannot_be_had_are_rows_with_the_reason() {
    guarded(300, || {
        let data = data();
        let [set, tree] = ["named", "named-attacked"].map(|name| data.dir.path().join(name));
        let lists = set.join("ucfTrainTestlist");
        fs::create_dir_all(&lists).expect("a folder");
        copy(&data, &set.join("A/v_A_g01_c01.avi"));
        copy(&data, &set.join("HandStand/v_HandStand_g01_c01.avi"));
        for (name, text) in [
            ("classInd.txt", "1 A\n2 Handstand\n"),
            ("trainlist01.txt", "A/v_A_g05_c01.avi 1\n"),
            ("testlist01.txt", "A/v_A_g01_c01.avi\nA/v_A_g02_c01.avi\nHandstand/v_HandStand_g01_c01.avi\n"),
        ] {
            fs::write(lists.join(name), text).expect("a list");
        }
        let latin = b"Lizenz f\xfcr Forschung: a.avi\n";
        fs::write(lists.join("readme.txt"), latin).expect("a text");
        let output = quick(&set, &tree, &["--side", "test"]);
        expect(2, &output);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("missing A/v_A_g02_c01.avi: there is no such file"), "{said}");
        assert!(said.contains("split 1 in"), "{said}");
        let rows = status(&tree);
        let short: Vec<(&str, &str)> = rows.iter().map(|(c, s, _)| (c.as_str(), s.as_str())).collect();
        assert_eq!(
            short,
            [
                ("A/v_A_g01_c01.avi", "converted"),
                ("A/v_A_g02_c01.avi", "missing"),
                ("HandStand/v_HandStand_g01_c01.avi", "converted"),
            ]
        );
        assert!(rows[1].2.contains("no such file"), "{rows:?}");
        // Lists name the converted files; other texts are the same bytes.
        let copied = |name: &str| fs::read(tree.join("ucfTrainTestlist").join(name)).expect("a copy");
        assert_eq!(copied("readme.txt"), latin);
        let test = String::from_utf8(copied("testlist01.txt")).expect("text");
        assert!(test.contains("HandStand/v_HandStand_g01_c01.avi\n"), "{test}");
        // What turns up is converted, and no longer missing.
        copy(&data, &set.join("A/v_A_g02_c01.avi"));
        expect(0, &quick(&set, &tree, &["--side", "test"]));
        assert!(status(&tree).iter().all(|(_, status, _)| status == "converted"));
    });
}

#[test]
fn unusual_names_are_converted() {
    guarded(300, || {
        let data = data();
        let [set, tree] = ["names", "names-attacked"].map(|name| data.dir.path().join(name));
        let latin = OsStr::from_bytes(b"caf\xe9.avi");
        let long = format!("{}.ts", "x".repeat(252));
        copy(&data, &set.join("walk").join(latin));
        for name in ["a.avi", "a.mp4", "A.avi", &long, "b\nc.avi", "._a.avi"] {
            copy(&data, &set.join("walk").join(name));
        }
        fs::write(set.join("walk/notes.txt"), "").expect("a text");
        symlink("gone", set.join("walk/link.avi")).expect("a link");
        let output = quick(&set, &tree, &[]);
        expect(2, &output);
        let said = String::from_utf8_lossy(&output.stderr);
        for words in ["passed over walk/notes.txt", "missing walk/link.avi: a link to gone"] {
            assert!(said.contains(words), "{said}");
        }
        let mut expected =
            ["walk/A.avi", "walk/a.avi", "walk/a.mp4", "walk/b\nc.avi", "walk/caf%E9.avi", &format!("walk/{long}")]
                .map(String::from);
        expected.sort();
        assert_eq!(converted(&tree), expected);
        let made = files(&tree.join("walk"));
        assert_eq!(made.len(), expected.len(), "{made:?}");
        for name in ["A.avi", "a.avi.avi", "a.mp4.avi", "b\nc.avi", "caf%E9.avi"] {
            assert!(made.iter().any(|made| made == name), "{name}: {made:?}");
        }
    });
}

#[test]
fn what_somebody_else_put_there_stays() {
    guarded(300, || {
        let data = data();
        let tree = data.dir.path().join("taken");
        fs::create_dir_all(tree.join("walk")).expect("a folder");
        fs::write(tree.join("walk/a_walk.avi"), "mine").expect("a file");
        let output = quick(&data.set(), &tree, &[]);
        expect(2, &output);
        assert_eq!(fs::read(tree.join("walk/a_walk.avi")).expect("a file"), b"mine");
        let rows = status(&tree);
        assert_eq!(converted(&tree).len(), 3);
        let reason = &rows.iter().find(|(_, status, _)| status == "skipped").expect("one").2;
        assert!(reason.contains("was not made by this conversion"), "{reason}");
    });
}

#[test]
fn places_where_something_would_be_lost_are_refused() {
    guarded(300, || {
        let data = data();
        let root = data.dir.path().join("places");
        let set = root.join("set");
        copy(&data, &set.join("walk/a.avi"));
        let (link, file) = (root.join("link"), root.join("file"));
        symlink(&set, &link).expect("a link");
        fs::write(&file, "mine").expect("a file");
        let linked = root.join("linked");
        fs::create_dir(&linked).expect("a folder");
        symlink(set.join("walk"), linked.join("walk")).expect("a link");
        let before = files(&root);
        for (destination, words) in [
            (set.clone(), "another folder than the data set's own"),
            (link.clone(), "another folder than the data set's own"),
            (set.join("new/../../set"), "another folder than the data set's own"),
            (set.join("out"), "outside the data set"),
            (link.join("out/deeper"), "outside the data set"),
            (root.clone(), "does not have the data set in it"),
            (file.clone(), "a folder to convert into"),
            (linked.clone(), "leads into the data set"),
        ] {
            refused(&quick(&set, &destination, &[]), words);
            assert_eq!(files(&root), before, "{}", destination.display());
        }
        assert_eq!(fs::read(&file).expect("a file"), b"mine");
    });
}
