// SPDX-License-Identifier: MPL-2.0

//! A look into a TorchScript archive before libtorch gets it: what it is, and its metadata. The archive is a zip;
//! `_extra_files` are the members `<root>/extra/<name>`.

use std::fs::File;
use std::io::{Cursor, Read, Seek};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::kind::{self, Found};
use super::members::{METADATA_BYTES, Members};
use super::{Error, Metadata, nesting};
use crate::files;

/// Fields of the metadata without a neutral default: a wrong one shows the model something else.
const ESSENTIAL: [&str; 3] = ["window", "resize", "crop"];

/// The most bytes of a program that is no classifier. An agent has one million.
const PROGRAM_BYTES: u64 = 256 << 20;

/// Where a model's metadata came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The file `model.pt.json`.
    Sidecar,
    Archive,
    /// Neither was there: C3D's usual values.
    Defaults,
}

/// What there is to know of an archive without running it.
pub(super) struct Archive {
    pub metadata: Metadata,
    pub origin: Origin,
    /// The essential fields that the metadata leave to their defaults.
    pub guessed: Vec<&'static str>,
    /// Of the whole file, in hexadecimal.
    pub sha256: String,
    /// The TorchScript code, all modules in one text.
    pub code: String,
    /// The whole file, where it had to be a certain one.
    pub bytes: Option<Arc<[u8]>>,
}

/// The file, or its bytes where they were compared: what is loaded then is what was compared, whatever becomes of the file.
trait Source: Read + Seek {}

impl<T: Read + Seek> Source for T {}

type Opened = Members<Box<dyn Source>>;

/// Checks that `path` is a TorchScript archive and reads its metadata.
pub fn read_metadata(path: &Path) -> Result<(Metadata, Origin), Error> {
    let (metadata, origin, _) = metadata_of(path, &mut open(path)?)?;
    Ok((metadata, origin))
}

/// The same, and more of it. Where a SHA-256 is expected no other file is looked into.
pub(super) fn read(path: &Path, expected: Option<&str>) -> Result<Archive, Error> {
    let bytes = expected.map(|expected| read_exactly(path, expected)).transpose()?;
    let mut members = match &bytes {
        Some(bytes) => Members::open(path, Box::new(Cursor::new(bytes.clone())) as Box<dyn Source>)?,
        None => open(path)?,
    };
    let (metadata, origin, guessed) = metadata_of(path, &mut members)?;
    let code = checked_code(path, &mut members)?;
    let mut source = members.into_source();
    let mut hash = Sha256::new();
    source.rewind().and_then(|()| std::io::copy(&mut source, &mut hash)).map_err(|e| unreadable(path, &e))?;
    Ok(Archive { metadata, origin, guessed, sha256: format!("{:x}", hash.finalize()), code, bytes })
}

/// A TorchScript archive that is no classifier: its bytes, which were looked into as those of one are, and its code.
pub(super) fn read_program(path: &Path) -> Result<(Vec<u8>, String), Error> {
    regular(path)?;
    let bytes = files::read_at_most(path, PROGRAM_BYTES).map_err(|e| unreadable(path, &e))?;
    let mut members = Members::open(path, Cursor::new(&bytes[..]))?;
    let code = checked_code(path, &mut members)?;
    Ok((bytes, code))
}

/// The code of an archive that says nothing of itself that is not so.
fn checked_code(path: &Path, members: &mut Members<impl Read + Seek>) -> Result<String, Error> {
    let code = members.code()?;
    members.check()?;
    nesting::check(&code).map_err(|found| {
        let path = path.display().to_string();
        Error::Damaged { member: "the code".into(), path, found }
    })?;
    Ok(code)
}

/// The bytes of a file, if they have this SHA-256.
fn read_exactly(path: &Path, expected: &str) -> Result<Arc<[u8]>, Error> {
    regular(path)?;
    let bytes = std::fs::read(path).map_err(|e| unreadable(path, &e))?;
    let found = format!("{:x}", Sha256::digest(&bytes));
    if found == expected {
        return Ok(bytes.into());
    }
    Err(Error::OtherFile { path: path.display().to_string(), expected: expected.into(), found })
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Unreadable { path: path.display().to_string(), reason: error.to_string() }
}

/// Refuses what is no file with something in it.
fn regular(path: &Path) -> Result<(), Error> {
    let unreadable = |e: std::io::Error| unreadable(path, &e);
    let other = |found: Found| Error::NotTorchScript { path: path.display().to_string(), found };
    // Before it is opened: to open a pipe that nobody writes to waits for ever.
    let about = std::fs::metadata(path).map_err(unreadable)?;
    if about.is_dir() {
        let entries = std::fs::read_dir(path).map_err(unreadable)?;
        let names = entries.filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into()));
        return Err(other(kind::of_directory(&names.collect::<Vec<String>>())));
    }
    if !about.is_file() {
        return Err(other(kind::SPECIAL));
    }
    if about.len() == 0 { Err(other(kind::EMPTY)) } else { Ok(()) }
}

/// What a file has in it, if that is a TorchScript archive.
fn open(path: &Path) -> Result<Opened, Error> {
    regular(path)?;
    let file = File::open(path).map_err(|e| unreadable(path, &e))?;
    Members::open(path, Box::new(file))
}

/// The metadata, where they came from, and which essential fields they lack.
fn metadata_of(path: &Path, members: &mut Opened) -> Result<(Metadata, Origin, Vec<&'static str>), Error> {
    let sidecar = sidecar_path(path);
    if sidecar.exists() {
        let origin = sidecar.display().to_string();
        let text = files::read_at_most(&sidecar, METADATA_BYTES)
            .map_err(|e| Error::Metadata { origin: origin.clone(), reason: e.to_string() })?;
        let metadata = Metadata::from_json(&text, &origin)?;
        return Ok((metadata, Origin::Sidecar, missing(&text)));
    }
    let Some(text) = members.metadata()? else {
        return Ok((Metadata::default(), Origin::Defaults, ESSENTIAL.to_vec()));
    };
    let metadata = Metadata::from_json(&text, &path.display().to_string())?;
    Ok((metadata, Origin::Archive, missing(&text)))
}

fn missing(text: &[u8]) -> Vec<&'static str> {
    let fields: serde_json::Value = serde_json::from_slice(text).unwrap_or_default();
    let missing = |field: &&str| fields.get(field).is_none();
    ESSENTIAL.into_iter().filter(missing).collect()
}

/// Where the metadata of a model may lie beside it.
pub fn sidecar_path(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".json");
    name.into()
}
