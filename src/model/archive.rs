// SPDX-License-Identifier: MPL-2.0

//! A look into a TorchScript archive before libtorch gets it: what it is, and its metadata. The archive is a zip;
//! `_extra_files` are the members `<root>/extra/<name>`.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::kind::{self, Found};
use super::{Error, Metadata};

/// Name of the metadata member and, appended to the model's path, of the sidecar file.
const MEMBER: &str = "sparseadv.json";

/// Fields of the metadata without a neutral default: a wrong one shows the model something else.
const ESSENTIAL: [&str; 3] = ["window", "resize", "crop"];

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
}

type Zip = zip::ZipArchive<File>;

/// Checks that `path` is a TorchScript archive and reads its metadata.
pub fn read_metadata(path: &Path) -> Result<(Metadata, Origin), Error> {
    let (_, mut zip) = open(path)?;
    let (metadata, origin, _) = metadata_of(path, &mut zip)?;
    Ok((metadata, origin))
}

pub(super) fn read(path: &Path) -> Result<Archive, Error> {
    let (mut file, mut zip) = open(path)?;
    let (metadata, origin, guessed) = metadata_of(path, &mut zip)?;
    let mut code = String::new();
    let names: Vec<String> = names(&zip);
    for name in names.iter().filter(|n| n.ends_with(".py")) {
        // Code that cannot be read is libtorch's to refuse.
        if let Ok(mut member) = zip.by_name(name) {
            let _ = member.read_to_string(&mut code);
        }
    }
    let mut hash = Sha256::new();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| std::io::copy(&mut file, &mut hash))
        .map_err(|e| unreadable(path, &e))?;
    Ok(Archive { metadata, origin, guessed, sha256: format!("{:x}", hash.finalize()), code })
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Unreadable { path: path.display().to_string(), reason: error.to_string() }
}

/// The file and the zip in it, if that is a TorchScript archive.
fn open(path: &Path) -> Result<(File, Zip), Error> {
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
    let mut file = File::open(path).map_err(unreadable)?;
    if about.len() == 0 {
        return Err(other(kind::EMPTY));
    }
    let mut head = Vec::new();
    (&mut file).take(kind::HEAD as u64).read_to_end(&mut head).map_err(unreadable)?;
    let again = file.try_clone().map_err(unreadable)?;
    let zip = zip::ZipArchive::new(again).map_err(|_| other(kind::of_bytes(&head)))?;
    let names = names(&zip);
    let scripted = |n: &String| n.ends_with("/constants.pkl") || n.contains("/code/");
    if names.iter().any(scripted) { Ok((file, zip)) } else { Err(other(kind::of_members(&names))) }
}

fn names(zip: &Zip) -> Vec<String> {
    zip.file_names().map(str::to_string).collect()
}

/// The metadata, where they came from, and which essential fields they lack.
fn metadata_of(path: &Path, zip: &mut Zip) -> Result<(Metadata, Origin, Vec<&'static str>), Error> {
    let sidecar = sidecar_path(path);
    if sidecar.exists() {
        let origin = sidecar.display().to_string();
        let text =
            std::fs::read(&sidecar).map_err(|e| Error::Metadata { origin: origin.clone(), reason: e.to_string() })?;
        let metadata = Metadata::from_json(&text, &origin)?;
        return Ok((metadata, Origin::Sidecar, missing(&text)));
    }
    let suffix = format!("/extra/{MEMBER}");
    let Some(name) = names(zip).into_iter().find(|n| n.ends_with(&suffix)) else {
        return Ok((Metadata::default(), Origin::Defaults, ESSENTIAL.to_vec()));
    };
    let mut text = Vec::new();
    let member = zip.by_name(&name);
    member.map_err(|e| unreadable(path, &e))?.read_to_end(&mut text).map_err(|e| unreadable(path, &e))?;
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
