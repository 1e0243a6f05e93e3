// SPDX-License-Identifier: MPL-2.0

//! Made-up trees in the three layouts.

use std::fs;
use std::path::Path;

use super::*;

mod accounts;
mod spelling;

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn options() -> Options {
    Options { layout: None, split: 1, splits: None, test_groups: Vec::new() }
}

/// `file:label:held out` of every clip.
fn summary(root: &Path, options: &Options) -> Vec<String> {
    let mut lines: Vec<String> = open(root, options)
        .unwrap()
        .clips
        .iter()
        .map(|clip| {
            let file = clip.path.file_name().unwrap().to_string_lossy();
            format!("{file}:{}:{}", clip.label, clip.held_out)
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn ucf101_lists_beside_the_clips() {
    let root = tree(&[
        ("UCF-101/Archery/v_Archery_g01_c01.avi", ""),
        ("UCF-101/Archery/v_Archery_g08_c01.avi", ""),
        ("UCF-101/Bowling/v_Bowling_g08_c02.avi", ""),
        ("ucfTrainTestlist/classInd.txt", "1 Archery\r\n2 Bowling\r\n"),
        (
            "ucfTrainTestlist/trainlist01.txt",
            "Archery/v_Archery_g08_c01.avi 1\r\nBowling/v_Bowling_g08_c02.avi 2\r\nBowling/v_Bowling_g09_c01.avi 2\r\n",
        ),
        ("ucfTrainTestlist/testlist01.txt", "Archery/v_Archery_g01_c01.avi\r\n"),
    ]);
    let data = root.path().join("UCF-101");
    let set = open(&data, &options()).unwrap();
    assert_eq!(set.layout, Layout::Ucf101);
    assert_eq!(set.labels, ["Archery", "Bowling"]);
    assert_eq!(set.missing.len(), 1);
    assert_eq!(
        summary(&data, &options()),
        ["v_Archery_g01_c01.avi:0:true", "v_Archery_g08_c01.avi:0:false", "v_Bowling_g08_c02.avi:1:false",]
    );
}

#[test]
fn hmdb51_marks_train_test_and_unused() {
    let run = "The_Film_run_f_cm_np1_fr_med_";
    let list = format!("{run}0.avi 1 \n{run}1.avi 2 \n{run}2.avi 0 \n");
    let clip = |n: u32| format!("hmdb51_org/run/{run}{n}.avi");
    let hair = "Other_brush_hair_u_nm_np1_ba_goo_0.avi";
    let root = tree(&[
        (&clip(0), ""),
        (&clip(1), ""),
        (&clip(2), ""),
        (&format!("hmdb51_org/brush_hair/{hair}"), ""),
        ("testTrainMulti_7030_splits/run_test_split1.txt", &list),
        ("testTrainMulti_7030_splits/brush_hair_test_split1.txt", &format!("{hair} 1 \n")),
    ]);
    let data = root.path().join("hmdb51_org");
    let set = open(&data, &options()).unwrap();
    assert_eq!(set.layout, Layout::Hmdb51);
    assert_eq!(set.labels, ["brush_hair", "run"]);
    assert_eq!(
        summary(&data, &options()),
        [format!("{hair}:0:false"), format!("{run}0.avi:1:false"), format!("{run}1.avi:1:true"),]
    );
}

#[test]
fn folders_keep_groups_apart() {
    let files: Vec<String> = ["bend", "walk"]
        .iter()
        .flat_map(|class| ["ann", "bob", "cy", "dee"].map(|actor| format!("{class}/{actor}_{class}.avi")))
        .collect();
    let mut files: Vec<(&str, &str)> = files.iter().map(|f| (f.as_str(), "")).collect();
    files.extend([("walk/ann_walk2.avi", ""), ("walk/notes.txt", "")]);
    let root = tree(&files);
    let held_out = |options: &Options| -> Vec<String> {
        summary(root.path(), options).into_iter().filter(|line| line.ends_with("true")).collect()
    };
    // Of four groups, 30 % is those that start in the first three tenths: ann and bob.
    assert_eq!(
        held_out(&options()),
        [
            "ann_bend.avi:0:true",
            "ann_walk.avi:1:true",
            "ann_walk2.avi:1:true",
            "bob_bend.avi:0:true",
            "bob_walk.avi:1:true",
        ]
    );
    let mut named = options();
    named.test_groups = vec!["dee".into()];
    assert_eq!(held_out(&named), ["dee_bend.avi:0:true", "dee_walk.avi:1:true"]);
    named.test_groups = vec!["eve".into()];
    let error = open(root.path(), &named).unwrap_err().to_string();
    assert!(error.contains("\"eve\"") && error.contains("ann, bob"), "{error}");
}

#[test]
fn groups_of_the_three_namings() {
    let cases = [
        ("v_Walk_g07_c02.avi", "walk", "g07"),
        ("daria_bend.avi", "bend", "daria"),
        ("lena_walk2.avi", "walk", "lena"),
        ("person01_boxing_d1_uncomp.avi", "boxing", "person01"),
        ("A_Film_brush_hair_u_nm_np1_ba_goo_0.avi", "brush_hair", "A_Film"),
        ("A_Film_run_f_cm_np1_fr_med_0.avi", "jog", "A_Film_run"),
        ("clip.mp4", "walk", "clip"),
    ];
    for (file, class, group) in cases {
        assert_eq!(group_of(file, class), group, "{file}");
    }
}

#[test]
fn lists_that_are_not_there_are_named() {
    let root = tree(&[("walk/ann_walk.avi", "")]);
    let mut wanted = options();
    wanted.layout = Some(Layout::Ucf101);
    let error = open(root.path(), &wanted).unwrap_err().to_string();
    assert!(error.contains("trainlist01.txt"), "{error}");
    // One group cannot be on both sides.
    let data = open(root.path(), &options()).unwrap();
    let error = data.require_both_sides().unwrap_err().to_string();
    assert!(error.contains("training clips"), "{error}");
}
