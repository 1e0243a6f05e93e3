// SPDX-License-Identifier: MPL-2.0

//! The members of a TorchScript archive, which is a zip. No more of one is read than a model needs: a few bytes of a zip
//! can stand for gigabytes.

use std::collections::HashMap;
use std::io::{Read, Seek};
use std::path::Path;

use zip::ZipArchive;

use super::{Error, kind, pickle};

/// Name of the metadata member.
const METADATA: &str = "sparseadv.json";

/// The inputs that `torch.jit.trace` keeps in Python: sizes without values. libtorch reads them only where it is asked to.
const TRACED_INPUTS: &str = "/traced_inputs.pkl";

/// The most bytes of metadata. The names of ten thousand classes have half as many.
pub const METADATA_BYTES: u64 = 1 << 20;

/// The most bytes of code. The code of a large traced model has a few million.
pub const CODE_BYTES: u64 = 64 << 20;

/// An archive, wherever its bytes are.
pub struct Members<R> {
    /// By which errors name it.
    path: String,
    zip: ZipArchive<R>,
}

impl<R: Read + Seek> Members<R> {
    /// The archive at the beginning of `source`, or what that is instead.
    pub fn open(path: &Path, mut source: R) -> Result<Self, Error> {
        let path = path.display().to_string();
        let unreadable = |e: std::io::Error| Error::Unreadable { path: path.clone(), reason: e.to_string() };
        let mut head = Vec::new();
        (&mut source).take(kind::HEAD as u64).read_to_end(&mut head).map_err(unreadable)?;
        source.rewind().map_err(unreadable)?;
        let other = |found| Error::NotTorchScript { path: path.clone(), found };
        let zip = ZipArchive::new(source).map_err(|_| other(kind::of_bytes(&head)))?;
        let names: Vec<String> = zip.file_names().map(str::to_string).collect();
        let scripted = |n: &String| n.ends_with("/constants.pkl") || n.contains("/code/");
        if names.iter().any(scripted) { Ok(Self { path, zip }) } else { Err(other(kind::of_members(&names))) }
    }

    /// The text of its metadata, if it has any.
    pub fn metadata(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let suffix = format!("/extra/{METADATA}");
        let Some(name) = self.names(&suffix).into_iter().next() else {
            return Ok(None);
        };
        let text = self.read(&name, METADATA_BYTES)?;
        let remedy = "Metadata are some hundred bytes and the names of the classes: export the model again.";
        text.map(Some).ok_or_else(|| self.too_large(format!("the metadata {name}"), METADATA_BYTES, remedy))
    }

    /// The code of all modules in one text.
    pub fn code(&mut self) -> Result<String, Error> {
        let names = self.names(".py");
        let mut code = String::new();
        for name in names {
            // Code that cannot be read is libtorch's to refuse.
            let room = CODE_BYTES - code.len() as u64;
            match self.read(&name, room) {
                Ok(Some(text)) => code += std::str::from_utf8(&text).unwrap_or_default(),
                Ok(None) => {
                    let remedy = "No model has so much: it was made to fill the memory. Do not use it.";
                    return Err(self.too_large(format!("code, up to {name},"), CODE_BYTES, remedy));
                }
                Err(_) => {}
            }
        }
        Ok(code)
    }

    /// An error where a name is there twice, or a pickle says what the archive has not.
    pub fn check(&mut self) -> Result<(), Error> {
        let path = self.path.clone();
        let damaged = |member: String, found: String| Error::Damaged { member, path: path.clone(), found };
        if self.zip.file_names().count() < self.zip.len() {
            return Err(damaged("the directory".into(), "a name that is there twice".into()));
        }
        let mut lengths = HashMap::new();
        for index in 0..self.zip.len() {
            if let Ok(member) = self.zip.by_index_raw(index) {
                lengths.insert(member.name().to_owned(), member.size());
            }
        }
        for pickle in self.names(".pkl").iter().filter(|name| !name.ends_with(TRACED_INPUTS)) {
            // What cannot be read is libtorch's to refuse.
            let Ok(Some(bytes)) = self.read(pickle, CODE_BYTES) else {
                continue;
            };
            let folder = pickle.trim_end_matches(".pkl");
            let length = |key: &str| lengths.get(&format!("{folder}/{key}")).copied();
            pickle::check(&bytes, &length).map_err(|found| damaged(pickle.clone(), found))?;
        }
        Ok(())
    }

    /// What the archive is read from.
    pub fn into_source(self) -> R {
        self.zip.into_inner()
    }

    /// The names that end so, in one order on every run.
    fn names(&self, end: &str) -> Vec<String> {
        let mut names: Vec<String> = self.zip.file_names().filter(|n| n.ends_with(end)).map(str::to_string).collect();
        names.sort_unstable();
        names
    }

    /// A member's bytes, nothing where there are more than `most`.
    fn read(&mut self, name: &str, most: u64) -> Result<Option<Vec<u8>>, Error> {
        let unreadable = |reason: String| Error::Unreadable { path: self.path.clone(), reason };
        let member = self.zip.by_name(name).map_err(|e| unreadable(format!("{name}: {e}")))?;
        let mut bytes = Vec::new();
        member.take(most + 1).read_to_end(&mut bytes).map_err(|e| unreadable(format!("{name}: {e}")))?;
        Ok((bytes.len() as u64 <= most).then_some(bytes))
    }

    fn too_large(&self, what: String, most: u64, remedy: &'static str) -> Error {
        Error::TooLarge { what, path: self.path.clone(), most, remedy }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;

    /// An archive with these members.
    fn archive(members: &[(&str, &[u8])]) -> Members<Cursor<Vec<u8>>> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in members {
            zip.start_file(*name, zip::write::FileOptions::default()).expect("a member");
            zip.write_all(bytes).expect("bytes");
        }
        Members::open("m.pt".as_ref(), zip.finish().expect("a zip")).expect("an archive")
    }

    #[test]
    fn the_inputs_of_a_trace_may_be_without_values() {
        let tensor = pickle::tests::tensor(10, 0, 10, 1);
        let of = |name: &str| {
            archive(&[
                ("m/constants.pkl", b"\x80\x02N."),
                (&format!("m/{name}.pkl"), &tensor),
                (&format!("m/{name}/0"), b""),
            ])
        };
        of("traced_inputs").check().expect("a traced archive");
        let error = of("data").check().expect_err("a refusal").to_string();
        assert!(error.contains("m/data.pkl") && error.contains("0 bytes"), "{error}");
    }

    /// An archive with these members, of so many zeros each.
    fn zeros(members: &[(&str, u64)]) -> Members<Cursor<Vec<u8>>> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, length) in members {
            zip.start_file(*name, zip::write::FileOptions::default()).expect("a member");
            std::io::copy(&mut std::io::repeat(0).take(*length), &mut zip).expect("zeros");
        }
        zip.flush().expect("a zip");
        let bytes = zip.finish().expect("a zip").into_inner();
        assert!(bytes.len() < 1 << 20, "zeros take little space");
        Members::open("m.pt".as_ref(), Cursor::new(bytes)).expect("an archive")
    }

    #[test]
    fn metadata_are_read_up_to_a_bound() {
        let name = "m/extra/sparseadv.json";
        let mut members = zeros(&[("m/constants.pkl", 1), (name, METADATA_BYTES)]);
        assert_eq!(members.metadata().expect("metadata").map(|text| text.len() as u64), Some(METADATA_BYTES));
        let mut members = zeros(&[("m/constants.pkl", 1), (name, METADATA_BYTES + 1)]);
        let error = members.metadata().expect_err("a refusal").to_string();
        assert!(error.contains(name) && error.contains("m.pt") && error.contains("1048576"), "{error}");
    }

    #[test]
    fn all_code_together_is_read_up_to_a_bound() {
        let half = CODE_BYTES / 2;
        let mut members = zeros(&[("m/code/a.py", half), ("m/code/b.py", half)]);
        assert_eq!(members.code().expect("code").len() as u64, CODE_BYTES);
        let mut members = zeros(&[("m/code/a.py", half), ("m/code/b.py", half), ("m/code/c.py", 1)]);
        let error = members.code().expect_err("a refusal").to_string();
        assert!(error.contains("m/code/c.py") && error.contains("at most 67108864 bytes"), "{error}");
    }
}
