// SPDX-License-Identifier: MPL-2.0

//! Whether a file of boxes, MP4 or Matroska, reaches as far as its boxes say.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use super::look::Structure;

/// MP4, QuickTime and 3GP.
pub fn iso(file: &mut File, length: u64) -> io::Result<Structure> {
    let mut structure = Structure::default();
    let (mut at, mut index) = (0, false);
    while let Some((kind, body, end)) = iso_box(file, at, length)? {
        // Anything may follow the last box.
        if !kind.iter().all(u8::is_ascii_graphic) {
            break;
        }
        if &kind == b"moov" {
            index = true;
            structure.frames = samples(file, body, end.min(length))?;
        }
        let needed = [b"moov", b"mdat", b"moof"].contains(&&kind);
        if needed && end > length {
            structure.cut = Some((end, length));
        }
        index |= &kind == b"moof";
        at = end;
    }
    if !index {
        structure.fault = Some("the file has no index (moov), it is damaged or was cut off while it was written");
    }
    Ok(structure)
}

/// Kind, beginning of the body and end of the box at a place; the end may lie behind that of the file.
fn iso_box(file: &mut File, at: u64, length: u64) -> io::Result<Option<([u8; 4], u64, u64)>> {
    let mut head = [0; 16];
    // A box may say that it ends at the end of all numbers.
    if at.saturating_add(8) > length {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(at))?;
    let wide = at + 16 <= length;
    file.read_exact(&mut head[..if wide { 16 } else { 8 }])?;
    let [s0, s1, s2, s3, k0, k1, k2, k3, large @ ..] = head;
    let kind = [k0, k1, k2, k3];
    let (header, size) = match u32::from_be_bytes([s0, s1, s2, s3]) {
        0 => (8, length - at),
        1 if wide => (16, u64::from_be_bytes(large)),
        size => (8, u64::from(size)),
    };
    if size < header {
        return Ok(None);
    }
    Ok(Some((kind, at + header, at.saturating_add(size))))
}

/// Frames of the first video track.
fn samples(file: &mut File, from: u64, to: u64) -> io::Result<Option<u64>> {
    for track in children(file, from, to, b"trak")? {
        let Some(media) = only(file, track, b"mdia")? else {
            continue;
        };
        let Some(handler) = only(file, media, b"hdlr")? else {
            continue;
        };
        let mut kind = [0; 4];
        file.seek(SeekFrom::Start(handler.0 + 8))?;
        if file.read_exact(&mut kind).is_err() || &kind != b"vide" {
            continue;
        }
        let mut table = Some(media);
        for name in [b"minf", b"stbl", b"stsz"] {
            table = match table {
                Some(parent) => only(file, parent, name)?,
                None => None,
            };
        }
        let Some(table) = table else { return Ok(None) };
        let mut count = [0; 4];
        file.seek(SeekFrom::Start(table.0 + 8))?;
        file.read_exact(&mut count)?;
        // In fragments, the index counts none.
        return Ok(Some(u64::from(u32::from_be_bytes(count))).filter(|n| *n > 0));
    }
    Ok(None)
}

type Span = (u64, u64);

fn only(file: &mut File, (from, to): Span, name: &[u8; 4]) -> io::Result<Option<Span>> {
    Ok(children(file, from, to, name)?.into_iter().next())
}

fn children(file: &mut File, from: u64, to: u64, name: &[u8; 4]) -> io::Result<Vec<Span>> {
    let (mut at, mut found) = (from, Vec::new());
    while let Some((kind, body, end)) = iso_box(file, at, to)? {
        if &kind == name {
            found.push((body, end.min(to)));
        }
        at = end;
    }
    Ok(found)
}

/// Matroska and WebM: the segment's size, if it is known.
pub fn ebml(file: &mut File, length: u64) -> io::Result<Structure> {
    const SEGMENT: u64 = 0x1853_8067;
    let mut structure = Structure::default();
    let mut at = 0;
    for _ in 0..4 {
        let (Some((id, id_length)), Some((size, size_length))) = ({
            let id = number(file, at, length, false)?;
            let size = match id {
                Some((_, n)) => number(file, at + n, length, true)?,
                None => None,
            };
            (id, size)
        }) else {
            return Ok(structure);
        };
        let body = at + id_length + size_length;
        let unknown = size == (1 << (7 * size_length)) - 1;
        if id == SEGMENT {
            if !unknown && body.saturating_add(size) > length {
                structure.cut = Some((body.saturating_add(size), length));
            }
            return Ok(structure);
        }
        if unknown {
            return Ok(structure);
        }
        at = body.saturating_add(size);
    }
    Ok(structure)
}

/// A number of variable length and that length; with or without the bit that marks it.
fn number(file: &mut File, at: u64, length: u64, strip: bool) -> io::Result<Option<(u64, u64)>> {
    let mut bytes = [0; 8];
    if at >= length {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut bytes[..1])?;
    let count = bytes[0].leading_zeros() as usize + 1;
    if count > 8 || at + count as u64 > length {
        return Ok(None);
    }
    file.read_exact(&mut bytes[1..count])?;
    if strip {
        bytes[0] &= (0xffu16 >> count) as u8;
    }
    let value = bytes[..count].iter().fold(0, |n, b| n << 8 | u64::from(*b));
    Ok(Some((value, count as u64)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_box_may_be_as_long_as_a_number_can_say() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"\0\0\0\x01free\xff\xff\xff\xff\xff\xff\xff\xff").expect("a box");
        let structure = iso(&mut file, 16).expect("a structure");
        assert!(structure.fault.is_some_and(|fault| fault.contains("moov")));
    }
}
