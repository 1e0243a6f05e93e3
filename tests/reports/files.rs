// SPDX-License-Identifier: MPL-2.0

//! Report files: when they appear, and what they never replace.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;

use serde_json::Value;

use crate::common::guarded;
use crate::common::models::{Good, ModelFile, good};
use crate::common::pipeline::run;
use crate::{FRAMES, RGB, play, source};

const OLD: &str = "{\"window\":0}\n";

/// Both elements with a report, and nothing else in common.
fn elements(model: &ModelFile, report: &str) -> [String; 2] {
    ["sparseadv max-iterations=2", "clipclassifier"]
        .map(|element| format!("{element} model={} report-location={report}", model.location()))
}

fn lines(path: impl AsRef<Path>) -> usize {
    let text = fs::read_to_string(path).unwrap_or_default();
    let is_report = |line: &&str| serde_json::from_str::<Value>(line).is_ok_and(|l| l.is_object());
    text.lines().filter(is_report).count()
}

#[test]
fn an_older_report_stays_until_the_stream_has_ended() {
    guarded(60, || {
        let model = good(Good::default());
        let report = model.beside("r.jsonl");
        let incomplete = format!("{report}.incomplete");
        for element in elements(&model, &report) {
            fs::write(&report, OLD).expect("a file");
            // Fails.
            let (error, _) = play(&format!("{} ! {element} ! identity error-after=9 ! fakesink", source()), None);
            assert!(error.is_some());
            assert_eq!(fs::read_to_string(&report).expect("the report"), OLD);
            // The source fails, and ends the stream.
            let text = format!("{} ! identity error-after=9 ! {element} ! fakesink", source());
            let (error, _) = play(&text, None);
            assert!(error.is_some());
            assert_eq!(fs::read_to_string(&report).expect("the report"), OLD);
            // There is nothing to report of.
            let text = format!("videotestsrc num-buffers=0 ! {RGB} ! {element} ! fakesink");
            let _ = play(&text, None);
            assert_eq!(fs::read_to_string(&report).expect("the report"), OLD);
            // Is stopped.
            let endless = format!("videotestsrc pattern=ball is-live=true ! {RGB} ! {element} ! fakesink");
            let (error, warnings) = play(&endless, Some(2));
            assert_eq!(error, None);
            assert!(warnings.iter().any(|w| w.contains(&incomplete)), "{warnings:?}");
            assert_eq!(fs::read_to_string(&report).expect("the report"), OLD);
            assert!(lines(&incomplete) >= 2);
            // Ends.
            let (error, warnings) = play(&format!("{} ! {element} ! fakesink", source()), None);
            assert_eq!((error, warnings), (None, vec![]));
            assert_eq!(lines(&report), FRAMES.div_ceil(4));
            assert!(!Path::new(&format!("{report}.part")).exists());
            fs::remove_file(&incomplete).expect("what was kept");
        }
    });
}

#[test]
fn a_report_takes_the_place_of_no_input() {
    guarded(60, || {
        let model = good(Good { sidecar: true, ..Good::default() });
        let m = model.location();
        let link = model.beside("link");
        symlink(m, &link).expect("a link");
        let sidecar = format!("{m}.json");
        let reference = model.beside("a.jsonl");
        fs::write(&reference, "{}\n").expect("a file");
        let before = [m, &sidecar, &reference].map(|path| fs::read(path).expect("a file"));
        for path in [m, &link, &sidecar] {
            for element in elements(&model, path) {
                let (error, _) = play(&format!("{} ! {element} ! fakesink", source()), None);
                let error = error.expect("an error");
                assert!(error.contains("report-location") && error.contains("the same one"), "{error}");
            }
        }
        let [_, element] = elements(&model, &reference);
        let same = format!("{} ! {element} reference-location={reference} ! fakesink", source());
        let (error, _) = play(&same, None);
        assert!(error.expect("an error").contains("than reference-location"));
        // The video itself.
        let video = model.beside("a.mkv");
        run(&format!("{} ! videoconvert ! avenc_ffv1 ! matroskamux ! filesink location={video}", source()));
        let bytes = fs::read(&video).expect("a video");
        for element in elements(&model, &video) {
            let text =
                format!("filesrc location={video} ! matroskademux ! avdec_ffv1 ! videoconvert ! {element} ! fakesink");
            let (error, _) = play(&text, None);
            let error = error.expect("an error");
            assert!(error.contains("the same one"), "{error}");
        }
        // By whatever way it comes, it is no older report; and what another element is writing is not for a report.
        for element in elements(&model, &video) {
            let text = format!("{} ! {element} ! fakesink", source());
            let (error, _) = play(&text, None);
            let error = error.expect("an error");
            assert!(error.contains("which is no older report"), "{error}");
        }
        assert!(bytes == fs::read(&video).expect("a video"));
        let written = model.beside("b.raw");
        for element in elements(&model, &written) {
            let text = format!("{} ! {element} ! filesink location={written}", source());
            let (error, _) = play(&text, None);
            let error = error.expect("an error");
            assert!(error.contains("the file of filesink"), "{error}");
        }
        assert!(before == [m, &sidecar, &reference].map(|path| fs::read(path).expect("a file")));
    });
}

#[test]
fn two_elements_do_not_write_one_report() {
    guarded(60, || {
        let model = good(Good::default());
        let report = model.beside("r.jsonl");
        let [a, b] = elements(&model, &report);
        let (error, _) = play(&format!("{} ! {a} ! {b} ! fakesink", source()), None);
        let error = error.expect("an error");
        assert!(error.contains(&report) && error.contains("is writing it"), "{error}");
        let folder = model.beside("");
        let [element, _] = elements(&model, &folder);
        let (error, _) = play(&format!("{} ! {element} ! fakesink", source()), None);
        assert!(error.expect("an error").contains("found the folder"));
    });
}

#[test]
fn a_pipe_or_device_is_written_as_it_is() {
    guarded(60, || {
        let model = good(Good::default());
        for element in elements(&model, "/dev/null") {
            let (error, warnings) = play(&format!("{} ! {element} ! fakesink", source()), None);
            assert_eq!((error, warnings), (None, vec![]));
        }
        assert!(fs::metadata("/dev/null").expect("a device").file_type().is_char_device());
    });
}
