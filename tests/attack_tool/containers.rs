// SPDX-License-Identifier: MPL-2.0

//! The output's name says which kind of file it is, and the file holds what was pushed.

use std::fs;

use crate::make::*;

#[test]
fn the_name_says_the_container() {
    let folder = folder();
    let clip = folder.mp4("in.mp4");
    let kinds: [(&str, usize, &[u8]); 9] = [
        ("mp4", 4, b"ftyp"),
        ("M4V", 4, b"ftyp"),
        ("mov", 4, b"ftypqt"),
        ("3gp", 4, b"ftyp3g"),
        ("mkv", 0, b"\x1a\x45\xdf\xa3"),
        ("webm", 0, b"\x1a\x45\xdf\xa3"),
        ("avi", 0, b"RIFF"),
        ("ts", 0, b"G"),
        ("flv", 0, b"FLV"),
    ];
    for (kind, at, magic) in kinds {
        let out = folder.at(format!("out.{kind}"));
        done(&attack(&clip, &out, &[]));
        assert_eq!(sizes(&out).len(), FRAMES, "{kind}");
        let bytes = fs::read(&out).expect("a file");
        assert_eq!(&bytes[at..at + magic.len()], magic, "{kind}");
    }
    let said = refused(&attack(&clip, folder.at("out.xyz"), &[]), "out.xyz");
    assert!(said.contains(".webm"), "{said}");
    done(&attack(&clip, folder.at("out.xyz"), &["--muxer", "matroskamux"]));
}

#[test]
fn an_encoder_or_muxer_that_loses_frames_is_found_out() {
    let folder = folder();
    let clip = folder.mp4("in.mp4");
    let before = folder.names();
    for (name, encoder) in [
        ("o.avi", "avenc_mpeg4 ! mpeg4videoparse"),
        ("o.mp4", "identity drop-probability=1 ! x264enc"),
        ("o.mp4", "videorate max-rate=5 ! x264enc"),
    ] {
        refused(&attack(&clip, folder.at(name), &["--encoder", encoder]), "lost frames");
        assert_eq!(folder.names(), before, "{encoder}");
    }
}

#[test]
fn picture_and_page_show_a_bounded_number_of_windows() {
    let folder = folder();
    let caps = "format=I420,width=96,height=80";
    let clip = folder.long_clip("in.mp4", 16 * 30, caps, "x264enc ! mp4mux");
    let [picture, page] = ["p.png", "p.html"].map(|name| folder.at(name));
    let more = [
        "--picture",
        picture.to_str().expect("UTF-8"),
        "--page",
        page.to_str().expect("UTF-8"),
        "--codec",
        "jpegenc ! jpegdec",
    ];
    let said = done(&attack(&clip, folder.at("o.mp4"), &more));
    let html = fs::read_to_string(&page).expect("a page");
    let images = html.matches("<img").count();
    assert_eq!(images, 15, "every second of 30");
    assert!(html.contains("15 others are left out") && said.contains("15 others are left out"));
    assert!(html.contains("of 30 windows"), "the sums are of all");
    assert_eq!(html.matches("<th>jpegenc ! jpegdec</th>").count(), images);
    assert!(!html.contains("frames were lost"));
    let image = fs::read(&picture).expect("a picture");
    let decoder = png::Decoder::new(std::io::Cursor::new(image));
    let info = decoder.read_info().expect("a PNG").info().size();
    assert_eq!(info.0, 16 * 64 + 16);
    for path in ["o.mp4", "p.png", "p.html"] {
        assert!(said.contains(&format!("wrote {}", folder.at(path).display())), "{said}");
    }
}
