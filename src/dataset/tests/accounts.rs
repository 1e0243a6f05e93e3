// SPDX-License-Identifier: MPL-2.0

//! Whatever lies in a set or is named by its lists is a clip, missing with the reason, or passed over with the reason.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use super::*;

/// `name: reason` of what is missing.
fn missing(set: &DataSet) -> Vec<String> {
    let line = |m: &Missing| format!("{}: {}", m.name, m.reason);
    set.missing.iter().map(line).collect()
}

fn note_of(set: &DataSet, words: &[&str]) {
    let said = |note: &String| words.iter().all(|word| note.contains(word));
    assert!(set.notes.iter().any(said), "{words:?}: {:?}", set.notes);
}

fn ucf(files: &[(&str, &str)], train: &str, test: &str) -> tempfile::TempDir {
    let root = tree(files);
    let lists = root.path().join("ucfTrainTestlist");
    fs::create_dir_all(&lists).unwrap();
    for (name, text) in
        [("classInd.txt", "1 Archery\n2 Bowling\n"), ("trainlist01.txt", train), ("testlist01.txt", test)]
    {
        fs::write(lists.join(name), text).unwrap();
    }
    root
}

#[test]
fn one_clip_that_is_not_there_does_not_stop_the_others() {
    let root = ucf(
        &[("Archery/v_Archery_g01_c01.avi", ""), ("Bowling/b.avi/inside", "")],
        "Archery/v_Archery_g02_c01.avi 1\nArchary/a.avi 1\nBowling/b.avi 2\n",
        "Archery/v_Archery_g01_c01.avi\nArchery/../../x.avi\nNowhere/x.avi\n",
    );
    symlink("nothing", root.path().join("Archery/link.avi")).unwrap();
    let list = root.path().join("ucfTrainTestlist/testlist01.txt");
    let text = fs::read_to_string(&list).unwrap() + "Archery/link.avi\n";
    fs::write(&list, text).unwrap();
    let set = open(root.path(), &options()).unwrap();
    assert_eq!(summary(root.path(), &options()), ["v_Archery_g01_c01.avi:0:true"]);
    let lost = missing(&set);
    assert_eq!(lost.len(), 6, "{lost:?}");
    for (line, words) in lost.iter().zip([
        &["Archery/v_Archery_g02_c01.avi", "no such file", "nearest name is v_Archery_g01_c01.avi"][..],
        &["Archary/a.avi", "none of classInd.txt", "nearest is Archery"],
        &["Bowling/b.avi", "folder"],
        &["x.avi", "leads elsewhere"],
        &["Nowhere/x.avi", "\"Nowhere\"", "none of classInd.txt"],
        &["Archery/link.avi", "a link to nothing"],
    ]) {
        assert!(words.iter().all(|word| line.contains(word)), "{line}: {words:?}");
    }
    let sides: Vec<_> = set.missing.iter().map(|m| m.held_out).collect();
    let [train, test] = [Some(false), Some(true)];
    assert_eq!(sides, [train, train, train, test, test, test]);
}

#[test]
fn names_that_are_not_utf8_are_clips() {
    let root = tree(&[("A/a.avi", "")]);
    let name = OsStr::from_bytes(b"caf\xe9.avi");
    fs::write(root.path().join("A").join(name), "").unwrap();
    let set = open(root.path(), &options()).unwrap();
    let clip = &set.clips[1];
    assert_eq!(clip.name, "A/caf%E9.avi");
    assert!(clip.path.is_file(), "{:?}", clip.path);
    // A list that is in Latin-1 too.
    let lists = root.path().join("splits");
    fs::create_dir(&lists).unwrap();
    fs::write(lists.join("A_test_split1.txt"), b"caf\xe9.avi 2\na.avi 1\n").unwrap();
    let set = open(root.path(), &options()).unwrap();
    assert_eq!(missing(&set), [""; 0]);
    assert!(set.clips[0].held_out && set.clips[0].path.ends_with(name));
}

#[test]
fn what_is_in_class_folders_and_no_clip_is_named() {
    let root = tree(&[
        ("walk/a.avi", ""),
        ("walk/B.MTS", ""),
        ("walk/._a.avi", "\0\x05\x16\x07"),
        ("walk/.hidden.avi", ""),
        ("walk/notes.txt", ""),
        ("walk/odd.dat", "RIFF....AVI LIST"),
        ("walk/deep/c.avi", ""),
        ("__MACOSX/walk/._a.avi", ""),
        (".git/config", ""),
        ("empty/Thumbs.db", ""),
        ("loose.avi", ""),
    ]);
    symlink("nothing", root.path().join("walk/broken.avi")).unwrap();
    symlink("a.avi", root.path().join("walk/same.avi")).unwrap();
    symlink("loop.avi", root.path().join("walk/loop.avi")).unwrap();
    symlink(".", root.path().join("walk/again")).unwrap();
    let set = open(root.path(), &options()).unwrap();
    let clips: Vec<&str> = set.clips.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(clips, ["walk/B.MTS", "walk/a.avi", "walk/same.avi"]);
    assert_eq!(set.labels, ["walk"]);
    let lost = missing(&set);
    assert_eq!(lost.len(), 2, "{lost:?}");
    assert!(lost[0].starts_with("walk/broken.avi: a link to nothing, which leads nowhere"));
    assert!(lost[1].starts_with("walk/loop.avi: "), "{lost:?}");
    let passed: Vec<(&str, &str)> = set.passed_over.iter().map(|p| (p.name.as_str(), p.reason.as_str())).collect();
    let expected = [
        ("loose.avi", "no class folder"),
        ("empty", "without a video"),
        ("walk/.hidden.avi", "begins with a dot"),
        ("walk/again", "a folder in a class folder"),
        ("walk/deep", "a folder in a class folder"),
        ("walk/notes.txt", "no video's"),
        ("walk/odd.dat", "looks like AVI"),
    ];
    assert_eq!(passed.len(), expected.len(), "{passed:?}");
    for ((name, reason), (expected, words)) in passed.iter().zip(expected) {
        assert!(*name == expected && reason.contains(words), "{name}: {reason}");
    }
    note_of(&set, &["passed over", "walk/notes.txt"]);
    note_of(&set, &["walk/same.avi is the file walk/a.avi"]);
}

#[test]
fn what_lists_say_twice_or_wrongly_is_said() {
    let root = ucf(
        &[
            ("Archery/a.avi", ""),
            ("Archery/b.avi", ""),
            ("Archery/c.mp4", ""),
            ("Archery/free.avi", ""),
            ("bowling/d.avi", ""),
        ],
        "Archery/a.avi 1\nArchery/a.avi 1\nArchery/b.avi 2\nArchery/c.avi 1\n",
        "Archery/a.avi\nBowling/d.avi\n",
    );
    let set = open(root.path(), &options()).unwrap();
    assert_eq!(missing(&set), [""; 0]);
    assert_eq!(set.clips.len(), 5, "{:?}", set.clips);
    note_of(&set, &["Archery/a.avi is in one list more than once"]);
    note_of(&set, &["Archery/a.avi is on both sides"]);
    note_of(&set, &["number does not fit", "trainlist01.txt, line 3"]);
    note_of(&set, &["another extension", "Archery/c.mp4 for c.avi"]);
    note_of(&set, &["class Bowling of the lists is the folder bowling"]);
    note_of(&set, &["Archery/free.avi is in no list"]);
    assert!(set.sides.contains("split 1 in"), "{}", set.sides);
}

#[test]
fn an_ambiguous_spelling_names_both() {
    let root = ucf(
        &[("archery/a.avi", ""), ("ARCHERY/a.avi", ""), ("Bowling/b.avi", "")],
        "Archery/a.avi 1\n",
        "Bowling/b.avi\n",
    );
    let set = open(root.path(), &options()).unwrap();
    let lost = missing(&set);
    assert!(lost[0].contains("any of the folders ARCHERY, archery"), "{lost:?}");
    assert_eq!(summary(root.path(), &options()), ["b.avi:1:true"]);
}

#[test]
fn lists_are_found_from_inside_and_one_folder_deeper() {
    let clips = [("UCF-101/A/v_A_g01_c01.avi", ""), ("UCF-101/A/v_A_g09_c01.avi", "")];
    // By groups, g01 would be the test side.
    let lists = [
        ("classInd.txt", "1 A\n"),
        ("trainlist01.txt", "A/v_A_g01_c01.avi 1\n"),
        ("testlist01.txt", "A/v_A_g09_c01.avi\n"),
    ];
    let test = |root: &Path| {
        let set = open(root, &options()).unwrap();
        let held_out: Vec<String> = set.clips.iter().filter(|c| c.held_out).map(|c| c.name.clone()).collect();
        (held_out, set)
    };
    for folder in ["ucfTrainTestlist", "Splits-RecognitionTask/ucfTrainTestlist", "UCF-101/lists", "anything", "."] {
        let root = tree(&clips);
        for (name, text) in lists {
            let path = root.path().join(folder).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let data = root.path().join("UCF-101");
        let linked = root.path().join("link");
        symlink(&data, &linked).unwrap();
        for at in [data.clone(), data.join("A/.."), linked] {
            let (held_out, set) = test(&at);
            assert_eq!(held_out, ["A/v_A_g09_c01.avi"], "{folder} from {at:?}: {:?}", set.notes);
        }
        // Of another set beside it that shares the class.
        fs::create_dir_all(root.path().join("other/A")).unwrap();
        fs::write(root.path().join("other/A/ann_A.avi"), "").unwrap();
        let (_, set) = test(&root.path().join("other"));
        assert_eq!(set.layout, Layout::Folders);
    }
}

#[test]
fn a_set_whose_lists_are_not_found_says_so() {
    let root = tree(&[("A/v_A_g01_c01.avi", ""), ("A/v_A_g09_c01.avi", "")]);
    let set = open(root.path(), &options()).unwrap();
    assert!(
        set.sides.contains("no lists of split 1 were found in or beside") && set.sides.contains("30 % of the 2 groups"),
        "{}",
        set.sides
    );
    let lists = root.path().join("ucfTrainTestlist");
    fs::create_dir(&lists).unwrap();
    for (name, text) in [("classInd.txt", "1 A\n"), ("trainlist02.txt", "A/v_A_g01_c01.avi 1\n")] {
        fs::write(lists.join(name), text).unwrap();
    }
    let error = open(root.path(), &options()).unwrap_err().to_string();
    assert!(error.contains("only those of other splits"), "{error}");
    let mut second = options();
    second.split = 2;
    let set = open(root.path(), &second).unwrap();
    note_of(&set, &["no testlist02.txt"]);
    assert_eq!(set.clips.len(), 1);
}

#[test]
fn two_folders_of_lists_are_both_named() {
    let root = ucf(&[("Archery/a.avi", "")], "Archery/a.avi 1\n", "");
    let other = root.path().join("splits");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("testlist01.txt"), "Archery/a.avi\n").unwrap();
    let set = open(root.path(), &options()).unwrap();
    note_of(&set, &["ucfTrainTestlist and in", "splits", "are used"]);
    assert!(!set.clips[0].held_out);
}

#[test]
fn videos_elsewhere_are_pointed_at() {
    for (file, words) in [
        ("train/walk/a.avi", &["one level deeper", "train/walk/a.avi", "/train"][..]),
        ("a.avi", &["in the folder itself", "a.avi", "convert-folder.sh"]),
        ("walk/a.dat", &["walk/a.dat", "extension"]),
        ("walk/.keep", &["found none"]),
    ] {
        let root = tree(&[(file, "")]);
        let error = open(root.path(), &options()).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{file}: {error}");
    }
}
