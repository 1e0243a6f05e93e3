// SPDX-License-Identifier: MPL-2.0

//! The page of an evaluation as a browser shows it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

#[path = "../common/mod.rs"]
mod common;
use common::clips::{EXAMPLES, encode, frames};
use serde_json::Value;

/// Looks at the page in a frame as wide as a phone, and says what it is like.
const PROBE: &str = r#"<script>addEventListener("load", async () => {
  const videos = [...document.querySelectorAll("video")];
  await Promise.all(videos.map((v) => v.readyState || new Promise((done) => (v.onloadedmetadata = v.onerror = done))));
  parent.postMessage(JSON.stringify({
    width: document.documentElement.scrollWidth,
    room: innerWidth,
    videos: videos.map((v) => [v.videoWidth, v.videoHeight]),
    requests: performance.getEntriesByType("resource").map((entry) => entry.name),
  }), "*");
})</script></body>"#;

const FRAME: &str = r#"<!DOCTYPE html><body><iframe src="probe.html" width="400" height="900"></iframe>
<script>addEventListener("message", (said) => (document.title = said.data))</script></body>"#;

const CHROMIUM: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=5000",
    "--dump-dom",
];

/// What a browser finds; nothing where there is none.
fn looked_at(folder: &Path, page: &str) -> Option<Value> {
    fs::write(folder.join("probe.html"), page.replace("</body>", PROBE)).expect("a page");
    fs::write(folder.join("frame.html"), FRAME).expect("a page");
    let profile = tempfile::tempdir().expect("a folder");
    let found = Command::new("chromium")
        .args(CHROMIUM)
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", folder.join("frame.html").display()))
        .stderr(Stdio::null())
        .output();
    let Ok(found) = found else {
        eprintln!(
            "skipped: there is no chromium. Install it (apt-get install chromium), and the page is looked at in it."
        );
        return None;
    };
    let dom = String::from_utf8(found.stdout).expect("UTF-8");
    let title = dom.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next());
    let title = title.unwrap_or_else(|| panic!("the page said nothing: {dom}"));
    Some(serde_json::from_str(&title.replace("&quot;", "\"").replace("&amp;", "&")).expect("JSON"))
}

#[test]
fn the_page_says_the_verdict_and_plays_its_clips_offline_on_a_phone() {
    let folder = tempfile::tempdir().expect("a folder");
    // Longer than what is shown of it.
    let clip: Vec<Vec<u8>> = frames("walk").into_iter().cycle().take(224).collect();
    let path = folder.path().join("a-clip-of-a-rather-long-name-that-no-line-of-a-phone-has-room-for.avi");
    encode(&clip, &path);
    let out = folder.path().join("out");
    let perturbation = format!("universal={EXAMPLES}/figures-c3d.safetensors");
    let ended = Command::new(env!("CARGO_BIN_EXE_gst-sparseadv"))
        .args(["evaluate", "--label", "walk", "--threat-model", &perturbation, "--channel", "jpeg=jpegenc ! jpegdec"])
        .args(["--fail-if", "clean_accuracy<=1", "--model", &format!("{EXAMPLES}/figures-c3d.pt")])
        .arg(format!("--data=a={}", path.display()))
        .arg("--out")
        .arg(&out)
        .env_remove("GITHUB_STEP_SUMMARY")
        .output()
        .expect("gst-sparseadv");
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let page = fs::read_to_string(out.join("page.html")).expect("a page");
    for words in [
        "failed</span></h1>",
        "2 of 2 gates have failed",
        "a-clip-of-a-rather",
        "universal",
        "SHA-256",
        "gst-sparseadv evaluate",
    ] {
        assert!(page.contains(words), "{words}");
    }
    for external in ["src=\"http", "href=\"http", "url(http", "@import"] {
        assert!(!page.contains(external), "{external}");
    }
    let media = fs::read_dir(out.join("page")).expect("videos").map(|entry| entry.expect("a video").metadata());
    let sizes: Vec<u64> = media.map(|data| data.expect("a size").len()).collect();
    assert_eq!(sizes.len(), 3, "clean, attacked and their difference");
    assert!(sizes.iter().sum::<u64>() < 1_000_000 && page.len() < 200_000, "{sizes:?}, {}", page.len());
    let Some(found) = looked_at(&out, &page) else { return };
    assert!(found["width"].as_u64() <= found["room"].as_u64(), "it is too wide: {found}");
    assert_eq!(found["videos"], serde_json::json!([[320, 240], [320, 240], [320, 240]]), "{found}");
    for request in found["requests"].as_array().expect("requests") {
        assert!(request.as_str().is_some_and(|name| name.starts_with("file:")), "{request}");
    }
}
