// SPDX-License-Identifier: MPL-2.0

//! Lists for a converted tree: the same lines, with the names that the converted clips have.

use std::collections::HashMap;

use super::names::{class_key, folded, is_video, stem};
use super::text::{decoded, parts, path_range, utf8};

/// A list in which clips have the names of what was made of them. `outputs` has the converted clips by the names of
/// theirs, both with `/` below their folders; other videos get `extension`. Line ends and what follows a name stay.
/// HMDB-51's lists are of one class, `class`.
pub fn rewrite(bytes: &[u8], class: Option<&str>, outputs: &HashMap<String, String>, extension: &str) -> Vec<u8> {
    let known = by_name(outputs);
    let bytes = utf8(bytes);
    let mut text = String::new();
    for raw in bytes.split_inclusive(|b| [b'\n', b'\r'].contains(b)) {
        let (line, _) = decoded(raw);
        let (range, _) = path_range(&line);
        match renamed(&line[range.clone()], class, &known, extension) {
            Some(name) => {
                text += &line[..range.start];
                text += &name;
                text += &line[range.end..];
            }
            None => text += &line,
        }
    }
    text.into_bytes()
}

/// What the spellings of a clip's path have in common; what is spelt exactly is looked for first.
fn keys(class: &str, file: &str) -> [String; 3] {
    let key = class_key(class);
    [format!("{class}/{file}"), format!("{key}/{}", folded(file)), format!("{key}/{}", folded(stem(file)))]
}

fn by_name(outputs: &HashMap<String, String>) -> HashMap<String, &str> {
    let mut known = HashMap::new();
    let mut sorted: Vec<(&String, &String)> = outputs.iter().collect();
    sorted.sort();
    for exactness in 0..3 {
        for (clip, output) in &sorted {
            let (class, file) = clip.split_once('/').unwrap_or(("", clip));
            let key = keys(class, file).into_iter().nth(exactness);
            known.entry(key.unwrap_or_default()).or_insert(output.as_str());
        }
    }
    known
}

fn renamed(path: &str, class: Option<&str>, known: &HashMap<String, &str>, extension: &str) -> Option<String> {
    let parts = parts(path);
    let (file, folders) = parts.split_last()?;
    if !is_video(file) {
        return None;
    }
    let of = class.or(folders.last().copied()).unwrap_or_default();
    let output = keys(of, file).iter().find_map(|key| known.get(key).copied());
    let renamed = format!("{}.{extension}", stem(file));
    Some(match (output, class, folders.last()) {
        (Some(output), Some(_), _) => output.rsplit('/').next().unwrap_or(output).to_owned(),
        (Some(output), None, _) => output.to_owned(),
        (None, None, Some(folder)) => format!("{folder}/{renamed}"),
        (None, _, _) => renamed,
    })
}
