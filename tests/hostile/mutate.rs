// SPDX-License-Identifier: MPL-2.0

//! Every kind of mutation.

use std::path::Path;

use crate::archive::{self, Member, deflated, directory, stored};
use crate::draw::Draw;
use crate::{code, pickle};

/// A whole model.
pub struct Original {
    bytes: Vec<u8>,
    members: Vec<Member>,
}

impl Original {
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).expect("an embedded model");
        Self { members: archive::members(&bytes), bytes }
    }
}

type Mutation = fn(&Original, &mut Draw) -> Vec<u8>;

/// The kinds, and how often each is drawn among all.
const KINDS: &[(&str, usize, Mutation)] = &[
    ("bytes", 6, bytes),
    ("cut", 3, cut),
    ("directory", 10, in_directory),
    ("block", 3, block),
    ("members", 8, swapped),
    ("member-length", 8, of_length),
    ("pickle", 10, |o, d| in_pickle(o, d, pickle::mutated)),
    ("pickle-number", 12, |o, d| in_pickle(o, d, pickle::with_number)),
    ("pickle-depth", 4, |o, d| in_pickle(o, d, pickle::nested)),
    ("code", 12, |o, d| in_code(o, d, code::mutated)),
    ("code-lines", 5, |o, d| in_code(o, d, code::with_lines)),
    ("code-number", 6, |o, d| in_code(o, d, code::with_number)),
    ("code-depth", 4, |o, d| in_code(o, d, code::nested)),
    ("version", 2, version),
    ("metadata", 6, metadata),
    ("weights", 3, weights),
    ("extra", 3, extra),
    ("bomb", 1, bomb),
];

/// A mutation of any kind.
pub fn any(original: &Original, draw: &mut Draw) -> (&'static str, Vec<u8>) {
    let mut at = draw.within(0..KINDS.iter().map(|(_, share, _)| share).sum());
    for (name, share, mutation) in KINDS {
        if at < *share {
            return (name, mutation(original, draw));
        }
        at -= share;
    }
    unreachable!("the shares were summed up");
}

/// One of a kind.
pub fn of(original: &Original, kind: &str, draw: &mut Draw) -> Vec<u8> {
    let found = KINDS.iter().find(|(name, ..)| *name == kind);
    found.expect("a kind of mutation").2(original, draw)
}

/// Whether such a mutation changes what the model's code does: that libtorch runs it is what the model is for.
pub fn is_a_program(kind: &str) -> bool {
    ["code", "code-lines", "code-number"].contains(&kind)
}

fn bytes(original: &Original, draw: &mut Draw) -> Vec<u8> {
    let mut bytes = original.bytes.clone();
    for _ in 0..1 + draw.within(0..8) {
        let at = draw.within(0..bytes.len());
        bytes[at] = draw.byte();
    }
    bytes
}

fn cut(original: &Original, draw: &mut Draw) -> Vec<u8> {
    original.bytes[..draw.within(0..original.bytes.len())].to_vec()
}

/// Sizes, offsets, sums, names and flags of members, and where the directory is.
fn in_directory(original: &Original, draw: &mut Draw) -> Vec<u8> {
    let mut bytes = original.bytes.clone();
    let from = directory(&bytes);
    for _ in 0..1 + draw.within(0..3) {
        // The last record says where the others are.
        let from = if draw.once_in(4) { bytes.len().saturating_sub(22) } else { from };
        let at = draw.within(from..bytes.len() - 4);
        match draw.within(0..3) {
            0 => bytes[at] = draw.byte(),
            1 => bytes[at..at + 4].copy_from_slice(&(draw.extreme() as u32).to_le_bytes()),
            _ => bytes[at..at + 2].copy_from_slice(&(draw.extreme() as u16).to_le_bytes()),
        }
    }
    bytes
}

/// A piece of the file once more or left out.
fn block(original: &Original, draw: &mut Draw) -> Vec<u8> {
    let mut bytes = original.bytes.clone();
    let at = draw.within(0..bytes.len());
    let end = (at + 1 + draw.within(0..4096)).min(bytes.len());
    match draw.once_in(2) {
        true => drop(bytes.drain(at..end)),
        false => {
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
    }
    bytes
}

/// Members left out, under each other's names, or there twice.
fn swapped(original: &Original, draw: &mut Draw) -> Vec<u8> {
    let mut members = original.members.clone();
    let (at, other) = (draw.within(0..members.len()), draw.within(0..members.len()));
    match draw.within(0..5) {
        0 => drop(members.remove(at)),
        1 => members[at].1 = original.members[other].1.clone(),
        2 => {
            let again = (original.members[at].0.clone(), original.members[other].1.clone());
            members.insert(draw.within(0..members.len()), again);
        }
        3 => members[at].0 = original.members[other].0.clone() + *draw.pick::<&str>(&["", "/", "\0", "x"]),
        _ => {
            let root = *draw.pick(&["", "/", "../", "other/", "\u{e4}/"]);
            let name = &original.members[at].0;
            members[at].0 = root.to_owned() + name.split_once('/').map_or(name.as_str(), |(_, below)| below);
        }
    }
    stored(&members)
}

/// Members that are shorter or longer than the pickles say.
fn of_length(original: &Original, draw: &mut Draw) -> Vec<u8> {
    let mut members = original.members.clone();
    for _ in 0..1 + draw.within(0..3) {
        let at = draw.within(0..members.len());
        let member = &mut members[at].1;
        match draw.within(0..3) {
            0 => member.clear(),
            1 => member.truncate(draw.within(0..member.len())),
            _ => member.extend(vec![draw.byte(); 1 + draw.within(0..4096)]),
        }
    }
    stored(&members)
}

fn change(original: &Original, draw: &mut Draw, end: &str, with: impl FnOnce(&[u8], &mut Draw) -> Vec<u8>) -> Vec<u8> {
    let mut members = original.members.clone();
    let member = members.iter_mut().find(|(name, _)| name.ends_with(end)).expect("a member");
    member.1 = with(&member.1, draw);
    stored(&members)
}

fn in_pickle(original: &Original, draw: &mut Draw, with: fn(&[u8], &mut Draw) -> Vec<u8>) -> Vec<u8> {
    let end = if draw.once_in(5) { "/data.pkl" } else { "/constants.pkl" };
    change(original, draw, end, with)
}

fn in_code(original: &Original, draw: &mut Draw, with: fn(&str, &mut Draw) -> String) -> Vec<u8> {
    change(original, draw, ".py", |code, draw| with(&String::from_utf8_lossy(code), draw).into_bytes())
}

fn version(original: &Original, draw: &mut Draw) -> Vec<u8> {
    let end = *draw.pick(&["/version", "/byteorder", "/.data/serialization_id"]);
    change(original, draw, end, |_, draw| match draw.within(0..3) {
        0 => draw.extreme().to_string().into_bytes(),
        1 => b"big".to_vec(),
        _ => (0..draw.within(0..40)).map(|_| draw.byte()).collect(),
    })
}

fn metadata(original: &Original, draw: &mut Draw) -> Vec<u8> {
    change(original, draw, "/extra/sparseadv.json", |text, draw| {
        let text = String::from_utf8_lossy(text).into_owned();
        match draw.within(0..3) {
            0 => code::with_number(&text, draw).into_bytes(),
            1 => code::mutated(&text, draw).into_bytes(),
            _ => code::with_lines(&text, draw).into_bytes(),
        }
    })
}

/// Numbers that are none, infinite, or as small as they can be.
fn weights(original: &Original, draw: &mut Draw) -> Vec<u8> {
    let mut members = original.members.clone();
    let tensors: Vec<usize> = (0..members.len()).filter(|i| members[*i].0.contains("/constants/")).collect();
    for _ in 0..1 + draw.within(0..4) {
        let member = &mut members[*draw.pick(&tensors)].1;
        let value = *draw.pick(&[f32::NAN, f32::INFINITY, f32::MAX, f32::MIN_POSITIVE / 2.0, 0.0, -1.0]);
        let from = draw.within(0..member.len()) / 4 * 4;
        let count = if draw.once_in(2) { 1 } else { member.len() };
        member[from..].chunks_exact_mut(4).take(count).for_each(|v| v.copy_from_slice(&value.to_le_bytes()));
    }
    stored(&members)
}

/// Members that no exporter writes, under names that libtorch looks for.
fn extra(original: &Original, draw: &mut Draw) -> Vec<u8> {
    let root = original.members[0].0.split('/').next().unwrap_or_default().to_owned();
    let name = *draw.pick(&[
        "code/__torch__.py.debug_pkl",
        "attributes.pkl",
        "bytecode.pkl",
        "mobile_debug_handles.pkl",
        "constants/0",
        "code/__torch__/other.py",
        "data/0",
    ]);
    let content = match draw.within(0..3) {
        0 => (0..draw.within(0..200)).map(|_| draw.byte()).collect(),
        1 => pickle::mutated(
            &original.members.iter().find(|(name, _)| name.ends_with("constants.pkl")).expect("one").1,
            draw,
        ),
        _ => b"class A(Module):\n  def f(self: __torch__.A) -> int:\n    return 1\n".to_vec(),
    };
    let mut members = original.members.clone();
    members.insert(draw.within(0..members.len()), (format!("{root}/{name}"), content));
    stored(&members)
}

/// A member that is packed, and a thousand times as large as its archive.
fn bomb(original: &Original, draw: &mut Draw) -> Vec<u8> {
    let mut members = original.members.clone();
    members.retain(|(name, _)| !name.contains("/constants/"));
    let end = *draw.pick(&["/extra/sparseadv.json", ".py", "/data.pkl", "/constants.pkl", "/version"]);
    let member = members.iter_mut().find(|(name, _)| name.ends_with(end)).expect("a member");
    member.1.extend(vec![b' '; (16 << 20) << draw.within(0..4)]);
    deflated(&members)
}
