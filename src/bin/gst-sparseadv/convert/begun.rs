// SPDX-License-Identifier: MPL-2.0

//! What a tree was begun with, and who is writing it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Serialize};

use super::disk::{FOLDER, damaged, part_of, publish, settings_path};
use super::shard::Shard;
use crate::provenance::{self, Versions};

/// Of what lies in that folder.
const FORMAT: u32 = 1;

/// What made a tree; a conversion goes on only with the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub model: String,
    pub model_sha256: String,
    pub properties: String,
    pub encoder: String,
    pub muxer: String,
    pub extension: String,
    pub min_frames: usize,
    pub threads: usize,
    pub seed: u64,
    #[serde(flatten)]
    pub versions: Versions,
}

impl Settings {
    pub fn digest(&self) -> anyhow::Result<String> {
        Ok(provenance::digest(&serde_json::to_vec(self)?))
    }
}

/// Of the settings that are kept. Trees that were made before it was written have none.
#[derive(Deserialize)]
struct Format {
    #[serde(default)]
    format: u32,
}

/// The settings as they are kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(default)]
    format: u32,
    #[serde(flatten)]
    settings: Settings,
}

/// The settings that a tree was begun with: these, where nobody was before.
pub fn settings(root: &Path, settings: &Settings) -> anyhow::Result<Settings> {
    let path = settings_path(root);
    let kept = Kept { format: FORMAT, settings: settings.clone() };
    // Of two that begin a tree at a time one is first; the other finds its settings.
    if !path.exists() {
        write_first(&path, serde_json::to_string_pretty(&kept)?.as_bytes())?;
    }
    read_settings(&path)
}

/// The settings that a tree was made with.
pub fn read_settings(path: &Path) -> anyhow::Result<Settings> {
    let text = fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => anyhow!(
            "Expected a tree made by gst-sparseadv convert, found no {}. Name the folder that convert wrote.",
            path.display()
        ),
        _ => anyhow!("The settings in {} could not be read: {error}", path.display()),
    })?;
    // The format first: of a newer one the rest may be another.
    let Format { format } = serde_json::from_slice(&text).map_err(damaged(path))?;
    if format > FORMAT {
        bail!(
            "Expected settings of format {FORMAT} or older in {}, found format {format}. Use the newer gst-sparseadv that made them, or \
             convert into another folder.",
            path.display()
        );
    }
    let kept: Kept = serde_json::from_slice(&text).map_err(damaged(path))?;
    Ok(kept.settings)
}

/// Locks of a run: a whole tree, or a part of it beside other parts of the same number.
pub fn lock(root: &Path, shard: Shard) -> anyhow::Result<Vec<File>> {
    let at = |name: &str| root.join(FOLDER).join(name);
    let busy = || {
        anyhow!(
            "Expected {} to be nobody's, found that another gst-sparseadv convert is writing there. Wait until it has ended; parts of one \
             set of shards (--shard i/n) may be converted at a time.",
            root.display()
        )
    };
    let take = |name: &str, shared: bool| -> anyhow::Result<File> {
        let path = at(name);
        let file = File::options().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("{} could not be written", path.display()))?;
        let locked = if shared { file.try_lock_shared() } else { file.try_lock() };
        match locked {
            Err(TryLockError::WouldBlock) => Err(busy()),
            // Some network file systems have no locks; there it is the user's to see to.
            _ => Ok(file),
        }
    };
    let Some((index, count)) = shard else {
        return Ok(vec![take("lock", false)?]);
    };
    let mut locks = vec![take("lock", true)?];
    let own = format!("lock-of-{count}");
    for entry in fs::read_dir(root.join(FOLDER)).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("lock-of-") && name != own {
            // Dropped at once: only whether it is taken counts.
            take(&name, false)?;
        }
    }
    locks.push(take(&own, true)?);
    locks.push(take(&format!("lock-{index}-of-{count}"), false)?);
    Ok(locks)
}

/// Writes a file unless there is one.
fn write_first(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let part = part_of(path)?;
    let write = || -> io::Result<()> {
        fs::write(part.part(), bytes)?;
        File::open(part.part())?.sync_all()
    };
    write().with_context(|| format!("{} could not be written", path.display()))?;
    match fs::hard_link(part.part(), path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // Not every file system has hard links.
        Err(_) => publish(part, path),
    }
}
