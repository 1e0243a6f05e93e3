// SPDX-License-Identifier: MPL-2.0

//! Finishes a TorchScript archive that `tch` has saved: makes its `forward` return two tensors and adds the metadata.
//!
//! libtorch refuses to save a traced method with two results, and `tch` has no way to pack them into the tuple Python's
//! `torch.jit.trace` returns. But an archive keeps its methods as source text. So the trace ends in [`pack`], an
//! operation on both that stands for their tuple, and the text is changed to the tuple here. That of a network which
//! encodes frame by frame is cut at its features, into the two methods by which frames that do not change cost nothing.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tch::{TchError, Tensor};
use zip::write::FileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use crate::halve::halve;

/// The metadata's name, as `torch.jit.save(..., _extra_files={"sparseadv.json": ...})` would be told it.
pub const MEMBER: &str = "sparseadv.json";
/// PyTorch's alignment, which lets it map tensors.
const ALIGNMENT: u16 = 64;

/// What stands for the tuple of two tensors of any shapes until [`finish`]. It has no other use in the networks.
pub fn pack(logits: &Tensor, features: &Tensor) -> Result<Tensor, TchError> {
    logits.f_type_as(features)
}

/// Copies the archive `traced` to `out` with these changes.
pub fn finish(traced: &Path, out: &Path, metadata: &[u8], encodes_frames: bool) -> Result<()> {
    let mut from = ZipArchive::new(File::open(traced)?)?;
    let mut to = ZipWriter::new(File::create(out)?);
    // libtorch reads members as they lie; no date, for the file should follow from the training alone.
    let options =
        FileOptions::default().compression_method(CompressionMethod::Stored).last_modified_time(DateTime::default());
    let (mut root, mut methods) = (None, 0);
    for index in 0..from.len() {
        let mut member = from.by_index(index)?;
        let name = member.name().to_owned();
        // Positions in the source before it is changed.
        if name.ends_with(".debug_pkl") {
            continue;
        }
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes)?;
        if name.ends_with(".py") {
            let source = unpack(&String::from_utf8(bytes)?)?;
            bytes = if encodes_frames { halve(&source)? } else { source }.into_bytes();
            methods += 1;
        }
        to.start_file_aligned(&name, options, ALIGNMENT)?;
        to.write_all(&bytes)?;
        root = root.or_else(|| Some(name.split_once('/')?.0.to_owned()));
    }
    ensure!(methods == 1, "expected the source of one class in the traced archive, found {methods}");
    let root = root.context("expected members in a folder of the traced archive, found none")?;
    to.start_file_aligned(format!("{root}/extra/{MEMBER}"), options, ALIGNMENT)?;
    to.write_all(metadata)?;
    to.finish()?;
    Ok(())
}

fn unpack(source: &str) -> Result<String> {
    let packed = "return torch.type_as(";
    ensure!(
        source.matches(packed).count() == 1 && source.matches("-> Tensor:").count() == 1,
        "expected one method that ends in {packed:?}, found:\n{source}"
    );
    Ok(source.replace(packed, "return (").replace("-> Tensor:", "-> Tuple[Tensor, Tensor]:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tuple_replaces_its_stand_in() {
        let source = "  def forward(self: C,\n    x: Tensor) -> Tensor:\n    y = torch.relu(x)\n    return torch.type_as(y, x)\n";
        let changed = "  def forward(self: C,\n    x: Tensor) -> Tuple[Tensor, Tensor]:\n    y = torch.relu(x)\n    return (y, x)\n";
        assert_eq!(unpack(source).unwrap(), changed);
        assert!(unpack(changed).is_err());
    }
}
