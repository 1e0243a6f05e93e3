// SPDX-License-Identifier: MPL-2.0

//! A look into a TorchScript archive before libtorch gets it: what it is, and its metadata. The archive is a zip; `_extra_files` are the
//! members `<root>/extra/<name>`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::{Error, Metadata};

/// Name of the metadata member and, appended to the model's path, of the sidecar file.
const MEMBER: &str = "sparseadv.json";

/// Where a model's metadata came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The file `model.pt.json`.
    Sidecar,
    Archive,
    /// Neither was there: C3D's usual values.
    Defaults,
}

/// Checks that `path` is a TorchScript archive and reads its metadata.
pub fn read_metadata(path: &Path) -> Result<(Metadata, Origin), Error> {
    let shown = path.display().to_string();
    let unreadable = |e: &dyn std::fmt::Display| Error::Unreadable {
        path: shown.clone(),
        reason: e.to_string(),
    };
    let not_torchscript = |found: &str| Error::NotTorchScript {
        path: shown.clone(),
        found: found.into(),
    };
    if path.is_dir() {
        return Err(not_torchscript("a directory"));
    }
    let file = File::open(path).map_err(|e| unreadable(&e))?;
    if file.metadata().map_err(|e| unreadable(&e))?.len() == 0 {
        return Err(not_torchscript("an empty file"));
    }
    let mut archive = zip::ZipArchive::new(file)
        .map_err(|_| not_torchscript("a file that is no zip archive, or a truncated one"))?;
    let names: Vec<String> = archive.file_names().map(str::to_string).collect();
    if !names
        .iter()
        .any(|n| n.ends_with("/constants.pkl") || n.contains("/code/"))
    {
        let found = if names.iter().any(|n| n.ends_with("data.pkl")) {
            "a state_dict or pickled module (torch.save) without code"
        } else {
            "a zip archive of something else"
        };
        return Err(not_torchscript(found));
    }
    let sidecar = sidecar_path(path);
    if sidecar.exists() {
        let text = std::fs::read(&sidecar).map_err(|e| Error::Metadata {
            origin: sidecar.display().to_string(),
            reason: e.to_string(),
        })?;
        let metadata = Metadata::from_json(&text, &sidecar.display().to_string())?;
        return Ok((metadata, Origin::Sidecar));
    }
    let suffix = format!("/extra/{MEMBER}");
    let Some(name) = names.iter().find(|n| n.ends_with(&suffix)) else {
        return Ok((Metadata::default(), Origin::Defaults));
    };
    let mut text = Vec::new();
    let member = archive.by_name(name);
    member
        .map_err(|e| unreadable(&e))?
        .read_to_end(&mut text)
        .map_err(|e| unreadable(&e))?;
    Ok((Metadata::from_json(&text, &shown)?, Origin::Archive))
}

fn sidecar_path(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".json");
    name.into()
}
