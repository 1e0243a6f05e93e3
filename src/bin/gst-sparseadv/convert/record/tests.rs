// SPDX-License-Identifier: MPL-2.0

use super::*;
use crate::provenance::Versions;

fn settings() -> Settings {
    Settings {
        model: "m.pt".into(),
        model_sha256: "0".into(),
        properties: String::new(),
        encoder: "x264enc".into(),
        muxer: "avimux".into(),
        extension: "avi".into(),
        min_frames: 16,
        threads: 1,
        seed: 0,
        versions: Versions::here(),
    }
}

fn opened(root: &Path, shard: Shard) -> anyhow::Result<Records> {
    Records::open(root, &settings(), shard)
}

fn job(clip: &str, output: &str) -> Job {
    Job { clip: clip.into(), class: "walk".into(), source: PathBuf::new(), output: output.into() }
}

fn record(records: &Records, job: &Job, bytes: u64) -> Record {
    Record {
        clip: job.clip.clone(),
        class: job.class.clone(),
        settings: records.settings.clone(),
        outcome: Outcome::Converted {
            output: job.output.clone(),
            bytes,
            frames: 1,
            windows: Vec::new(),
            notes: Vec::new(),
            seconds: 0.0,
        },
    }
}

#[test]
fn the_longest_names_have_records() {
    let folder = tempfile::tempdir().expect("a folder");
    let records = opened(folder.path(), None).expect("a tree");
    // Two that differ where both are cut.
    for end in ["a", "b"] {
        let clip = format!("{}/{}{end}.avi", "w".repeat(255), "x".repeat(250));
        let skipped =
            Record { outcome: Outcome::Skipped { reason: end.into() }, ..record(&records, &job(&clip, ""), 0) };
        records.put(&skipped).expect("a record");
        assert_eq!(records.get(&clip), Some(skipped));
    }
    assert_eq!(records.all().expect("records").len(), 2);
}

#[test]
fn what_the_tree_did_not_make_may_not_be_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let records = opened(folder.path(), None).expect("a tree");
    let [first, other] = [job("walk/a.avi", "walk/a.avi"), job("walk/a.mp4", "walk/a.avi")];
    let path = folder.path().join("walk/a.avi");
    fs::create_dir(folder.path().join("walk")).expect("a folder");
    fs::write(&path, "mine").expect("a file");
    let error = records.may_write(&first).expect_err("a refusal");
    assert!(error.contains("was not made by this conversion"), "{error}");
    fs::remove_file(&path).expect("a file");
    // As a process that was killed before its record leaves it.
    records.may_write(&first).expect("a free place");
    fs::write(&path, "made").expect("a file");
    records.may_write(&first).expect("its own");
    assert!(records.may_write(&other).is_err(), "another clip's");
    records.put(&record(&records, &first, 4)).expect("a record");
    records.may_write(&first).expect("its own");
    assert!(records.may_write(&other).is_err(), "another clip's");
    // A record that was cut: the clip is not done, and its video may be made again.
    let kept = records.path(&first.clip);
    let text = fs::read(&kept).expect("a record");
    fs::write(&kept, &text[..text.len() / 2]).expect("a record");
    assert_eq!(records.get(&first.clip), None);
    records.may_write(&first).expect("its own");
    let error = records.all().expect_err("a refusal").to_string();
    assert!(error.contains("a.avi.json") && error.contains("converted again"), "{error}");
}

#[test]
fn missing_clips_are_records_until_they_are_converted() {
    let folder = tempfile::tempdir().expect("a folder");
    let records = opened(folder.path(), None).expect("a tree");
    let missing =
        |clip: &str| Missing { clip: clip.into(), class: "walk".into(), reason: "there is no such file".into() };
    let both = [missing("walk/a.avi"), missing("walk/b.avi")];
    records.set_missing(Side::Test, &both).expect("missing");
    let is_missing = |r: &Record| matches!(r.outcome, Outcome::Missing { .. });
    let clips = || -> Vec<(String, bool)> {
        let all = records.all().expect("records");
        all.iter().map(|r| (r.clip.clone(), is_missing(r))).collect()
    };
    assert_eq!(clips(), [("walk/a.avi".into(), true), ("walk/b.avi".into(), true)]);
    let job = job("walk/a.avi", "walk/a.avi");
    records.put(&record(&records, &job, 0)).expect("a record");
    assert_eq!(clips(), [("walk/a.avi".into(), false), ("walk/b.avi".into(), true)]);
    records.set_missing(Side::Test, &[]).expect("none missing");
    assert_eq!(clips(), [("walk/a.avi".into(), false)]);
}

#[test]
fn one_run_at_a_time_but_for_parts() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |shard: Shard| {
        let error = opened(folder.path(), shard).err().expect("a refusal");
        assert!(error.to_string().contains("is writing there"), "{error}");
    };
    let whole = opened(folder.path(), None).expect("a tree");
    refused(None);
    refused(Some((1, 2)));
    drop(whole);
    let first = opened(folder.path(), Some((1, 2))).expect("a part");
    let second = opened(folder.path(), Some((2, 2))).expect("another part");
    refused(None);
    refused(Some((1, 2)));
    refused(Some((1, 3)));
    drop((first, second));
    opened(folder.path(), Some((1, 3))).expect("parts of another number, later");
}

#[test]
fn settings_that_cannot_be_read_are_named_and_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    opened(folder.path(), None).expect("a tree");
    let path = settings_path(folder.path());
    let whole = fs::read_to_string(&path).expect("settings");
    let newer = whole.replace("\"format\": 1", "\"format\": 99");
    assert_ne!(newer, whole);
    let cases = [
        (&whole[..whole.len() / 2], "found something else"),
        ("", "found something else"),
        ("{}", "found something else"),
        (newer.as_str(), "found format 99"),
    ];
    for (text, words) in cases {
        fs::write(&path, text).expect("settings");
        for error in [opened(folder.path(), None).err(), Records::reopen(folder.path()).err()] {
            let error = error.expect("a refusal").to_string();
            assert!(error.contains(words) && error.contains("settings.json"), "{error}");
        }
        assert_eq!(fs::read_to_string(&path).expect("settings"), text);
    }
    // As trees were before there was a format.
    fs::write(&path, whole.replace("  \"format\": 1,\n", "")).expect("settings");
    opened(folder.path(), None).expect("an old tree");
}
