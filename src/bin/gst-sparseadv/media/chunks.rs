// SPDX-License-Identifier: MPL-2.0

//! Whether an AVI file holds the frames its header counts. The sizes of its lists are often wrong in files that play
//! well, so that none is believed; those of the chunks are.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use super::look::Structure;

pub fn avi(file: &mut File, length: u64) -> io::Result<Structure> {
    let mut structure = Structure::default();
    let mut reader = BufReader::new(file);
    let mut walk = Walk::default();
    let mut riff = 0;
    let mut at = 0;
    // Until nothing, or less than a chunk's header, is left.
    while let Some((kind, size)) = chunk(&mut reader, at, length)? {
        if &kind == b"RIFF" {
            riff = size;
        }
        if [b"RIFF", b"LIST"].contains(&&kind) {
            at += 12;
            continue;
        }
        if !kind.iter().all(|b| b.is_ascii_graphic() || *b == b' ') {
            // What lies here is no chunk: the frames cannot be counted, only decoded.
            walk.lost = true;
            break;
        }
        let body = at + 8;
        walk.chunk(&mut reader, kind, body, size.into(), length)?;
        at = body + u64::from(size) + u64::from(size & 1);
    }
    let stated = walk.stated.filter(|n| *n > 0 && *n < length);
    // A frame of no bytes repeats the one before, and no decoder gives it.
    structure.frames = stated.map(|n| n.saturating_sub(walk.repeated));
    if stated.is_some_and(|stated| !walk.lost && walk.frames < stated) {
        let end = 8 + u64::from(riff);
        structure.cut = Some((end, length));
    }
    structure.counts = true;
    Ok(structure)
}

#[derive(Default)]
struct Walk {
    streams: u32,
    video: Option<u32>,
    /// Frames of the video stream, by its header.
    stated: Option<u64>,
    frames: u64,
    repeated: u64,
    lost: bool,
}

impl Walk {
    fn chunk(
        &mut self,
        reader: &mut BufReader<&mut File>,
        kind: [u8; 4],
        body: u64,
        size: u64,
        length: u64,
    ) -> io::Result<()> {
        if &kind == b"strh" {
            let mut header = [0; 36];
            if body + 36 <= length {
                reader.seek(SeekFrom::Start(body))?;
                reader.read_exact(&mut header)?;
            }
            if self.video.is_none() && header.starts_with(b"vids") {
                let [.., a, b, c, d] = header;
                self.video = Some(self.streams);
                self.stated = Some(u32::from_le_bytes([a, b, c, d]).into());
            }
            self.streams += 1;
        }
        let [a, b, c, d] = kind;
        let stream = match (char::from(a).to_digit(10), char::from(b).to_digit(10)) {
            (Some(tens), Some(ones)) => Some(10 * tens + ones),
            _ => None,
        };
        let is_frame = [*b"dc", *b"db"].contains(&[c, d].map(|b| b.to_ascii_lowercase()));
        if is_frame && stream.is_some() && stream == self.video && body + size <= length {
            self.frames += 1;
            self.repeated += u64::from(size == 0);
        }
        Ok(())
    }
}

fn chunk(reader: &mut BufReader<&mut File>, at: u64, length: u64) -> io::Result<Option<([u8; 4], u32)>> {
    if at + 8 > length {
        return Ok(None);
    }
    // Relative: what is buffered already is not read again.
    let here = reader.stream_position()?;
    reader.seek_relative(at as i64 - here as i64)?;
    let mut head = [0; 8];
    reader.read_exact(&mut head)?;
    let [a, b, c, d, size @ ..] = head;
    Ok(Some(([a, b, c, d], u32::from_le_bytes(size))))
}
