// SPDX-License-Identifier: MPL-2.0

//! Mutations of pickles, in which archives say what their objects and tensors are.

use crate::draw::Draw;

/// Opcodes that libtorch knows, and a few that it does not.
const OPCODES: &[u8] = b"\x80\x81\x85\x86\x87\x88\x89\x8a\x8c\x93\x94\x95()0NIJKMLXUVGclotdeaubsqrhjQR.]}p2";

/// One of the changes below.
pub fn mutated(pickle: &[u8], draw: &mut Draw) -> Vec<u8> {
    let mut bytes = pickle.to_vec();
    for _ in 0..1 + draw.within(0..3) {
        let at = draw.within(0..bytes.len());
        match draw.within(0..5) {
            0 => bytes[at] = *draw.pick(OPCODES),
            1 => bytes.insert(at, *draw.pick(OPCODES)),
            2 => drop(bytes.remove(at)),
            3 => bytes[at] = draw.byte(),
            _ => {
                let end = (at + 1 + draw.within(0..40)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

/// Another number in the place of one: lengths of storages, offsets, sizes and strides.
pub fn with_number(pickle: &[u8], draw: &mut Draw) -> Vec<u8> {
    let mut bytes = pickle.to_vec();
    for _ in 0..1 + draw.within(0..2) {
        let places = numbers(&bytes);
        if places.is_empty() {
            return bytes;
        }
        let &(at, length) = draw.pick(&places);
        bytes.splice(at..at + length, number(draw.extreme()));
    }
    bytes
}

/// Values in values, in place of the last one.
pub fn nested(pickle: &[u8], draw: &mut Draw) -> Vec<u8> {
    let depth = 1 << (4 + draw.within(0..14));
    let (open, close) = *draw.pick(&[("(", "t"), ("](", "e"), ("", "\u{1}"), ("}", ""), ("]", "")]);
    // TUPLE1, of one byte.
    let close = if close == "\u{1}" { &b"\x85"[..] } else { close.as_bytes() };
    let mut bytes = pickle.strip_suffix(b".").unwrap_or(pickle).to_vec();
    bytes.extend(open.as_bytes().repeat(depth));
    bytes.extend(if draw.once_in(2) { &b"N"[..] } else { b"]" });
    bytes.extend(close.repeat(depth));
    bytes.push(b'.');
    bytes
}

/// BININT, or LONG1 where that is too small.
fn number(n: i64) -> Vec<u8> {
    match i32::try_from(n) {
        Ok(n) => [&b"J"[..], &n.to_le_bytes()].concat(),
        Err(_) => [&b"\x8a\x08"[..], &n.to_le_bytes()].concat(),
    }
}

/// Where numbers stand, with their opcodes, and how long they are. A pickle is read from its beginning: an operand may
/// look like an opcode.
fn numbers(bytes: &[u8]) -> Vec<(usize, usize)> {
    let (mut at, mut found) = (0, Vec::new());
    while let Some(opcode) = bytes.get(at) {
        let byte = |n: usize| bytes.get(at + n).map_or(0, |b| usize::from(*b));
        let line = |from: usize| bytes[from..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |n| from + n + 1);
        let length = match opcode {
            b'K' => 2,
            b'M' => 3,
            b'J' => 5,
            0x8a => 2 + byte(1),
            0x80 | b'q' | b'h' => 2,
            b'r' | b'j' => 5,
            b'G' => 9,
            b'X' => 5 + byte(1) + (byte(2) << 8) + (byte(3) << 16) + (byte(4) << 24),
            b'U' | 0x8c => 2 + byte(1),
            b'c' => line(line(at + 1).min(bytes.len())) - at,
            _ => 1,
        };
        if b"KMJ\x8a".contains(opcode) && at + length <= bytes.len() {
            found.push((at, length));
        }
        at += length;
    }
    found
}
