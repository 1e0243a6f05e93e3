// SPDX-License-Identifier: MPL-2.0

//! What is damaged is named with the fault and the file, and what only looks so gets through.

use std::fs;

use crate::make::*;

#[test]
fn sizes_in_an_avi_header_may_be_wrong() {
    let folder = folder();
    let clip = folder.avi("good.avi");
    let length = fs::metadata(&clip).expect("a clip").len() as u32;
    for size in [0, 1, length - 8 - 70, length, length + 62, u32::MAX] {
        let odd = folder.at("odd.avi");
        fs::copy(&clip, &odd).expect("a clip");
        patch(&odd, b"RIFF", 4, &size.to_le_bytes());
        let said = done(&attack(&odd, folder.at("o.avi"), &[]));
        assert!(!said.contains("note"), "{size}: {said}");
        assert_eq!(sizes(&folder.at("o.avi")).len(), FRAMES, "{size}");
    }
}

#[test]
fn a_file_that_is_cut_off_is_refused_or_noted() {
    let folder = folder();
    let chain = "x264enc key-int-max=1 ! matroskamux";
    let mkv = folder.clip("good.mkv", "format=I420,width=96,height=80", chain);
    let caps = "format=I420,width=96,height=80";
    let mp4 = folder.clip("good.mp4", caps, "x264enc key-int-max=1 ! mp4mux faststart=true");
    for clip in [mp4, mkv, folder.avi("good.avi")] {
        let kind = clip.extension().expect("a kind").to_string_lossy().into_owned();
        let short = folder.at(format!("short.{kind}"));
        let length = cut(&clip, &short, 60);
        let said = refused(&attack(&short, folder.at("o.mkv"), &[]), "the file is cut off");
        assert!(said.contains(&format!("short.{kind}")), "{said}");
        assert!(said.contains(&format!("expected {length} bytes")), "{said}");
        cut(&clip, &short, 93);
        let said = done(&attack(&short, folder.at("o.mkv"), &[]));
        assert!(said.contains("the file is cut off"), "{kind}: {said}");
    }
}

#[test]
fn a_file_without_frames_is_refused_for_its_own_fault() {
    let folder = folder();
    let clip = folder.avi("good.avi");
    let bytes = fs::read(&clip).expect("a clip");
    let end = bytes.windows(4).position(|w| w == b"movi").expect("a list") + 4;
    let [avi, mp4] = ["header.avi", "no-moov.mp4"].map(|name| folder.at(name));
    fs::write(&avi, &bytes[..end]).expect("a header");
    let clip = folder.mp4("good.mp4");
    let bytes = fs::read(&clip).expect("a clip");
    let index = bytes.windows(4).position(|w| w == b"moov").expect("an index") - 4;
    fs::write(&mp4, &bytes[..index]).expect("the data alone");
    // The decoder loses the reason now and then.
    for _ in 0..5 {
        refused(&attack(&avi, folder.at("o.mp4"), &[]), "bytes, found 818; no frames could be decoded");
        refused(
            &attack(&mp4, folder.at("o.mp4"), &[]),
            "no-moov.mp4: no frames could be decoded: the file has no index",
        );
    }
    assert!(!folder.at("o.mp4").exists());
}

#[test]
fn what_is_no_video_is_called_by_its_name() {
    let folder = folder();
    let noise: Vec<u8> = (0..5000u32).map(|i| ((i * i * 31) >> 7) as u8).collect();
    let png = folder.at("image.png");
    crate::common::pipeline::run(&format!(
        "videotestsrc num-buffers=1 ! video/x-raw,width=96,height=80 ! pngenc ! filesink location={}",
        png.display()
    ));
    let sound = folder.at("sound");
    crate::common::pipeline::run(&format!(
        "audiotestsrc num-buffers=20 ! avenc_aac ! mp4mux ! filesink location={}",
        sound.display()
    ));
    let [png, sound] = [png, sound].map(|path| fs::read(path).expect("a file"));
    let kinds: [(&[u8], &str); 9] = [
        (b"<!DOCTYPE html><html><body>unavailable</body></html>\n", "an HTML page, not a video"),
        (b"<?xml version='1.0'?><Error/>", "an XML file, not a video"),
        (b"{\"message\": \"not found\"}", "a JSON file, not a video"),
        (b"404\n", "a text file, not a video"),
        (b"PK\x03\x04zip", "a ZIP archive, not a video"),
        (&png, "a PNG image, not a video"),
        (&sound, "no video stream, only sound"),
        (&noise, "type of stream"),
        (b"", "the file is empty"),
    ];
    let input = folder.at("clip.mp4");
    for (bytes, words) in kinds {
        fs::write(&input, bytes).expect("a file");
        let said = refused(&attack(&input, folder.at("o.mp4"), &[]), words);
        assert!(said.contains("clip.mp4"), "{said}");
        assert!(!said.contains("plug-in"), "{said}");
    }
    refused(&attack(folder.at(""), folder.at("o.mp4"), &[]), "found a folder");
}

/// Most containers do not say how many frames there should be. Their times do.
#[test]
fn frames_missing_in_the_middle_are_told_of() {
    let folder = folder();
    let caps = "format=I420,width=96,height=80";
    let whole = folder.long_clip("whole.mkv", 48, caps, "avenc_ffv1 ! matroskamux");
    let output = attack(&whole, folder.at("o.mp4"), &[]);
    done(&output);
    assert!(!said(&output).contains("would by"), "{}", said(&output));
    let chain = "identity drop-probability=0.5 ! avenc_ffv1 ! matroskamux";
    let holes = folder.long_clip("holes.mkv", 48, caps, chain);
    let output = attack(&holes, folder.at("o.mp4"), &[]);
    done(&output);
    let words = "would by the file's frame rate: some are missing";
    assert!(said(&output).contains(words), "{}", said(&output));
}

/// Opening a pipe would wait for somebody to write to it.
#[test]
fn a_pipe_is_not_waited_for() {
    let folder = folder();
    let pipe = folder.at("pipe.mp4");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    refused(&attack(&pipe, folder.at("o.mp4"), &[]), "a device or a pipe");
}
