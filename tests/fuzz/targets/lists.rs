// SPDX-License-Identifier: MPL-2.0

//! The lists of a data set: each clip that they name is a file of the set, or missing with a reason. The same lists are
//! rewritten for another set.

#![no_main]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use gstsparseadv::dataset::{self, Layout, Options};
use libfuzzer_sys::fuzz_target;

/// A set of two classes with a clip each, beside a file that is none of its own.
static SET: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = std::env::temp_dir().join(format!("sparseadv-fuzz-{}", std::process::id()));
    let clips = ["set/Walk/v_Walk_g01_c01.avi", "set/Wave Hand/a b.avi", "elsewhere.avi"];
    for clip in clips.map(|clip| root.join(clip)) {
        fs::create_dir_all(clip.parent().expect("a folder")).expect("a folder");
        fs::write(clip, b"RIFF\0\0\0\0AVI LIST").expect("a clip");
    }
    for folder in ["ucf", "hmdb"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    root
});

// The first byte says whose lists, a zero byte what is of which list.
fuzz_target!(|bytes: &[u8]| {
    let Some((which, text)) = bytes.split_first() else {
        return;
    };
    let at = text.iter().position(|b| *b == 0).unwrap_or(0);
    let (classes, list) = text.split_at(at);
    let (folder, layout) = match which {
        b'h' => ("hmdb", Layout::Hmdb51),
        _ => ("ucf", Layout::Ucf101),
    };
    let lists = SET.join(folder);
    let files: &[(&str, &[u8])] = match layout {
        Layout::Hmdb51 => &[("Walk_test_split1.txt", classes), ("Wave Hand_test_split1.txt", list)],
        _ => &[("classInd.txt", classes), ("trainlist01.txt", list), ("testlist01.txt", text)],
    };
    for (name, content) in files {
        fs::write(lists.join(name), content).expect("a list");
    }
    let set = SET.join("set");
    open(&set, Options { layout: Some(layout), split: 1, splits: Some(lists), test_groups: Vec::new() });
    let outputs = HashMap::from([("Walk/v_Walk_g01_c01.avi".to_string(), "Walk/v_Walk_g01_c01.mp4".to_string())]);
    for class in [None, Some("Walk")] {
        let _ = dataset::rewrite(text, class, &outputs, "mp4");
    }
});

fn open(set: &Path, options: Options) {
    let Ok(data) = dataset::open(set, &options) else {
        return;
    };
    for clip in &data.clips {
        assert!(clip.label < data.labels.len());
        let real = clip.path.canonicalize().expect("a file");
        assert!(real.starts_with(set.canonicalize().expect("the set")), "{real:?} is none of the set's");
    }
    assert!(data.missing.iter().all(|missing| !missing.reason.is_empty()));
}
