// SPDX-License-Identifier: MPL-2.0

//! Lists and folders as different people, systems and programs write them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::super::names::{container, is_litter, match_file};
use super::super::text::{lines, path_in};
use super::*;

/// A set of two classes with a clip on either side, and its three lists as the function makes them of plain text.
fn listed(write: impl Fn(&str) -> Vec<u8>) -> tempfile::TempDir {
    let root = tree(&[
        ("Archery/v_Archery_g01_c01.avi", ""),
        ("Archery/v_Archery_g08_c01.avi", ""),
        ("HandstandPushups/v_HandStandPushups_g01_c01.avi", ""),
        ("HandstandPushups/v_HandStandPushups_g08_c01.avi", ""),
    ]);
    let lists = root.path().join("ucfTrainTestlist");
    fs::create_dir(&lists).unwrap();
    let path = |class: &str, g: u32| format!("{class}/v_{class}_g{g:02}_c01.avi");
    let hand = "HandStandPushups";
    for (name, text) in [
        ("classInd.txt", "1 Archery\n2 HandstandPushups\n".to_string()),
        ("trainlist01.txt", format!("{} 1\n{} 2\n", path("Archery", 8), path(hand, 8))),
        ("testlist01.txt", format!("{}\n{}\n", path("Archery", 1), path(hand, 1))),
    ] {
        fs::write(lists.join(name), write(&text)).unwrap();
    }
    root
}

fn all_found(root: &Path, what: &str) {
    let set = open(root, &options()).unwrap_or_else(|e| panic!("{what}: {e:#}"));
    assert_eq!(set.missing, [], "{what}");
    assert_eq!(set.labels, ["Archery", "HandstandPushups"], "{what}");
    assert_eq!(
        summary(root, &options()),
        [
            "v_Archery_g01_c01.avi:0:true",
            "v_Archery_g08_c01.avi:0:false",
            "v_HandStandPushups_g01_c01.avi:1:true",
            "v_HandStandPushups_g08_c01.avi:1:false",
        ],
        "{what}"
    );
}

#[test]
fn lists_are_read_as_any_system_writes_them() {
    let utf16 = |text: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        format!("\u{feff}{text}").encode_utf16().flat_map(bytes).collect()
    };
    type Way = Box<dyn Fn(&str) -> Vec<u8>>;
    let ways: Vec<(&str, Way)> = vec![
        ("plain", Box::new(|t| t.into())),
        ("a byte order mark", Box::new(|t| format!("\u{feff}{t}").into())),
        ("UTF-16 LE", Box::new(move |t| utf16(t, u16::to_le_bytes))),
        ("UTF-16 BE", Box::new(move |t| utf16(t, u16::to_be_bytes))),
        ("UTF-16 without a mark", Box::new(move |t| utf16(t, u16::to_le_bytes)[2..].to_vec())),
        ("CRLF", Box::new(|t| t.replace('\n', "\r\n").into())),
        ("CR", Box::new(|t| t.replace('\n', "\r").into())),
        ("tabs", Box::new(|t| t.replace(' ', "\t").into())),
        ("blanks", Box::new(|t| t.replace(' ', "   ").replace('\n', "  \t\n\n").into())),
        ("no end", Box::new(|t| t.trim_end().into())),
        ("commas", Box::new(|t| t.replace(' ', ",").into())),
        ("comments", Box::new(|t| format!("# made by hand\n// so\n{t}").into())),
        ("backslashes", Box::new(|t| t.replace('/', "\\").into())),
    ];
    for (what, way) in &ways {
        all_found(listed(way).path(), what);
    }
}

#[test]
fn paths_of_lists_are_found_whatever_precedes_them() {
    for before in ["./", "/", "UCF-101/", "/home/x/UCF-101/", "D:\\data\\UCF-101\\", ".\\"] {
        let root = listed(|text| {
            let line = |line: &str| if line.contains('/') { format!("{before}{line}\n") } else { format!("{line}\n") };
            text.lines().map(line).collect::<String>().into()
        });
        all_found(root.path(), before);
    }
    let quoted = listed(|text| {
        let line = |line: &str| match line.split_once(".avi") {
            Some((path, rest)) => format!("\"{path}.avi\"{rest}\n"),
            None => format!("{line}\n"),
        };
        text.lines().map(line).collect::<String>().into()
    });
    all_found(quoted.path(), "quotes");
}

#[test]
fn a_path_ends_before_the_number() {
    for (line, path, rest) in [
        ("a/b.avi 1", "a/b.avi", "1"),
        ("a/b.avi", "a/b.avi", ""),
        ("Table Tennis/a b 2.avi\t12", "Table Tennis/a b 2.avi", "12"),
        ("\"a/b c.avi\" 1", "a/b c.avi", "1"),
        ("a/b.avi; 2", "a/b.avi", "2"),
        ("7", "7", ""),
        ("", "", ""),
    ] {
        assert_eq!(path_in(line), (path, rest), "{line:?}");
    }
    // HMDB-51 has such files.
    let clip = "#20_(HQ)_Rhythm_clap_u_nm_np1_fr_goo_0.avi 1 ";
    let read = lines(format!("# by hand\n{clip}\n").as_bytes());
    assert_eq!(read.len(), 1);
    assert_eq!((read[0].number, read[0].text.as_str()), (2, clip.trim_end()));
}

#[test]
fn a_class_is_found_by_its_exact_name_or_the_only_one_like_it() {
    let labels: Vec<String> = ["walk", "Walk", "hand_stand", "Table Tennis", "caf\u{e9}"].map(String::from).to_vec();
    for (name, expected) in [
        ("walk", Some(0)),
        ("Walk", Some(1)),
        ("WALK", None),
        ("Hand Stand", Some(2)),
        ("handstand", Some(2)),
        ("table-tennis", Some(3)),
        ("hand", None),
        // As macOS writes it.
        ("cafe\u{301}", Some(4)),
    ] {
        assert_eq!(find_class(name, &labels), expected, "{name}");
    }
    assert_eq!(match_class("WALK", &labels), Match::Several(vec![0, 1]));
    let near = |name| nearest(name, labels.iter().map(String::as_str));
    assert_eq!(near("Handsstand"), Some("hand_stand"));
    assert_eq!(near("xyz"), None);
}

#[test]
fn a_file_is_found_by_another_case_or_extension_if_it_is_the_only_one() {
    let names = ["a.avi", "B.AVI", "c.mp4", "d.mp4", "d.mkv", "e.txt", "f.avi", "F.avi"];
    for (name, expected) in [
        ("a.avi", Match::One(0)),
        ("b.avi", Match::One(1)),
        ("c.avi", Match::One(2)),
        ("c", Match::One(2)),
        ("d.avi", Match::Several(vec![3, 4])),
        ("e.avi", Match::None),
        ("F.avi", Match::One(7)),
        ("f.AVI", Match::Several(vec![6, 7])),
    ] {
        assert_eq!(match_file(name, &names), expected, "{name}");
    }
}

#[test]
fn names_that_are_not_utf8_are_shown_so_that_they_can_be_told() {
    let shown = |bytes: &[u8]| display(OsStr::from_bytes(bytes));
    assert_eq!(shown(b"caf\xe9.avi"), "caf%E9.avi");
    assert_eq!(shown(b"100%\xff"), "100%25%FF");
    assert_eq!(shown("100% café".as_bytes()), "100% café");
    assert_eq!(display_path(Path::new("100%/a.avi")), "100%/a.avi");
}

#[test]
fn litter_and_containers_are_known() {
    for name in ["._a.avi", ".DS_Store", "__MACOSX", "Thumbs.db", "@eaDir", ".git", "lost+found"] {
        assert!(is_litter(OsStr::new(name)), "{name}");
    }
    for name in ["walk", ".hidden.avi", "#20_a.avi", "thumbs.avi", "git"] {
        assert!(!is_litter(OsStr::new(name)), "{name}");
    }
    assert_eq!(container(b"RIFF\0\0\0\0AVI LIST"), Some("AVI"));
    assert_eq!(container(b"\0\0\0\x18ftypisom"), Some("MP4 or QuickTime"));
    assert_eq!(container(b"hello"), None);
    for name in ["a.AVI", "a.ts", "a.m2ts", "a.flv", "a.3gp", "a.OGV", "a.b.vob"] {
        assert!(is_video(name), "{name}");
    }
    for name in ["avi", ".avi", "a.avi.txt", "a.", "a"] {
        assert!(!is_video(name), "{name}");
    }
}

#[test]
fn rewritten_lists_name_what_the_clips_became() {
    let outputs = [("A/x.avi", "A/x.mkv"), ("A/y.mp4", "A/y.mp4.mkv"), ("Table Tennis/z.AVI", "Table Tennis/z.mkv")];
    let outputs = outputs.map(|(a, b)| (a.to_string(), b.to_string())).into();
    let rewritten = |text: &[u8], class| String::from_utf8(rewrite(text, class, &outputs, "mkv")).unwrap();
    assert_eq!(
        rewritten(b"A/x.avi 1\r\nA/y.mp4 1\r\nA/gone.avi\t1\n1 a.b\n", None),
        "A/x.mkv 1\r\nA/y.mp4.mkv 1\r\nA/gone.mkv\t1\n1 a.b\n"
    );
    // By another spelling, of another case or extension, and with a mark.
    assert_eq!(rewritten("\u{feff}TableTennis/z.avi 2\na/Y.avi".as_bytes(), None), "Table Tennis/z.mkv 2\nA/y.mp4.mkv");
    assert_eq!(rewritten(b"x.avi 1 \ny.avi 2 \n", Some("A")), "x.mkv 1 \ny.mp4.mkv 2 \n");
}
