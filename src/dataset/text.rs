// SPDX-License-Identifier: MPL-2.0

//! Lists as people save them: byte order marks, UTF-16, Latin-1, line ends of all systems, tabs, quotes, and paths of
//! other machines.

use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;

use super::names::{display, is_video};

/// A line's text, and whether it was taken for Latin-1 as it is not UTF-8.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// From 1.
    pub number: usize,
    pub text: String,
    pub latin1: bool,
}

/// The lines of a list, whatever it is encoded in, without blanks at their ends. Empty ones and comments are left out.
pub fn lines(bytes: &[u8]) -> Vec<Line> {
    let bytes = utf8(bytes);
    let mut lines = Vec::new();
    for (number, raw) in raw_lines(&bytes).enumerate() {
        let (text, latin1) = decoded(raw);
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}' || c == '\0');
        if !text.is_empty() && !is_comment(text) {
            lines.push(Line { number: number + 1, text: text.to_owned(), latin1 });
        }
    }
    lines
}

/// HMDB-51 has files such as `#20_(HQ)_Rhythm_clap_u_nm_np1_fr_goo_0.avi`.
fn is_comment(text: &str) -> bool {
    ["#", "//"].iter().any(|mark| text.starts_with(mark)) && !is_video(path_in(text).0)
}

/// The bytes without a mark, UTF-16 as UTF-8.
pub fn utf8(bytes: &[u8]) -> Vec<u8> {
    if let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        return rest.to_vec();
    }
    let unit: Option<fn([u8; 2]) -> u16> = match bytes {
        [0xff, 0xfe, ..] => Some(u16::from_le_bytes),
        [0xfe, 0xff, ..] => Some(u16::from_be_bytes),
        // Without a mark: the names begin in ASCII.
        [first, 0, ..] if *first != 0 => Some(u16::from_le_bytes),
        [0, second, ..] if *second != 0 => Some(u16::from_be_bytes),
        _ => None,
    };
    let Some(unit) = unit else { return bytes.to_vec() };
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    let text = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
    text.filter(|c| *c != '\u{feff}').collect::<String>().into_bytes()
}

/// Lines that end in `\n`, `\r\n` or `\r`.
fn raw_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut after_return = false;
    let mut lines = Vec::new();
    let mut start = 0;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' if after_return => start = at + 1,
            b'\n' | b'\r' => {
                lines.push(&bytes[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        after_return = *byte == b'\r';
    }
    lines.push(&bytes[start..]);
    lines.into_iter()
}

pub fn decoded(raw: &[u8]) -> (String, bool) {
    match std::str::from_utf8(raw) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (raw.iter().map(|b| char::from(*b)).collect(), true),
    }
}

/// How the names of a Latin-1 line's files are displayed if the folders have them in Latin-1 too.
pub fn as_bytes(text: &str) -> Option<String> {
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    Some(display(OsStr::from_bytes(&bytes?)))
}

/// The path in a line, without its quotes, and what follows it: a number, or nothing.
pub fn path_in(line: &str) -> (&str, &str) {
    let (range, rest) = path_range(line);
    (&line[range], rest)
}

/// Where in a line its path is, and what follows it. Paths may have blanks.
pub fn path_range(line: &str) -> (Range<usize>, &str) {
    let separator = |c: char| c.is_whitespace() || c == ',' || c == ';';
    let start = line.len() - line.trim_start_matches(separator).len();
    let line = line.trim_end_matches(separator);
    let text = line.get(start..).unwrap_or_default();
    for quote in ['"', '\''] {
        if let Some((path, rest)) = text.strip_prefix(quote).and_then(|inner| inner.split_once(quote)) {
            let from = start + 1;
            return (from..from + path.len(), rest.trim_matches(separator));
        }
    }
    let last = text.rsplit(separator).next().unwrap_or_default();
    let path = text[..text.len() - last.len()].trim_end_matches(separator);
    let is_number = !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    if is_number && !path.is_empty() {
        return (start..start + path.len(), last);
    }
    (start..start + text.len(), "")
}

/// The parts of a path as any system writes it.
pub fn parts(path: &str) -> Vec<&str> {
    path.split(['/', '\\']).filter(|part| !part.is_empty() && *part != ".").collect()
}
