// SPDX-License-Identifier: MPL-2.0

//! Usual files get through, and what is converted is said.

use std::fs;
use std::path::{Path, PathBuf};

use gst::prelude::*;

use crate::make::*;

/// Attacks a clip into MP4 and AVI. Every frame is there, and what was done to them is said.
fn gets_through(folder: &Folder, clip: &Path, frames: usize, words: &str) {
    for name in ["o.mp4", "o.avi"] {
        let out = folder.at(name);
        let said = done(&attack(clip, &out, &[]));
        assert!(said.contains(words), "{name}: expected {words:?} in {said}");
        assert_eq!(sizes(&out).len(), frames, "{name}: {said}");
    }
}

#[test]
fn formats_that_the_element_or_the_encoder_does_not_take_are_converted_and_that_is_said() {
    let folder = folder();
    let formats = [
        ("format=I420_10LE", "x264enc ! matroskamux", "from I420_10LE to I420"),
        ("format=YUY2", "avimux", "from YUY2 to Y42B"),
        ("format=UYVY", "matroskamux", "from UYVY to Y42B"),
        ("format=BGR", "avimux", "from BGR to Y444"),
        ("format=GRAY8", "jpegenc ! avimux", "from GRAY8 to I420"),
        ("format=Y42B", "x264enc ! matroskamux", "wrote"),
        ("format=Y444", "x264enc ! matroskamux", "wrote"),
    ];
    for (format, chain, words) in formats {
        let clip = folder.clip("clip", &format!("{format},width=96,height=80"), chain);
        gets_through(&folder, &clip, FRAMES, words);
    }
}

#[test]
fn odd_sizes_are_kept() {
    let folder = folder();
    for (width, height) in [(97, 80), (96, 81), (97, 81)] {
        let caps = format!("format=I420,width={width},height={height}");
        let clip = folder.clip("odd.webm", &caps, "vp8enc deadline=1 ! webmmux");
        gets_through(&folder, &clip, FRAMES, "from I420 to Y444");
        assert_eq!(sizes(&folder.at("o.mp4"))[0], (width, height));
    }
}

/// A file whose frames come at these times, in milliseconds, with no rate in its caps.
fn timed(folder: &Folder, times: &[u64]) -> PathBuf {
    let path = folder.at("timed.mkv");
    let pipeline = gst::parse::launch(&format!(
        "appsrc name=from format=time caps=video/x-raw,format=I420,width=96,height=80,framerate=0/1 ! x264enc ! matroskamux \
         ! filesink location={}",
        path.display()
    ));
    let pipeline = pipeline.expect("a pipeline").downcast::<gst::Pipeline>();
    let pipeline = pipeline.expect("a pipeline");
    let from = pipeline.by_name("from").expect("a source");
    let from = from.downcast::<gst_app::AppSrc>().expect("an appsrc");
    pipeline.set_state(gst::State::Playing).expect("a start");
    for (n, time) in times.iter().enumerate() {
        let mut frame = gst::Buffer::from_mut_slice(vec![(n * 9) as u8; 96 * 80 * 3 / 2]);
        let buffer = frame.get_mut().expect("a buffer");
        buffer.set_pts(gst::ClockTime::from_mseconds(*time));
        from.push_buffer(frame).expect("a frame");
    }
    from.end_of_stream().expect("an end");
    crate::common::pipeline::until_eos(&pipeline.bus().expect("a bus"));
    pipeline.set_state(gst::State::Null).expect("an end");
    path
}

#[test]
fn frames_at_any_times_are_all_shown() {
    let folder = folder();
    let uneven: Vec<u64> = (0..30).map(|n| n * 40 + 17 * (n % 3) + 400 * (n / 27)).collect();
    let clip = timed(&folder, &uneven);
    let out = folder.at("o.mp4");
    let said = done(&attack(&clip, &out, &[]));
    assert!(!said.contains("rate varies"), "MP4 keeps times: {said}");
    assert_eq!(sizes(&out).len(), 30);
    let said = done(&attack(&clip, folder.at("o.avi"), &[]));
    assert!(said.contains("the frame rate varies, which avimux does not take"), "{said}");
    assert_eq!(sizes(&folder.at("o.avi")).len(), 30);
}

#[test]
fn a_picture_that_begins_late_is_attacked_from_its_first_frame() {
    let folder = folder();
    let late: Vec<u64> = (0..FRAMES as u64).map(|n| 5000 + n * 40).collect();
    gets_through(&folder, &timed(&folder, &late), FRAMES, "wrote");
}

#[test]
fn sound_is_left_out_and_that_is_said_however_long_it_is() {
    let folder = folder();
    let path = folder.at("sound.mp4");
    crate::common::pipeline::run(&format!(
        "mp4mux name=mux ! filesink location={} \
         videotestsrc num-buffers={FRAMES} ! video/x-raw,format=I420,width=96,height=80,framerate=25/1 ! x264enc ! mux. \
         audiotestsrc num-buffers=100 ! audioconvert ! avenc_aac ! mux.",
        path.display()
    ));
    gets_through(&folder, &path, FRAMES, "the sound is left out (1 stream)");
    let path = folder.at("two.mkv");
    let video = "x264enc ! queue ! mux.";
    crate::common::pipeline::run(&format!(
        "matroskamux name=mux ! filesink location={} \
         videotestsrc num-buffers={FRAMES} ! video/x-raw,format=I420,width=96,height=80 ! {video} \
         videotestsrc num-buffers={FRAMES} ! video/x-raw,format=I420,width=64,height=64 ! {video}",
        path.display()
    ));
    gets_through(&folder, &path, FRAMES, "1 further video stream is left out");
}

#[test]
fn frames_are_turned_as_their_file_says() {
    let folder = folder();
    let clip = folder.mp4("phone.mp4");
    let [zero, one, minus] = [0u32, 0x1_0000, 0xffff_0000].map(u32::to_be_bytes);
    let quarter = [zero, one, zero, minus, zero, zero, [0, 80, 0, 0], zero, [0x40, 0, 0, 0]];
    patch(&clip, b"tkhd", 44, &quarter.concat());
    gets_through(&folder, &clip, FRAMES, "orientation tag says (rotate-90): 96x80 became 80x96");
    assert_eq!(sizes(&folder.at("o.mp4"))[0], (80, 96));
}

#[test]
fn sizes_may_change_in_mid_stream() {
    let folder = folder();
    let chain = "x264enc bframes=0 ! video/x-h264,stream-format=byte-stream";
    let parts = [(160, 120), (96, 80)].map(|(width, height)| {
        let caps = format!("format=I420,width={width},height={height}");
        fs::read(folder.clip("part.h264", &caps, chain)).expect("a stream")
    });
    let clip = folder.at("both.h264");
    fs::write(&clip, parts.concat()).expect("a stream");
    let expected = [[(160, 120); FRAMES], [(96, 80); FRAMES]].concat();
    let [picture, page] = ["p.png", "p.html"].map(|name| folder.at(name));
    let shown = ["--picture", picture.to_str().expect("UTF-8"), "--page", page.to_str().expect("UTF-8")];
    for name in ["o.mp4", "o.avi", "o.mkv", "o.ts"] {
        let said = done(&attack(&clip, folder.at(name), &shown));
        assert!(said.contains("change in size"), "{said}");
        // Windows end where the size changes.
        assert!(said.contains("of 4 windows"), "{said}");
        assert_eq!(sizes(&folder.at(name)), expected, "{name}");
    }
}

#[test]
fn any_name_will_do() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder();
    let clip = folder.mp4("in.mp4");
    let strange = std::ffi::OsStr::from_bytes(b"gr\xfc\xdfe.mp4");
    for name in [" a b.mp4".as_ref(), "50%d \"it's\" !.mp4".as_ref(), "-x.mp4".as_ref(), strange] {
        let place = folder.at(name);
        fs::copy(&clip, &place).expect("a clip");
        let out = folder.at("o.mp4");
        done(&attack(&place, &out, &[]));
        assert_eq!(sizes(&out).len(), FRAMES);
        fs::remove_file(&place).expect("a clip");
        done(&attack(&clip, &place, &[]));
        fs::rename(&place, &out).expect("what was written");
        assert_eq!(sizes(&out).len(), FRAMES);
    }
}
