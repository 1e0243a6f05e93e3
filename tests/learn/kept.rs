// SPDX-License-Identifier: MPL-2.0

//! No run writes in the place of anything but what an earlier one has written.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::common::guarded;
use crate::data;

/// No clip, no file of anything else, and no device.
#[test]
fn what_is_not_its_own_is_not_learned_over() {
    guarded(60, || {
        let data = data();
        let clip = fs::read_dir(data.path("set"))
            .expect("the set")
            .find_map(|class| fs::read_dir(class.ok()?.path()).ok()?.find_map(|clip| Some(clip.ok()?.path())));
        let clip = clip.expect("a clip");
        let notes = data.path("notes.txt");
        fs::write(&notes, "mine").expect("notes");
        for path in [&clip, &notes] {
            for kind in [&[][..], &["--kind", "agent"]] {
                let before = fs::read(path).expect("a file");
                let output = data.learn(path, kind);
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.code() == Some(1) && said.contains("Move it away"), "{said}");
                assert!(fs::read(path).expect("a file") == before, "{}", path.display());
            }
        }
        let output = data.learn(Path::new("/dev/full"), &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains("a device"), "{said}");
    });
}

/// Lines are added to lines of earlier calls, and to nothing else.
#[test]
fn what_is_judged_is_not_written_to() {
    guarded(60, || {
        let data = data();
        let path = data.path("kept.safetensors");
        assert_eq!(data.learn(&path, &["--bound", "60", "--steps", "1"]).status.code(), Some(0));
        let odd = data.path("k").with_file_name(OsStr::from_bytes(b"odd\xff.safetensors"));
        fs::copy(&path, &odd).expect("a copy");
        let files = [path.clone(), odd];
        let notes = data.path("notes.json");
        fs::write(&notes, "{\"mine\": 1}\n").expect("notes");
        let lines = data.path("lines.jsonl");
        for (json, code) in [(&path, 1), (&data.model.path, 1), (&notes, 1), (&lines, 0), (&lines, 0)] {
            let before = fs::read(json).unwrap_or_default();
            let output = data.judge(&files, json, &["--held-out", "1"]);
            assert_eq!(output.status.code(), Some(code), "{output:?}");
            let after = fs::read(json).expect("a file");
            assert!(after.starts_with(&before) && (after.len() > before.len()) == (code == 0), "{}", json.display());
        }
        let lines = fs::read_to_string(&lines).expect("lines");
        assert_eq!(lines.lines().count(), 4);
        assert!(lines.contains("odd%FF.safetensors"), "{lines}");
    });
}
