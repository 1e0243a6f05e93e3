// SPDX-License-Identifier: MPL-2.0

//! Where a conversion writes: never over what it reads, nor over what it did not make.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use gstsparseadv::dataset;
use gstsparseadv::files;

use super::disk::{FOLDER, write_whole};
use super::plan::Plan;
use crate::out::errln;

/// Says what a conversion would destroy or mistake for its own, before anything is made.
pub fn check_places(source: &Path, destination: &Path, model: &Path, plan: &Plan) -> anyhow::Result<()> {
    let (from, to) = (real(source), real(destination));
    let (shown_from, shown_to) = (source.display(), destination.display());
    ensure!(
        from != to,
        "Expected another folder than the data set's own to convert into, found {shown_to}, which is {shown_from}. Name another."
    );
    ensure!(
        !to.starts_with(&from),
        "Expected a folder outside the data set to convert into, found {shown_to} inside {shown_from}: it would become part of the set. \
         Name another."
    );
    ensure!(
        !from.starts_with(&to),
        "Expected a folder that does not have the data set in it, found {shown_to}, which has {shown_from}. Name another."
    );
    if let Ok(data) = fs::metadata(destination) {
        ensure!(data.is_dir(), "Expected a folder to convert into, found the file {shown_to}. Name another.");
    }
    if !destination.join(FOLDER).join("settings.json").exists() {
        // Before the first conversion into a folder, nothing in it is a conversion's.
        for name in super::manifest::names("") {
            let path = destination.join(name);
            ensure!(
                fs::symlink_metadata(&path).is_err(),
                "Expected to make {} anew, found that it is there already and was not made by a conversion. Move it, or convert into another \
                 folder.",
                path.display()
            );
        }
    }
    let classes: BTreeSet<&str> = plan.jobs.iter().filter_map(|job| Some(job.output.rsplit_once('/')?.0)).collect();
    for class in classes {
        let folder = destination.join(class);
        if let Ok(data) = fs::metadata(&folder) {
            ensure!(
                data.is_dir(),
                "Expected a folder for the class {class}, found the file {}. Convert into another folder.",
                folder.display()
            );
            ensure!(
                !real(&folder).starts_with(&from),
                "Expected a folder of its own for the class {class}, found that {} leads into the data set. Convert into another folder.",
                folder.display()
            );
        }
    }
    let model_at = real(model);
    if model_at.starts_with(&to) {
        let is_model = |path: &Path| files::same(path, model);
        let made = plan.jobs.iter().map(|job| destination.join(&job.output));
        if let Some(output) = made.into_iter().find(|path| is_model(path)) {
            bail!(
                "Expected the model elsewhere, found that {} would be written in its place. Convert into another folder.",
                output.display()
            );
        }
        let below = model_at.strip_prefix(&to).unwrap_or(&model_at);
        ensure!(
            !below.starts_with(FOLDER) && !is_manifest(below),
            "Expected the model elsewhere, found {} among the manifests. Convert into another folder.",
            model.display()
        );
    }
    if let Some(lists) = &plan.lists.lists {
        ensure!(
            !real(lists).starts_with(&to),
            "Expected the lists outside the folder to convert into, found {} inside {shown_to}, where they would be written over. Name \
             another folder.",
            lists.display()
        );
    }
    Ok(())
}

fn is_manifest(below: &Path) -> bool {
    let name = below.to_string_lossy();
    !name.contains('/') && (name.starts_with("manifest") || name.starts_with("timings"))
}

/// The real path of what need not be there yet.
fn real(path: &Path) -> PathBuf {
    let (mut rest, mut back): (Vec<OsString>, usize) = (Vec::new(), 0);
    let mut at = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    loop {
        if let Ok(mut found) = at.canonicalize() {
            for _ in 0..back {
                found.pop();
            }
            return rest.iter().rev().fold(found, |path, name| path.join(name));
        }
        match at.file_name().map(|name| name.to_owned()) {
            // `new/..` where there is no `new` yet.
            Some(_) if back > 0 => back -= 1,
            Some(name) => rest.push(name),
            None if at.ends_with("..") => back += 1,
            None => return path.to_path_buf(),
        }
        at.pop();
    }
}

/// What the copies of lists were when they were made, by their paths below the tree.
type Copies = BTreeMap<String, String>;

/// Copies the lists that say who is held out, so that the converted tree is a data set too. They name the files that
/// clips become; other texts beside them are copied byte by byte. What somebody else has put there stays.
pub fn copy_lists(plan: &Plan, from: &Path, to: &Path, extension: &str) -> anyhow::Result<()> {
    let Some(lists) = plan.lists.lists.as_deref() else {
        return Ok(());
    };
    let (folder, set) = (real(lists), real(from));
    // From beside the set they go into the tree, under a name that is looked for there.
    let below = folder.strip_prefix(&set).unwrap_or(Path::new("splits"));
    let outputs: HashMap<String, String> = plan.jobs.iter().map(|job| (job.clip.clone(), job.output.clone())).collect();
    let known = to.join(FOLDER).join("lists.json");
    let before: Copies = fs::read(&known).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    let mut copies = before.clone();
    let listed = fs::read_dir(&folder).with_context(|| format!("The folder {} could not be read", folder.display()))?;
    for entry in listed {
        let path = entry?.path();
        let is_text = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("txt"));
        let Some(name) = path.file_name().filter(|_| is_text && path.is_file()) else {
            continue;
        };
        let bytes = fs::read(&path).with_context(|| format!("The list {} could not be read", path.display()))?;
        let shown = dataset::display(name);
        let bytes = match dataset::is_list(&shown) {
            true => dataset::rewrite(&bytes, hmdb_class(&shown), &outputs, extension),
            false => bytes,
        };
        let target = to.join(below).join(name);
        let key = dataset::display_path(&below.join(name));
        let sum = crate::provenance::digest(&bytes);
        match fs::read(&target) {
            Ok(found) if found == bytes => {}
            Ok(found) if before.get(&key) != Some(&crate::provenance::digest(&found)) => {
                errln!(
                    "note: {} is there and not of this conversion: the list {} is not copied",
                    target.display(),
                    path.display()
                );
                continue;
            }
            _ => write_whole(&target, &bytes)?,
        }
        copies.insert(key, sum);
    }
    if copies != before {
        write_whole(&known, serde_json::to_string_pretty(&copies)?.as_bytes())?;
    }
    Ok(())
}

/// The class that a list of HMDB-51 is of.
fn hmdb_class(list: &str) -> Option<&str> {
    let (class, _) = list.split_at(list.to_lowercase().rfind("_test_split")?);
    Some(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_there_yet_is_real_up_to_where_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path().canonicalize().expect("a path");
        fs::create_dir(at.join("a")).expect("a folder");
        std::os::unix::fs::symlink(at.join("a"), at.join("b")).expect("a link");
        assert_eq!(real(&at.join("b/c/d")), at.join("a/c/d"));
        assert_eq!(real(&at.join("a/../b")), at.join("a"));
        assert_eq!(real(&at.join("new/b/../../a/c")), at.join("a/c"));
        assert_eq!(real(&at.join("a/new/../../c")), at.join("c"));
    }

    #[test]
    fn the_class_of_a_list() {
        assert_eq!(hmdb_class("brush_hair_test_split2.txt"), Some("brush_hair"));
        assert_eq!(hmdb_class("trainlist01.txt"), None);
    }
}
