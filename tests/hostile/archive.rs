// SPDX-License-Identifier: MPL-2.0

//! Archives taken apart and put together again, also such as no program writes.

use std::io::{Cursor, Read, Write};

use zip::write::FileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

/// A member by its name.
pub type Member = (String, Vec<u8>);

pub fn members(bytes: &[u8]) -> Vec<Member> {
    let mut zip = ZipArchive::new(Cursor::new(bytes)).expect("an archive");
    let mut members = Vec::new();
    for index in 0..zip.len() {
        let mut member = zip.by_index(index).expect("a member");
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).expect("a member");
        members.push((member.name().to_owned(), bytes));
    }
    members
}

/// As PyTorch packs: members as they are, whose sums are right.
pub fn stored(members: &[Member]) -> Vec<u8> {
    pack(members, CompressionMethod::Stored)
}

pub fn deflated(members: &[Member]) -> Vec<u8> {
    pack(members, CompressionMethod::Deflated)
}

fn pack(members: &[Member], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = FileOptions::default().compression_method(method).last_modified_time(DateTime::default());
    for (name, bytes) in members {
        zip.start_file(name, options).expect("a member");
        zip.write_all(bytes).expect("a member");
    }
    zip.finish().expect("an archive").into_inner()
}

/// Where an archive's directory begins, by its end.
pub fn directory(bytes: &[u8]) -> usize {
    let end = bytes.windows(4).rposition(|four| four == b"PK\x05\x06").expect("the end of an archive");
    let at = bytes[end + 16..end + 20].try_into().expect("four bytes");
    u32::from_le_bytes(at) as usize
}
